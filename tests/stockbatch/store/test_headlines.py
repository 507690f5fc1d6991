"""The method shown first: dated changes, what is shown without a forecast by it, who follows."""

from datetime import date, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from stockbatch.exceptions import AccessDenied, UnsuitableHeadline
from stockbatch.methods import registry
from stockbatch.store import bi, forecasts, headlines
from stockbatch.store import methods as method_store
from tests.support.ledger import bars_of, forecast_of, measured, naive_of, opened, rows, store
from tests.support.market import NOW, ORIGIN, session

TARGET, AFTER = session(1), session(2)
CLOSES = {"combined": 101.0, "lstm": 102.0, "rolling_quantile": 103.0, "ewma": 104.0}
METHODS = (*CLOSES, "naive")


@pytest.fixture(autouse=True)
def _known(db):
    method_store.add_missing(db, registry.described())


def made(instrument, *names, target=TARGET):
    """Return a forecast of one session by each method."""
    sessions = {"target_session": target}
    return [
        naive_of(instrument, **sessions)
        if name == "naive"
        else forecast_of(instrument, method=name, close=CLOSES[name], **sessions)
        for name in names
    ]


def issue(db, *all_made):
    forecasts.add(db, all_made, opened(db), issued_at=NOW)


def shown(db):
    """Return method and forecast close of each session that has a row, by session."""
    query = "SELECT session, method, forecast_close FROM bi.price_and_forecast ORDER BY session"
    return {row["session"]: (row["method"], row["forecast_close"]) for row in rows(db, query)}


def first_of_next(db):
    query = "SELECT method FROM bi.next_session_forecast WHERE is_headline"
    return [row["method"] for row in rows(db, query)]


def test_a_new_database_shows_the_average_from_the_beginning(db):
    (change,) = bi.headlines.changes(db).rows()
    assert change | {"from_session": None, "method": "combined", "title": "Combined"} == change
    assert headlines.order(db) == ["combined", "lstm", "rolling_quantile"]


@pytest.mark.parametrize("with_a_bar", [True, False])
@pytest.mark.parametrize(
    ("methods", "expected"),
    [
        (METHODS, "combined"),
        (("naive", "ewma", "rolling_quantile", "lstm"), "lstm"),
        (("naive", "ewma", "rolling_quantile"), "rolling_quantile"),
        (("naive", "ewma"), None),
    ],
)
def test_the_first_available_is_shown_and_named(db, one, methods, expected, with_a_bar):
    days = [ORIGIN, TARGET] if with_a_bar else [ORIGIN]
    store(db, one, bars_of(days, [100.0] * len(days)))
    issue(db, *made(one, *methods))
    row = {TARGET: (expected, CLOSES.get(expected))} if with_a_bar or expected else {}
    assert shown(db) == {ORIGIN: (None, None)} | row
    assert first_of_next(db) == ([expected] if expected else [])
    (best,) = bi.forecasts.latest(db).rows()
    assert best["method"] == expected or expected is None  # then any other, not nothing


def test_a_change_is_for_sessions_to_come(db, one):
    issue(db, *made(one, *METHODS))
    assert headlines.change(db, "rolling_quantile", None) == TARGET + timedelta(days=1)
    assert headlines.order(db) == ["combined", "lstm", "rolling_quantile"]
    assert first_of_next(db) == ["combined"]
    issue(db, *made(one, *METHODS, target=AFTER))
    assert shown(db) == {TARGET: ("combined", 101), AFTER: ("rolling_quantile", 103)}
    assert headlines.order(db) == ["rolling_quantile", "lstm"]
    assert first_of_next(db) == ["rolling_quantile"]
    assert [row["from_session"] for row in bi.headlines.changes(db).rows()] == [
        None,
        TARGET + timedelta(days=1),
    ]


def test_a_change_may_be_planned_and_changed_again(db, one):
    issue(db, *made(one, *METHODS))
    assert headlines.change(db, "ewma", AFTER) == AFTER
    assert headlines.change(db, "lstm", AFTER) == AFTER  # of the same session the last one counts
    assert headlines.change(db, "rolling_quantile", session(3)) == session(3)
    for target in (AFTER, session(3)):
        issue(db, *made(one, *METHODS, target=target))
    assert [method for method, _ in shown(db).values()] == ["combined", "lstm", "rolling_quantile"]


def test_before_the_first_forecast_it_is_changed_for_all(db, one):
    assert headlines.change(db, "ewma", None) == date.min
    issue(db, *made(one, *METHODS))
    assert shown(db) == {TARGET: ("ewma", 104)}


@pytest.mark.parametrize("first", [TARGET, ORIGIN, date.min])
def test_history_is_not_relabelled(db, one, first):
    issue(db, *made(one, *METHODS))
    with pytest.raises(UnsuitableHeadline, match=f"sessions up to {TARGET} have been forecast"):
        headlines.change(db, "lstm", first)
    add = "INSERT INTO stockbatch.headlines (from_session, method) VALUES (:first, 'lstm')"
    with pytest.raises((AccessDenied, ProgrammingError), match="what is shown stays"):
        db.execute(text(add), {"first": first})


def measure(db, instrument, through, *methods, skill=0.1):
    """Store a pinball loss and a coverage of some methods."""
    told = dict.fromkeys(("pinball", "coverage_80"), (9, 0.5, 1.0, skill))
    for method in methods:
        measured(db, instrument, through, told, method=method, window=250)


def test_accuracy_is_that_of_the_first_method_measured(db, one):
    for scope in (one, None):
        measure(db, scope, TARGET, "lstm", "rolling_quantile", "ewma")
    query = "SELECT DISTINCT scope, method FROM bi.{} WHERE is_headline ORDER BY scope"
    for view in ("accuracy", "interval_coverage"):
        found = [(row["scope"], row["method"]) for row in rows(db, query.format(view))]
        assert found == [("calendar", "lstm"), ("ticker", "lstm")]  # no blank while it is new
    for scope in (one, None):
        measure(db, scope, AFTER, "combined", "lstm", "rolling_quantile")
    (of_ticker,) = bi.accuracy.by_ticker(db, "late", 250).rows()
    assert of_ticker["method"] == "combined"
    query = (
        "SELECT session, method FROM bi.accuracy"
        " WHERE scope = 'calendar' AND metric = 'pinball' AND is_headline ORDER BY session"
    )
    found = [(row["session"], row["method"]) for row in rows(db, query)]
    assert found == [(TARGET, "lstm"), (AFTER, "combined")]


def test_metrics_of_a_method_that_ended_are_those_of_the_past(db, one):
    measure(db, one, TARGET, "combined")
    measure(db, one, AFTER, "lstm")
    (of_ticker,) = bi.accuracy.by_ticker(db, "late", 250).rows()
    assert of_ticker["method"] == "lstm"


def test_a_skill_is_shown_while_the_headline_has_none(db, one):
    issue(db, *made(one, *METHODS))
    measure(db, one, TARGET, "rolling_quantile", skill=0.0)
    measure(db, one, TARGET, "lstm", skill=0.02)
    (row,) = bi.forecasts.latest_with_skill(db).rows()
    assert (row["method"], row["skill_method"], row["skill_pct"]) == ("combined", "lstm", 2)
    measure(db, one, AFTER, "combined", skill=0.03)
    (row,) = bi.forecasts.latest_with_skill(db).rows()
    assert (row["skill_method"], row["skill_pct"]) == ("combined", pytest.approx(3))


def test_history_and_errors_are_of_what_was_shown(db, one):
    issue(db, *made(one, "lstm", "naive", "ewma"))
    issue(db, *made(one, *METHODS, target=AFTER))
    everything = (date.min, date.max, 10)
    found = bi.forecasts.history(db, "AAA", None, *everything).rows()
    assert [(row["session"], row["method"]) for row in found] == [
        (AFTER, "combined"),
        (TARGET, "lstm"),
    ]
    found = bi.forecasts.history(db, "AAA", "ewma", *everything).rows()
    assert [row["session"] for row in found] == [AFTER, TARGET]
    (page,) = bi.forecasts.latest_by(db, None, "", 10).rows()
    assert page["method"] == "combined"
