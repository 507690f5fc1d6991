"""What other packages add to ours, by entry points: providers, sources of events and of news."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from stockbatch.exceptions import BrokenProvider


def by_name(ours: Iterable[EntryPoint], group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name, ours first: nobody else takes their names."""
    entries = {entry.name: entry for entry in ours}
    for entry in entry_points(group=group):
        entries.setdefault(entry.name, entry)
    return entries


def load(entry: EntryPoint) -> Any:
    """Import what an entry point names; raises BrokenProvider."""
    try:
        return entry.load()
    except Exception as error:  # an import runs whatever is in somebody's module
        raise broken(entry, error) from error


def broken(entry: EntryPoint, reason: str | Exception) -> BrokenProvider:
    """Return the error that what a package adds cannot be used."""
    package = entry.dist.name if entry.dist else "stockbatch"
    if isinstance(reason, Exception):
        reason = f"{type(reason).__name__}: {reason}"
    return BrokenProvider(provider=entry.name, package=package, reason=reason)
