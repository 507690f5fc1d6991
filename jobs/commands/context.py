"""What the options before a command chose, and how commands speak."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from stockbatch.config import Settings
    from stockbatch.exceptions import ConfigurationError


@dataclass
class _Choice:
    config: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    debug: bool = False
    quiet: bool = False


_choice = _Choice()


def choose(
    config: Path | None, pairs: Sequence[str], *, debug: bool = False, quiet: bool = False
) -> None:
    """Remember the options before the command. Raises ConfigurationError for a malformed pair."""
    from stockbatch.exceptions import ConfigurationError

    _choice.config, _choice.options = config, {}
    _choice.debug, _choice.quiet = debug, quiet
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigurationError(source="--set", key=pair, reason="write it as KEY=VALUE")
        *path, last = key.split(".")
        into = _choice.options
        for part in path:
            into = into.setdefault(part, {})
            if not isinstance(into, dict):
                raise ConfigurationError(source="--set", key=pair, reason=f"{part} has a value")
        into[last] = value


def debug() -> bool:
    """Tell whether tracebacks are wanted."""
    return _choice.debug


def settings(**options: Any) -> Settings:
    """Return the settings; `options` that are not None win over those before the command."""
    from jobs import logs
    from stockbatch import config, database
    from stockbatch.providers import registry

    models = registry.models()
    chosen = {key: value for key, value in options.items() if value is not None}
    loaded = config.load(_choice.config, models, **(_choice.options | chosen))
    logs.hide(config.secrets(loaded, models))
    if loaded.database_url is not None:
        logs.hide(database.secrets(loaded.database_url.get_secret_value()))
    return loaded


def problems() -> list[ConfigurationError]:
    """Return all that is wrong with the settings."""
    from stockbatch import config
    from stockbatch.providers import registry

    return config.problems(_choice.config, registry.models(), **_choice.options)


def require(what: str, *modules: str, extra: str) -> None:
    """Raise MissingExtra unless the modules of an optional part are installed."""
    from stockbatch.exceptions import MissingExtra

    if any(find_spec(module) is None for module in modules):
        raise MissingExtra(what=what, extra=extra)


@contextmanager
def ending() -> Iterator[None]:
    """Let the end of the terminal or of the service end what was begun as Ctrl-C does."""

    def end(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    both = (signal.SIGHUP, signal.SIGTERM)
    heard = [number for number in both if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, end) for number in heard}  # nohup ignores one
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def say(what: object, *, err: bool = False) -> None:
    """Print a line about what is done, unless --quiet is given.

    Some of its words others wrote: nothing in them steers a terminal.
    """
    from stockbatch.text import printable

    if not _choice.quiet:
        typer.echo(printable(str(what)), err=err)


def warn(what: object) -> None:
    """Print a line about what is wrong, or asked of whoever reads it."""
    from stockbatch.text import printable

    typer.echo(printable(str(what)), err=True)


def answer(what: object) -> None:
    """Print a line that was asked for; a terminal that is too narrow gets it in several."""
    from jobs.commands import tables
    from stockbatch.text import printable

    typer.echo(tables.folded(printable(str(what))))
