"""A database as the jobs leave it, for what is delivered to those who read it."""

from datetime import UTC, date, datetime, time

import pytest
from sqlalchemy import text

from jobs import portfolios, watchlist
from jobs.replay.backtest import backtest
from stockbatch import database
from stockbatch.methods import har
from stockbatch.records import Alert, Condition, Event, GroupKind, NewsItem, Timing
from stockbatch.store import alerts, events, instruments, labels, news
from tests.support.market import CODE, Market, run, session


@pytest.fixture(scope="module")
def reader(make_lasting_app, tmp_path_factory):
    """A connection of the reader's to a database in which the jobs have worked for a month."""
    market = Market(tmp_path_factory.mktemp("market") / "bars.csv")
    market.list("NEW", sessions=20)
    market.multiply("CCC", 0.6, session(-20), date.max)
    market.split("BBB", 4, session(-40))
    app = make_lasting_app(market)
    statement = tmp_path_factory.mktemp("portfolios") / "own.csv"
    lines = [f"Own,{ticker},10,{session(-30)}" for ticker in ("AAA", "BBB")]
    statement.write_text("\n".join(["portfolio,ticker,quantity,from", *lines]))
    assert portfolios.import_(app, statement).failures == ()
    watchlist.tag(app, ["AAA", "CCC"], [(GroupKind.SECTOR, "Energy"), (GroupKind.TAG, "value")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(har, "FEWEST_SAMPLES", 100)  # three tickers have fewer than it asks for
        list(backtest(app, CODE, session(-30), session(-2)))
        for offset in range(-1, 2):
            run(app, session(offset))
    with app.transaction() as db:
        alert = Alert(condition=Condition.FAILED_RUN, subject=CODE, message="m", session=session())
        alerts.reconcile(db, [alert], app.clock(), [])
        report = Event(symbol="AAA", date=session(5), timing=Timing.AFTER_CLOSE)
        soon = Event(symbol="CCC", date=session(2), timing=Timing.BEFORE_OPEN)
        watched = instruments.find(db, ["AAA", "CCC"])
        events.record(db, watched, [report, soon], "import", app.clock())
        told = [(session(-30), "One"), *((session(1), title) for title in ("Two", "Three", "Four"))]
        items = [
            NewsItem(
                symbol="AAA",
                published_at=datetime.combine(day, time(15), tzinfo=UTC),
                title=title,
                source="feed",
            )
            for day, title in told
        ]
        news.record(db, watched, items, datetime.combine(session(2), time(9), tzinfo=UTC))
        labels.put(db, GroupKind.WATCHLIST, "Our 'own'", [watched[0].id])
    engine = database.engine(app.settings, role="reader")
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT current_user")) == "stockbatch_reader"
        yield connection
    engine.dispose()
