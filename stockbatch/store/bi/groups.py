"""Which groups of tickers there are, who is in them, and how well they were forecast together."""

from difflib import get_close_matches

from sqlalchemy.orm import Session

from stockbatch.exceptions import UnknownGroup
from stockbatch.records import GroupKind
from stockbatch.store.bi.accuracy import of_calendars
from stockbatch.store.bi.query import Answer, Row, ask
from stockbatch.text import quoted

_COUNTED = """
SELECT group_kind, group_name, count(*) AS tickers
FROM bi.groups
JOIN bi.instruments USING (ticker)
WHERE is_active AND (:kind = '' OR group_kind = :kind)
GROUP BY group_kind, group_name
ORDER BY group_kind, group_name
"""

# Small letters or capitals: people type what they read.
_NAMED = "lower(group_name) = lower(:name) AND (:kind = '' OR group_kind = :kind)"
_TICKERS = f"SELECT DISTINCT ticker FROM bi.groups WHERE {_NAMED} ORDER BY ticker"

# A row per metric, as bi.accuracy has them of tickers and calendars.
_METRICS = f"""
SELECT session, NULL AS ticker, group_kind || ':' || group_name AS group, calendar, method, kind,
    window_sessions, m.metric, n, m.value, NULL::float8 AS baseline, m.skill_pct, updated_at,
    method = (
        SELECT h.method FROM bi.headlines AS h
        WHERE h.from_session IS NULL OR h.from_session <= a.session
        ORDER BY h.from_session DESC NULLS LAST, h.set_at DESC
        LIMIT 1
    ) AS is_headline
FROM bi.group_accuracy AS a
CROSS JOIN LATERAL (
    VALUES
        ('pinball', pinball, skill_vs_rolling_quantile_pct),
        ('skill_vs_rolling_quantile_error', skill_vs_rolling_quantile_error_pct / 100, NULL),
        ('mae_return', mae_return, NULL),
        ('coverage_80', coverage_80_pct / 100, NULL),
        ('coverage_95', coverage_95_pct / 100, NULL)
) AS m (metric, value, skill_pct)
WHERE {_NAMED} AND window_sessions = :window AND m.value IS NOT NULL
ORDER BY group_kind, group_name, calendar, kind, m.metric, method
"""

_MEMBERS = """
SELECT group_kind, group_name, ticker
FROM bi.groups
WHERE group_kind = :kind OR (:kind = '' AND group_kind <> :exchange)
ORDER BY group_kind, group_name, ticker
"""


def counted(db: Session, kind: GroupKind | None = None) -> Answer:
    """Return every group, or those of a kind, with how many active tickers are in it."""
    return ask(db, _COUNTED, kind=kind or "")


def tickers(db: Session, group: str) -> list[str]:
    """Return who is in a group, in the order of tickers, those removed from the watchlist too.

    `group` is a name, or a kind and a name: `Energy`, `sector:Energy`. A name that groups of
    several kinds have is that of all of them. Raises UnknownGroup.
    """
    found = ask(db, _TICKERS, **_parts(group)).values
    if not found:
        raise UnknownGroup(group=quoted(group), hint=_hint(db, group))
    return [row.ticker for row in found]


def _parts(group: str) -> dict[str, str]:
    """Return the kind of a group, empty where none is said, and its name."""
    kind, colon, name = group.partition(":")
    said = colon and kind in set(GroupKind)
    return {"kind": kind, "name": name} if said else {"kind": "", "name": group}


def _hint(db: Session, group: str) -> str:
    """Return the names that are nearest to one that no group has."""
    has_kind = bool(_parts(group)["kind"])
    known = {f"{kind}:{name}" if has_kind else name for kind, name, _ in counted(db).values}
    by_small = {name.lower(): name for name in sorted(known, reverse=True)}
    close = [quoted(by_small[one]) for one in get_close_matches(group.lower(), by_small, 3)]
    return f" (did you mean {' or '.join(close)}?)" if close else ""


def memberships(db: Session) -> Answer:
    """Return every group with each ticker in it, those of exchanges too."""
    return ask(db, "SELECT * FROM bi.groups ORDER BY group_kind, group_name, ticker")


def metrics(db: Session, group: str, window: int) -> list[Row]:
    """Return a row per metric of a group's tickers together, as those of a calendar come.

    Of an exchange they are the calendar's. Raises UnknownGroup.
    """
    tickers(db, group)  # or else it is unknown
    named = _parts(group)
    found = ask(db, _METRICS, **named, window=window).rows()
    if named["kind"] in ("", GroupKind.EXCHANGE):
        code = named["name"].upper()
        calendars = of_calendars(db, window).rows()
        found += [{**row, "group": None} for row in calendars if row["calendar"] == code]
    return found


def accuracy(db: Session, kind: str, window: int) -> Answer:
    """Return how well each method forecast the tickers of each group together."""
    query = (
        "SELECT * FROM bi.group_accuracy WHERE kind = :kind AND window_sessions = :window"
        " ORDER BY group_kind, group_name, calendar, pinball"
    )
    return ask(db, query, kind=kind, window=window)


def members(db: Session, kind: GroupKind | None = None) -> dict[tuple[str, str], list[str]]:
    """Return the tickers of every group, or those of a kind, by its kind and name.

    Those of exchanges come only where they are asked for.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    found = ask(db, _MEMBERS, kind=kind or "", exchange=GroupKind.EXCHANGE)
    for of_kind, name, ticker in found.values:
        groups.setdefault((of_kind, name), []).append(ticker)
    return groups
