"""The sources of news and the scorers there are: our own, and those that other packages add.

Another package adds one by an entry point: of the group `stockbatch.news` a NewsKind, of
`stockbatch.scorers` what makes a Scorer of the option behind its name. None is imported before it
is needed.
"""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stockbatch.exceptions import BrokenProvider, StockbatchError, UnknownNewsSource, UnknownScorer
from stockbatch.news.base import NewsKind
from stockbatch.news.scoring import Scorer

GROUP, SCORERS = "stockbatch.news", "stockbatch.scorers"
OURS = (
    EntryPoint("yahoo", "stockbatch.news.yahoo:KIND", GROUP),
    EntryPoint("alpha_vantage", "stockbatch.news.alpha_vantage:KIND", GROUP),
    EntryPoint("feeds", "stockbatch.news.feeds:KIND", GROUP),
    EntryPoint("vader", "stockbatch.news.scoring:Vader", SCORERS),
    EntryPoint("words", "stockbatch.news.scoring:Words", SCORERS),
)
"""Nobody else's package takes one of these names."""


def kind(name: str) -> NewsKind:
    """Return what is said of a source. Raises UnknownNewsSource and BrokenProvider."""
    entries = _entries(GROUP)
    if name not in entries:
        raise UnknownNewsSource(source=name, known=", ".join(entries))
    found = _loaded(entries[name])
    if not isinstance(found, NewsKind):
        raise _broken(entries[name], f"{entries[name].value} is no NewsKind")
    return found


def scorer(specification: str) -> Scorer:
    """Return the scorer of NAME or NAME:OPTION.

    Raises UnknownScorer, BrokenProvider, and what the scorer lacks.
    """
    name, _, option = specification.partition(":")
    entries = _entries(SCORERS)
    if name not in entries:
        raise UnknownScorer(scorer=specification, known=", ".join(entries))
    make = _loaded(entries[name])
    try:
        found: Scorer = make(option)
    except StockbatchError:
        raise
    except Exception as error:  # somebody's code, as an import is
        raise _broken(entries[name], f"{type(error).__name__}: {error}") from error
    return found


def _loaded(entry: EntryPoint) -> Any:
    try:
        return entry.load()
    except Exception as error:  # an import runs whatever is in somebody's module
        raise _broken(entry, f"{type(error).__name__}: {error}") from error


def _broken(entry: EntryPoint, reason: str) -> BrokenProvider:
    package = entry.dist.name if entry.dist else "stockbatch"
    return BrokenProvider(provider=entry.name, package=package, reason=reason)


def _entries(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, ours first."""
    entries = {entry.name: entry for entry in OURS if entry.group == group}
    for entry in entry_points(group=group):
        entries.setdefault(entry.name, entry)
    return entries
