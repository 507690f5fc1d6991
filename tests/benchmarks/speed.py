"""What training costs: `python -m tests.benchmarks.speed all_stocks_5yr.csv.gz`.

Side by side in one go: the usual loop (a Keras network per ticker, on a few tickers) and this
engine (base and ticker models, at several numbers of tickers), each in a process of its own. The
last 252 sessions are left out of both and forecast by what was trained, without another training.
Time per ticker is the wall time of base and ticker training together, divided by the tickers.
"""

import argparse
import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockbatch import metrics
from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import features, learning
from stockbatch.engine.features import NAMES
from stockbatch.engine.material import Material
from stockbatch.engine.training import Trainer, TrainingData, TrainingProcess, batches
from stockbatch.engine.weights import to_bytes
from stockbatch.methods.networks import raw_quantiles
from stockbatch.providers.registry import create
from stockbatch.records import QUANTILES, Floats, Panel, Reason, TrainedModel, Verdict

from .walk_forward import prepare, read, until

Measured = dict[str, Any]
Places = NDArray[np.intp]

TEST = 252
LOOKBACK, BATCH, EPOCHS = 60, 32, 5
"""Of the usual loop."""


def main() -> int:
    """Run every part in a process of its own and print what they measured."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--loop-tickers", type=int, default=4)
    parser.add_argument("--tickers", default="100,505,2000", help="more than there are: repeated")
    parser.add_argument("--part", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        kind, _, count = options.part.partition(":")
        measured = (loop if kind == "loop" else engine)(options.file, int(count))
        print(json.dumps(measured | {"peak": _peak()}))
        return 0
    loops = _measure(options.file, f"loop:{options.loop_tickers}")
    engines = {
        f"engine:{count}": _measure(options.file, f"engine:{count}")
        for count in options.tickers.split(",")
    }
    print("\n".join(_report(loops, engines)))
    return 0


def _measure(file: Path, part: str) -> Measured:
    """Run one part in a process of its own, so that its memory and its tracing are its own."""
    command = [sys.executable, "-m", "tests.benchmarks.speed", str(file), "--part", part]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=quiet)
    measured: Measured = json.loads(answer.stdout.splitlines()[-1])
    return measured


def _report(loops: Measured, engines: dict[str, Measured]) -> Iterator[str]:
    yield (
        f"{'':>14}{'s a ticker':>12}{'warm':>9}{'loop / engine':>15}{'warm':>8}"
        f"{'GFLOP/s':>9}{'GiB':>7}{'pinball':>9}{'its loop':>9}"
    )
    yield (
        f"{'loop':>14}{loops['seconds']:>12.3f}{loops['warm']:>9.3f}{'':>15}{'':>8}"
        f"{loops['gflops']:>9.1f}{loops['peak']:>7.2f}"
    )
    for part, result in engines.items():
        both = sorted(set(result["losses"]) & set(loops["losses"]))
        own, of_loop = (_mean_of(both, measured["losses"]) for measured in (result, loops))
        yield (
            f"{part:>14}{result['seconds']:>12.4f}{result['warm']:>9.4f}"
            f"{loops['seconds'] / result['seconds']:>15.0f}"
            f"{loops['warm'] / result['warm']:>8.0f}{result['gflops']:>9.1f}"
            f"{result['peak']:>7.2f}{own:>9.5f}{of_loop:>9.5f}"
        )
    yield ""
    yield "warm: without imports and tracing; of the loop, without the first epoch of a ticker"
    for part, result in engines.items():
        yield f"{part}: {result['models']} models serialised, hashed: {result['hashing']:.2f} s"


def _mean_of(tickers: list[str], losses: dict[str, float]) -> float:
    return float(np.mean([losses[ticker] for ticker in tickers])) if tickers else np.nan


def engine(file: Path, count: int) -> Measured:
    """Train `count` tickers as the daily job does, twice, and forecast with the last models."""
    settings = Settings()
    whole = _load(file)
    rows = np.resize(np.arange(len(whole.instruments)), count)
    with TrainingProcess() as trainer:
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            base, new = train(whole, rows, settings, trainer)
            seconds.append((time.perf_counter() - started) / len(rows))
    started = time.perf_counter()
    for model in new.values():
        hashlib.sha256(to_bytes(model.weights)).digest()
    hashing = time.perf_counter() - started
    used = dict.fromkeys(range(len(whole.instruments)), base)
    for row, model in new.items():
        if row in used and model.verdict is Verdict.PROMOTED:  # beyond are repeated tickers
            used[row] = model
    quantiles = raw_quantiles(whole, used, settings.model, TEST + 1)[:, :-1]
    return {
        "seconds": seconds[0],
        "warm": seconds[1],
        "gflops": _flops(whole, base, new, settings.model) / seconds[1] / len(rows) / 1e9,
        "hashing": hashing,
        "models": len(new),
        "losses": _losses(whole, quantiles),
    }


def train(
    whole: Material, rows: Places, settings: Settings, trainer: Trainer
) -> tuple[TrainedModel, dict[int, TrainedModel]]:
    """Return the base and the ticker models by place in `rows`, trained in chunks."""
    size = settings.chunk_tickers
    sampled = np.sort(
        np.random.default_rng(1).permutation(len(rows))[: settings.model.base_tickers]
    )
    pieces = [_piece(whole, rows[some], settings) for some in _chunks(sampled, size)]
    base = learning.train_base(pieces, Reason.NO_MODEL, settings, trainer)
    assert base is not None
    new = {}
    for some in _chunks(np.arange(len(rows)), size):
        piece = _piece(whole, rows[some], settings)
        due = dict.fromkeys(range(len(some)), Reason.NO_MODEL)
        trained = learning.train(piece, due, {}, base, settings, trainer)
        new.update({int(some[row]): model for row, model in trained.items()})
    return base, new


def _chunks(places: Places, size: int) -> list[Places]:
    return [places[start : start + size] for start in range(0, len(places), size)]


def _piece(whole: Material, rows: Places, settings: Settings) -> Material:
    """Return the material of some rows as known before the test sessions.

    A ticker's place is part of its name, so that repeated ones have other seeds.
    """
    names = tuple(f"{whole.panel.tickers[row]} {place}" for place, row in enumerate(rows))
    arrays = whole.features.__dataclass_fields__
    some = replace(
        whole,
        instruments=tuple(whole.instruments[row] for row in rows),
        panel=replace(_rows(whole.panel, rows), tickers=names),
        features=replace(
            whole.features, **{name: getattr(whole.features, name)[rows] for name in arrays}
        ),
        jumped=whole.jumped[rows],
    )
    return until(some, len(whole.panel.sessions) - TEST - 1, settings)


def loop(file: Path, count: int) -> Measured:
    """Train the network of the tutorials, one ticker after the other."""
    import keras

    whole = _load(file)
    rows = np.linspace(0, len(whole.instruments) - 1, count).astype(int)
    returns = np.nan_to_num(whole.features.returns)
    quantiles = np.full((len(returns), TEST, len(QUANTILES)), np.nan)
    seconds, later = [], []
    for row in rows:
        spread = returns[row, :-TEST].std()
        windows = features.windows(returns[row : row + 1] / spread, LOOKBACK, 1)[0]
        inputs, targets = windows[LOOKBACK:, :-1, None], windows[LOOKBACK:, -1]
        started = time.perf_counter()
        keras.utils.set_random_seed(1)
        network = _tutorial()
        clock = _Clock()
        network.fit(
            *(inputs[:-TEST], targets[:-TEST]),
            batch_size=BATCH,
            epochs=EPOCHS,
            verbose=0,
            callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=clock.tick)],
        )
        seconds.append(time.perf_counter() - started)
        later.append((clock.times[-1] - clock.times[0]) / (EPOCHS - 1) * EPOCHS)
        said = network.predict(inputs, verbose=0)[:, 0]
        residuals = np.quantile(targets[:-TEST] - said[:-TEST], QUANTILES)
        quantiles[row] = spread * (said[-TEST:, None] + residuals)
    # Two operations per weight of the two LSTM layers; backwards costs twice as much again.
    steps = len(inputs[:-TEST]) * LOOKBACK * EPOCHS
    per_step = 2 * 4 * 50 * (1 + 50) + 2 * 4 * 50 * (50 + 50)
    return {
        "seconds": float(np.mean(seconds)),
        "warm": float(np.mean(later)),
        "gflops": 3 * per_step * steps / float(np.mean(later)) / 1e9,
        "losses": _losses(whole, quantiles),
    }


def _tutorial() -> Any:
    from keras import Sequential, layers

    network = Sequential(
        [
            layers.Input((LOOKBACK, 1)),
            layers.LSTM(50, return_sequences=True),
            layers.LSTM(50),
            layers.Dense(25),
            layers.Dense(1),
        ]
    )
    network.compile("adam", "mse")
    return network


class _Clock:
    def __init__(self) -> None:
        self.times: list[float] = []

    def tick(self, *_: Any) -> None:
        self.times.append(time.perf_counter())


def _load(file: Path) -> Material:
    """Return all tickers with enough history that are there at the cut and at the end."""
    instruments, panel, _ = read(create(f"csv:{file}", Settings()), "XNYS")
    known = np.isfinite(panel.close[:, :-TEST]).sum(axis=1) >= Settings().model.minimum_history
    present = np.isfinite(panel.close[:, [-TEST - 1, -1]]).all(axis=1)
    rows = np.flatnonzero(known & present)
    return prepare([instruments[row] for row in rows], _rows(panel, rows))


def _rows(panel: Panel, rows: Places) -> Panel:
    names = ("open", "high", "low", "close", "split", "dividend", "confirmed")
    tickers = tuple(panel.tickers[row] for row in rows)
    return replace(panel, tickers=tickers, **{name: getattr(panel, name)[rows] for name in names})


def _losses(whole: Material, quantiles: Floats) -> dict[str, float]:
    """Return the mean pinball loss of the test sessions by ticker, in its usual deviations."""
    returns = whole.features.returns
    spread = np.nanstd(returns[:, :-TEST], axis=1, keepdims=True)
    losses = metrics.pinball_losses(quantiles, returns[:, -TEST:]) / spread
    means = metrics.mean(losses).value
    return {
        ticker: float(mean)
        for ticker, mean in zip(whole.panel.tickers, means, strict=True)
        if np.isfinite(mean)
    }


def _flops(
    whole: Material, base: TrainedModel, new: dict[int, TrainedModel], settings: ModelSettings
) -> float:
    """Return the operations of all training steps, forward and backward; validation aside."""
    units, steps = settings.units, settings.lookback + settings.scored_steps
    per_window = 3 * steps * 2 * 4 * units * (len(NAMES) + units)
    per_window += 3 * settings.scored_steps * 2 * units * len(QUANTILES)
    targets = features.targets(whole.features)[:1, : -TEST - 1][:, -settings.history_sessions :]
    days = whole.panel.sessions[: -TEST - 1][-settings.history_sessions :]
    fitting = learning.split(targets, days, settings).fitting
    data = TrainingData(
        inputs=np.zeros((*targets.shape, len(NAMES)), np.float32),
        targets=targets,
        train=fitting,
        validation=fitting,
        seeds=np.zeros(1, np.uint64),
    )
    windows = int(batches.cut(data, settings).train.any(axis=-1).sum())
    epochs = len(base.training_loss) * min(len(new), settings.base_tickers)
    epochs += sum(len(model.training_loss) for model in new.values())
    return float(per_window * windows * epochs)


def _peak() -> float:
    """Return the most memory of this process and its child, in GiB."""
    both = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(one).ru_maxrss for one in both) / 2**20


if __name__ == "__main__":
    sys.exit(main())
