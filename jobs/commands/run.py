"""`stockbatch run`: the daily job for one session or a walk of sessions."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options

if TYPE_CHECKING:
    from jobs.app import App
    from jobs.daily.run import Summary


def run(
    tickers: options.Tickers = None,
    session: options.Session = None,
    first: Annotated[date | None, options.day("--from", about="First of a walk.")] = None,
    last: Annotated[date | None, options.day("--to", about="Last of a walk.")] = None,
    exchange: options.Exchange = None,
    provider: options.FetchFrom = None,
    retrain: Annotated[bool, typer.Option(help="Train every ticker, however fresh.")] = False,
) -> None:
    """Fetch, score, forecast and sum up; nothing later than the session is read.

    Ends with status 4 if no ticker has its bar.
    """
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.daily.run import RunOptions, run_session, run_sessions
    from jobs.isolation import one_by_one
    from stockbatch.exceptions import ProviderError

    if (first is None) != (last is None) or (session and first):
        raise typer.BadParameter("give --session, or both --from and --to")
    if first and last:
        options.require_span(first, last)
    settings = context.settings(exchange=exchange)
    choices = RunOptions(tickers=tickers, provider=provider, retrain=retrain)
    with running(settings) as app:
        codes = calendars_of(app, settings.exchange, tickers, session)
        have_bars: list[bool] = []
        with one_by_one() as each:
            for code in codes:
                with each():
                    if first is None or last is None:
                        have_bars.append(_say(app, run_session(app, code, session, **choices)))
                        continue
                    walk = run_sessions(app, code, first, last, **choices)
                    have_bars.extend(_say(app, summary) for summary in walk)
        if not have_bars:
            raise typer.BadParameter(f"no session from {first} to {last}")
    if not any(have_bars):
        raise typer.Exit(ProviderError.exit_code)


def _say(app: App, summary: Summary) -> bool:
    """Say what became of a session, and what it lacks; return whether any ticker has its bar."""
    from stockbatch.store import bi

    context.say(summary)
    with app.transaction() as db:
        found = bi.completeness.of_session(db, summary.calendar, summary.session)
    if found and not found.is_enough:
        context.warn(f"warning: {found.calendar}: {found}")
    return found is None or not found.expected or found.held > 0
