"""`stockbatch quality`: what the checks found in the data, and decisions on what was set aside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from jobs.commands import context, options, tables
from jobs.commands.tables import number, words

if TYPE_CHECKING:
    from jobs.commands.tables import Row
    from stockbatch.records import Decision

NAMES = (
    *("id", "ticker", "session", "check_name", "severity", "observed", "threshold", "message"),
    *("decision", "decided_at", "decided_by"),
)
SHOWN = 100
"""Findings listed at most, where no ticker is named."""


class _ShowByDefault(TyperGroup):
    """Takes whatever is no command, and no call for help, for the arguments of `show`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in {*self.commands, *ctx.help_option_names}:
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
def show(
    ticker: options.AnyTicker = None,
    layout: options.Format = "table",
    wide: options.Wide = False,
) -> None:
    """Show what was found, newest first, what waits for a decision before all else."""
    from jobs.app import running
    from stockbatch.store import instruments, issues

    with running(context.settings(), create=False) as app, app.transaction() as db:
        if ticker is not None:
            instruments.find(db, [ticker])
        rows = issues.listed(db, ticker, SHOWN if ticker is None else None)
        counts = issues.counts(db, ticker)
    columns = [
        number("id"),
        words("ticker"),
        words("session"),
        words("check", "check_name"),
        words("bar", "severity"),
        number("seen", lambda row: _number(row["observed"]), wide=True),
        number("limit", lambda row: _number(row["threshold"]), wide=True),
        words("what was seen", "message", folds=True),
        words("decision", _decision, folds=True),
    ]
    title = ", ".join(f"{n} {check}" for check, n in counts.items()) or "nothing found"
    tables.show(title, columns, rows, NAMES, layout, wide=wide)
    if layout == "table" and sum(counts.values()) > len(rows):
        context.answer(f"the newest {SHOWN} are shown: name a ticker to see all of its own")


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


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:.6g}"


def _decision(row: Row) -> str | None:
    if not row["decision"]:
        return None
    return f"{row['decision']} {row['decided_at']:%Y-%m-%d} by {row['decided_by']}"
