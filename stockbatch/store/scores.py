"""Scores: what became of the forecasts."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.records import (
    ActionKind,
    BarState,
    Floats,
    Instrument,
    ModelKind,
    PriceBasis,
    Run,
    ScoreStatus,
)
from stockbatch.store.bulk import matrix, stage_arrays
from stockbatch.store.preference import KIND_FIRST

LOSSES = (
    "error",
    "absolute_error",
    "squared_error",
    "percentage_error",
    "log_return_error",
    "pinball",
    "winkler_80",
    "winkler_95",
)
NUMBERS = ("actual_close", "actual_log_return", *LOSSES)
HITS = ("direction_hit", "inside_50", "inside_80", "inside_90", "inside_95", "inside_98")

PENDING = (
    "forecast_id",
    "instrument_id",
    "target_day",
    "revision",
    "actual_close",
    "split",
    "dividend",
    "origin_close",
    "origin_now",
    "restates",
    "close",
    "log_return",
    "probability_of_rise",
    *QUANTILE_COLUMNS,
)
"""Columns of `pending`; days count from 1970-01-01, `origin_now` is the close stored by now.

`restates` is 1 where it is adjusted for dividends, so that each restates it.
"""

# Whose forecast it is, is asked of what is noted alone: to ask it first, of thousands of tickers,
# looks cheaper to the planner, and reads every forecast there is.
_NOTED_FORECASTS = """
WITH noted AS MATERIALIZED (
    SELECT note.id AS note, f.* FROM stockbatch.unscored AS note
    JOIN stockbatch.forecasts AS f ON f.id = note.forecast_id
)
"""
_NOTED = text(f"""{_NOTED_FORECASTS}
SELECT note FROM noted
WHERE instrument_id = ANY(cast(:ids AS int[])) AND target_session <= :through
""")


def noted(db: Session, instruments: Sequence[Instrument], through: date) -> list[int]:
    """Return the notes that something of sessions up to `through` may be to be scored.

    They are what `pending` and `without_session` look at, read before them, and what `settle` takes
    away afterwards.
    """
    ids = [instrument.id for instrument in instruments]
    return list(db.scalars(_NOTED, {"ids": ids, "through": through}))


# The close of the origin is read again: a split since may have restated all bars, this actual too.
# A revision is scored once, a newer one anew, so that only what has no score that new is found.
_PENDING = f"""{_NOTED_FORECASTS}
SELECT f.id AS forecast_id, f.instrument_id, f.target_session - date '1970-01-01' AS target_day,
    b.revision, b.close AS actual_close,
    coalesce(split.value, 1) * coalesce(restatement.value, 1) AS split,
    coalesce(dividend.value, 0) AS dividend, f.origin_close, o.close AS origin_now,
    (o.price_basis = %(total_return)s)::int AS restates,
    f.close, f.log_return, f.probability_of_rise, {", ".join(QUANTILE_COLUMNS)}
FROM (SELECT DISTINCT ON (id) * FROM noted) AS f
JOIN stockbatch.bars AS b
    ON b.instrument_id = f.instrument_id AND b.session = f.target_session
    AND b.state <> %(quarantined)s
LEFT JOIN stockbatch.bars AS o
    ON o.instrument_id = f.instrument_id AND o.session = f.origin_session
LEFT JOIN stockbatch.corporate_actions AS split
    ON split.instrument_id = f.instrument_id AND split.session = f.target_session
    AND split.kind = %(split)s AND NOT split.in_prices AND split.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS restatement
    ON restatement.instrument_id = f.instrument_id AND restatement.session = f.target_session
    AND restatement.kind = %(restatement)s AND restatement.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS dividend
    ON dividend.instrument_id = f.instrument_id AND dividend.session = f.target_session
    AND dividend.kind = %(dividend)s AND NOT dividend.in_prices AND dividend.retracted_at IS NULL
WHERE f.instrument_id = ANY(cast(%(ids)s AS int[])) AND f.target_session <= %(through)s
    AND f.horizon = 1 AND NOT EXISTS (
        SELECT FROM stockbatch.scores AS s WHERE s.forecast_id = f.id AND s.revision >= b.revision
    )
ORDER BY f.id
"""


def pending(db: Session, instruments: Sequence[Instrument], through: date) -> dict[str, Floats]:
    """Return the forecasts that can be scored now: one element of each column per forecast.

    Those are the forecasts of sessions up to `through` that have a bar and no score for that bar's
    revision.
    """
    rows = matrix(
        db,
        _PENDING,
        {
            "ids": [instrument.id for instrument in instruments],
            "through": through,
            "quarantined": BarState.QUARANTINED,
            "split": ActionKind.SPLIT,
            "restatement": ActionKind.RESTATEMENT,
            "dividend": ActionKind.DIVIDEND,
            "total_return": PriceBasis.TOTAL_RETURN,
        },
    )
    return dict(zip(PENDING, rows.T, strict=True))


# A session that was never held has no bar and never will: whether it was one the calendar tells.
_WITHOUT_BAR = text(f"""{_NOTED_FORECASTS}
SELECT f.id, f.target_session
FROM (SELECT DISTINCT ON (id) id, instrument_id, target_session FROM noted) AS f
WHERE f.instrument_id = ANY(cast(:ids AS int[])) AND f.target_session <= :through
    AND NOT EXISTS (SELECT FROM stockbatch.scores AS s WHERE s.forecast_id = f.id)
    AND NOT EXISTS (
        SELECT FROM stockbatch.bars AS b
        WHERE b.instrument_id = f.instrument_id AND b.session = f.target_session
    )
""")


def without_session(
    db: Session, instruments: Sequence[Instrument], through: date
) -> list[tuple[int, date]]:
    """Return id and target session of forecasts without a score or a bar, up to `through`."""
    ids = [instrument.id for instrument in instruments]
    found = db.execute(_WITHOUT_BAR, {"ids": ids, "through": through})
    return [(row.id, row.target_session) for row in found]


GAPS, DAYS_BEFORE = 1, 30
"""What has no more gaps in so many days before a session trades every day."""

# Any bar, in whatever state, may be a sign of trading. Few sessions are asked about, and of most of
# them another ticker has a bar, so that nothing else is looked at. Shares that trade on some days
# only tell nothing by having no bar: those alone are asked that trade every day.
_NEVER_HELD = text("""
SELECT t.session FROM unnest(cast(:targets AS date[])) AS t (session)
WHERE NOT EXISTS (
    SELECT FROM stockbatch.instruments AS i
    JOIN stockbatch.bars AS b ON b.instrument_id = i.id AND b.session = t.session
    WHERE i.calendar = :calendar
) AND (
    SELECT 2 * count(*) FILTER (WHERE traded) > count(*)
    FROM (
        SELECT EXISTS (
            SELECT FROM stockbatch.bars AS b WHERE b.instrument_id = i.id
                AND b.session > t.session AND b.session <= :through AND b.state <> :quarantined
        ) AS traded
        FROM stockbatch.instruments AS i
        WHERE i.calendar = :calendar AND i.active AND NOT i.demo AND (
            SELECT count(b.session) > 1 AND count(*) - count(b.session) <= :gaps
            FROM stockbatch.sessions AS s
            LEFT JOIN stockbatch.bars AS b ON b.instrument_id = i.id AND b.session = s.session
            WHERE s.calendar = :calendar
                AND s.session < t.session AND s.session >= t.session - cast(:days AS int)
        )
    ) AS tickers
)
""").bindparams(quarantined=BarState.QUARANTINED, gaps=GAPS, days=DAYS_BEFORE)


def never_held(db: Session, calendar: str, targets: Iterable[date], through: date) -> set[date]:
    """Return those of `targets` of which no ticker has a bar, while most have traded since.

    Tickers are those of `calendar` that trade every day; what they traded is read up to `through`.
    """
    given = {"calendar": calendar, "targets": sorted(set(targets)), "through": through}
    return set(db.scalars(_NEVER_HELD, given))


_STAGED = (
    ("forecast_id", "int8"),
    ("revision", "int4"),
    ("status", "int2"),
    *((number, "float8") for number in NUMBERS),
    *((hit, "float8") for hit in HITS),
)
_STATUSES = list(ScoreStatus)
"""What `status` numbers in a staged score, from 1: arrays hold no words, nor anything unknown."""
_ADD = text(f"""
INSERT INTO stockbatch.scores
    (forecast_id, revision, status, {", ".join(NUMBERS)}, {", ".join(HITS)}, run_id)
SELECT forecast_id, revision, (cast(:statuses AS text[]))[status],
    {", ".join(f"nullif({number}, 'NaN')" for number in NUMBERS)},
    {", ".join(f"nullif({hit}, 'NaN') = 1" for hit in HITS)}, :run_id
FROM staged_scores ON CONFLICT DO NOTHING
""")


def add(db: Session, scores: Mapping[str, Sequence[Any] | NDArray[Any]], run: Run) -> int:
    """Record scores, given as one sequence per column, and return how many were new.

    Columns left out, and NaN, mean unknown; hits are numbers, 1 for true.
    """
    numbers = {status: number for number, status in enumerate(_STATUSES, 1)}
    arrays = {name: np.asarray(column) for name, column in scores.items() if name != "status"}
    arrays["status"] = np.array([numbers[status] for status in scores["status"]], np.int16)
    unknown = np.full(len(arrays["status"]), np.nan)
    stage_arrays(
        db, "staged_scores", _STAGED, {name: arrays.get(name, unknown) for name, _ in _STAGED}
    )
    result: Any = db.execute(_ADD, {"statuses": _STATUSES, "run_id": run.id})
    return int(result.rowcount)


# What waits to be confirmed has no score of its bar's revision: its note stays, as does that of a
# session without a bar.
_SETTLE = text(f"""{_NOTED_FORECASTS}
DELETE FROM stockbatch.unscored WHERE id IN (
    SELECT f.note FROM noted AS f
    WHERE f.note = ANY(cast(:notes AS int8[])) AND EXISTS (
        SELECT FROM stockbatch.scores AS s
        WHERE s.forecast_id = f.id AND s.revision >= coalesce((
            SELECT b.revision FROM stockbatch.bars AS b
            WHERE b.instrument_id = f.instrument_id AND b.session = f.target_session
                AND b.state <> :quarantined
        ), 0)
    )
)
""").bindparams(quarantined=BarState.QUARANTINED)


def settle(db: Session, notes: Sequence[int]) -> None:
    """Take away the notes of forecasts that are scored by the bars there are."""
    db.execute(_SETTLE, {"notes": list(notes)})


# Losses are put in units of the volatility, as validation's are. Of each target one forecast
# counts, by the order of kinds, with its newest score; and only those since the last training,
# promoted or not: what was just judged anew is not judged by what came before.
_DRIFT = text(f"""
WITH realised AS (
    SELECT DISTINCT ON (f.instrument_id, f.target_session) f.instrument_id, f.target_session,
        s.pinball / f.volatility AS loss, m.validation_loss AS expected
    FROM stockbatch.forecasts AS f
    JOIN stockbatch.models AS m ON m.id = f.model_id AND m.validation_loss IS NOT NULL
    CROSS JOIN LATERAL (
        SELECT status, pinball FROM stockbatch.scores
        WHERE forecast_id = f.id ORDER BY revision DESC LIMIT 1
    ) AS s
    JOIN LATERAL (
        SELECT max(last_session) AS session FROM stockbatch.models AS newest
        WHERE newest.instrument_id = f.instrument_id AND newest.kind = :ticker
            AND newest.method = f.method
            AND newest.last_session <= :through
    ) AS trained ON f.origin_session >= trained.session
    WHERE f.instrument_id = ANY(cast(:ids AS int[])) AND f.target_session <= :through
        AND f.target_session > :since AND f.method = :network AND f.volatility > 0
        AND f.horizon = 1 AND s.status = :scored
    ORDER BY f.instrument_id, f.target_session,
        f.{KIND_FIRST}, f.recorded_at DESC, f.id DESC
),
numbered AS (
    SELECT *, row_number() OVER (PARTITION BY instrument_id ORDER BY target_session DESC) AS number
    FROM realised
)
SELECT instrument_id FROM numbered
WHERE number <= :count
GROUP BY instrument_id
HAVING count(*) = :count
    AND avg(loss) > :ratio * avg(expected)
    AND avg(loss) - avg(expected) > :errors * stddev_samp(loss) / sqrt(:count)
""").bindparams(ticker=ModelKind.TICKER, scored=ScoreStatus.SCORED)
DRIFT_FORECASTS = 10
"""Scored forecasts, made since the last training, that are looked at for drift."""
DRIFT_RATIO, DRIFT_ERRORS = 1.5, 3.0
"""Drift: a mean loss so many times the validation loss, and so many standard errors above it."""


def drifted(
    db: Session, instruments: Sequence[Instrument], network: str, through: date
) -> set[int]:
    """Return the ids of instruments whose network loses more than its validation promised.

    Losses are pinball losses in units of the volatility known at the origin, as in training.
    """
    found = db.execute(
        _DRIFT,
        {
            "ids": [instrument.id for instrument in instruments],
            "network": network,
            "through": through,
            # Weekends and holidays leave more than half of so many days, and the index is spared
            # all older targets.
            "since": through - timedelta(days=4 * DRIFT_FORECASTS),
            "count": DRIFT_FORECASTS,
            "ratio": DRIFT_RATIO,
            "errors": DRIFT_ERRORS,
        },
    )
    return set(found.scalars())
