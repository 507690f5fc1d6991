"""The watchlist."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from stockbatch.database.tables import FallbackRow, InstrumentRow, MembershipRow, RenameRow
from stockbatch.exceptions import (
    BadSymbol,
    DuplicateInstrument,
    NoInstruments,
    TickerTaken,
    UnknownInstrument,
)
from stockbatch.market.sessions import DEFAULT_CALENDAR
from stockbatch.records import GroupKind, Instrument, Listing, PriceBasis, Source
from stockbatch.store.bulk import among
from stockbatch.text import printable, quoted, wrong_name, wrong_symbol


def add(
    db: Session,
    listings: Iterable[Listing],
    *,
    provider: str,
    demo: bool = False,
    fallbacks: Mapping[str, Sequence[Source]] | None = None,
) -> int:
    """Put tickers on the watchlist, reactivating removed ones; return how many.

    `fallbacks` are, by ticker, the sources asked where `provider` fails, in their order. Raises
    DuplicateInstrument where a ticker is active already, and BadSymbol; nothing is added then.
    """
    listings = list(listings)
    sources = [source.symbol for of_one in (fallbacks or {}).values() for source in of_one]
    require_symbols(*(s for one in listings for s in (one.ticker, one.symbol)), *sources)
    rows = [_row(listing, provider, demo=demo) for listing in listings]
    # All or nothing: of several that are known already the first is named, and none is added.
    tickers = [row["ticker"] for row in rows]
    taken = db.scalars(
        select(InstrumentRow)
        .where(InstrumentRow.ticker.in_(tickers), InstrumentRow.active)
        .order_by(InstrumentRow.ticker)
        .limit(1)
    ).first()
    if taken is not None:
        raise DuplicateInstrument(ticker=taken.ticker, provider=taken.provider)
    if not rows:
        return 0
    statement = insert(InstrumentRow)
    fresh: dict[str, Any] = {key: statement.excluded[key] for key in rows[0] if key != "ticker"}
    # What it was tagged with stays, too, where its provider says nothing.
    for key in (GroupKind.SECTOR, GroupKind.INDUSTRY):
        fresh[key] = func.coalesce(fresh[key], getattr(InstrumentRow, key))
    db.execute(
        statement.on_conflict_do_update(
            index_elements=["ticker"],
            # One that comes back keeps its id and its history, but owes nothing of the time it was
            # away.
            set_={**fresh, "active": True, "active_since": func.clock_timestamp()},
        ),
        rows,
    )
    stays = select(InstrumentRow.id, InstrumentRow.active_since)
    db.execute(
        insert(MembershipRow).from_select(
            ["instrument_id", "added_at"], stays.where(InstrumentRow.ticker.in_(tickers))
        )
    )
    _set_fallbacks(db, tickers, fallbacks or {})
    return len(rows)


def _row(listing: Listing, provider: str, *, demo: bool) -> dict[str, Any]:
    return {
        "ticker": listing.ticker,
        "symbol": listing.symbol,
        "provider": provider,
        "calendar": listing.calendar or DEFAULT_CALENDAR,
        "name": _shown(listing.name),
        "currency": _shown(listing.currency),
        "asset_class": listing.asset_class,
        "sector": _group(listing.sector),
        "industry": _group(listing.industry),
        "price_basis": listing.price_basis,
        "understood": _shown(listing.understood),
        "demo": demo,
    }


def require_symbols(*symbols: str) -> None:
    """Raise BadSymbol for the first of these that cannot name a ticker."""
    for symbol in symbols:
        if reason := wrong_symbol(symbol):
            raise BadSymbol(symbol=quoted(symbol), reason=reason)


def _shown(text: str | None) -> str | None:
    return None if text is None else printable(text)


def _group(name: str | None) -> str | None:
    """Return what a provider says of a ticker's group, if that can name one."""
    return None if name is None or wrong_name(name) else name


def _set_fallbacks(
    db: Session, tickers: Sequence[str], fallbacks: Mapping[str, Sequence[Source]]
) -> None:
    named = InstrumentRow.ticker.in_(tickers)
    known = select(InstrumentRow.ticker, InstrumentRow.id).where(named)
    ids = {row.ticker: row.id for row in db.execute(known)}
    db.execute(delete(FallbackRow).where(FallbackRow.instrument_id.in_(ids.values())))
    rows = [
        {
            "instrument_id": ids[ticker],
            "position": position,
            "provider": source.provider,
            "symbol": source.symbol,
        }
        for ticker, sources in fallbacks.items()
        for position, source in enumerate(sources, 1)
    ]
    if rows:
        db.execute(insert(FallbackRow), rows)


def rename(db: Session, old: str, new: str, *, symbol: str | None = None) -> None:
    """Give an instrument another ticker, and its provider's `symbol`; its history goes on.

    Raises UnknownInstrument, BadSymbol, DuplicateInstrument, and TickerTaken where a removed
    instrument has the new name.
    """
    require_symbols(new, symbol or new)
    (instrument,) = find(db, [old])
    taken = db.scalars(select(InstrumentRow).where(InstrumentRow.ticker == new)).one_or_none()
    if taken is not None and taken.active:
        raise DuplicateInstrument(ticker=new, provider=taken.provider)
    if taken is not None:
        raise TickerTaken(ticker=new)
    db.execute(
        insert(RenameRow).values(
            instrument_id=instrument.id,
            old_ticker=old,
            old_symbol=instrument.symbol,
            new_ticker=new,
        )
    )
    db.execute(
        update(InstrumentRow)
        .where(InstrumentRow.id == instrument.id)
        .values(ticker=new, symbol=symbol or new)
    )
    db.execute(
        update(FallbackRow)
        .where(FallbackRow.instrument_id == instrument.id, FallbackRow.symbol == old)
        .values(symbol=new)
    )


def remove(db: Session, tickers: Sequence[str]) -> None:
    """Take tickers off the watchlist; their history stays. Raises UnknownInstrument."""
    ids = [instrument.id for instrument in find(db, tickers)]
    db.execute(update(InstrumentRow).where(InstrumentRow.id.in_(ids)).values(active=False))
    db.execute(
        update(MembershipRow)
        .where(MembershipRow.instrument_id.in_(ids), MembershipRow.removed_at.is_(None))
        .values(removed_at=func.clock_timestamp())
    )


def set_currencies(db: Session, currencies: Mapping[int, str]) -> None:
    """Note the currencies of prices, by instrument id."""
    for instrument_id, currency in currencies.items():
        db.execute(
            update(InstrumentRow).where(InstrumentRow.id == instrument_id).values(currency=currency)
        )


def set_bases(db: Session, bases: Mapping[int, PriceBasis | None]) -> None:
    """Note what prices are adjusted for, by instrument id."""
    for basis in PriceBasis:
        ids = [instrument_id for instrument_id, found in bases.items() if found is basis]
        if ids:
            rows = update(InstrumentRow).where(InstrumentRow.id.in_(ids))
            db.execute(rows.values(price_basis=basis))


def find(db: Session, tickers: Sequence[str]) -> list[Instrument]:
    """Return active instruments in the order asked for, each once. Raises UnknownInstrument."""
    known = {instrument.ticker: instrument for instrument in active(db)}
    for ticker in tickers:
        if ticker not in known:
            raise UnknownInstrument(ticker=ticker)
    return [known[ticker] for ticker in dict.fromkeys(tickers)]


def of(db: Session, ids: Sequence[int]) -> list[Instrument]:
    """Return the instruments of these ids, in their order, without their fallbacks."""
    rows = db.scalars(select(InstrumentRow).where(among(InstrumentRow.id, ids)))
    found = {row.id: _record(row, ()) for row in rows}
    return [found[id_] for id_ in ids]


def known(db: Session, ticker: str) -> Instrument:
    """Return an instrument, taken off the watchlist or not. Raises UnknownInstrument."""
    row = db.scalars(select(InstrumentRow).where(InstrumentRow.ticker == ticker)).one_or_none()
    if row is None:
        raise UnknownInstrument(ticker=ticker)
    return _record(row, ())


def active(
    db: Session, calendar: str | None = None, active_before: datetime | None = None
) -> list[Instrument]:
    """Return the watchlist by ticker: of one calendar or of all, as of an instant or of now."""
    query = select(InstrumentRow).where(InstrumentRow.active).order_by(InstrumentRow.ticker)
    if calendar is not None:
        query = query.where(InstrumentRow.calendar == calendar)
    if active_before is not None:
        query = query.where(InstrumentRow.active_since < active_before)
    rows = db.scalars(query).all()
    fallbacks: dict[int, tuple[Source, ...]] = {}
    for row in db.scalars(select(FallbackRow).order_by(FallbackRow.position)):
        source = Source(provider=row.provider, symbol=row.symbol)
        fallbacks[row.instrument_id] = (*fallbacks.get(row.instrument_id, ()), source)
    return [_record(row, fallbacks.get(row.id, ())) for row in rows]


def calendars(db: Session, tickers: Sequence[str] | None) -> list[str]:
    """Return the calendars of the tickers named, else of all that are due. Raises as work_list."""
    listed = find(db, tickers) if tickers else active(db)
    chosen = [i for i in listed if tickers or not i.demo]
    if not chosen:
        raise NoInstruments(where=", demonstration data aside," if listed else "")
    return sorted({instrument.calendar for instrument in chosen})


def work_list(
    db: Session,
    calendar: str,
    tickers: Sequence[str] | None,
    active_before: datetime | None = None,
) -> list[Instrument]:
    """Return what a run of `calendar` handles: the tickers named, else all that are due.

    With `active_before`, only those that were on the watchlist by then. Demonstration instruments
    are never due, only named. Raises UnknownInstrument, NoInstruments.
    """
    if tickers:
        chosen = [i for i in find(db, tickers) if i.calendar == calendar]
    else:
        chosen = [i for i in active(db, calendar, active_before) if not i.demo]
    if not chosen:
        raise NoInstruments(where=f" of {calendar}")
    return chosen


def exchanges(db: Session) -> dict[str, datetime]:
    """Return, by calendar, since when tickers that are due have been on the watchlist."""
    query = (
        select(InstrumentRow.calendar, func.min(InstrumentRow.active_since).label("since"))
        .where(InstrumentRow.active, ~InstrumentRow.demo)
        .group_by(InstrumentRow.calendar)
        .order_by(InstrumentRow.calendar)
    )
    return {row.calendar: row.since for row in db.execute(query)}


def _record(row: InstrumentRow, fallbacks: tuple[Source, ...]) -> Instrument:
    return Instrument(
        id=row.id,
        ticker=row.ticker,
        symbol=row.symbol,
        provider=row.provider,
        calendar=row.calendar,
        name=row.name,
        currency=row.currency,
        asset_class=row.asset_class,
        price_basis=PriceBasis(row.price_basis) if row.price_basis else None,
        understood=row.understood,
        active=row.active,
        demo=row.demo,
        fallbacks=fallbacks,
    )
