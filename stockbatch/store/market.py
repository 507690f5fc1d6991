"""What all tickers of a calendar did together."""

from collections.abc import Sequence
from datetime import date
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.market.adjustments import restate
from stockbatch.market.sessions import TradingCalendar, columns
from stockbatch.records import ActionKind, BarState, Floats, Market, Sessions
from stockbatch.store.bulk import days, matrix

FEWEST = 5
"""Tickers with a return that a session needs to count as known."""
AT_ONCE = 100
"""Sessions whose closes, of all tickers, are held in memory together."""

_DIGITS = 2**52 - 1
"""Hashes keep so many bits, because a float8, as `matrix` returns it, is exact for them."""

# What the bars of a session are, in one number and in any order. Of each ticker no more than the
# close counts, which an index holds: no bar itself is read. Volumes change no return.
_CLOSES = f"""
SELECT b.session - date '1970-01-01' AS day,
    bit_xor(hashfloat8extended(b.close, b.instrument_id) & {_DIGITS}) AS hash
FROM stockbatch.bars AS b
JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
WHERE i.calendar = %(calendar)s AND NOT i.demo AND b.state <> %(quarantined)s
    AND b.session BETWEEN %(first)s AND %(last)s
GROUP BY b.session
"""
_ACTIONS = f"""
SELECT a.session - date '1970-01-01' AS day,
    bit_xor(hashtextextended(a.kind, hashfloat8extended(a.value, a.instrument_id)) & {_DIGITS})
        AS hash
FROM stockbatch.corporate_actions AS a
JOIN stockbatch.instruments AS i ON i.id = a.instrument_id
WHERE i.calendar = %(calendar)s AND NOT i.demo AND NOT a.in_prices AND a.retracted_at IS NULL
    AND a.session BETWEEN %(first)s AND %(last)s
GROUP BY a.session
"""
_STORED = """
SELECT session - date '1970-01-01' AS day, digest FROM stockbatch.market_inputs
WHERE calendar = %(calendar)s AND session BETWEEN %(first)s AND %(last)s AND digest IS NOT NULL
"""

_WATCHED = """
SELECT id, active::int AS active FROM stockbatch.instruments
WHERE calendar = %(calendar)s AND NOT demo ORDER BY id
"""
_STAYS = """
SELECT m.instrument_id, extract(epoch FROM m.added_at) AS since,
    extract(epoch FROM coalesce(m.removed_at, 'infinity')) AS until
FROM stockbatch.memberships AS m JOIN stockbatch.instruments AS i ON i.id = m.instrument_id
WHERE i.calendar = %(calendar)s AND NOT i.demo
"""
_FIRST_RUN = """
SELECT extract(epoch FROM coalesce(min(started_at), 'infinity')) AS since
FROM stockbatch.runs WHERE calendar = %(calendar)s
"""

_PRICES = """
SELECT b.instrument_id, b.session - date '1970-01-01' AS day, b.close,
    coalesce(split.value, 1) * coalesce(restatement.value, 1) AS split,
    coalesce(dividend.value, 0) AS dividend
FROM stockbatch.bars AS b
JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
LEFT JOIN stockbatch.corporate_actions AS split
    ON split.instrument_id = b.instrument_id AND split.session = b.session
    AND split.kind = %(split)s AND NOT split.in_prices AND split.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS restatement
    ON restatement.instrument_id = b.instrument_id AND restatement.session = b.session
    AND restatement.kind = %(restatement)s AND restatement.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS dividend
    ON dividend.instrument_id = b.instrument_id AND dividend.session = b.session
    AND dividend.kind = %(dividend)s AND NOT dividend.in_prices AND dividend.retracted_at IS NULL
WHERE i.calendar = %(calendar)s AND NOT i.demo AND b.state <> %(quarantined)s
    AND b.session BETWEEN %(first)s AND %(last)s
"""

_KINDS = {
    "quarantined": BarState.QUARANTINED,
    "split": ActionKind.SPLIT,
    "restatement": ActionKind.RESTATEMENT,
    "dividend": ActionKind.DIVIDEND,
}

_SAVE = text("""
INSERT INTO stockbatch.market_inputs
    (calendar, session, instruments, absolute_return, median_return, digest)
SELECT :calendar, n.* FROM unnest(
    cast(:sessions AS date[]), cast(:tickers AS int[]), cast(:sizes AS float8[]),
    cast(:moves AS float8[]), cast(:digests AS bigint[])
) AS n
ON CONFLICT (calendar, session) DO UPDATE SET
    instruments = excluded.instruments, absolute_return = excluded.absolute_return,
    median_return = excluded.median_return,
    digest = excluded.digest, updated_at = clock_timestamp()
""")


class Sums(NamedTuple):
    """What is to be stored of some sessions in a row, one element of each list per session."""

    sessions: list[date]
    tickers: list[int]
    sizes: list[float | None]
    moves: list[float | None]
    digests: list[int]


def update(db: Session, calendar: TradingCalendar, sessions: Sessions) -> None:
    """Sum up those of `sessions` that are not summed up yet, or were from other bars or tickers."""
    save(db, calendar, summed_up(db, calendar, sessions))


def summed_up(db: Session, calendar: TradingCalendar, sessions: Sessions) -> list[Sums]:
    """Return what is new of `sessions`, which takes long and writes nothing.

    Each is made of its own bars and those of the session before: nothing later is read. Its tickers
    are those that were watched when it closed; before the calendar's first run, those of today.
    """
    among = {"calendar": calendar.code, **_KINDS}
    span = {"first": sessions[0].item(), "last": sessions[-1].item()}
    ids, watched = _watched(db, calendar, sessions)
    traded, digests = _digests(db, {**among, **span}, sessions, ids, watched)
    stored = _by_session(matrix(db, _STORED, {**among, **span}), sessions)
    changed = (traded | ~np.isnan(stored)) & (digests != stored)
    changed[0] = False  # it is only there to be the one before
    found = []
    for begin, end in _stretches(changed):
        days_read = slice(begin - 1, end)
        span = {"first": sessions[begin - 1].item(), "last": sessions[end - 1].item()}
        prices = matrix(db, _PRICES, {**among, **span})
        tickers, sizes, moves = _moves(prices, sessions[days_read], ids, watched[:, days_read])
        found.append(
            Sums(
                sessions=sessions[begin:end].tolist(),
                tickers=tickers.tolist(),
                sizes=[None if np.isnan(size) else size for size in sizes.tolist()],
                moves=[None if np.isnan(move) else move for move in moves.tolist()],
                digests=digests[begin:end].astype(int).tolist(),
            )
        )
    return found


def save(db: Session, calendar: TradingCalendar, found: Sequence[Sums]) -> None:
    """Store what `summed_up` has found."""
    for sums in found:
        db.execute(_SAVE, {"calendar": calendar.code, **sums._asdict()})


def _watched(
    db: Session, calendar: TradingCalendar, sessions: Sessions
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the ids of all tickers of a calendar, and whether they count in each session.

    Shapes (tickers,) and (tickers, sessions).
    """
    among = {"calendar": calendar.code}
    listed = matrix(db, _WATCHED, among)
    ids = listed[:, 0].astype(np.int64)
    at, _ = columns(calendar.sessions, sessions)
    closes = calendar.closes[at].astype(np.int64)
    ((first_run,),) = matrix(db, _FIRST_RUN, among)
    # Of sessions before the first run nobody kept what was watched, if anything was.
    watched = (listed[:, 1:] == 1) & (closes < first_run)
    stays = matrix(db, _STAYS, among)
    for id_, since, until in stays[stays[:, 2] > first_run].tolist():
        kept = (closes >= first_run) & (since <= closes) & (closes < until)
        watched[np.searchsorted(ids, id_)] |= kept
    return ids, watched


def _digests(
    db: Session,
    within: dict[str, object],
    sessions: Sessions,
    ids: NDArray[np.int64],
    watched: NDArray[np.bool_],
) -> tuple[NDArray[np.bool_], Floats]:
    """Return which sessions have bars, and of each the digest of what its sum is made from.

    That of the first session says nothing, for want of the one before.
    """
    closes, actions = (
        _by_session(matrix(db, query, within), sessions) for query in (_CLOSES, _ACTIONS)
    )
    digests = np.full(len(sessions), np.nan)
    for column in range(1, len(sessions)):
        hashed = blake2b(ids[watched[:, column]].tobytes(), digest_size=6)
        hashed.update(np.array([*closes[column - 1 : column + 1], actions[column]]).tobytes())
        digests[column] = int.from_bytes(hashed.digest())
    return ~np.isnan(closes), digests


def _by_session(rows: Floats, sessions: Sessions) -> Floats:
    """Return the numbers of rows of day and number as of `sessions`, NaN where there is none."""
    column, known = columns(sessions, days(rows[:, 0]))
    numbers = np.full(len(sessions), np.nan)
    numbers[column[known]] = rows[known, 1]
    return numbers


def _stretches(changed: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return where runs of true begin and end: between two of them nothing needs to be read.

    None is longer than AT_ONCE.
    """
    edges = np.flatnonzero(np.diff(changed.astype(np.int8), prepend=0, append=0))
    return [
        (start, min(start + AT_ONCE, end))
        for begin, end in edges.reshape(-1, 2).tolist()
        for start in range(begin, end, AT_ONCE)
    ]


def _moves(
    prices: Floats, sessions: Sessions, ids: NDArray[np.int64], watched: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Floats, Floats]:
    """Return of all `sessions` but the first how many tickers have a bar, and two medians.

    Those of the sizes of their log returns, and of these; NaN where too few have one. `prices` have
    columns instrument, day, close, split and dividend; `watched` says who counts, shape (tickers,
    sessions).
    """
    column, known = columns(sessions, days(prices[:, 1]))
    row, column = np.searchsorted(ids, prices[known, 0]), column[known]
    close, restated = np.full((2, len(ids), len(sessions)), np.nan)
    close[row, column] = prices[known, 2]
    restated[row, column] = restate(*prices[known, 2:].T)
    restated[~watched] = np.nan
    tickers = np.isfinite(restated[:, 1:]).sum(axis=0)
    returns = np.log(restated[:, 1:] / close[:, :-1])
    sizes, moves = np.full((2, len(sessions) - 1), np.nan)
    enough = np.isfinite(returns).sum(axis=0) >= FEWEST
    sizes[enough] = np.nanmedian(np.abs(returns[:, enough]), axis=0)
    moves[enough] = np.nanmedian(returns[:, enough], axis=0)
    return tickers, sizes, moves


def load(db: Session, calendar: str, sessions: Sessions) -> Market:
    """Return the market on `sessions`, NaN where it is unknown."""
    rows = matrix(
        db,
        "SELECT session - date '1970-01-01' AS day, absolute_return, median_return"
        " FROM stockbatch.market_inputs"
        " WHERE calendar = %(calendar)s AND session BETWEEN %(first)s AND %(last)s",
        {
            "calendar": calendar,
            "first": sessions[0].item(),
            "last": sessions[-1].item(),
        },
    )
    return Market(
        sessions=sessions,
        absolute_return=_by_session(rows[:, [0, 1]], sessions),
        median_return=_by_session(rows[:, [0, 2]], sessions),
    )
