"""What the options before a command chose, and how commands show tables."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from stockbatch.config import Settings
    from stockbatch.exceptions import ConfigurationError


@dataclass
class _Choice:
    config: Path | None = None
    options: dict[str, Any] = field(default_factory=dict)
    debug: bool = False


_choice = _Choice()


def choose(config: Path | None, pairs: Sequence[str], *, debug: bool) -> None:
    """Remember the options before the command. Raises ConfigurationError for a malformed pair."""
    from stockbatch.exceptions import ConfigurationError

    _choice.config, _choice.options, _choice.debug = config, {}, debug
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


def console() -> Console:
    """Return the console for answers: of a number nothing is cut, a narrow terminal folds lines."""
    from rich.console import Console

    # Square brackets and colons of a name are no markup.
    screen = Console(highlight=False, markup=False, emoji=False)
    screen.width = max(screen.width, 200) if screen.is_terminal else 200
    return screen


def say(what: object, *, err: bool = False) -> None:
    """Print a line some of whose words others wrote: nothing in it steers a terminal."""
    from stockbatch.text import printable

    typer.echo(printable(str(what)), err=err)


def show_table(
    title: str,
    columns: Sequence[tuple[str, str]],
    rows: Sequence[Sequence[object]],
    *,
    narrow: Sequence[str] = (),
) -> None:
    """Print a table; `columns` are pairs of a heading and `left` or `right`.

    On a terminal that is too narrow for it, only the columns named in `narrow`.
    """
    from rich.console import Console

    table, note, screen, terminal = _table(title, columns, rows), "", console(), Console()
    if narrow and terminal.is_terminal and screen.measure(table).maximum > terminal.width:
        kept = [at for at, (heading, _) in enumerate(columns) if heading in narrow]
        fewer = [[row[at] for at in kept] for row in rows]
        table = _table(title, [columns[at] for at in kept], fewer)
        left_out = ", ".join(heading for heading, _ in columns if heading not in narrow)
        note = f"\nnot shown for want of room: {left_out}"
    with screen.capture() as printed:
        screen.print(table)
    typer.echo("\n".join(line.rstrip() for line in printed.get().splitlines()) + note)


def _table(
    title: str, columns: Iterable[tuple[str, str]], rows: Iterable[Sequence[object]]
) -> Table:
    from rich import box
    from rich.table import Table

    from stockbatch.text import printable

    table = Table(title=printable(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading, side in columns:
        table.add_column(heading, justify="right" if side == "right" else "left")
    for row in rows:
        table.add_row(*("" if value is None else printable(str(value)) for value in row))
    return table
