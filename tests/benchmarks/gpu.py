"""What training costs on made-up tickers, whatever TensorFlow computes on: see gpu.sh.

Base and ticker models are trained as the daily job trains them, in a training child, twice: the
second time without imports and tracing.
"""

import os
import subprocess
import sys
import time
from datetime import date

import numpy as np

from stockbatch.config import Settings
from stockbatch.engine.material import Material
from stockbatch.engine.training import TrainingProcess
from stockbatch.market import sessions
from stockbatch.records import Instrument, Panel

from .speed import TEST, train
from .walk_forward import prepare

LAST = date(2024, 12, 2)
DEVICES = """
import tensorflow
found = [
    f"{one.device_type}: {details.get('device_name', 'no name')}"
    for one in tensorflow.config.list_physical_devices()
    for details in [tensorflow.config.experimental.get_device_details(one)]
]
print(f"TensorFlow {tensorflow.__version__} sees {', '.join(found)}")
"""


def main() -> None:
    """Print what there is to compute on, and the seconds of each number of tickers."""
    # In a process of its own: TensorFlow takes all of an accelerator's memory.
    quiet = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": "0"}
    subprocess.run([sys.executable, "-c", DEVICES], check=True, env=quiet)
    settings = Settings()
    print(f"{'tickers':>8}{'first, s':>10}{'second, s':>11}{'ms a ticker':>13}{'models':>8}")
    for count in map(int, sys.argv[1:]):
        material = made_up(count, settings)
        rows = np.arange(count)
        seconds = []
        with TrainingProcess(settings.threads) as trainer:
            for _ in range(2):
                started = time.perf_counter()
                _, models = train(material, rows, settings, trainer)
                seconds.append(time.perf_counter() - started)
        each = 1000 * seconds[1] / count
        print(f"{count:>8}{seconds[0]:>10.1f}{seconds[1]:>11.1f}{each:>13.1f}{len(models):>8}")


def made_up(count: int, settings: Settings) -> Material:
    """Return bars of walks whose volatility comes in spells, on real sessions."""
    length = settings.model.history_sessions + settings.model.lookback + TEST + 100
    days = sessions.load("XNYS", LAST).window(LAST, length)
    draws = np.random.default_rng(1)
    spells = draws.normal(0, 0.1, (count, length)).cumsum(axis=1)
    spells -= spells.mean(axis=1, keepdims=True)
    moves = 0.015 * np.exp(np.clip(spells, -1, 1)) * draws.standard_t(5, (count, length))
    close = 100 * np.exp(np.clip(moves, -0.2, 0.2).cumsum(axis=1))
    wide = np.abs(draws.normal(0, 0.01, (2, count, length)))
    tickers = tuple(f"T{number:05}" for number in range(count))
    panel = Panel(
        tickers=tickers,
        sessions=days,
        open=close * np.exp(draws.normal(0, 0.003, close.shape)),
        high=close * np.exp(0.01 + wide[0]),
        low=close * np.exp(-0.01 - wide[1]),
        close=close,
        volume=np.full(close.shape, 1e6),
        split=np.ones(close.shape),
        dividend=np.zeros(close.shape),
        confirmed=np.zeros(close.shape, np.bool_),
    )
    instruments = [
        Instrument(id=at, ticker=ticker, symbol=ticker, provider="made up", calendar="XNYS")
        for at, ticker in enumerate(tickers)
    ]
    return prepare(instruments, panel)


if __name__ == "__main__":
    main()
