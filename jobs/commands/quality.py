"""`stockbatch quality`: what the checks found in the data, and decisions on what was set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.commands import context, options

if TYPE_CHECKING:
    from stockbatch.records import Decision

SHOWN = 100
"""Findings listed at most, where no ticker is named."""


class _ShowByDefault(TyperGroup):
    """Takes whatever is no command for the arguments of `show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and not args[0].startswith("-")):
            args = ["show", *args]
        return super().parse_args(ctx, args)


quality = typer.Typer(
    name="quality",
    cls=_ShowByDefault,
    help="What is wrong with the data: `quality [TICKER]` shows it.",
)
ByOption = Annotated[str | None, typer.Option(help="Who decides; default: the user logged in.")]
Number = Annotated[int, typer.Argument(metavar="ID", help="Number of the finding.")]


@quality.command()
def show(ticker: options.AnyTicker = None) -> None:
    """Show what was found, newest first, what waits for a decision before all else."""
    from jobs.app import running
    from stockbatch.store import instruments, issues

    with running(context.settings(), create=False) as app, app.transaction() as db:
        if ticker is not None:
            instruments.find(db, [ticker])
        rows = issues.listed(db, ticker, SHOWN if ticker is None else None)
        counts = issues.counts(db, ticker)
    columns = [("id", "right"), ("ticker", "left"), ("session", "left"), ("check", "left")]
    columns += [("bar", "left"), ("seen", "right"), ("limit", "right"), ("what was seen", "left")]
    columns += [("decision", "left")]
    title = ", ".join(f"{n} {check}" for check, n in counts.items()) or "nothing found"
    context.show_table(title, columns, [_cells(row) for row in rows])
    if sum(counts.values()) > len(rows):
        typer.echo(f"the newest {SHOWN} are shown: name a ticker to see all of its own")


@quality.command()
def accept(number: Number, by: ByOption = None) -> None:
    """Use a bar, or a jump, that was set aside; of a whole history: the next run fetches it."""
    from stockbatch.records import Decision

    _decide(number, Decision.ACCEPTED, by)


@quality.command()
def reject(number: Number, by: ByOption = None) -> None:
    """Leave a bar, or a jump, out for good, whatever is fetched, unless its prices change."""
    from stockbatch.records import Decision

    _decide(number, Decision.REJECTED, by)


def _decide(number: int, decision: Decision, by: str | None) -> None:
    from jobs.app import running
    from stockbatch import config
    from stockbatch.store import issues

    with running(context.settings(), create=False) as app, app.transaction() as db:
        said = issues.decide(db, number, decision, by=by or config.user())
    context.say(f"{decision}: {said}")


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    decided = ""
    if row["decision"]:
        decided = f"{row['decision']} {row['decided_at']:%Y-%m-%d} by {row['decided_by']}"
    seen, limit = ("" if row[n] is None else f"{row[n]:.6g}" for n in ("observed", "threshold"))
    named = (row[name] for name in ("id", "ticker", "session", "check_name", "severity"))
    return (*named, seen, limit, row["message"], decided)
