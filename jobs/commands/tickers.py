"""`stockbatch tickers`: the watchlist."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words
from stockbatch.text import counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from jobs.watchlist import Added, Choose
    from stockbatch.exceptions import WrongCalendar
    from stockbatch.records import Instrument, Listing

GROUP = ("kind", "group", "tickers")
"""What JSON and CSV hold of a group."""
tickers = typer.Typer(name="tickers", no_args_is_help=True, help="Keep the watchlist.")
ProviderOption = Annotated[
    str | None,
    typer.Option(
        help="E.g. yfinance or csv:PATH; 'doctor' lists them. Default: the setting `provider`."
    ),
]
FallbackOption = Annotated[
    list[str] | None,
    typer.Option(metavar="PROVIDER", help="Asked where the provider fails; may be repeated."),
]


@tickers.command()
def add(
    names: Annotated[list[str] | None, typer.Argument(metavar="TICKER")] = None,
    provider: ProviderOption = None,
    fallback: FallbackOption = None,
    fallback_symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="SYMBOL", help="What each fallback calls the one ticker named."),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every ticker the provider lists.")
    ] = False,
    calendar: options.Calendar = None,
    column: options.Column = None,
    decimal: options.Decimal = None,
    dates: options.Dates = None,
    basis: options.Basis = None,
) -> None:
    """Put tickers on the watchlist."""
    from jobs import watchlist
    from jobs.app import running
    from jobs.watchlist import Fallback, Wanted
    from stockbatch.providers import registry

    if bool(names) == everything:
        raise typer.BadParameter("name tickers, or give --all")
    symbols = fallback_symbol or []
    if symbols and (len(symbols) != len(fallback or []) or len(names or []) != 1):
        raise typer.BadParameter("name one ticker, and a --fallback-symbol for each --fallback")
    settings = context.settings()
    chosen = options.of_file(column, decimal, dates, basis)
    usual = registry.with_options(provider or settings.provider, chosen)
    others = [
        Fallback(provider=name, symbol=symbol)
        for name, symbol in zip_longest(fallback or [], symbols)
    ]
    with running(settings) as app:
        if everything:
            added = watchlist.add_all(app, usual, others, calendar=calendar, choose=_chooser())
        else:
            wanted = [Wanted(ticker=name, provider=usual) for name in dict.fromkeys(names or [])]
            added = watchlist.add(app, wanted, others, calendar=calendar, choose=_chooser())
    _tell(added, fallbacks=bool(fallback))


@tickers.command("import")
def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="A ticker per line, or a CSV: ticker, name, calendar, currency, asset_class, "
            "sector, industry, symbol, tags, provider."
        ),
    ],
    provider: ProviderOption = None,
    fallback: FallbackOption = None,
    calendar: options.Calendar = None,
    column: options.Column = None,
    decimal: options.Decimal = None,
    dates: options.Dates = None,
    basis: options.Basis = None,
) -> None:
    """Put the tickers of a file on the watchlist, and into the groups it names.

    Those on it already stay as they are but for their groups.
    """
    from jobs import symbols, watchlist
    from jobs.app import running
    from stockbatch.providers import registry

    settings = context.settings()
    chosen = options.of_file(column, decimal, dates, basis)
    found = symbols.read(file, registry.with_options(provider or settings.provider, chosen))
    for listed, name in found.renamed.items():
        typer.echo(f"{listed} is called {name} by Yahoo, and added under that name")
    if found.tests:
        typer.echo(f"{found.tests} test issues left out")
    others = [watchlist.Fallback(provider=name) for name in fallback or []]
    with running(settings) as app:
        added = watchlist.add(
            app, found.wanted, others, calendar=calendar, choose=_chooser(), keep_known=True
        )
        watchlist.group(app, found.wanted)
    added = replace(added, failures=(*found.failures, *added.failures))
    _tell(added, fallbacks=bool(fallback))


@tickers.command()
def rename(
    old: Annotated[str, typer.Argument(metavar="OLD")],
    new: Annotated[str, typer.Argument(metavar="NEW")],
    symbol: Annotated[
        str | None, typer.Option(help="What its provider calls it now; default: NEW.")
    ] = None,
) -> None:
    """Give a ticker its new name; bars, models, forecasts and scores go on under it."""
    from jobs import watchlist
    from jobs.app import running

    with running(context.settings(), create=False) as app:
        watchlist.rename(app, old, new, symbol=symbol)
    context.say(f"{old} is {new} from now on")


@tickers.command()
def remove(names: Annotated[list[str], typer.Argument(metavar="TICKER")]) -> None:
    """Take tickers off the watchlist; their history stays."""
    from jobs import watchlist
    from jobs.app import running

    with running(context.settings(), create=False) as app:
        watchlist.remove(app, names)
    context.say(f"removed: {', '.join(names)}")


@tickers.command()
def tag(
    names: Annotated[list[str], typer.Argument(metavar="TICKER")],
    sector: Annotated[str | None, typer.Option(help="Their sector; '': none.")] = None,
    industry: Annotated[str | None, typer.Option(help="Their industry; '': none.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag of theirs; may be repeated.")
    ] = None,
    untags: Annotated[
        list[str] | None, typer.Option("--untag", help="A tag to take away; may be repeated.")
    ] = None,
) -> None:
    """Put tickers into groups: a sector, an industry, any tags of yours."""
    from jobs import watchlist
    from jobs.app import running
    from stockbatch.records import GroupKind

    one_of_each = ((GroupKind.SECTOR, sector), (GroupKind.INDUSTRY, industry))
    groups = [(kind, name) for kind, name in one_of_each if name is not None]
    groups += [(GroupKind.TAG, name) for name in tags or []]
    if not groups and not untags:
        raise typer.BadParameter("give --sector, --industry, --tag or --untag")
    with running(context.settings(), create=False) as app:
        watchlist.tag(app, names, groups, untags or [])
    said = [f"{kind} {name or 'none'}" for kind, name in groups]
    said += [f"no longer {name}" for name in untags or []]
    context.say(f"{', '.join(names)}: {', '.join(said)}")


@tickers.command()
def groups(layout: options.Format = "table", wide: options.Wide = False) -> None:
    """Show every group of tickers: exchanges, sectors, industries, tags, named watchlists."""
    from jobs.app import running
    from stockbatch.store import bi

    with running(context.settings(), create=False) as app, app.transaction() as db:
        found = bi.groups.counted(db)
    rows = [dict(zip(GROUP, values, strict=True)) for values in found.values]
    columns = [words("kind"), words("group", folds=True), number("tickers")]
    tables.show(counted(len(rows), "group"), columns, rows, GROUP, layout, wide=wide)


@tickers.command("list")
def list_(
    group: options.Group = None,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show the watchlist, or those of a group."""
    from jobs.app import running
    from stockbatch.store import bi, instruments

    with running(context.settings(), create=False) as app, app.transaction() as db:
        known = instruments.active(db)
        if group is not None:
            inside = set(bi.groups.tickers(db, group))
            known = [instrument for instrument in known if instrument.ticker in inside]
    names = ("ticker", "calendar", "currency", "price_basis", "provider", "name")
    columns = [
        words("ticker"),
        words("exchange", "calendar"),
        words("name", folds=True),
        words("currency", wide=True),
        words("prices", "price_basis"),
        words("provider", folds=True, once=True),
    ]
    rows = [{name: getattr(one, name) for name in names} for one in known]
    tables.show(counted(len(rows), "ticker"), columns, rows, names, layout, wide=wide)
    for line in _understood(known) if layout == "table" else ():
        context.answer(line)


def _understood(listed: Iterable[Listing | Instrument]) -> Iterator[str]:
    """Yield how files are read: once for all that are alike, of which there may be hundreds."""
    alike: dict[str, list[str]] = {}
    for one in listed:
        if one.understood:
            alike.setdefault(one.understood, []).append(one.ticker)
    for understood, names in alike.items():
        whose = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
        yield f"{whose}: {understood}"


def _chooser() -> Choose | None:
    """Return who is asked for a calendar that bars do not fit; None where nobody is there."""
    if not sys.stdin.isatty():
        return None
    answers: dict[str, str] = {}

    def ask(wrong: WrongCalendar) -> str | None:
        advice = str(wrong.values["advice"])
        if advice not in answers:  # one answer is for all whose bars say the same
            context.warn(f"{wrong.values['ticker']}: {wrong.values['doubt']}")
            text = f"its calendar ({advice}; n: leave such tickers out)"
            answers[advice] = typer.prompt(
                text, default="", show_default=False, value_proc=_code, err=True
            )
        return answers[advice] or None

    return ask


def _code(text: str) -> str:
    return "" if text.strip().lower() in ("", "n", "no") else options.exchange(text)


def _tell(result: Added, *, fallbacks: bool) -> None:
    """Say what became of tickers to be added; end with an error where some were not."""
    if result.listings or result.known or not result.failures:
        known = f", {result.known} on the watchlist already" if result.known else ""
        if known and fallbacks:
            known += ": to change their fallbacks, remove them and add them again"
        context.say(f"{len(result.listings)} added{known}")
    for line in _understood(result.listings):
        context.say(line, err=True)
    for failure in result.failures:
        typer.echo(f"error: {failure}", err=True)
    if result.failures:
        raise typer.Exit(result.failures[0].exit_code)
