"""Forecasts of risk, what came of them, and how well they were told: rows are added, never changed.

Sums of the last windows alone are of now, and written anew with each run.
"""

import hashlib
from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import POINT_BASELINE, Floats, Kind, Run, ScoreStatus, Sessions
from stockbatch.store.bulk import cursor_of, days, matrix, stage
from stockbatch.store.preference import KIND_FIRST


class Subject(NamedTuple):
    """What risk is told of: a ticker by its instrument, else a kind and a name."""

    kind: str
    name: str | None
    instrument_id: int | None = None


class RiskForecast(NamedTuple):
    """What was simulated of a subject, or why nothing was."""

    subject: Subject
    simulations: int
    method: str | None
    quantiles: Sequence[float] | None
    shortfalls: Sequence[float] | None
    unscaled_quantiles: Sequence[float] | None
    reason: str | None = None
    exposure: float | None = None
    members: Sequence[int] | None = None
    """None: the ticker alone."""
    weights: Sequence[float] | None = None

    def fingerprint(self, origin: date) -> str:
        """Return the SHA-256 of all that it states."""
        digest = hashlib.sha256(f"{origin} {self.method} {self.reason} {self.exposure}".encode())
        digest.update(np.array(self.members or [], np.int64).tobytes())
        stated = (self.weights, self.quantiles, self.shortfalls, self.unscaled_quantiles)
        # The bytes of the numbers, not their digits.
        digest.update(np.concatenate([one or [] for one in stated]).astype(np.float64).tobytes())
        return digest.hexdigest()


_SUBJECTS = text("""
SELECT id, kind, name, instrument_id FROM stockbatch.risk_subjects WHERE calendar = :calendar
""")


def subjects(db: Session, calendar: str, wanted: Collection[Subject]) -> dict[Subject, int]:
    """Return the ids of subjects; who is not there yet is added."""

    def known() -> dict[Subject, int]:
        found = db.execute(_SUBJECTS, {"calendar": calendar})
        return {Subject(kind, name, instrument): id_ for id_, kind, name, instrument in found}

    before = known()
    if not (new := [subject for subject in wanted if subject not in before]):
        return before
    columns = (("kind", "text"), ("name", "text"), ("instrument_id", "int4"))
    stage(db, "staged_subjects", columns, new)
    db.execute(
        text(
            "INSERT INTO stockbatch.risk_subjects (kind, name, instrument_id, calendar)"
            " SELECT kind, name, instrument_id, :calendar FROM staged_subjects"
        ),
        {"calendar": calendar},
    )
    return known()


_COLUMNS = (
    ("subject_id", "int4"),
    ("fingerprint", "text"),
    ("method", "text"),
    ("simulations", "int4"),
    ("exposure", "float8"),
    ("members", "int4[]"),
    ("weights", "float8[]"),
    ("quantiles", "float8[]"),
    ("shortfalls", "float8[]"),
    ("unscaled_quantiles", "float8[]"),
    ("reason", "text"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
# As with forecasts of tickers: what was said in time is not said once more.
_ADD = text(f"""
INSERT INTO stockbatch.risk_forecasts
    ({_NAMES}, origin_session, target_session, kind, run_id, issued_at)
SELECT {_NAMES}, :origin, :target, :kind, :run, :issued_at FROM staged_risk AS s
WHERE NOT EXISTS (
    SELECT FROM stockbatch.risk_forecasts AS f
    WHERE (f.subject_id, f.target_session, f.fingerprint) = (s.subject_id, :target, s.fingerprint)
        AND (f.kind = :backtest) = (:kind = :backtest)
)
ON CONFLICT DO NOTHING
""").bindparams(backtest=Kind.BACKTEST)


def add(
    db: Session,
    forecasts: Sequence[RiskForecast],
    run: Run,
    target: date,
    *,
    issued_at: datetime,
    kind: Kind = Kind.LIVE,
) -> int:
    """Record what a run says of a session, and return how much of it is new.

    The database tells live from late. The commit raises DeadlinePassed as with other forecasts.
    """
    ids = subjects(db, run.calendar, [one.subject for one in forecasts])
    rows = (
        (
            *(ids[one.subject], one.fingerprint(run.session), one.method, one.simulations),
            *(one.exposure, one.members, one.weights),
            *(one.quantiles, one.shortfalls, one.unscaled_quantiles, one.reason),
        )
        for one in forecasts
    )
    stage(db, "staged_risk", _COLUMNS, rows)
    given = {"origin": run.session, "target": target, "kind": kind, "run": run.id}
    result: Any = db.execute(_ADD, {**given, "issued_at": issued_at})
    return int(result.rowcount)


_FORECAST = text("""
SELECT DISTINCT instrument_id FROM stockbatch.forecasts
WHERE instrument_id = ANY(cast(:ids AS int[])) AND target_session = :target
    AND method = :baseline AND horizon = 1
""").bindparams(baseline=POINT_BASELINE)


def forecast(db: Session, instrument_ids: Sequence[int], target: date) -> set[int]:
    """Return the instruments of which any forecast of a session was made."""
    return set(db.scalars(_FORECAST, {"ids": list(instrument_ids), "target": target}))


# ---- scores


class Pending(NamedTuple):
    """A forecast of risk of which no score is known."""

    id: int
    subject_id: int
    target: date
    kind: str
    members: list[int]
    weights: list[float]
    quantiles: list[float]
    shortfalls: list[float]
    unscaled_quantiles: list[float]
    is_group: bool


_PENDING = """
SELECT f.id, f.subject_id, f.target_session, f.kind, coalesce(f.members, ARRAY[u.instrument_id]),
    coalesce(f.weights, '{1}'), f.quantiles, f.shortfalls, f.unscaled_quantiles,
    u.kind NOT IN ('ticker', 'portfolio')
FROM stockbatch.risk_forecasts AS f
JOIN stockbatch.risk_subjects AS u ON u.id = f.subject_id
WHERE u.calendar = %(calendar)s AND f.target_session BETWEEN %(first)s AND %(through)s
    AND f.quantiles IS NOT NULL
    AND NOT EXISTS (SELECT FROM stockbatch.risk_scores WHERE risk_forecast_id = f.id)
ORDER BY f.id
"""


def pending(db: Session, calendar: str, first: date, through: date) -> list[Pending]:
    """Return the forecasts of sessions from `first` to `through` that have no score."""
    with cursor_of(db, binary=True) as cursor:
        cursor.execute(_PENDING, {"calendar": calendar, "first": first, "through": through})
        return [Pending(*row) for row in cursor]


_STATUSES = list(ScoreStatus)
# What came of a ticker is told by the newest score of the baseline, which every ticker with a bar
# has: a split, a dividend or a doubtful jump is dealt with there.
_ACTUAL = f"""
SELECT DISTINCT ON (f.instrument_id, f.target_session)
    f.instrument_id, f.target_session - date '1970-01-01' AS day,
    array_position(cast(%(statuses)s AS text[]), s.status) AS status, s.actual_log_return
FROM stockbatch.forecasts AS f
JOIN stockbatch.scores AS s ON s.forecast_id = f.id
WHERE f.instrument_id = ANY(%(ids)s) AND f.target_session = ANY(%(days)s)
    AND f.method = %(baseline)s AND f.horizon = 1
ORDER BY f.instrument_id, f.target_session, f.{KIND_FIRST}, s.revision DESC
"""


class Actual(NamedTuple):
    """What came of a ticker."""

    status: ScoreStatus
    log_return: float
    """NaN where it is not scored."""


def actual(
    db: Session, instrument_ids: Collection[int], targets: Collection[date]
) -> dict[tuple[int, date], Actual]:
    """Return what came of tickers in sessions, as far as it is known."""
    given = {"ids": list(instrument_ids), "days": list(targets), "statuses": _STATUSES}
    rows = matrix(db, _ACTUAL, {**given, "baseline": POINT_BASELINE})
    sessions = rows[:, 1].astype("datetime64[D]").tolist()
    return {
        (int(id_), day): Actual(_STATUSES[int(status) - 1], float(log_return))
        for (id_, _, status, log_return), day in zip(rows, sessions, strict=True)
    }


LEVEL_NAMES = ("01", "025", "05")
"""How columns call the levels 0.01, 0.025 and 0.05."""
_SCORE_COLUMNS = (
    ("risk_forecast_id", "int8"),
    ("subject_id", "int4"),
    ("target_session", "date"),
    ("kind", "text"),
    ("status", "text"),
    *((name, "float8") for name in ("actual_return", "pinball", "unscaled_pinball")),
    *((name, "bool") for name in ("inside_80", "inside_95")),
    *((f"breach_{level}", "bool") for level in LEVEL_NAMES),
    *((f"ratio_{level}", "float8") for level in LEVEL_NAMES),
)


def add_scores(db: Session, rows: Iterable[Sequence[Any]], run: Run) -> int:
    """Record scores, whose columns are those of the table but the last two; return how many."""
    stage(db, "staged_risk_scores", _SCORE_COLUMNS, rows)
    names = ", ".join(name for name, _ in _SCORE_COLUMNS)
    add = (
        f"INSERT INTO stockbatch.risk_scores ({names}, run_id)"
        f" SELECT {names}, :run FROM staged_risk_scores ON CONFLICT DO NOTHING"
    )
    result: Any = db.execute(text(add), {"run": run.id})
    return int(result.rowcount)


# ---- sums


MEASURES = (
    *("inside_80", "inside_95", "pinball", "unscaled_pinball"),
    *(f"breach_{level}" for level in LEVEL_NAMES),
    *(f"ratio_{level}" for level in LEVEL_NAMES),
)
_KINDS = list(Kind)
_SCORED = f"""
SELECT s.subject_id, s.target_session - date '1970-01-01' AS day, s.risk_forecast_id AS id,
    array_position(cast(%(kinds)s AS text[]), s.kind) AS kind,
    {", ".join(f"{m}::int AS {m}" if m[:2] in ("in", "br") else m for m in MEASURES)}
FROM stockbatch.risk_scores AS s
JOIN stockbatch.risk_subjects AS u ON u.id = s.subject_id
WHERE u.calendar = %(calendar)s AND s.target_session BETWEEN %(first)s AND %(last)s
    AND s.status = '{ScoreStatus.SCORED}'
"""


def all_subjects(db: Session, calendar: str) -> list[int]:
    """Return the ids of whatever risk was ever told of, ascending."""
    query = text("SELECT id FROM stockbatch.risk_subjects WHERE calendar = :calendar ORDER BY id")
    return list(db.scalars(query, {"calendar": calendar}))


def scored(
    db: Session, calendar: str, subjects: Sequence[int], sessions: Sessions
) -> dict[Kind, Floats]:
    """Return by kind the MEASURES of all subjects in a few `sessions`.

    These are of shape (10, subjects, sessions), NaN where unknown; of several forecasts of one kind
    and session the newest counts.
    """
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    rows = matrix(db, _SCORED, {"calendar": calendar, "kinds": _KINDS, **span})
    if (np.diff(rows[:, 2]) < 0).any():
        rows = rows[np.argsort(rows[:, 2])]  # so that the newest is put in last
    column = np.searchsorted(sessions, days(rows[:, 1]))
    row = np.searchsorted(subjects, rows[:, 0])
    found = {}
    for number in np.unique(rows[:, 3]).astype(int).tolist():
        mine = rows[:, 3] == number
        values = np.full((len(MEASURES), len(subjects), len(sessions)), np.nan)
        values[:, row[mine], column[mine]] = rows[mine, 4:].T
        found[_KINDS[number - 1]] = values
    return found


class Metric(NamedTuple):
    """How well the risk of a subject was told over one window; None: unknown."""

    subject_id: int
    kind: str
    window_sessions: int
    level: float
    sessions: int
    breaches: int
    kupiec_p: float | None
    christoffersen_p: float | None
    z2: float | None
    coverage_80: float | None
    coverage_95: float | None
    pinball: float | None
    skill: float | None


_METRIC_TYPES = ("int4", "text", "int4", "float8", "int4", "int4", *["float8"] * 7)
_METRICS = tuple(zip(Metric._fields, _METRIC_TYPES, strict=True))
_KEY, _NUMBERS = Metric._fields[:4], Metric._fields[4:]
# A run that comes late never replaces what a later session has said.
_SAVE = text(f"""
INSERT INTO stockbatch.risk_metrics AS m ({", ".join(Metric._fields)}, through_session)
SELECT s.*, :through FROM staged_risk_metrics AS s
ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
    through_session = excluded.through_session,
    {", ".join(f"{name} = excluded.{name}" for name in _NUMBERS)},
    updated_at = clock_timestamp()
WHERE m.through_session <= excluded.through_session
""")


def save_metrics(db: Session, through: date, metrics: Iterable[Metric]) -> None:
    """Store what the windows ending at `through` came to, in the place of older rows."""
    stage(db, "staged_risk_metrics", _METRICS, metrics)
    db.execute(_SAVE, {"through": through})
