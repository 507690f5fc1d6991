"""The sources of news and the scorers there are: our own, and those that other packages add.

Another package adds one by an entry point: of the group `stockbatch.news` a NewsKind, of
`stockbatch.scorers` what makes a Scorer of the option behind its name. None is imported before it
is needed.
"""

from importlib.metadata import EntryPoint

from stockbatch.exceptions import StockbatchError, UnknownNewsSource, UnknownScorer
from stockbatch.news.base import NewsKind
from stockbatch.news.scoring import Scorer
from stockbatch.providers import packages

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
    found = packages.load(entries[name])
    if not isinstance(found, NewsKind):
        raise packages.broken(entries[name], f"{entries[name].value} is no NewsKind")
    return found


def scorer(specification: str) -> Scorer:
    """Return the scorer of NAME or NAME:OPTION.

    Raises UnknownScorer, BrokenProvider, and what the scorer lacks.
    """
    name, _, option = specification.partition(":")
    entries = _entries(SCORERS)
    if name not in entries:
        raise UnknownScorer(scorer=specification, known=", ".join(entries))
    make = packages.load(entries[name])
    try:
        found: Scorer = make(option)
    except StockbatchError:
        raise
    except Exception as error:  # somebody's code, as an import is
        raise packages.broken(entries[name], error) from error
    return found


def _entries(group: str) -> dict[str, EntryPoint]:
    return packages.by_name((entry for entry in OURS if entry.group == group), group)
