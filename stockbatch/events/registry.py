"""The sources of event dates there are: our own, a line each, and those that other packages add.

Another package adds one by an entry point of the group `stockbatch.events` that names a SourceKind.
None is imported before it is needed.
"""

from collections.abc import Iterable
from contextlib import closing
from importlib.metadata import EntryPoint

from stockbatch.events.base import EventSource, SourceKind, SourceSetup
from stockbatch.exceptions import StockbatchError, UnknownSource
from stockbatch.providers import packages
from stockbatch.records import Instrument

GROUP = "stockbatch.events"
OURS = (
    EntryPoint("yahoo", "stockbatch.events.yahoo:KIND", GROUP),
    EntryPoint("alpha_vantage", "stockbatch.events.alpha_vantage:KIND", GROUP),
    EntryPoint("edgar", "stockbatch.events.edgar:KIND", GROUP),
)
"""Nobody else's package takes one of these names."""


def kind(name: str) -> SourceKind:
    """Return what is said of a source. Raises UnknownSource and BrokenProvider."""
    entry = _entries().get(name)
    if entry is None:
        raise UnknownSource(source=name or "''", known=known())
    found = packages.load(entry)
    if not isinstance(found, SourceKind):
        raise packages.broken(entry, f"{entry.value} is no SourceKind")
    return found


def covered(name: str, watchlist: Iterable[Instrument]) -> list[tuple[str, Instrument]]:
    """Return the tickers that a source is asked about, each after what it calls them.

    Raises UnknownSource and BrokenProvider.
    """
    symbol = kind(name).symbol
    try:
        named = [(symbol(instrument), instrument) for instrument in watchlist]
    except Exception as error:  # somebody's code, as an import is
        raise packages.broken(_entries()[name], error) from error
    return [(called, instrument) for called, instrument in named if called]


def create(name: str, setup: SourceSetup) -> EventSource:
    """Return the source of a name; nothing is asked for before it is used.

    Raises UnknownSource, BrokenProvider, and ConfigurationError for settings it cannot read.
    """
    return kind(name).make(setup)


def state(name: str, setup: SourceSetup) -> str:
    """Return what the source of a name says of itself, asking nobody.

    Raises what it lacks, UnknownSource, BrokenProvider and ConfigurationError.
    """
    try:
        with closing(create(name, setup)) as source:
            return source.state()
    except StockbatchError:
        raise
    except Exception as error:  # somebody's code, as an import is
        raise packages.broken(_entries()[name], error) from error


def known() -> str:
    """Return the names there are, in words."""
    *others, last = _entries()
    return f"{', '.join(others)} and {last}"


def _entries() -> dict[str, EntryPoint]:
    return packages.by_name(OURS, GROUP)
