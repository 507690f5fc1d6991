"""Findings about the data, and what somebody decided on them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sqlalchemy import delete, insert, text
from sqlalchemy.orm import Session

from stockbatch.database.tables import BarRow, DataIssueRow, DecisionRow, InstrumentRow
from stockbatch.exceptions import NothingToDecide, UnknownIssue
from stockbatch.records import BarState, Check, Decision, Sessions, Severity

OF_HISTORY = (Check.CHANGED_CURRENCY, Check.RESTATED_HISTORY)
"""Checks of a whole history: accepting one has it fetched again, bars stay aside until then."""
OF_RETURN = (
    Check.JUMP_PENDING,
    Check.JUMP_SPLIT_LIKE,
    Check.JUMP_SPLIT_STATED,
    Check.JUMP_TENFOLD,
    Check.JUMP_UNIT_LIKE,
)
"""Checks of a return that is not used, though its bar is: accepting one confirms the return."""
MOST = "most tickers of the exchange have a bar"
"""Who decides on a bar of a day without a session, where no person does."""
FEWEST = 5
"""Tickers an exchange needs on the watchlist for most of them to mean anything."""

_DECIDED = """
LEFT JOIN LATERAL (
    SELECT decision, decided_by, decided_at FROM stockbatch.decisions
    WHERE issue_id = d.id ORDER BY id DESC LIMIT 1
) AS decided ON true
"""

_STANDING = """
(cast(:ticker AS text) IS NULL OR i.ticker = :ticker)
AND NOT (d.check_name = :missing AND EXISTS (
    SELECT FROM stockbatch.bars AS b
    WHERE b.instrument_id = d.instrument_id AND b.session = d.session
))
AND NOT (d.check_name = :delisted AND EXISTS (
    SELECT FROM stockbatch.bars AS b
    WHERE b.instrument_id = d.instrument_id AND b.session >= d.session AND b.state = :final
))
AND NOT (d.check_name = :pending AND (
    EXISTS (
        SELECT FROM stockbatch.bars AS b
        WHERE b.instrument_id = d.instrument_id AND b.session > d.session
            AND b.state <> :quarantined
    ) OR EXISTS (
        SELECT FROM stockbatch.data_issues AS c
        WHERE c.instrument_id = d.instrument_id AND c.session = d.session
            AND c.check_name = :confirmed
    )
))
"""
"""What was missing and has come since is no finding any more, nor is a jump that was decided."""
_WORDS: dict[str, str] = {
    "missing": Check.MISSING_SESSION,
    "delisted": Check.SUSPECTED_DELISTED,
    "pending": Check.JUMP_PENDING,
    "confirmed": Check.JUMP_CONFIRMED,
    "final": BarState.FINAL,
    "quarantined": BarState.QUARANTINED,
}
"""What the names in _STANDING stand for."""

# First what somebody has to decide on, then the newest; undated findings are about whole series.
_LISTED = text(f"""
SELECT d.id, i.ticker, d.session, d.check_name, d.severity, d.observed, d.threshold, d.message,
    decided.decision, decided.decided_by, decided.decided_at
FROM stockbatch.data_issues AS d JOIN stockbatch.instruments AS i ON i.id = instrument_id
{_DECIDED}
WHERE {_STANDING}
ORDER BY (d.severity = :set_aside AND decided.decision IS NULL) DESC,
    d.session DESC NULLS LAST, d.id DESC
LIMIT :count
""").bindparams(**_WORDS, set_aside=Severity.QUARANTINED)

_COUNTS = text(f"""
SELECT check_name, count(*) AS n
FROM stockbatch.data_issues AS d JOIN stockbatch.instruments AS i ON i.id = instrument_id
WHERE {_STANDING}
GROUP BY check_name ORDER BY n DESC, check_name
""").bindparams(**_WORDS)


def listed(db: Session, ticker: str | None, count: int | None) -> list[dict[str, Any]]:
    """Return the newest `count` findings, of one ticker or of all; None means every one.

    Those that wait for a decision come first.
    """
    found = db.execute(_LISTED, {"ticker": ticker, "count": count})
    return [dict(row) for row in found.mappings()]


def counts(db: Session, ticker: str | None) -> dict[str, int]:
    """Return how many findings there are by check, of one ticker or of all."""
    return {row.check_name: row.n for row in db.execute(_COUNTS, {"ticker": ticker})}


def decide(db: Session, issue_id: int, decision: Decision, *, by: str) -> str:
    """Record a decision on a finding, let its bar or return follow it, and say what it was about.

    Raises UnknownIssue, and NothingToDecide for a finding that set neither aside.
    """
    issue = db.get(DataIssueRow, issue_id)
    if issue is None:
        raise UnknownIssue(issue_id=issue_id)
    of_return = issue.check_name in OF_RETURN
    if issue.severity != Severity.QUARANTINED and not of_return:
        raise NothingToDecide(issue_id=issue_id, check=issue.check_name, severity=issue.severity)
    bar = None
    if issue.check_name not in (*OF_HISTORY, *OF_RETURN) and issue.session is not None:
        bar = db.get(BarRow, (issue.instrument_id, issue.session))
    prices = {} if bar is None else {n: getattr(bar, n) for n in ("open", "high", "low", "close")}
    db.execute(
        insert(DecisionRow).values(
            issue_id=issue_id,
            instrument_id=issue.instrument_id,
            session=issue.session,
            decision=decision,
            decided_by=by,
            **prices,
        )
    )
    if of_return:
        _confirm(db, issue, decision, by)
    if bar is not None:
        accepted = decision is Decision.ACCEPTED
        bar.state = BarState.FINAL if accepted else BarState.QUARANTINED
    db.flush()
    ticker = db.get_one(InstrumentRow, issue.instrument_id).ticker
    return f"{ticker} {issue.session}: {issue.message}"


def _confirm(db: Session, issue: DataIssueRow, decision: Decision, by: str) -> None:
    """Let a jump count as a second provider's word would, or no longer."""
    of_jump = {
        "instrument_id": issue.instrument_id,
        "session": issue.session,
        "check_name": Check.JUMP_CONFIRMED,
    }
    db.execute(delete(DataIssueRow).filter_by(**of_jump))
    if decision is Decision.ACCEPTED:
        size, _, _ = issue.message.partition(":")
        db.execute(
            insert(DataIssueRow).values(
                **of_jump,
                severity=Severity.WARNING,
                message=f"{size}: accepted by {by}: used",
                observed=issue.observed,
                threshold=issue.threshold,
            )
        )


# An accepted history is fetched again whole: once it is there, the next difference is a new one.
_AGREED = text(f"""
SELECT d.instrument_id, d.check_name, d.message
FROM stockbatch.data_issues AS d
{_DECIDED}
WHERE d.check_name = ANY(:checks) AND decided.decision = :accepted
    AND d.instrument_id = ANY(cast(:ids AS int[]))
    AND NOT EXISTS (
        SELECT FROM stockbatch.bars AS b
        WHERE b.instrument_id = d.instrument_id AND b.state = :final
            AND b.fetched_at > decided.decided_at
    )
""").bindparams(checks=list(OF_HISTORY), accepted=Decision.ACCEPTED, final=BarState.FINAL)


def agreed(db: Session, instrument_ids: Sequence[int]) -> Mapping[int, frozenset[tuple[str, str]]]:
    """Return check and message of the findings about whole histories that somebody accepted.

    A decision is used up once final bars came after it.
    """
    answer: dict[int, frozenset[tuple[str, str]]] = {}
    for row in db.execute(_AGREED, {"ids": list(instrument_ids)}):
        known = answer.get(row.instrument_id, frozenset())
        answer[row.instrument_id] = known | {(row.check_name, row.message)}
    return answer


# Most, but of no fewer than FEWEST tickers: below that, `greatest` asks for as many bars as most of
# FEWEST would be, of which there are too few. What somebody decided on is left to them. A day that
# comes again after a week or two is no special session: the calendar is wrong, or the zone of days.
_ACCEPT_COMMON_DAYS = text("""
WITH member AS (
    SELECT id FROM stockbatch.instruments WHERE calendar = :calendar AND active AND NOT demo
), most AS (
    SELECT session FROM stockbatch.data_issues
    WHERE check_name = :off_calendar AND instrument_id IN (SELECT id FROM member)
    GROUP BY session
    HAVING 2 * count(*) > (SELECT greatest(count(*), 2 * :fewest - 1) FROM member)
), common AS (
    SELECT session FROM most AS m WHERE NOT EXISTS (
        SELECT FROM stockbatch.data_issues AS d
        WHERE d.check_name = :off_calendar AND d.instrument_id IN (SELECT id FROM member)
            AND abs(d.session - m.session) IN (7, 14)
    )
), fresh AS (
    INSERT INTO stockbatch.decisions
        (issue_id, instrument_id, session, decision, decided_by, open, high, low, close)
    SELECT d.id, b.instrument_id, b.session, :accepted, :by, open, high, low, close
    FROM stockbatch.data_issues AS d JOIN common USING (session)
    JOIN stockbatch.bars AS b USING (instrument_id, session)
    WHERE d.check_name = :off_calendar AND b.state = :quarantined
        AND instrument_id IN (SELECT id FROM member)
        AND NOT EXISTS (SELECT FROM stockbatch.decisions WHERE issue_id = d.id)
    RETURNING instrument_id, session
)
UPDATE stockbatch.bars AS b SET state = :final FROM fresh AS f
WHERE (b.instrument_id, b.session) = (f.instrument_id, f.session)
""").bindparams(
    fewest=FEWEST,
    by=MOST,
    accepted=Decision.ACCEPTED,
    off_calendar=Check.OFF_CALENDAR,
    quarantined=BarState.QUARANTINED,
    final=BarState.FINAL,
)


_OFF_CALENDAR = text("""
SELECT i.calendar, i.ticker, array_agg(b.session) AS days
FROM stockbatch.instruments AS i JOIN stockbatch.bars AS b ON b.instrument_id = i.id
WHERE i.active AND i.id IN (
    SELECT instrument_id FROM stockbatch.data_issues
    WHERE check_name = :off_calendar GROUP BY instrument_id HAVING count(*) >= :few
) AND (cast(:calendar AS text) IS NULL OR i.calendar = :calendar)
GROUP BY i.calendar, i.ticker ORDER BY i.calendar, i.ticker
""").bindparams(off_calendar=Check.OFF_CALENDAR, few=3)


def off_calendar(db: Session, calendar: str | None = None) -> dict[tuple[str, str], Sessions]:
    """Return the days of all bars, by calendar and ticker, of which several are of closed days."""
    return {
        (row.calendar, row.ticker): np.array(row.days, "datetime64[D]")
        for row in db.execute(_OFF_CALENDAR, {"calendar": calendar})
    }


def accept_common_days(db: Session, calendar: str) -> int:
    """Accept the bars of days without a session on which most of an exchange traded.

    Special sessions, on a weekend say, are in no calendar; what recurs every week is none. Return
    the number of bars accepted.
    """
    accepted: Any = db.execute(_ACCEPT_COMMON_DAYS, {"calendar": calendar})
    return int(accepted.rowcount)
