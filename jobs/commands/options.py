"""Options and arguments that several commands take, each said once."""

from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any, Literal

import typer


def day(*names: str, about: str) -> Any:
    """Return an option that takes a date."""
    return typer.Option(*names, parser=_date, metavar="DATE", help=about)


def _date(text: str) -> date:
    try:
        # Stricter than `date.fromisoformat`, which takes 20240603 and 2024-W23 as well.
        return datetime.strptime(text, "%Y-%m-%d").date()  # noqa: DTZ007 (a date has no zone)
    except ValueError:
        raise typer.BadParameter(f"{text!r} does not match the format '%Y-%m-%d'.") from None


def require_span(first: date, last: date) -> None:
    """Raise BadParameter for a span of sessions that holds none, or none that can be over yet."""
    if first > last:
        raise typer.BadParameter("--from is after --to")
    # Somewhere it is tomorrow already.
    if first > datetime.now(UTC).date() + timedelta(days=1):
        raise typer.BadParameter(f"--from {first} is in the future")


def exchange(text: str) -> str:
    """Return the code of a calendar named in any way people do; raises BadParameter."""
    from stockbatch.exceptions import UnknownCalendar
    from stockbatch.market import sessions
    from stockbatch.providers.yahoo.exchanges import CALENDARS, EXCHANGES

    try:
        return sessions.canonical(text)
    except UnknownCalendar as error:
        name = text.strip().upper()
        code = CALENDARS.get(name.removeprefix(".")) or EXCHANGES.get(name)
        if code is None:
            raise typer.BadParameter(str(error)) from None
        return code


def _exchange_or_all(text: str) -> str:
    from stockbatch.store.pauses import ALL

    return ALL if text.upper() == ALL else exchange(text)


Exchange = Annotated[
    str | None,
    typer.Option(
        parser=exchange,
        metavar="EXCHANGE",
        help="Code or name of its calendar; default: all of the watchlist.",
    ),
]
ExchangeOrAll = Annotated[
    str | None,
    typer.Option(
        "--exchange",
        parser=_exchange_or_all,
        metavar="EXCHANGE",
        help="Code or name of its calendar; default: all.",
    ),
]
Tickers = Annotated[
    list[str] | None, typer.Argument(metavar="TICKER", help="Default: all of the watchlist.")
]
Ticker = Annotated[str, typer.Argument(metavar="TICKER")]
AnyTicker = Annotated[str | None, typer.Argument(metavar="TICKER", help="Default: all tickers.")]
"""One ticker, or all where none is named."""
Group = Annotated[
    str | None,
    typer.Option(
        metavar="GROUP",
        help="Only of a sector, tag, …: its name, or KIND:NAME; see tickers groups.",
    ),
]
Session = Annotated[date | None, day("--session", about="Default: the last one closed.")]
Calendar = Annotated[
    str | None,
    typer.Option(
        parser=exchange,
        metavar="EXCHANGE",
        help="Whose days they trade on: a code or name such as XLON, NSE, 24/7. Default: what the "
        "provider says, else XNYS if their bars fit.",
    ),
]
Column = Annotated[
    list[str] | None,
    typer.Option(
        metavar="WHAT=NAME", help="What a column of your file is, where its name does not say it."
    ),
]
Decimal = Annotated[
    Literal["point", "comma"] | None, typer.Option(help="What marks decimals in your file.")
]
Dates = Annotated[
    Literal["exchange", "written"] | None,
    typer.Option(help="Whether its stamps are days as written, or instants of the exchange's day."),
]
Basis = Annotated[
    Literal["as_traded", "split_adjusted", "total_return"] | None,
    typer.Option(help="What the prices of your file are adjusted for."),
]


def of_file(
    column: list[str] | None, decimal: str | None, dates: str | None, basis: str | None
) -> dict[str, str]:
    """Return what is chosen of how a file is read, by the names a specification has for it."""
    chosen = {"decimal": decimal, "dates": dates, "basis": basis}
    for pair in column or []:
        name, equals, heading = pair.partition("=")
        if not equals or name != "ticker" or name in chosen:
            raise typer.BadParameter(f"write --column once, as ticker=NAME, not as {pair!r}")
        chosen[name] = heading
    return {name: value for name, value in chosen.items() if value is not None}


FetchFrom = Annotated[
    str | None, typer.Option("--provider", help="Fetch from here instead, e.g. csv:bars.csv.gz.")
]


def address(about: str) -> Any:
    """Return an option that says where to listen."""
    return typer.Option("--address", metavar="HOST:PORT", help=about)


Format = Annotated[
    Literal["table", "json", "csv"], typer.Option("--format", help="How to print them.")
]
Wide = Annotated[bool, typer.Option("--wide", "-w", help="With every column.")]
