"""Alerts: what raises them, what clears them, and how they get to people."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr
from sqlalchemy import text

from jobs.daemon import alerts, gauges, health
from stockbatch import database
from stockbatch.exceptions import QuotaSpent, RateLimited
from stockbatch.records import Action, Reason
from stockbatch.store import pauses
from tests.support import loopback
from tests.support.feed import Feed, feed
from tests.support.market import (
    AFTER,
    CODE,
    ORIGIN,
    TICKERS,
    calendar,
    fetch,
    outcomes,
    run,
    session,
)

EVENING = calendar().close(ORIGIN) + timedelta(hours=1)
NEXT_NOON = calendar().open(session(1)) + timedelta(hours=2)


@pytest.fixture
def webhook():
    with loopback.webhook() as hook:
        yield hook


@pytest.fixture
def app(app, webhook):
    """An App that alerts the webhook, in a world where the watchlist was filled on ORIGIN."""
    urls = (SecretStr(webhook.url),)
    app.settings = app.settings.model_copy(update={"alert_urls": urls})
    app.clock = lambda: EVENING
    owner = database.engine(app.settings, role="owner")
    with owner.begin() as connection:
        since = datetime(2024, 6, 3, 12, tzinfo=UTC)
        connection.execute(
            text("UPDATE stockbatch.instruments SET active_since = :t"), {"t": since}
        )
        # Without this, the database's clock makes every forecast of 2024 late.
        judge = connection.scalar(
            text("SELECT pg_get_functiondef('stockbatch.judge_kind'::regproc)")
        )
        by_issue = judge.replace(" AND NEW.recorded_at < NEW.deadline_at", "")
        connection.exec_driver_sql(by_issue.replace("%", "%%"))
        connection.execute(text("ALTER TABLE stockbatch.forecasts DISABLE TRIGGER judge_commit"))
    owner.dispose()
    return app


def on(app):
    rows = fetch(app.engine, "SELECT condition, subject FROM bi.alerts WHERE is_open")
    return {(row["condition"], row["subject"]) for row in rows}


def review(app, now):
    app.clock = lambda: now
    alerts.review(app)
    return on(app)


def test_a_missed_deadline_is_told_once_and_so_is_its_end(app, webhook):
    assert review(app, EVENING) == set()
    for minutes in (0, 1, 2):
        assert review(app, NEXT_NOON + timedelta(minutes=minutes)) == {("missed_deadline", CODE)}
    (told,) = webhook.received
    assert told["title"] == "stockbatch: XNYS: missed deadline"
    assert "XNYS 2024-06-03: the run was not finished by 2024-06-04 13:30 UTC" in told["message"]
    assert told["type"] == "warning"

    app.clock = lambda: EVENING  # its forecasts then are live
    run(app)
    assert review(app, NEXT_NOON + timedelta(minutes=5)) == set()
    assert [m["title"] for m in webhook.received[1:]] == ["stockbatch: XNYS: missed deadline, over"]
    assert webhook.received[1]["type"] == "success"
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert (row["session"], row["messages"], row["undelivered"]) == (ORIGIN, 2, 0)
    assert row["duration_seconds"] == 300
    assert row["session_close_at"] == calendar().close(ORIGIN)


def test_forecasts_that_came_too_late_are_a_missed_deadline(app, change):
    run(app)
    assert review(app, NEXT_NOON) == set()
    change("UPDATE stockbatch.forecasts SET kind = 'late' WHERE instrument_id = 2")
    assert review(app, NEXT_NOON) == {("missed_deadline", CODE)}
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert (row["observed"], row["threshold"]) == (1, 0)
    assert "1 ticker without a forecast made by 2024-06-04 13:30" in row["message"]


def test_nothing_is_expected_from_before_the_watchlist(app, change):
    change("UPDATE stockbatch.instruments SET active_since = :t", t=EVENING)
    assert review(app, NEXT_NOON) == set()


@pytest.mark.parametrize("paused", [CODE, "ALL"])
def test_nothing_is_expected_of_what_is_paused(app, paused):
    with app.transaction() as db:
        pauses.begin(db, paused)
    assert review(app, NEXT_NOON) == set()


@pytest.mark.parametrize("paused", [CODE, "ALL"])
def test_a_pause_is_not_the_end_of_an_alert(app, webhook, paused):
    assert review(app, NEXT_NOON) == {("missed_deadline", CODE)}
    with app.transaction() as db:
        pauses.begin(db, paused)
    assert review(app, NEXT_NOON) == {("missed_deadline", CODE)}
    with app.transaction() as db:
        pauses.end(db, pauses.ALL)
    assert ["over" in told["title"] for told in webhook.received] == [False]
    app.clock = lambda: EVENING  # its forecasts then are live
    run(app)
    assert review(app, NEXT_NOON) == set()
    assert ["over" in told["title"] for told in webhook.received] == [False, True]


def test_nor_is_a_calendar_that_nobody_knows_any_more(app, change, webhook):
    assert review(app, NEXT_NOON) == {("missed_deadline", CODE)}
    change("UPDATE stockbatch.instruments SET calendar = 'XXXX' WHERE ticker = 'BBB'")
    change("UPDATE stockbatch.alerts SET subject = 'XXXX 80 %'")
    assert review(app, NEXT_NOON) == {("missed_deadline", CODE), ("missed_deadline", "XXXX 80 %")}


def test_demonstrations_raise_no_alert(app, change):
    change("UPDATE stockbatch.instruments SET demo = true")
    assert review(app, NEXT_NOON) == set()


def test_a_failed_run_is_told_until_it_is_done(app, change, webhook):
    def fail(event):
        if event == "metrics":
            raise RuntimeError("postgresql://me:hunter22@db was in the way")

    app.on_event = fail
    with pytest.raises(RuntimeError):
        run(app)
    assert review(app, EVENING) == {("failed_run", CODE)}
    (told,) = webhook.received
    assert "was in the way" in told["message"]
    assert "hunter22" not in told["message"]
    app.on_event = lambda event: None
    run(app)
    assert review(app, EVENING) == set()


def test_too_few_bars_are_told(app, market):
    market.drop("AAA", ORIGIN)
    run(app)
    assert review(app, EVENING) == {("low_data_coverage", CODE)}
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert row["observed"] == pytest.approx(2 / 3)
    assert row["threshold"] == 0.95


def test_the_first_day_of_bars_that_end_before_it_is_told(app, market, change):
    """Nobody was on the watchlist when the session closed, and all of them were asked for a bar."""
    change("UPDATE stockbatch.instruments SET active_since = :t", t=EVENING)
    for ticker in TICKERS:
        market.drop(ticker, *(session(offset) for offset in range(AFTER + 1)))
    run(app)
    words = (
        f"XNYS: 0 of 3 tickers have a bar of {ORIGIN}; the newest is of {session(-1)}:"
        f" 'stockbatch run --session {session(-1)}' or 'backtest'"
    )
    assert review(app, EVENING) == {("low_data_coverage", CODE)}
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert (row["observed"], row["message"]) == (0, words)
    assert health.problems(app) == [words]
    scraped = gauges.registry(app, lambda: EVENING)
    assert scraped.get_sample_value("stockbatch_bars_ratio", {"calendar": CODE}) == 0
    with app.transaction() as db:
        pauses.begin(db, pauses.ALL)
    assert health.problems(app) == []


@pytest.mark.parametrize(
    "error",
    [
        RateLimited(provider="feed", ticker="AAA"),
        QuotaSpent(provider="feed", ticker="AAA", limit=25, resets_at="midnight"),
    ],
)
def test_a_provider_that_refuses_is_told(app, market, error):
    provider = Feed("feed", market)
    feed(app, provider)
    provider.failing = {"AAA": error}
    run(app)
    assert outcomes(app.engine)["AAA"] == (Action.NONE, Reason.RATE_LIMITED)
    found = review(app, EVENING)
    assert ("provider_quota", CODE) in found
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts WHERE condition = 'provider_quota'")
    assert str(error) in row["message"]


def test_no_words_make_a_failure_a_refusal(app, change):
    """Only the class of the exception does: a message may say anything."""
    run(app)
    change(
        "UPDATE stockbatch.outcomes SET reason = 'fetch_failed', message = :words"
        " WHERE instrument_id = 1",
        words=str(RateLimited(provider="feed", ticker="AAA")),
    )
    assert review(app, EVENING) == set()


@pytest.fixture
def measured(app, change):
    """A maker of 60 sessions of a metric of live forecasts."""
    run(app)

    def make(metric, value, skill=None, sessions=60, kind="live", method="lstm", keeps=False):
        if not keeps:
            change("DELETE FROM stockbatch.metrics")
        change(
            "INSERT INTO stockbatch.metrics (calendar, method, kind, window_sessions,"
            " through_session, metric, n, value, skill)"
            " SELECT :code, :method, :kind, 60, :last - k, :metric, 500, :value, :skill"
            " FROM generate_series(0, cast(:sessions AS int) - 1) AS k",
            code=CODE, kind=kind, last=ORIGIN, metric=metric, value=value, skill=skill,
            sessions=sessions, method=method,
        )  # fmt: skip

    return make


def test_intervals_that_hold_too_much_or_too_little_are_told(app, measured):
    for metric, value, wrong in (
        ("coverage_80", 0.69, True),
        ("coverage_80", 0.71, False),
        ("coverage_80", 0.91, True),
        ("coverage_95", 0.89, True),
        ("coverage_95", 0.95, False),
    ):
        measured(metric, value)
        interval = metric.removeprefix("coverage_")
        expected = {("interval_coverage", f"XNYS {interval} %")} if wrong else set()
        assert review(app, EVENING) == expected, (metric, value)


def test_skill_below_zero_over_the_window_is_told(app, measured):
    measured("pinball", 0.01, -0.02)
    assert review(app, EVENING) == {("negative_skill", CODE)}
    (row,) = fetch(app.engine, "SELECT message FROM bi.alerts")
    assert "2.00% worse than rolling quantiles" in row["message"]
    measured("pinball", 0.01, 0.001)
    assert review(app, EVENING) == set()


def test_the_headline_is_watched_once_it_was_scored_for_a_window(app, measured):
    measured("pinball", 0.01, -0.02)
    measured("pinball", 0.01, 0.03, method="combined", sessions=59, keeps=True)
    assert review(app, EVENING) == {("negative_skill", CODE)}
    (row,) = fetch(app.engine, "SELECT message FROM bi.alerts")
    assert "over 60 sessions lstm was 2.00% worse" in row["message"]
    measured("pinball", 0.01, -0.02)
    measured("pinball", 0.01, 0.03, method="combined", keeps=True)
    assert review(app, EVENING) == set()


def test_few_sessions_and_other_kinds_prove_nothing(app, measured):
    for changes in ({"sessions": 59}, {"kind": "backtest"}, {"kind": "late"}):
        measured("pinball", 0.01, -0.02, **changes)
        assert review(app, EVENING) == set(), changes


def test_a_message_that_fails_is_kept_and_tried_again(app, webhook):
    webhook.refuses = True
    review(app, NEXT_NOON)
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert row["undelivered"] == 1
    assert row["delivery_failure"]
    webhook.refuses = False
    review(app, NEXT_NOON + timedelta(minutes=1))
    assert webhook.received == []  # not yet
    review(app, NEXT_NOON + timedelta(minutes=3))
    review(app, NEXT_NOON + timedelta(minutes=9))
    assert len(webhook.received) == 1
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert (row["undelivered"], row["delivery_failure"]) == (0, None)
    assert fetch(app.engine, "SELECT tries FROM stockbatch.alert_messages") == [{"tries": 2}]


def test_one_channel_that_fails_does_not_keep_others(app, webhook):
    urls = (
        SecretStr("json://127.0.0.1:1/s3cr3t-too"),
        SecretStr("nonsense"),
        SecretStr(webhook.url),
    )
    app.settings = app.settings.model_copy(update={"alert_urls": urls})
    review(app, NEXT_NOON)
    assert len(webhook.received) == 1
    (row,) = fetch(app.engine, "SELECT * FROM bi.alerts")
    assert (row["messages"], row["undelivered"]) == (3, 2)
    kept = repr(fetch(app.engine, "SELECT * FROM stockbatch.alert_messages"))
    assert "s3cr3t" not in kept
    assert "not a URL that Apprise knows" in kept


def test_a_message_another_process_is_delivering_is_left_to_it(app, webhook):
    app.settings, urls = app.settings.model_copy(update={"alert_urls": ()}), app.settings
    review(app, NEXT_NOON)
    app.settings = urls
    channels = list(alerts._channels(app))
    with app.engine.begin() as other:
        other.execute(
            text("INSERT INTO stockbatch.alert_messages VALUES (1, 'raised', :c)"),
            {"c": channels[0]},
        )
    with app.engine.begin() as other:
        other.execute(text("SELECT FROM stockbatch.alert_messages FOR UPDATE"))
        alerts.deliver(app)
        assert webhook.received == []
    alerts.deliver(app)
    alerts.deliver(app)
    assert len(webhook.received) == 1


def test_a_test_reaches_every_channel_and_is_over_at_once(app, webhook):
    assert list(alerts.test(app).values()) == [None]
    assert webhook.received[0]["title"] == "stockbatch: test: test"
    assert list(alerts.test(app).values()) == [None]
    assert len(webhook.received) == 2
    assert on(app) == set()
    webhook.refuses = True
    (failure,) = alerts.test(app).values()
    assert failure
