"""What is exported: relations in parts, what tells that a part has changed, and its rows.

Beside the views stand the accepted bars, as traded, which no view shows, with their splits and
dividends: what the provider `parquet` makes the same bars of.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from psycopg import postgres
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import ActionKind, BarState
from stockbatch.store.bulk import cursor_of

Fingerprints = dict[date | None, str]
"""What the rows of a part were made from, by the first day of its month; None: not of a month."""

# Written into the text, because COPY takes no parameters.
BARS = f"""
SELECT b.session, s.close_at AS session_close_at, i.ticker, i.currency, i.calendar,
    i.demo AS is_demo, b.open, b.high, b.low, b.close, b.volume, b.price_basis, b.state,
    split_part(source.specification, ':', 1) AS provider, b.revision, b.fetched_at AS updated_at,
    split.value AS split, dividend.value AS dividend
FROM stockbatch.bars AS b
JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
JOIN stockbatch.sources AS source ON source.id = b.source_id
LEFT JOIN stockbatch.sessions AS s ON s.calendar = i.calendar AND s.session = b.session
LEFT JOIN stockbatch.corporate_actions AS split ON split.instrument_id = b.instrument_id
    AND split.session = b.session AND split.kind = '{ActionKind.SPLIT}'
    AND split.retracted_at IS NULL
LEFT JOIN stockbatch.corporate_actions AS dividend ON dividend.instrument_id = b.instrument_id
    AND dividend.session = b.session AND dividend.kind = '{ActionKind.DIVIDEND}'
    AND dividend.retracted_at IS NULL
WHERE b.state <> '{BarState.QUARANTINED}'
"""
PRICES = "price_and_forecast"
AS_OF_NOW = {"next_session_forecast", "data_freshness"}
"""Views whose rows change with the time of day."""
ALWAYS_CHANGING = "age_hours"


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """A view of schema `bi`, or the accepted bars: as traded, with their tickers."""

    name: str
    query: str
    columns: Mapping[str, str]
    """PostgreSQL's types by name."""

    @property
    def is_monthly(self) -> bool:
        """Tell whether the parts are months of sessions, as of all facts; else there is one."""
        return "updated_at" in self.columns and self.name not in AS_OF_NOW


def relations(db: Session) -> list[Relation]:
    """Return all that is exported, by name."""
    views = db.scalars(
        text(
            "SELECT relname FROM pg_class"
            " WHERE relnamespace = 'bi'::regnamespace AND relkind = 'v' ORDER BY relname"
        )
    )
    queries = {"bars": BARS} | {view: f"SELECT * FROM bi.{view}" for view in views}
    return [_relation(db, name, query) for name, query in sorted(queries.items())]


def fingerprints(db: Session, of: Sequence[Relation]) -> dict[str, Fingerprints]:
    """Return, by name, a word for every part that has rows: another one when any has changed.

    Of facts, texts, flags and instants are looked at: what comes from other tables is of these
    types, but for splits and dividends, and numbers never change without `updated_at`. Reads every
    row.
    """
    made = {one.name: _fingerprints(db, one) for one in of if one.name != PRICES}
    told = [made[name] for name in ("bars", "forecast_history", "events")]
    return made | {PRICES: _of_prices(db, *told)}


def rows(db: Session, relation: Relation, month: date | None) -> Iterator[bytes]:
    """Yield the rows of a part as lines of CSV, sorted; NULL is empty, an empty text quoted."""
    condition = "true"
    if relation.is_monthly and month is None:
        condition = "session IS NULL"
    elif month is not None:
        following = (month + timedelta(days=31)).replace(day=1)
        condition = f"session >= '{month}' AND session < '{following}'"
    # Sorted by ticker, Parquet's statistics let readers skip the row groups of all others.
    keys = ("ticker", "calendar", "session", "from_session")
    order = [name for name in keys if name in relation.columns]
    query = f"SELECT * FROM ({relation.query}) AS r WHERE {condition} ORDER BY {', '.join(order)}"
    statement = f"COPY ({query}) TO STDOUT (FORMAT csv)"
    with cursor_of(db) as cursor, cursor.copy(statement.encode()) as copy:
        for line in copy:  # a message each, as psycopg itself relies on
            yield bytes(line)


def _relation(db: Session, name: str, query: str) -> Relation:
    with cursor_of(db) as cursor:
        cursor.execute(f"SELECT * FROM ({query}) AS r LIMIT 0".encode())
        described = cursor.description or ()
    columns = {column.name: postgres.types[column.type_code].name for column in described}
    return Relation(name=name, query=query, columns=columns)


def _telling(relation: Relation) -> list[str]:
    """Return the columns that tell whether a row has changed."""
    if not relation.is_monthly:
        return [name for name in relation.columns if name != ALWAYS_CHANGING]
    words = [name for name, kind in relation.columns.items() if kind in ("text", "bool")]
    # What a bar went ex of may come, and be taken back, without another bar.
    actions = [name for name in ("split", "dividend") if relation.name == "bars"]
    return [*words, *actions, "session_close_at", "updated_at"]


def _fingerprints(db: Session, relation: Relation) -> Fingerprints:
    columns = ", ".join(_telling(relation))
    month = "date_trunc('month', session)::date" if relation.is_monthly else "NULL::date"
    # A sum of hashes needs no sorting, which over years of rows would go to disk. Unlike their
    # exclusive or it tells when two rows that are alike come or go; numeric, as int8 overflows.
    rows = db.execute(
        text(
            f"SELECT {month}, count(*), sum(hashtextextended(ROW({columns})::text, 0)::numeric)"
            f" FROM ({relation.query}) AS r GROUP BY 1"
        )
    )
    return {first: f"{count} {total}" for first, count, total in rows}


def _of_prices(
    db: Session, bars: Fingerprints, forecasts: Fingerprints, events: Fingerprints
) -> Fingerprints:
    """Derive those of `bi.price_and_forecast`, whose averages change with bars of before.

    A row depends on the bars up to its session, on its forecast, on what moved it, and on all that
    restates prices.
    """
    splits = db.scalar(
        text(
            "SELECT string_agg(concat_ws(' ', instrument_id, session, value), ','"
            " ORDER BY instrument_id, session)"
            " FROM stockbatch.corporate_actions"
            " WHERE kind <> :dividend AND NOT in_prices AND retracted_at IS NULL"
        ),
        {"dividend": ActionKind.DIVIDEND},
    )
    # Averages reach back over months, so that the hash of a month takes in all bars before it; a
    # split restates what came before, so that any split changes every month.
    so_far = hashlib.sha256(str(splits).encode())
    made: Fingerprints = {}
    for month in sorted(bars.keys() | forecasts.keys(), key=str):
        so_far.update(bars.get(month, "").encode())
        made[month] = f"{so_far.hexdigest()} {forecasts.get(month)} {events.get(month)}"
    return made
