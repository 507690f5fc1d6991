"""`stockbatch schedule`, `pause` and `resume`: what steers the daemon."""

import re

from stockbatch.store import pauses
from tests.support.evenings import evening, runs, since, work
from tests.support.market import (
    assert_same,
    facts,
    session,
)


def test_a_paused_exchange_is_left_alone_and_caught_up_later(app, make_app, market, stockbatch):
    assert "paused: XNYS" in stockbatch("pause", "--exchange", "NYSE").output
    work(app, evening(-1))
    assert runs(app) == []
    app.clock = lambda: evening(-1)
    assert "paused: XNYS since" in stockbatch("schedule").output
    assert stockbatch("resume", "--exchange", "XNYS").output == "nothing is paused\n"
    work(app, evening(-1), evening(0))
    undisturbed = make_app(market)
    since(undisturbed, evening(-1))
    work(undisturbed, evening(-1), evening(0))
    assert_same(facts(app.engine), facts(undisturbed.engine))


def test_everything_is_paused_at_once(app, stockbatch):
    stockbatch("pause", "--exchange", "XLON")
    stockbatch("pause")
    with app.transaction() as db:
        assert list(pauses.since(db)) == ["ALL", "XLON"]
    work(app, evening(-1))
    assert runs(app) == []
    assert stockbatch("resume").output == "nothing is paused\n"


def test_the_schedule_shows_firings_and_what_is_due(app, stockbatch):
    app.clock = lambda: evening(0)
    said = stockbatch("schedule").output
    # XNYS closes at 20:00 UTC; 45 minutes later the daemon wakes up
    for offset in (1, 2, 3):
        assert re.search(rf"{session(offset)} 20:45 +XNYS: daily run", said)
    assert re.search(r"Sat 2024-06-08 06:00 +all: base models about to expire", said)
    assert re.search(r"2024-07-01 08:00 +all: maintenance", said)
    assert f"due: XNYS {session(0)}, forecasts live\n" in said
    assert f"due: XNYS {session(-1)}, forecasts late\n" in said
