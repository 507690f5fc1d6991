"""Risk as runs have told and scored it, for tests of those who show it."""

from collections.abc import Sequence
from datetime import date
from itertools import pairwise
from typing import Any

from sqlalchemy.orm import Session

from stockbatch.records import GroupKind, Instrument, Kind, ScoreStatus, SubjectKind
from stockbatch.store import holdings, risk
from stockbatch.store.holdings import Holding
from stockbatch.store.risk import Metric, RiskForecast, Subject
from tests.support.ledger import opened, rows
from tests.support.market import CODE, NOW, calendar, session

QUANTILES = (-0.030, -0.024, -0.020, -0.012, -0.006, 0.0005, 0.007, 0.013, 0.021, 0.025, 0.031)
SHORTFALLS = (-0.036, -0.031, -0.026)
"""Of the levels 1, 2.5 and 5 %."""


def told_of(kind: str, name: str | None = None, *, times: float = 1.0, **more: Any) -> RiskForecast:
    """Return what is told of a portfolio or a group: losses of QUANTILES so many times."""
    values = {
        "subject": Subject(kind, name),
        "simulations": 700,
        "method": "ewma",
        "quantiles": [times * one for one in QUANTILES],
        "shortfalls": [times * one for one in SHORTFALLS],
        "unscaled_quantiles": list(QUANTILES),
    }
    return RiskForecast(**values | more)


def of_ticker(instrument: Instrument, *, times: float = 1.0) -> RiskForecast:
    subject = Subject(SubjectKind.TICKER, None, instrument.id)
    return told_of(SubjectKind.TICKER, times=times, subject=subject)


def of_portfolio(
    name: str, held: list[Instrument], *, times: float = 1.0, **more: Any
) -> RiskForecast:
    values = {
        "exposure": 10_000.0,
        "members": [one.id for one in held],
        "weights": [1 / len(held)] * len(held),
    }
    return told_of(SubjectKind.PORTFOLIO, name, times=times, **values | more)


def of_group(name: str, members: list[Instrument], *, times: float = 1.0) -> RiskForecast:
    weights = [1 / len(members)] * len(members)
    ids = [one.id for one in members]
    return told_of(GroupKind.SECTOR, name, times=times, members=ids, weights=weights)


def silent_of(name: str, reason: str) -> RiskForecast:
    """Return why nothing is told of a portfolio."""
    nothing = dict.fromkeys(("method", "quantiles", "shortfalls", "unscaled_quantiles"))
    return told_of(SubjectKind.PORTFOLIO, name, simulations=0, reason=reason, **nothing)


def tell(db: Session, *told: RiskForecast, day: int = 0, kind: Kind = Kind.LIVE) -> None:
    """Record what is told from the session `day` of the one after it; late, because it is NOW."""
    run = opened(db, session(day))
    risk.add(db, told, run, calendar().next(session(day)), issued_at=NOW, kind=kind)


def hold(db: Session, portfolio: str, quantities: dict[Instrument, float]) -> None:
    """Record a statement of what is held from long ago on."""
    day = session(-200)
    holdings.add(db, [Holding(portfolio, one.id, day, n) for one, n in quantities.items()])


_OPEN = """
SELECT f.id, f.subject_id, f.kind, f.quantiles, f.shortfalls
FROM stockbatch.risk_forecasts AS f
JOIN stockbatch.risk_subjects AS u ON u.id = f.subject_id
WHERE f.target_session = :target AND coalesce(u.name, '') = :name AND u.calendar = :calendar
    AND f.quantiles IS NOT NULL
"""


def came(db: Session, name: str, target: date, actual: float | None) -> None:
    """Record what came of a portfolio or group; None: its return may be an error of the data."""
    found = rows(db, _OPEN, target=target, name=name, calendar=CODE)
    scores = []
    for one in found:
        key = one["id"], one["subject_id"], target, one["kind"]
        if actual is None:
            scores.append((*key, ScoreStatus.MASKED, *[None] * 11))
            continue
        breaches = [actual < one["quantiles"][place] for place in range(3)]
        ratios = [
            actual / one["shortfalls"][place] if is_breach else 0.0
            for place, is_breach in enumerate(breaches)
        ]
        inside = [one["quantiles"][low] <= actual <= one["quantiles"][-1 - low] for low in (3, 1)]
        measures = actual, abs(actual) / 2, abs(actual)
        scores.append((*key, ScoreStatus.SCORED, *measures, *inside, *breaches, *ratios))
    risk.add_scores(db, scores, opened(db, session(-1), reprocess=True))


def measured(db: Session, subject: Subject, *, day: int = 0, **changes: Any) -> None:
    """Store how well the risk of one was told in the windows up to the session `day`."""
    ids = risk.subjects(db, CODE, [subject])
    values = {
        "subject_id": ids[subject],
        "kind": Kind.LATE,
        "window_sessions": 250,
        "level": 0.05,
        "sessions": 250,
        "breaches": 12,
        "kupiec_p": 0.9,
        "christoffersen_p": 0.4,
        "z2": 0.1,
        "coverage_80": 0.81,
        "coverage_95": 0.948,
        "pinball": 0.004,
        "skill": 0.03,
    }
    risk.save_metrics(db, session(day), [Metric(**values | changes)])


def aged(outcomes: Sequence[float], level: float) -> tuple[float, float]:
    """Return quantile and shortfall of outcomes, the last the newest, 1 % of each forgotten a day.

    One by one: from each outcome to the next larger one the share below rises by half of both
    weights.
    """
    ages = range(len(outcomes) - 1, -1, -1)
    found = sorted((outcome, 0.99**age) for outcome, age in zip(outcomes, ages, strict=True))
    rises = [(one[1] + other[1]) / 2 for one, other in pairwise(found)]
    share, below = 0.0, [found[0]]
    for rise, (one, _), (other, weight) in zip(rises, found, found[1:], strict=False):
        if share + rise / sum(rises) > level:
            quantile = one + (other - one) * (level - share) * sum(rises) / rise
            mean = sum(x * w for x, w in below) / sum(w for _, w in below)
            return quantile, mean
        share += rise / sum(rises)
        below.append((other, weight))
    raise AssertionError(level)
