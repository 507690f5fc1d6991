"""The sources of event dates there are: our own, a line each, and those that other packages add.

Another package adds one by an entry point of the group `stockbatch.events` that names a SourceKind.
None is imported before it is needed.
"""

from importlib.metadata import EntryPoint, entry_points

from stockbatch.events.base import EventSource, SourceKind, SourceSetup
from stockbatch.exceptions import BrokenProvider, UnknownSource

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
    package = entry.dist.name if entry.dist else "stockbatch"
    try:
        found = entry.load()
    except Exception as error:  # an import runs whatever is in somebody's module
        reason = f"{type(error).__name__}: {error}"
        raise BrokenProvider(provider=name, package=package, reason=reason) from error
    if not isinstance(found, SourceKind):
        reason = f"{entry.value} is no SourceKind"
        raise BrokenProvider(provider=name, package=package, reason=reason)
    return found


def create(name: str, setup: SourceSetup) -> EventSource:
    """Return the source of a name; nothing is asked for before it is used.

    Raises UnknownSource, BrokenProvider, and ConfigurationError for settings it cannot read.
    """
    return kind(name).make(setup)


def known() -> str:
    """Return the names there are, in words."""
    *others, last = _entries()
    return f"{', '.join(others)} and {last}"


def _entries() -> dict[str, EntryPoint]:
    """Return the entry points by name, ours first."""
    entries = {entry.name: entry for entry in OURS}
    for entry in entry_points(group=GROUP):
        entries.setdefault(entry.name, entry)
    return entries
