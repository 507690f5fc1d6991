"""What tells the size of the next session's move: inputs of the log-linear model (NumPy only).

Sizes are logarithms relative to the ticker's own level of the last year, so that one model serves
shares of any temper. Everything at step t is known at the close of session t, and reports and news
as they were known then.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from stockbatch.engine.features import MINIMUM_SAMPLES, RANGE_VARIANCE, SMALLEST_VOLATILITY
from stockbatch.engine.material import Material
from stockbatch.engine.weights import Singles
from stockbatch.records import Floats, MoveReason, News, Reports

HORIZONS = (1, 5, 22, 66)
"""Sessions over which sizes are averaged: a day, a week, a month and a quarter. The first three are
those of Corsi, "A simple approximate long-memory model of realized volatility", Journal of
Financial Econometrics 7 (2009)."""
LEVEL_SESSIONS = 250
"""Sessions that make a ticker's level."""
USUAL_TURNOVER = 20
"""Sessions that a day's turnover is compared with."""
LARGEST = 3.0
"""Logarithms are cut off at plus and minus this, twenty times the usual."""
LARGEST_MOVE = 6.0
"""Returns are cut off at so many levels."""
USUAL_LEVEL = 0.015
"""Of a stock in a session: its logarithm centres an input."""
MEDIAN_MOVE = 0.67
"""Median size of a normal return in standard deviations."""

REACTIONS, HABIT_SESSIONS = 8, 520
"""At most so many reports of so many sessions make a ticker's habit: two years of quarters."""
USUAL_REACTION, USUAL_AFTER = 2.0, 1.6
"""Mean reaction on a report's date and on the session after, in levels, of those without habit."""
SMALLEST_REACTION = 0.2
USUAL_NEWS, FEWEST_NEWS = 60, 20
"""Sessions before that make a ticker's usual news; so many of them, and scores, are needed."""
SPARSE = 1.0
"""Items added to the usual, so that the first one of a ticker with hardly any is no burst."""
REACH = LEVEL_SESSIONS + HABIT_SESSIONS + 2
"""Sessions up to and including step t that step t depends on."""
REACH_OF_BARS = LEVEL_SESSIONS + max(HORIZONS) - 1
"""The same without events."""

GROUPS: Mapping[MoveReason, tuple[str, ...]] = {
    MoveReason.OWN_MOVES: tuple(f"own_{sessions}" for sessions in HORIZONS),
    MoveReason.LEVEL: ("level",),
    MoveReason.MARKET_MOVES: tuple(f"market_{sessions}" for sessions in HORIZONS),
    MoveReason.DIRECTION: (
        "fall",
        "rise",
        *(f"return_{sessions}" for sessions in HORIZONS[1:]),
        "market_fall",
        "market_rise",
        *(f"market_return_{sessions}" for sessions in HORIZONS[1:]),
    ),
    MoveReason.TURNOVER: ("turnover_1", "turnover_5"),
    MoveReason.REPORTS: (
        "report_due",
        "report_due_habit",
        "report_lingering",
        "report_lingering_habit",
        "report_lingering_reaction",
        "report_expected",
        "reports_covered",
    ),
    MoveReason.NEWS: (
        *(f"news_items_{sessions}" for sessions in HORIZONS[:2]),
        *(f"news_score_{sessions}" for sessions in HORIZONS[:2]),
    ),
}
"""The inputs, in the order of the last axis, by what they tell of; a model may go without the last
two groups, or without the last."""
OF_EVENTS, OF_NEWS = GROUPS[MoveReason.REPORTS], GROUPS[MoveReason.NEWS]
OF_BARS = tuple(chain.from_iterable(GROUPS.values()))[: -len(OF_EVENTS + OF_NEWS)]
ALL = (*OF_BARS, *OF_EVENTS, *OF_NEWS)
NEARBY = [ALL.index(name) for name in ALL[len(OF_BARS) :] if name != "reports_covered"]
"""Places of those that are 0 where no report is near, and where news is as usual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleInputs:
    """What the size of the next move follows from, arrays starting with (tickers, sessions)."""

    inputs: Singles
    """With a last axis in the order of ALL, as far as is asked for; NaN where unknown."""
    level: Floats
    """Usual size of a return over the last year; NaN where too little is known."""


def scale_inputs(
    material: Material, steps: int, *, events: bool, news: bool = False
) -> ScaleInputs:
    """Return the inputs of the last `steps` of a material.

    Those of reports only with `events`, those of news only with `events` and `news`.
    """
    sessions = len(material.panel.sessions)
    reach = REACH if events else REACH_OF_BARS
    some = slice(max(sessions - steps - reach + 1, 0), None)
    panel, market, reports = material.panel, material.market, material.reports
    returns = material.features.returns[:, some]
    spread = np.log(panel.high[:, some] / panel.low[:, some])
    # Half from the return, half from the range, as the volatility of the network's inputs.
    ranged = np.where(np.isfinite(spread), spread**2 / RANGE_VARIANCE, returns**2)
    variance = (returns**2 + ranged) / 2
    usual = _level(variance)
    # Beside the level nothing looks back further than the longest horizon.
    recent = slice(-(steps + max(HORIZONS) - 1), None)
    level = usual[:, recent]
    moves = np.clip(returns[:, recent] / level, -LARGEST_MOVE, LARGEST_MOVE)
    market_sizes, market_moves = _of_market(
        market.absolute_return[None, some], market.median_return[None, some]
    )
    columns = [
        *(_relative(variance[:, recent], sessions, level**2) for sessions in HORIZONS),
        np.log(level / USUAL_LEVEL),
        *market_sizes,
        *_signed(moves),
        *market_moves,
        *_turnover(panel.close[:, recent] * panel.volume[:, recent]),
    ]
    if events:
        columns += _of_reports(reports, some, np.abs(returns), usual)
    if events and news:
        columns += _of_news(material.news, some, usual.shape)
    # As single precision, like what a network sees: the market's are the same for all tickers.
    inputs = np.empty((len(returns), min(steps, sessions), len(columns)), np.float32)
    for place, column in enumerate(columns):
        inputs[..., place] = column[:, -steps:]
    return ScaleInputs(inputs=inputs, level=usual[:, -steps:])


def by_reason(terms: Floats) -> dict[MoveReason, Floats]:
    """Return the sums of terms (…, K), one per input, over each group of inputs there is."""
    sums, first = {}, 0
    for reason, names in GROUPS.items():
        last = first + len(names)
        if last <= terms.shape[-1]:  # without events their group is not there
            sums[reason] = terms[..., first:last].sum(axis=-1)
        first = last
    return sums


def _level(variance: Floats) -> Floats:
    """Return the usual size of a return at each close, NaN where too few are known."""
    total, count = _sums(variance, LEVEL_SESSIONS)
    mean = np.divide(total, count, out=np.full_like(total, np.nan), where=count >= MINIMUM_SAMPLES)
    return np.sqrt(np.maximum(mean, SMALLEST_VOLATILITY**2))


def _relative(variance: Floats, sessions: int, usual: Floats) -> Floats:
    """Return the logarithm of the size over the last `sessions` to the usual one."""
    with np.errstate(divide="ignore"):  # a price that stood still: cut off below
        return np.clip(np.log(_mean(variance, sessions) / usual) / 2, -LARGEST, LARGEST)


def _signed(moves: Floats) -> list[Floats]:
    """Return what fell and what rose last, and what has moved since a week, month and quarter.

    Falls are followed by larger moves than rises are (Corsi & Renò, "Discrete-time volatility
    forecasting with persistent leverage effect", Journal of Business & Economic Statistics 30,
    2012).
    """
    # In units of what a random walk does in so many sessions.
    since = [_mean(moves, sessions) * np.sqrt(sessions) for sessions in HORIZONS[1:]]
    return [np.minimum(moves, 0), np.maximum(moves, 0), *since]


def _of_market(sizes: Floats, returns: Floats) -> tuple[list[Floats], list[Floats]]:
    """Return the sizes of the market's moves, and their signs as of a ticker's, each (1, S)."""
    usual = _level((sizes / MEDIAN_MOVE) ** 2)
    relative = [_relative((sizes / MEDIAN_MOVE) ** 2, sessions, usual**2) for sessions in HORIZONS]
    moves = np.clip(returns / usual, -LARGEST_MOVE, LARGEST_MOVE)
    return relative, _signed(moves)


def _turnover(turnover: Floats) -> list[Floats]:
    """Return the money traded, which no split moves, today's and the week's, to the month's."""
    usual = _mean(turnover, USUAL_TURNOVER)
    with np.errstate(divide="ignore", invalid="ignore"):  # nothing was traded: cut off, or unknown
        return [
            np.clip(np.log(_mean(turnover, sessions) / usual), -LARGEST, LARGEST)
            for sessions in HORIZONS[:2]
        ]


def _of_reports(reports: Reports, some: slice, sizes: Floats, usual: Floats) -> list[Floats]:
    """Return what reports known ahead say, and the ticker's own habit: what its last ones did."""
    before = np.full_like(usual, np.nan)
    before[:, 1:] = usual[:, :-1]
    reaction = np.clip(sizes / before, SMALLEST_REACTION, LARGEST_MOVE)
    came, lingers = reports.came[:, some], reports.lingering[:, some]
    on_date = _habit(came, reaction, 0, USUAL_REACTION)
    after = _habit(came & lingers, reaction, 1, USUAL_AFTER)
    surprise = np.nan_to_num(np.log(reaction))
    due, lingering = reports.due[:, some].astype(np.float64), lingers.astype(np.float64)
    return [
        due,
        due * on_date,
        lingering,
        lingering * after,
        lingering * surprise,
        # By its rhythm alone: little more than one in three comes on that very day.
        reports.expected[:, some].astype(np.float64),
        reports.covered[:, some].astype(np.float64),
    ]


def _habit(came: NDArray[np.bool_], reaction: Floats, delay: int, usual: float) -> Floats:
    """Return the log of the mean reaction `delay` sessions after the last reports, to the `usual`.

    As known at each session; 0 where no reaction is known.
    """
    habit = np.zeros(came.shape)
    sessions = np.arange(came.shape[1])
    for row in np.flatnonzero(came.any(axis=1)).tolist():
        columns = np.flatnonzero(came[row]) + delay
        columns = columns[columns < came.shape[1]]
        sizes = reaction[row, columns]
        columns, sizes = columns[np.isfinite(sizes)], sizes[np.isfinite(sizes)]
        total = np.cumsum(np.concatenate([[0.0], sizes]))
        # Of how many reactions each session knows, and how many of these are too old.
        known = np.searchsorted(columns, sessions, side="right")
        old = np.searchsorted(columns, sessions - HABIT_SESSIONS, side="right")
        first = np.maximum(known - REACTIONS, old)
        some = known > first
        means = (total[known] - total[first])[some] / (known - first)[some]
        habit[row, some] = np.log(means / usual)
    return habit


def _of_news(news: News | None, some: slice, shape: tuple[int, ...]) -> list[Floats]:
    """Return how many items there were and how they sounded, against the ticker's usual ones.

    NaN where there have been too few to tell what is usual.
    """
    if news is None:
        return [np.full(shape, np.nan)] * len(OF_NEWS)
    items, scored, total = news.items[:, some], news.scored[:, some], news.total[:, some]
    before, scored_before, total_before = (
        np.pad(_sums(one, USUAL_NEWS)[0], [(0, 0), (1, 0)])[:, :-1]
        for one in (items, scored, total)
    )
    age = _age(items)
    often = np.divide(before, age, out=np.full(shape, np.nan), where=age >= FEWEST_NEWS)
    enough = scored_before >= FEWEST_NEWS
    usual = np.divide(total_before, scored_before, out=np.full(shape, np.nan), where=enough)
    volumes, scores = [], []
    for sessions in HORIZONS[:2]:
        lately = _mean(items, sessions)
        # No logarithm: that nothing is written says far less than that much is.
        volumes.append(np.minimum((lately - often) / (often + SPARSE), LARGEST))
        # The mean of all but nothing is pulled to what is usual, as if one more item had said so.
        sums, counts = (_sums(one, sessions)[0] for one in (total, scored))
        scores.append((sums - counts * usual) / (counts + 1))
    return volumes + scores


def _age(items: Floats) -> Floats:
    """Return how many sessions before each the first item of the last USUAL_NEWS was, 0: none."""
    age = np.zeros(items.shape)
    for lag in range(1, min(USUAL_NEWS, items.shape[1] - 1) + 1):
        age[:, lag:][items[:, :-lag] > 0] = lag
    return age


def _mean(values: Floats, sessions: int) -> Floats:
    """Return the means of the known values among the last `sessions`, NaN where there is none."""
    total, count = _sums(values, sessions)
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def _sums(values: Floats, sessions: int) -> tuple[Floats, Floats]:
    """Return the sums of the known values among the last `sessions`, and how many there are."""
    known = np.isfinite(values)
    # Sessions first, so that what is added at a time lies together in memory.
    filled = np.ascontiguousarray(np.where(known, values, 0.0).T)
    total = np.zeros_like(filled)
    # Each window is added up afresh, oldest first: a step is the same to the last bit however long
    # the series before it.
    for lag in range(min(sessions, len(filled)) - 1, -1, -1):
        total[lag:] += filled[: len(filled) - lag]
    # Whole numbers are exact, however they are added up.
    count = np.cumsum(known, axis=1, dtype=np.float64)
    count[:, sessions:] -= count[:, :-sessions].copy()
    return np.ascontiguousarray(total.T), count
