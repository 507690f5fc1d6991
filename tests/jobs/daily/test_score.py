"""Scoring and summing up, against plain computations on the same rows."""

from datetime import timedelta

import numpy as np
import pytest
from sklearn.metrics import (
    mean_pinball_loss,
)
from sqlalchemy import text

from jobs.app import App
from jobs.daily.score import score_forecasts
from stockbatch import records
from stockbatch.records import CorporateAction
from stockbatch.store import bars, forecasts
from tests.support.ledger import (
    QUANTILES,
    bars_of,
    forecast_of,
    listed,
    naive_of,
    opened,
    store,
)
from tests.support.market import NOW, PlainTrainer, calendar, fetch, session, small

ORIGIN, TARGET = session(0), session(1)
HISTORY = [session(offset) for offset in range(-80, 1)]


@pytest.fixture
def app(settings, writer) -> App:
    return App(settings=small(settings), engine=writer, trainer=PlainTrainer(), clock=lambda: NOW)


@pytest.fixture
def one(app):
    """A ticker that closed at 99, 100, 99, 100, … until ORIGIN."""
    with app.transaction() as db:
        (instrument,) = listed(db, "AAA")
        store(db, instrument, bars_of(HISTORY, [100 - (n % 2) for n in range(len(HISTORY))]))
    return instrument


def scored(app, *instruments, through=TARGET):
    """Score up to a session and return the scores, oldest first, and how many were new."""
    with app.transaction() as db:
        run = opened(db, through)
    count = score_forecasts(app, run, calendar(), instruments)
    return fetch(app.engine, "SELECT * FROM stockbatch.scores ORDER BY id"), count


def issue(app, *made):
    with app.transaction() as db:
        forecasts.add(db, made, opened(db), issued_at=NOW)


def trade(app, instrument, *closes, first=TARGET, actions=()):
    """Store bars from `first` on, and actions."""
    days = calendar().sessions[np.searchsorted(calendar().sessions, np.datetime64(first)) :]
    with app.transaction() as db:
        store(db, instrument, bars_of(days[: len(closes)].tolist(), closes))
        bars.add_actions(db, {instrument.id: actions}, provider="csv")


def test_a_score_is_what_the_definitions_say(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 97.0)
    (row,), count = scored(app, one)
    forecast, actual = 100 * np.exp(QUANTILES[5]), np.log(0.97)
    assert count == 1
    assert (row["status"], row["revision"], row["actual_close"]) == ("scored", 1, 97)
    expected = {
        "actual_log_return": actual,
        "error": 97 - forecast,
        "absolute_error": forecast - 97,
        "squared_error": (forecast - 97) ** 2,
        "percentage_error": 100 * (97 - forecast) / 97,
        "log_return_error": actual - QUANTILES[5],
        "pinball": np.mean(
            [
                mean_pinball_loss([actual], [quantile], alpha=level)
                for level, quantile in list(zip(records.QUANTILES, QUANTILES, strict=True))[1:10]
            ]
        ),
        "winkler_80": 0.041 + 2 / 0.2 * (-0.02 - actual),
        "winkler_95": 0.081,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["direction_hit"] is False
    inside = {50: False, 80: False, 90: False, 95: True, 98: True}
    assert {percent: row[f"inside_{percent}"] for percent in inside} == inside
    again, count = scored(app, one)
    assert (again, count) == ([row], 0)


def test_a_point_forecast_is_scored_as_a_point(app, one):
    issue(app, naive_of(one))
    trade(app, one, 97.0)
    (row,), _ = scored(app, one)
    assert (row["status"], row["error"]) == ("scored", -3)
    assert [row[n] for n in ("pinball", "winkler_80", "direction_hit", "inside_50")] == [None] * 4


def test_a_close_that_did_not_move_has_no_direction(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 100.0)
    (row,), _ = scored(app, one)
    assert row["direction_hit"] is None
    assert row["inside_50"] is True


def test_splits_and_dividends_are_undone(app, one):
    issue(app, forecast_of(one))
    actions = [
        CorporateAction(session=TARGET, kind="split", value=4.0),
        CorporateAction(session=TARGET, kind="dividend", value=0.5),
    ]
    trade(app, one, 25.0, actions=actions)
    (row,), _ = scored(app, one)
    assert (row["status"], row["actual_close"]) == ("scored", 102)
    assert row["error"] == pytest.approx(102 - 100 * np.exp(QUANTILES[5]))
    assert row["actual_log_return"] == pytest.approx(np.log(1.02))


def test_a_split_nobody_reported_is_masked(app, one):
    issue(app, forecast_of(one), naive_of(one))
    trade(app, one, 50.0)
    assert scored(app, one) == ([], 0)
    trade(app, one, 50.5, first=session(2))
    rows, _ = scored(app, one, through=session(2))
    assert [row["status"] for row in rows] == ["masked", "masked"]
    silent = rows[0].keys() - {"id", "forecast_id", "revision", "status", "run_id", "scored_at"}
    assert {row[name] for row in rows for name in silent} == {None}


def test_a_crash_is_scored_once_the_next_session_confirms_it(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 60.0)
    assert scored(app, one) == ([], 0)
    trade(app, one, 61.0, first=session(2))
    assert scored(app, one) == ([], 0), "nothing later than the run's session is read"
    (row,), _ = scored(app, one, through=session(2))
    assert (row["status"], row["actual_close"]) == ("scored", 60)


def test_a_jump_taken_back_is_masked_both_ways(app, one):
    back = {"origin_session": TARGET, "origin_close": 60.0, "target_session": session(2)}
    issue(app, forecast_of(one), forecast_of(one, **back))
    trade(app, one, 60.0, 100.0)
    rows, _ = scored(app, one, through=session(2))
    assert [row["status"] for row in rows] == ["masked", "masked"]


def test_a_jump_of_one_ticker_does_not_delay_another(app, one):
    with app.transaction() as db:
        (other,) = listed(db, "BBB")
    issue(app, forecast_of(one), forecast_of(other))
    trade(app, one, 60.0)
    trade(app, other, 101.0)
    (row,), _ = scored(app, other, one)
    assert row["actual_close"] == 101


def test_a_restated_actual_adds_a_score(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 97.0)
    before, _ = scored(app, one)
    trade(app, one, 98.0)
    rows, count = scored(app, one)
    assert count == 1
    assert rows[:1] == before
    assert (rows[1]["revision"], rows[1]["actual_close"]) == (2, 98)


def test_a_target_that_was_never_held_scores_no_session(app, one, change):
    hurricane = TARGET + timedelta(days=4)
    assert not calendar().is_session(hurricane)
    change(  # the calendar that was known then had it
        "INSERT INTO stockbatch.sessions (calendar, session, open_at, close_at, deadline_at)"
        " SELECT calendar, :day, open_at + :days, close_at + :days, deadline_at + :days"
        " FROM stockbatch.sessions WHERE session = :target",
        day=hurricane,
        days=timedelta(days=4),
        target=TARGET,
    )
    issue(app, forecast_of(one, target_session=hurricane))
    assert scored(app, one) == ([], 0)
    (row,), _ = scored(app, one, through=session(5))
    assert (row["status"], row["revision"], row["error"]) == ("no_session", 0, None)
    again, _ = scored(app, one, through=session(6))
    assert again == [row]


def test_a_missing_bar_of_a_session_is_waited_for(app, one):
    issue(app, forecast_of(one))
    assert scored(app, one, through=session(3)) == ([], 0)
    trade(app, one, 97.0)
    rows, _ = scored(app, one, through=session(3))
    assert [row["status"] for row in rows] == ["scored"]


@pytest.fixture
def exchange(app, one):
    """Five tickers, three with a forecast of TARGET each, and one for show, the last."""
    with app.transaction() as db:
        others = [*listed(db, "BBB", "CCC", "DDD", "EEE"), *listed(db, "^DEMO", demo=True)]
        for other in others:
            store(db, other, bars_of(HISTORY, [100.0] * len(HISTORY)))
    issue(app, *(forecast_of(each) for each in (one, *others[:2])))
    return one, *others


def test_a_session_that_no_ticker_has_while_most_have_traded_since_was_never_held(app, exchange):
    """A typhoon closes the exchange, of which its calendar knows nothing."""
    assert scored(app, *exchange, through=session(2)) == ([], 0), "nobody has traded since"
    trade(app, exchange[0], 101.0, first=session(2))
    trade(app, exchange[1], 101.0, first=session(2))
    trade(app, exchange[-1], 101.0, first=session(2))  # the one for show is no sign
    assert scored(app, *exchange, through=session(2)) == ([], 0), "most have not traded since"
    trade(app, exchange[2], 101.0, first=session(2))
    assert scored(app, *exchange, through=TARGET) == ([], 0), "later bars are not looked at"
    rows, count = scored(app, *exchange, through=session(2))
    assert [(row["status"], row["revision"]) for row in rows] == [("no_session", 0)] * 3
    assert count == 3
    assert scored(app, *exchange, through=session(3)) == (rows, 0)


def test_shares_that_trade_on_some_days_only_do_not_tell_that_a_session_was_not_held(app, exchange):
    for each in exchange:
        trade(app, each, 101.0, first=session(2))
    with app.transaction() as db:
        db.execute(
            text("DELETE FROM stockbatch.bars WHERE session = ANY(:days)"),
            {"days": [HISTORY[-2], HISTORY[-4]]},
        )
    assert scored(app, *exchange, through=session(3)) == ([], 0)


def test_one_share_that_trades_every_day_tells_that_a_session_was_not_held(app, one):
    with app.transaction() as db:
        (some_days,) = listed(db, "BBB")
        store(db, some_days, bars_of(HISTORY[::2], [100.0] * len(HISTORY[::2])))
    issue(app, forecast_of(one))
    trade(app, one, 101.0, first=session(2))
    (row,), _ = scored(app, one, through=session(2))
    assert row["status"] == "no_session"


def test_a_session_that_one_ticker_has_was_held(app, exchange):
    for each in exchange[:3]:
        trade(app, each, 101.0, first=session(2))
    with app.transaction() as db:  # a doubtful bar is a sign as well
        store(db, exchange[2], bars_of([TARGET], [400.0]), state="quarantined")
    assert scored(app, *exchange, through=session(3)) == ([], 0)


def test_a_session_that_seemed_cancelled_is_scored_when_its_bars_come(app, exchange):
    for each in exchange[:3]:
        trade(app, each, 101.0, first=session(2))
    before, _ = scored(app, *exchange, through=session(2))
    trade(app, exchange[1], 101.0)
    rows, count = scored(app, *exchange, through=session(2))
    assert (rows[:3], count) == (before, 1)
    assert (rows[3]["status"], rows[3]["actual_close"]) == ("scored", 101)
