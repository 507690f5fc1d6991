"""Which groups of tickers there are, and who is in them."""

from sqlalchemy.orm import Session

from stockbatch.exceptions import UnknownGroup
from stockbatch.records import GroupKind
from stockbatch.store.bi.query import Answer, ask
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
_TICKERS = """
SELECT DISTINCT ticker
FROM bi.groups
WHERE lower(group_name) = lower(:name) AND (:kind = '' OR group_kind = :kind)
ORDER BY ticker
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
    kind, colon, name = group.partition(":")
    if not colon or kind not in set(GroupKind):
        kind, name = "", group
    found = ask(db, _TICKERS, name=name, kind=kind).values
    if not found:
        raise UnknownGroup(group=quoted(group))
    return [row.ticker for row in found]


def memberships(db: Session) -> Answer:
    """Return every group with each ticker in it, those of exchanges too."""
    return ask(db, "SELECT * FROM bi.groups ORDER BY group_kind, group_name, ticker")


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
