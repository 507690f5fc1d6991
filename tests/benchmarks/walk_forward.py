"""Forecast many past sessions with the production code, refitting on the way; no database."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stockbatch import metrics
from stockbatch.config import Settings
from stockbatch.engine import learning, material
from stockbatch.engine.material import Material
from stockbatch.engine.training import Trainer
from stockbatch.exceptions import NoFit, ProviderError
from stockbatch.market import quality, sessions
from stockbatch.market.adjustments import total_log_returns
from stockbatch.market.news import Items, counted
from stockbatch.market.rhythm import QUARTER, YEAR
from stockbatch.methods import crowd, registry
from stockbatch.methods.base import PAST, Given, Parameters, Scope, Stated
from stockbatch.methods.forecasts import calibrated, state
from stockbatch.methods.networks import raw_quantiles
from stockbatch.providers.base import BarProvider
from stockbatch.records import (
    COMBINED,
    HAR,
    HAR_EVENTS,
    MEDIAN,
    QUANTILE_BASELINE,
    QUANTILES,
    BarRequest,
    Crowd,
    Floats,
    Instrument,
    Market,
    ModelKind,
    News,
    NewsItem,
    Panel,
    Reason,
    Reports,
    TrainedModel,
    Verdict,
)

PRICES = ("open", "high", "low", "close")
ASSUMED, COVERED = 5, 140
"""Sessions ahead that dates are taken to have been known, and that a report tells of others."""
FEWEST = 5
"""Tickers with a return that a session needs for the market to be known, as in store/market.py."""
ROLLING, EWMA, GARCH = "rolling quantile", "EWMA", "GARCH(1,1)-t"
POOLED, REPORTS, COMBINATION = "HAR", "HAR with reports", "combined"
BASE, RAW, CALIBRATED = "base alone, raw", "network, raw", "network, calibrated"
ALONE = "network, no crowd"
"""Calibrated by the ticker's own past alone."""
METHODS = {
    QUANTILE_BASELINE: ROLLING,
    "ewma": EWMA,
    "garch": GARCH,
    HAR: POOLED,
    HAR_EVENTS: REPORTS,
    COMBINED: COMBINATION,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Forecasts of the test sessions, arrays starting with (tickers, sessions), NaN: none."""

    sessions: NDArray[np.datetime64]
    actual: Floats
    """Log returns that came."""
    quantiles: dict[str, Floats]
    """By method, (tickers, sessions, 9)."""
    points: dict[str, Floats]
    own: NDArray[np.bool_]
    """Whether the ticker had left its base."""
    shrinkage: Floats
    dissimilarity: Floats
    half_widths: Floats
    """Half the 80 % width of the combination before calibration, (tickers, sessions)."""
    bases: list[TrainedModel] = field(default_factory=list)
    trained: list[TrainedModel] = field(default_factory=list)
    """Every ticker model, whether it came into use or not."""


@dataclass(slots=True)
class _Models:
    """The models in use at one time, by row."""

    base: TrainedModel | None = None
    newest: dict[int, TrainedModel] = field(default_factory=dict)
    own: dict[int, TrainedModel] = field(default_factory=dict)
    garch: dict[int, Parameters] = field(default_factory=dict)
    pooled: dict[str, Parameters] = field(default_factory=dict)
    crowds: dict[str, Crowd | None] = field(default_factory=dict)


def read(provider: BarProvider, code: str) -> tuple[list[Instrument], Panel, NDArray[np.bool_]]:
    """Return every ticker and its accepted bars on all sessions from the first to the last one.

    The last value, (tickers,), says whether the provider had all prices of every session.
    """
    requests = [
        BarRequest(symbol=listing.symbol, first=None, last=np.datetime64("2100-01-01").item())
        for listing in provider.listings()
    ]
    fetched = list(provider.fetch(requests))
    for answer in fetched:
        if isinstance(answer, ProviderError):
            raise answer
    first = min(answer.bars.sessions.min() for answer in fetched).item()
    last = max(answer.bars.sessions.max() for answer in fetched).item()
    days = sessions.load(code, last).between(first, last)
    shape = (len(fetched), len(days))
    prices = {name: np.full(shape, np.nan) for name in (*PRICES, "volume")}
    actions = {"split": np.ones(shape), "dividend": np.zeros(shape)}
    complete = np.zeros(len(fetched), np.bool_)
    for row, answer in enumerate(fetched):
        stated = [np.isfinite(getattr(answer.bars, name)) for name in PRICES]
        complete[row] = np.all(stated, axis=0).sum() == len(days)
        checked = quality.check(answer, days, last)
        columns = np.searchsorted(days, checked.accepted.sessions)
        for name, values in prices.items():
            values[row, columns] = getattr(checked.accepted, name)
        for action in checked.actions:
            column = np.searchsorted(days, np.datetime64(action.session))
            actions[action.kind][row, column] = action.value
    tickers = tuple(answer.symbol for answer in fetched)
    listed = [
        Instrument(id=row, ticker=ticker, symbol=ticker, provider="csv", calendar=code)
        for row, ticker in enumerate(tickers)
    ]
    confirmed = np.zeros(shape, np.bool_)
    panel = Panel(tickers=tickers, sessions=days, confirmed=confirmed, **prices, **actions)
    return listed, panel, complete


def dated(
    panel: Panel,
    dates: Iterable[tuple[str, date]],
    *,
    missing: float = 0,
    moved: float = 0,
    projected: bool = False,
) -> Reports:
    """Return what reports on `dates`, by ticker, look like ASSUMED sessions ahead and later.

    Of unknown hour, as such lists are. A share may be `missing`, and others `moved` by a session;
    with `projected` none is known ahead, and the next follow from a year ago.
    """
    row_of = {ticker: row for row, ticker in enumerate(panel.tickers)}
    came = np.zeros(panel.close.shape, np.bool_)
    random = np.random.default_rng(1)
    for ticker, day in dates:
        column = int(np.searchsorted(panel.sessions, np.datetime64(day)))
        fate = random.random()
        if fate > 1 - moved:
            column += int(random.choice((-1, 1)))
        if fate >= missing and ticker in row_of and 0 <= column < len(panel.sessions):
            came[row_of[ticker], column] = True
    due = np.roll(came, -1, axis=1)
    due[:, -1] = False
    # Known from so many sessions before the first report on, until none has come for long.
    covered = np.zeros_like(came)
    for row, column in np.argwhere(came).tolist():
        covered[row, max(column - ASSUMED, 0) : column + COVERED + 1] = True
    expected = np.zeros_like(came)
    if projected:
        due = expected.copy()
        for row, column in np.argwhere(came).tolist():
            day = panel.sessions[column] + YEAR
            session = int(np.searchsorted(panel.sessions, day))
            quarter = slice(int(np.searchsorted(panel.sessions, day - QUARTER)), session)
            if session < came.shape[1] and not came[row, quarter].any():
                expected[row, session - 1] = True
    return Reports(due=due, came=came, lingering=came, covered=covered, expected=expected)


def told(panel: Panel, code: str, items: Sequence[NewsItem]) -> News:
    """Return what each session knew of news that counts since it was published."""
    calendar = sessions.load(code, panel.sessions[-1].item())
    row_of = {ticker: row for row, ticker in enumerate(panel.tickers)}
    items = [item for item in items if calendar.holds(item.published_at.date())]
    scores = [np.nan if item.score is None else item.score for item in items]
    closing = [np.datetime64(calendar.closing_after(item.published_at)) for item in items]
    known = Items(
        row=np.array([row_of[item.symbol] for item in items], np.intp),
        session=np.array(closing, panel.sessions.dtype),
        assumed=np.ones(len(items), np.bool_),
        seen_at=np.zeros(len(items)),
        score=np.array(scores),
    )
    return counted(known, panel.sessions, np.zeros(len(panel.sessions)), len(panel.tickers))


def prepare(
    instruments: Sequence[Instrument],
    panel: Panel,
    reports: Reports | None = None,
    news: News | None = None,
) -> Material:
    """Return the material of all sessions; every one of its columns knows nothing later."""
    sizes, moves = np.full((2, len(panel.sessions)), np.nan)
    for column, returns in enumerate(total_log_returns(panel).T):
        known = returns[np.isfinite(returns)]
        if len(known) >= FEWEST:
            sizes[column], moves[column] = np.median(np.abs(known)), np.median(known)
    market = Market(sessions=panel.sessions, absolute_return=sizes, median_return=moves)
    return material.prepare(instruments, panel, market, reports, news)


def until(whole: Material, column: int, settings: Settings) -> Material:
    """Return what a run for the session of `column` would have loaded."""
    some = slice(max(column + 1 - material.sessions_needed(settings), 0), column + 1)

    return whole.cut(some)


def walk(
    whole: Material,
    first: int,
    last: int,
    settings: Settings,
    trainer: Trainer,
    *,
    with_garch: bool = True,
    trained: Collection[int] | None = None,
) -> Walk:
    """Forecast the sessions of the columns `first` to `last`, each from the session before.

    The base is refitted every `base_after_sessions`, the tickers every `retrain_after_sessions`;
    all sessions in between are forecast in one pass. Raw quantiles are carried from one pass to
    the next, for calibration; drift is not looked for. Where only the rows `trained` have networks
    of their own, others keep to the base, which all of them are in.
    """
    shape = whole.panel.close.shape
    result = Walk(
        sessions=whole.panel.sessions,
        actual=whole.features.returns,
        quantiles={name: np.full((*shape, len(QUANTILES)), np.nan) for name in _names(with_garch)},
        points={name: np.full(shape, np.nan) for name in _names(with_garch)},
        own=np.zeros(shape, np.bool_),
        shrinkage=np.full(shape, np.nan),
        dissimilarity=np.full(shape, np.nan),
        half_widths=np.full(shape, np.nan),
    )
    models = _Models()
    for start, stop in _blocks(first, last, settings):
        known = until(whole, start - 1, settings)
        _refit(known, models, settings, trainer, result, with_garch, trained)
        block = until(whole, stop - 2, settings)
        _forecast(block, slice(start, stop), models, settings.model, result)
    return _only(result, slice(first, last + 1))


def _names(with_garch: bool) -> list[str]:
    garch = [GARCH] if with_garch else []
    return [ROLLING, EWMA, *garch, POOLED, REPORTS, BASE, RAW, ALONE, CALIBRATED, COMBINATION]


def _blocks(first: int, last: int, settings: Settings) -> Iterator[tuple[int, int]]:
    """Yield first and end of the sessions forecast between two refits."""
    every = (settings.retrain_after_sessions, settings.base_after_sessions)
    starts = {column for step in every for column in range(first, last + 1, step)}
    ordered = [*sorted(starts), last + 1]
    yield from pairwise(ordered)


def _refit(
    known: Material,
    models: _Models,
    settings: Settings,
    trainer: Trainer,
    result: Walk,
    with_garch: bool,
    trained: Collection[int] | None,
) -> None:
    """Do what a run for the last session of `known` does to the models."""
    rows = np.flatnonzero(known.features.present[:, -1]).tolist()
    _refit_base(known, len(rows), models, settings, trainer, result)
    assert models.base is not None
    reasons = {
        row: learning.decide(known, row, models.newest.get(row), models.base, settings)
        for row in (rows if trained is None else sorted({*rows} & {*trained}))
    }
    due = {row: why for row, why in reasons.items() if why in learning.TRAIN}
    size = settings.chunk_tickers
    for start in range(0, len(due), size):
        chunk = dict(list(due.items())[start : start + size])
        new = learning.train(known, chunk, models.own, models.base, settings, trainer)
        result.trained.extend(new.values())
        models.newest |= new
        for row, model in new.items():
            if model.verdict is Verdict.PROMOTED:
                models.own[row] = model
            elif model.verdict is Verdict.BASE_KEPT:
                models.own.pop(row, None)
    for row in due if with_garch else ():
        models.garch.pop(row, None)  # a fit from before serves no more where none is plausible now
        with suppress(NoFit):
            parameters = registry.methods()["garch"].fit_ticker(known, row, settings.model)
            if parameters is not None:
                models.garch[row] = parameters


def _refit_base(
    known: Material,
    tickers: int,
    models: _Models,
    settings: Settings,
    trainer: Trainer,
    result: Walk,
) -> None:
    age = 0
    if models.base is not None:
        age = int(np.sum(known.panel.sessions > np.datetime64(models.base.last_session)))
    reason = learning.decide_base(models.base, age, tickers, settings)
    if reason is Reason.FRESH:
        return
    base = learning.train_base([known], reason, settings, trainer)
    assert base is not None, "no ticker has enough history for a base model"
    models.base = replace(base, id=len(result.bases))
    for name in registry.fitted_to(Scope.CALENDAR):
        if fitted := registry.methods()[name].fit_calendar([known], settings.model):
            models.pooled[name] = fitted
    result.bases.append(models.base)


def _forecast(
    block: Material, targets: slice, models: _Models, settings: Any, result: Walk
) -> None:
    """Forecast the sessions of the columns `targets`, whose origins end `block`."""
    origins = targets.stop - targets.start
    assert models.base is not None
    bases = dict.fromkeys(range(len(block.instruments)), models.base)
    past = {
        method: _past(result.quantiles[name], targets.start)
        for method, name in {settings.network: RAW, HAR_EVENTS: REPORTS}.items()
    }
    given = Given(
        material=block,
        settings=settings,
        origins=origins,
        past=past,
        models=bases | models.own,
        base=models.base,
    )
    parameters = {name: dict.fromkeys(bases, one) for name, one in models.pooled.items()}
    raw = state(given, {"garch": models.garch, **parameters})
    actual = block.features.returns[:, -origins:]
    stated = calibrated(raw, block, _taught(raw, actual, models, settings.network))
    for method, name in METHODS.items():
        if name in result.quantiles:
            result.quantiles[name][:, targets] = stated[method].quantiles
            result.points[name][:, targets] = stated[method].log_return
    network = stated[settings.network]
    of_base = raw_quantiles(block, bases, settings, origins)
    for name, quantiles in ((BASE, of_base), (RAW, network.uncalibrated())):
        result.quantiles[name][:, targets] = quantiles
        result.points[name][:, targets] = quantiles[..., MEDIAN]
    alone = calibrated(raw, block, {})[settings.network]
    for name, calibration in ((ALONE, alone), (CALIBRATED, network)):
        result.quantiles[name][:, targets] = calibration.quantiles
        result.points[name][:, targets] = calibration.log_return
    low, high = metrics.interval(stated[COMBINED].uncalibrated(), 80)
    result.half_widths[:, targets] = (high - low) / 2
    result.shrinkage[:, targets] = network.shrinkage
    result.dissimilarity[:, targets] = network.dissimilarity
    result.own[[row for row, m in models.own.items() if m.kind is ModelKind.TICKER], targets] = True


def _taught(
    raw: dict[str, Stated], actual: Floats, models: _Models, network: str
) -> dict[str, list[Crowd | None]]:
    """Return by method what all tickers had taught it by each origin of a block."""
    taught: dict[str, list[Crowd | None]] = {}
    for name in registry.calibrated(network):
        # Of the first origin the forecast is the last of the block before.
        targets = raw[name].by_target()[:, PAST - 1 : -1]
        taught[name] = crowd.learn_by_session(models.crowds.get(name), targets, actual)
        models.crowds[name] = taught[name][-1]
    return taught


def _past(carried: Floats, first: int) -> Floats:
    """Return what was forecast for the PAST sessions before the column `first`, NaN in front."""
    past = np.full((len(carried), PAST, len(QUANTILES)), np.nan)
    known = carried[:, max(first - PAST, 0) : first]
    past[:, PAST - known.shape[1] :] = known
    return past


def _only(whole: Walk, test: slice) -> Walk:
    quantiles = {name: values[:, test] for name, values in whole.quantiles.items()}
    return replace(
        whole,
        sessions=whole.sessions[test],
        actual=whole.actual[:, test],
        quantiles=quantiles,
        points={name: values[:, test] for name, values in whole.points.items()},
        own=whole.own[:, test],
        shrinkage=whole.shrinkage[:, test],
        dissimilarity=whole.dissimilarity[:, test],
        half_widths=whole.half_widths[:, test],
    )
