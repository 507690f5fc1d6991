"""News as something forecasts look at: off unless asked for, by a setting that retrains."""

from datetime import UTC, datetime, time

import pytest

from jobs.replay.backtest import backtest
from stockbatch.records import COMBINED, HAR, HAR_EVENTS, LSTM, Action, NewsItem, Reason
from stockbatch.store import instruments, news
from tests.support.market import CODE, NOW, ORIGIN, TICKERS, fetch, outcomes, run, session

NOON = time(12)
FORECASTS = """
    SELECT i.ticker, f.method, f.reasons, f.q10, f.q90, f.raw_q10, f.raw_q90
    FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
    WHERE f.origin_session = :day AND f.kind = :kind"""


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr("stockbatch.methods.har.FEWEST_SAMPLES", 100)


@pytest.fixture
def told(app):
    """An App with news of one ticker of every session, and of a busy one at the origin."""
    with app.transaction() as db:
        items = [item(back) for back in range(-120, 1)]
        items += [item(0, f"more {number}") for number in range(9)]
        news.record(db, instruments.active(db), items, NOW, history=True)
    return app


def item(offset, title="Some news"):
    published_at = datetime.combine(session(offset), NOON, UTC)
    score = 0.1 * (offset % 5)
    return NewsItem(
        symbol="AAA", published_at=published_at, title=title, source="x", score=score, scored_by="x"
    )


def asking(app, *, news=True):
    model = app.settings.model.model_copy(update={"news": news})
    app.settings = app.settings.model_copy(update={"model": model})
    return app


def forecasts(app, day=ORIGIN, kind="late"):
    found = fetch(app.engine, FORECASTS, day=day, kind=kind)
    return {(row.pop("ticker"), row.pop("method")): row for row in found}


def test_nobody_looks_at_news_unless_asked_to(told, make_app, market):
    run(told)
    without = make_app(market)
    run(without)
    assert forecasts(told) == forecasts(without)
    assert "news" not in forecasts(told)["AAA", COMBINED]["reasons"]


def test_the_setting_trains_anew_and_only_what_has_news_changes_for_it(told, make_app, market):
    run(asking(told))
    found = forecasts(told)
    without = make_app(market)
    run(asking(without))
    expected = forecasts(without)
    for method in (HAR_EVENTS, COMBINED):
        assert found["AAA", method]["reasons"]["news"] != 0
        assert found["BBB", method]["reasons"]["news"] == 0
        assert found["AAA", method] != expected["AAA", method]
        assert expected["AAA", method]["reasons"]["news"] == 0  # there is none
    for method in (HAR, LSTM):  # of bars alone
        for ticker in TICKERS:
            assert found[ticker, method] == expected[ticker, method]
    run(asking(told, news=False), session(1))
    changed = Action.TRAINED, Reason.CONFIGURATION_CHANGED
    assert outcomes(told.engine, session(1)) == dict.fromkeys(TICKERS, changed)
    assert "news" not in forecasts(told, session(1))["AAA", COMBINED]["reasons"]


def test_a_backtest_knows_the_same_news(told):
    asking(told)
    list(backtest(told, CODE, ORIGIN, session(2)))
    run(told, ORIGIN)
    walked, late = forecasts(told, kind="backtest"), forecasts(told)
    for method in (HAR_EVENTS, COMBINED):
        assert late["AAA", method]["reasons"] == pytest.approx(walked["AAA", method]["reasons"])
        assert late["AAA", method]["q90"] == pytest.approx(walked["AAA", method]["q90"], rel=1e-9)
