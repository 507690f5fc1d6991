"""`stockbatch fetch`: bars alone, also the whole history of new tickers."""

import typer

from jobs.commands import context, options


def fetch(
    tickers: options.Tickers = None,
    session: options.Session = None,
    exchange: options.Exchange = None,
    provider: options.FetchFrom = None,
) -> None:
    """Fetch and check bars, of new tickers all there are; train and forecast nothing.

    Interrupted, the same command goes on where it stopped. Ends with status 4 if no ticker has its
    bar.
    """
    from jobs.app import running
    from jobs.daily.choice import calendars_of
    from jobs.daily.fetch_only import fetch_session
    from jobs.isolation import one_by_one
    from stockbatch.exceptions import ProviderError

    settings = context.settings(exchange=exchange)
    with running(settings) as app:
        some = False
        codes = calendars_of(app, settings.exchange, tickers, session)
        with one_by_one() as each:
            for code in codes:
                with each():
                    fetched = fetch_session(app, code, session, tickers=tickers, provider=provider)
                    context.say(fetched)
                    some = some or len(fetched.problems) < fetched.tickers
    if not some:
        raise typer.Exit(ProviderError.exit_code)
