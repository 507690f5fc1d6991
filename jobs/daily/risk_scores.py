"""Score what was told of risk, and sum up how well it was told in the last sessions."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np

from jobs.app import App
from jobs.daily.losses import WINDOWS
from jobs.side_by_side import side_by_side
from stockbatch import metrics
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods.risk import LEAST_OF_A_GROUP, LEVELS
from stockbatch.records import Floats, Kind, Run, ScoreStatus, Sessions
from stockbatch.store import risk, runs
from stockbatch.store.risk import Actual, Metric, Pending

AT_ONCE = 25
"""Sessions whose scores are read together."""
WAITING = 20
"""Sessions that a forecast waits for the bars of what it is made of."""


def score_risk(app: App, run: Run, calendar: TradingCalendar, first: date | None = None) -> int:
    """Score the risk told of sessions up to the run's; return the number of scores.

    They begin with `first`, by default the last WAITING ones.

    What came of each ticker is told by its own scores. A portfolio waits until all of its tickers
    have one. So does a group for one session, in which a doubtful jump is told; then half are
    enough.
    """
    first = first or as_date(calendar.window(run.session, WAITING)[0])
    with app.transaction() as db:
        pending = risk.pending(db, calendar.code, first, run.session)
        ids = {member for one in pending for member in one.members}
        came = risk.actual(db, ids, {one.target for one in pending}) if pending else {}
    done = [(one, _outcome(one, came, run.session)) for one in pending]
    rows = list(_rows([(one, found) for one, found in done if found is not None]))
    with app.transaction() as db:
        runs.lock(db, run)
        return risk.add_scores(db, rows, run) if rows else 0


def _outcome(
    one: Pending, came: Mapping[tuple[int, date], Actual], through: date
) -> tuple[ScoreStatus, float] | None:
    """Return what became of a forecast, with the simple return; None: that is not known yet."""
    found = [came.get((member, one.target)) for member in one.members]
    if one.is_group and (all(found) or one.target < through):
        known = [actual for actual in found if actual is not None]
        scored = [a.log_return for a in known if a.status is ScoreStatus.SCORED]
        if scored and len(scored) >= LEAST_OF_A_GROUP * len(found):
            return ScoreStatus.SCORED, float(np.expm1(scored).mean())
    for status in (ScoreStatus.NO_SESSION, ScoreStatus.MASKED):
        if all(found) and any(actual and actual.status is status for actual in found):
            return status, np.nan
    if one.is_group or not all(found):
        return None
    simple = np.expm1([actual.log_return for actual in found if actual])
    return ScoreStatus.SCORED, float(np.dot(one.weights, simple))


def _rows(done: Sequence[tuple[Pending, tuple[ScoreStatus, float]]]) -> Iterator[tuple[Any, ...]]:
    """Yield scores as they are stored."""
    if not done:
        return
    actual = np.array([simple for _, (_, simple) in done])
    quantiles, shortfalls, unscaled = (
        np.array([getattr(one, name) for one, _ in done])
        for name in ("quantiles", "shortfalls", "unscaled_quantiles")
    )
    breaches, ratios = measured(actual, quantiles, shortfalls)
    columns = np.column_stack(
        [
            actual,
            metrics.pinball_losses(quantiles, actual),
            metrics.pinball_losses(unscaled, actual),
            *(metrics.inside(actual, *metrics.interval(quantiles, at)) for at in (80, 95)),
            breaches,
            ratios,
        ]
    )
    for (one, (status, _)), numbers in zip(done, columns.tolist(), strict=True):
        known = [None if np.isnan(number) else number for number in numbers]
        flags = [None if flag is None else flag == 1 for flag in known[3:8]]
        yield (
            *(one.id, one.subject_id, one.target, one.kind, status.value),
            *(*known[:3], *flags, *known[8:]),
        )


def measured(actual: Floats, quantiles: Floats, shortfalls: Floats) -> tuple[Floats, Floats]:
    """Return the breaches of LEVELS and the ratios of losses to shortfalls, (…, 3) each.

    `actual` has the shape (…) of returns, `quantiles` (…, 11), `shortfalls` (…, 3).
    """
    at_risk = quantiles[..., : len(LEVELS)]
    came = np.broadcast_to(np.asarray(actual)[..., None], at_risk.shape)
    return metrics.breaches(came, at_risk), metrics.shortfall_ratios(came, at_risk, shortfalls)


def sum_up_risk(app: App, run: Run, calendar: TradingCalendar) -> None:
    """Compute and store how well risk was told in the windows that end at the run's session."""
    with app.transaction() as db:
        subjects = risk.all_subjects(db, calendar.code)
    measures = _measures(app, calendar, subjects, calendar.window(run.session, max(WINDOWS)))
    found = [row for kind, values in measures.items() for row in _of_kind(kind, subjects, values)]
    with app.transaction() as db:
        runs.lock(db, run)
        if found:
            risk.save_metrics(db, run.session, found)


def _measures(
    app: App, calendar: TradingCalendar, subjects: Sequence[int], window: Sessions
) -> dict[Kind, Floats]:
    """Return by kind what was scored of all subjects, (10, subjects, sessions), NaN: unknown."""

    def read(part: slice) -> tuple[slice, dict[Kind, Floats]]:
        with app.transaction() as db:
            return part, risk.scored(db, calendar.code, subjects, window[part])

    shape = (len(risk.MEASURES), len(subjects), len(window))
    measures: dict[Kind, Floats] = {}
    parts = (slice(start, start + AT_ONCE) for start in range(0, len(window), AT_ONCE))
    for part, found in side_by_side(read, parts):
        for kind, values in found.items():
            measures.setdefault(kind, np.full(shape, np.nan))[:, :, part] = values
    return measures


def _of_kind(kind: Kind, subjects: Sequence[int], values: Floats) -> Iterator[Metric]:
    """Yield a row per subject, window and level of which anything was scored."""
    for window in WINDOWS:
        lately = dict(zip(risk.MEASURES, values[:, :, -window:], strict=True))
        means = {name: metrics.mean(of_all) for name, of_all in lately.items()}
        pinball = means["pinball"]
        skill = metrics.skill(pinball.value, means["unscaled_pinball"].value)
        common = [means["inside_80"].value, means["inside_95"].value, pinball.value, skill]
        for level, name in zip(LEVELS, risk.LEVEL_NAMES, strict=True):
            breaches = lately[f"breach_{name}"]
            n, count = means[f"breach_{name}"].n, np.nansum(breaches, axis=1)
            numbers = np.column_stack(
                [
                    metrics.kupiec(breaches, level),
                    metrics.christoffersen(breaches),
                    metrics.acerbi_szekely(lately[f"ratio_{name}"], level),
                    *common,
                ]
            )
            known = numbers.astype(object)
            known[np.isnan(numbers)] = None
            for row in np.flatnonzero(n).tolist():
                key = (subjects[row], kind, window, level)
                yield Metric(*key, int(n[row]), int(count[row]), *known[row])
