"""Who is in which group, in the words of whoever looks at them: sectors, tags, named watchlists."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import InstrumentRow, LabelRow
from stockbatch.exceptions import BadName, UnknownGroup
from stockbatch.records import LABELS, GroupKind
from stockbatch.text import quoted, wrong_name, wrong_tag


def put(db: Session, kind: GroupKind, name: str, ids: Sequence[int]) -> None:
    """Put instruments into a group, which is there with the first; of sectors they leave another.

    An empty name of a sector or an industry takes them out of theirs. Raises BadName.
    """
    wrong = wrong_tag(name) if kind is GroupKind.TAG else wrong_name(name)
    if wrong and (name or kind in LABELS):
        raise BadName(name=quoted(name), reason=wrong)
    if kind in LABELS:
        rows = [{"kind": kind, "name": name, "instrument_id": id_} for id_ in ids]
        db.execute(insert(LabelRow).on_conflict_do_nothing(), rows)
    else:
        rows_of = update(InstrumentRow).where(InstrumentRow.id.in_(ids))
        db.execute(rows_of.values({kind.value: name or None}))


def take_away(db: Session, kind: GroupKind, name: str, tickers: Sequence[str] | None = None) -> int:
    """Take a tag from tickers, or them from a named watchlist, and return of how many.

    Without `tickers`, from all there are. Raises UnknownGroup.
    """
    named = (LabelRow.kind == kind, LabelRow.name == name)
    if db.scalar(select(LabelRow.name).where(*named).limit(1)) is None:
        raise UnknownGroup(group=quoted(name), hint="")
    rows = delete(LabelRow).where(*named)
    if tickers is not None:
        # Tickers that were removed from what is fetched, too: a group keeps them.
        ids = select(InstrumentRow.id).where(InstrumentRow.ticker.in_(tickers))
        rows = rows.where(LabelRow.instrument_id.in_(ids))
    taken: Any = db.execute(rows)
    return int(taken.rowcount)
