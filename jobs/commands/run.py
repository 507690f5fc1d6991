"""`stockbatch run`: the daily job for one session or a walk of sessions."""

from datetime import date
from typing import Annotated

import typer

from jobs.commands import context, options


def run(
    session: options.Session = None,
    first: Annotated[date | None, options.day("--from", about="First of a walk.")] = None,
    last: Annotated[date | None, options.day("--to", about="Last of a walk.")] = None,
    exchange: options.Exchange = None,
    tickers: options.Tickers = None,
    provider: options.FetchFrom = None,
    retrain: Annotated[bool, typer.Option(help="Train every ticker, however fresh.")] = False,
) -> None:
    """Fetch, score, forecast and sum up; nothing later than the session is read."""
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.daily.run import RunOptions, run_session, run_sessions
    from jobs.isolation import one_by_one

    if (first is None) != (last is None) or (session and first):
        raise typer.BadParameter("give --session, or both --from and --to")
    if first and last and first > last:
        raise typer.BadParameter("--from is after --to")
    settings = context.settings(exchange=exchange)
    choices = RunOptions(tickers=tickers, provider=provider, retrain=retrain)
    with running(settings) as app:
        codes = calendars_of(app, settings.exchange, tickers, session)
        walked = False
        with one_by_one() as each:
            for code in codes:
                with each():
                    if first is None or last is None:
                        context.say(run_session(app, code, session, **choices))
                        walked = True
                        continue
                    for summary in run_sessions(app, code, first, last, **choices):
                        context.say(summary)
                        walked = True
        if not walked:
            raise typer.BadParameter(f"no session from {first} to {last}")
