"""What is found of news that tells of wider moves: `python -m tests.benchmarks.planted_news`.

Bars are made up, of Student's t with a volatility that comes in clusters; on a tenth of the days a
move is FACTOR times as wide, and the news of the session before tells so, by how many items there
are, by how they sound, or not at all. Every market is forecast with and without news by the code of
production. To know it is to widen what is forecast without news, on just those days.
"""

import argparse
from collections.abc import Iterator
from typing import Literal

import numpy as np

from stockbatch import metrics
from stockbatch.config import ModelSettings, Settings
from stockbatch.engine.training import TrainingProcess
from stockbatch.market import sessions
from stockbatch.records import Floats, Instrument, News, Panel

from .walk_forward import COMBINATION, REPORTS, Walk, prepare, walk

FACTOR, SHARE = 1.3, 0.1
"""By how much a move is wider, on what share of days."""
ITEMS, MORE_ITEMS = 1.0, 5.0
"""Mean number of items of a session, and how many more a wider move is announced by."""
ITEMS_SCORED = 4.0
"""The same where scores tell, beside one that there always is: no item says nothing."""
SCORE, WORSE, SPREAD = 0.05, 0.6, 0.3
"""Mean score of an item, how much worse it is before a wider move, and how much scores differ."""
SESSIONS, TESTED = 1260, 252
CODE = "XNYS"
LAST = np.datetime64("2024-06-03").item()

Told = Literal["volume", "score", "nothing"]
TOLD: tuple[Told, ...] = ("volume", "score", "nothing")
"""What of the news tells of wider moves."""


class Planted:
    """A made-up market of so many tickers, whose wider moves its news may tell of."""

    def __init__(self, tickers: int, told: Told, seed: int) -> None:
        rng = np.random.default_rng(seed)
        days = sessions.load(CODE, LAST).window(LAST, SESSIONS)
        self.wide = rng.random((tickers, SESSIONS)) < SHARE
        """Whether the move of a session is wider, (tickers, sessions)."""
        if told == "nothing":
            self.news = _news(rng, np.zeros_like(self.wide), "volume")
            self.wide[:] = False
        else:
            before = np.zeros_like(self.wide)
            before[:, :-1] = self.wide[:, 1:]
            self.news = _news(rng, before, told)
        self.panel = _panel(rng, np.where(self.wide, FACTOR, 1.0), days)
        self.instruments = [
            Instrument(id=row, ticker=name, symbol=name, provider="csv", calendar=CODE)
            for row, name in enumerate(self.panel.tickers)
        ]


def _news(rng: np.random.Generator, before: np.ndarray, told: Told) -> News:
    """Return news of which those `before` a wider move are more, or worse."""
    if told == "volume":
        items = rng.poisson(ITEMS + MORE_ITEMS * before).astype(np.float64)
    else:
        items = 1.0 + rng.poisson(ITEMS_SCORED, before.shape)
    mean = SCORE - (WORSE * before if told == "score" else 0.0)
    # The mean of so many scores, each within its bounds.
    deviation = SPREAD / np.sqrt(np.maximum(items, 1))
    total = items * np.clip(rng.normal(mean, deviation), -1, 1)
    return News(items=items, scored=items, total=total)


def _panel(rng: np.random.Generator, factor: Floats, days: np.ndarray) -> Panel:
    """Return bars whose moves and ranges are `factor` times as wide as their volatility says."""
    tickers, count = factor.shape
    alpha, beta = rng.uniform(0.03, 0.12, tickers), rng.uniform(0.8, 0.87, tickers)
    usual = rng.uniform(0.008, 0.03, tickers) ** 2
    variance, moves, widths = usual.copy(), np.empty(factor.shape), np.empty(factor.shape)
    shocks = rng.standard_t(5, factor.shape) / np.sqrt(5 / 3)
    market = 0.4 * rng.standard_t(5, count) / np.sqrt(5 / 3)
    for step in range(count):
        width = np.sqrt(variance)
        move = width * (0.9 * shocks[:, step] + market[step])
        moves[:, step], widths[:, step] = factor[:, step] * move, factor[:, step] * width
        variance = (1 - alpha - beta) * usual + alpha * move**2 + beta * variance
    close = rng.uniform(20, 300, (tickers, 1)) * np.exp(np.cumsum(moves, axis=1))
    opened = close * np.exp(-moves + 0.3 * widths * rng.normal(size=factor.shape))
    beyond = 0.35 * widths * np.abs(rng.normal(size=(2, *factor.shape)))
    return Panel(
        tickers=tuple(f"T{row:04}" for row in range(tickers)),
        sessions=days,
        open=opened,
        high=np.maximum(opened, close) * np.exp(beyond[0]),
        low=np.minimum(opened, close) * np.exp(-beyond[1]),
        close=close,
        volume=rng.integers(100_000, 5_000_000, factor.shape).astype(np.float64),
        split=np.ones(factor.shape),
        dividend=np.zeros(factor.shape),
        confirmed=np.zeros(factor.shape, np.bool_),
    )


def gains(planted: Planted, settings: Settings, tested: int = TESTED) -> Iterator[str]:
    """Yield what news gains for each forecast that looks at it, and what knowing would."""
    material = prepare(planted.instruments, planted.panel, None, planted.news)
    last = len(planted.panel.sessions) - 1
    walks = []
    for news in (False, True):
        model = settings.model.model_copy(update={"news": news})
        own = settings.model_copy(update={"model": model})
        with TrainingProcess(settings.threads) as trainer:
            walks.append(walk(material, last + 1 - tested, last, own, trainer, with_garch=False))
    wide = planted.wide[:, -tested:]
    widening = np.where(wide, FACTOR, 1.0) / (1 + (FACTOR - 1) * wide.mean())
    for method in (REPORTS, COMBINATION):
        yield _compared(method, walks[0], walks[1], widening)


def _compared(method: str, without: Walk, with_news: Walk, widening: Floats) -> str:
    plain, knowing = without.quantiles[method], with_news.quantiles[method]
    spread = np.nanstd(without.actual, axis=1, keepdims=True)
    of = (
        metrics.pinball_losses(one, without.actual) / spread
        for one in (plain, knowing, plain * widening[..., None])
    )
    loss, found, known = of
    value, error = metrics.clustered_skill(found, loss)
    best, _ = metrics.clustered_skill(known, loss)
    line = f"  {method:18}{100 * value:+8.3f} ± {100 * error:.3f} %"
    if best:
        line += f"{100 * best:+12.3f} %{100 * value / best:9.0f} %"
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("--tickers", type=int, default=150)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    settings = Settings(threads=given.threads, model=ModelSettings())
    for told in TOLD:
        planted = Planted(given.tickers, told, given.seed)
        told_by = "none planted" if told == "nothing" else f"told of by {told}"
        print(f"{given.tickers} tickers, {TESTED} sessions, wider moves {told_by}")
        print(f"{'':22}{'gain of news':>16}{'of knowing':>14}{'found':>11}", flush=True)
        for line in gains(planted, settings):
            print(line, flush=True)


if __name__ == "__main__":
    main()
