"""What a specification says behind a #: csv:/data/bars.csv#ticker=Stock&decimal=comma."""

import os
from collections.abc import Mapping
from urllib.parse import quote, unquote

from stockbatch.exceptions import BadOption

Values = Mapping[str, tuple[str, ...]]
"""The options of a provider, and what each may be; empty where that is any text."""


def split(provider: str, argument: str, options: Values) -> tuple[str, dict[str, str]]:
    """Return a path and the options behind it. Raises BadOption for what is none.

    A # may belong to the path: it does where there is such a file, or no = follows it.
    """
    path, _, fragment = argument.rpartition("#")
    if not path or "=" not in fragment or os.path.exists(argument):  # noqa: PTH110 (never raises)
        return argument, {}
    chosen: dict[str, str] = {}
    for pair in fragment.split("&"):
        name, _, value = pair.partition("=")
        if name in chosen:
            raise BadOption(provider=provider, option=pair, known=f"{name} is there twice")
        chosen[name] = unquote(value)
    check(provider, chosen, options)
    return path, chosen


def check(provider: str, chosen: Mapping[str, str], options: Values) -> None:
    """Raise BadOption for the first name or value that a provider does not have."""
    for name, value in chosen.items():
        if name not in options:
            there = f"there are {', '.join(options)}" if options else "it takes none"
            raise BadOption(provider=provider, option=name, known=there)
        if options[name] and value not in options[name]:
            there = f"it may be {' or '.join(options[name])}"
            raise BadOption(provider=provider, option=f"{name}={value}", known=there)


def joined(path: str, chosen: Mapping[str, str], options: Values) -> str:
    """Return a path with options behind it, always in the same order."""
    pairs = [f"{name}={quote(chosen[name], safe='')}" for name in options if name in chosen]
    return f"{path}#{'&'.join(pairs)}" if pairs else path
