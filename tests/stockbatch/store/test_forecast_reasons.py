"""What is shown first of a forecast: how far, how unusual, how likely, and why."""

import re

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from stockbatch.records import COMBINED, LSTM, Event, ForecastOrder, MoveReason, Timing
from stockbatch.store import bi, events, forecasts
from tests.support.ledger import (
    QUANTILES,
    bars_of,
    forecast_of,
    listed,
    naive_of,
    opened,
    rows,
    store,
)
from tests.support.market import NOW, ORIGIN, session

TARGET = session(1)
MOVE = (np.exp(QUANTILES[7]) - np.exp(QUANTILES[3])) / 2
USUAL = MOVE / 1.6
NUMBERS = {
    "probability_of_rise": 0.5,
    "probability_of_fall": 0.45,
    "probability_of_move_2": 0.2,
    "probability_of_move_5": 0.01,
    "usual_move": USUAL,
}
REASONS = {
    MoveReason.REPORTS: np.log(1.5),
    MoveReason.MARKET_MOVES: np.log(1.2),
    MoveReason.OWN_MOVES: np.log(0.9),
    MoveReason.TURNOVER: np.log(1.015),
    MoveReason.LAST_YEAR: np.log(1.6) - np.log(1.5 * 1.2 * 0.9 * 1.015),
}
"""Whose factors multiply to 1.6."""


def combined(instrument, **changes):
    return forecast_of(instrument, **{"method": COMBINED, "reasons": REASONS} | NUMBERS | changes)


def issue(db, *made, **options):
    forecasts.add(db, made, opened(db), **{"issued_at": NOW} | options)


def shown(db, view, columns):
    (row,) = rows(db, f"SELECT {', '.join(columns)} FROM bi.{view} WHERE session = :t", t=TARGET)
    return row


@pytest.mark.parametrize("view", ["forecast_history", "next_session_forecast"])
def test_a_forecast_leads_with_what_varies(db, one, view):
    issue(db, combined(one))
    expected = {
        "expected_move_pct": 100 * MOVE,
        "usual_move_pct": 100 * USUAL,
        "move_ratio": 1.6,
        "downside_pct": 100 * np.expm1(QUANTILES[2]),
        "upside_pct": 100 * np.expm1(QUANTILES[8]),
        "probability_of_rise_pct": 50,
        "probability_of_fall_pct": 45,
        "probability_of_move_2_pct": 20,
        "probability_of_move_5_pct": 1,
    }
    assert shown(db, view, expected) == pytest.approx(expected)
    row = shown(db, view, ["expected_move_pct", "close_low_80", "close_high_80", "origin_close"])
    half = (row["close_high_80"] - row["close_low_80"]) / 2
    assert row["expected_move_pct"] == pytest.approx(100 * half / row["origin_close"])


def test_the_panel_knows_the_expected_move(db, one):
    store(db, one, bars_of([ORIGIN, TARGET], [100.0, 101.0]))
    issue(db, combined(one))
    row = shown(db, "price_and_forecast", ["expected_move_pct", "usual_move_pct", "move_ratio"])
    assert list(row.values()) == pytest.approx([100 * MOVE, 100 * USUAL, 1.6])


def test_what_older_versions_did_not_state_is_unknown(db, one):
    issue(db, forecast_of(one, method=LSTM), naive_of(one))
    unknown = ["usual_move_pct", "move_ratio", "probability_of_fall_pct", "why"]
    found = rows(db, f"SELECT {', '.join(unknown)} FROM bi.next_session_forecast")
    assert found == 2 * [dict.fromkeys(unknown)]
    (naive,) = rows(db, "SELECT * FROM bi.next_session_forecast WHERE method = 'naive'")
    assert (naive["expected_move_pct"], naive["downside_pct"]) == (None, None)


def test_where_no_move_is_usual_there_is_no_ratio(db, one):
    issue(db, combined(one, usual_move=0.0, reasons=None))
    row = shown(db, "next_session_forecast", ["usual_move_pct", "move_ratio", "why"])
    assert row == {"usual_move_pct": 0, "move_ratio": None, "why": None}


def test_every_reason_is_a_row_the_largest_first(db, one):
    issue(db, combined(one), forecast_of(one, method=LSTM))
    found = rows(db, "SELECT * FROM bi.forecast_reasons ORDER BY size_rank")
    ranked = sorted(REASONS, key=lambda reason: -abs(REASONS[reason]))
    assert [row["reason"] for row in found] == ranked
    assert [row["size_rank"] for row in found] == [1, 2, 3, 4, 5]
    for row in found:
        assert (row["ticker"], row["session"], row["method"]) == ("AAA", TARGET, COMBINED)
        assert row["factor"] == pytest.approx(np.exp(REASONS[row["reason"]]), rel=1e-12)
    assert np.prod([row["factor"] for row in found]) == pytest.approx(1.6, rel=1e-9)
    query = "SELECT move_ratio FROM bi.forecast_history WHERE method = 'combined'"
    assert rows(db, query) == [{"move_ratio": pytest.approx(1.6, rel=1e-9)}]


def test_one_sentence_says_why(db, one):
    issue(db, combined(one))
    (row,) = rows(db, "SELECT why FROM bi.next_session_forecast")
    assert row["why"] == (
        "1.6 × usual: a report is near; market volatility up; own range below its average"
    )
    report = Event(symbol="AAA", date=ORIGIN, timing=Timing.AFTER_CLOSE)
    events.record(db, [one], [report], "import", NOW)
    (row,) = rows(db, "SELECT why FROM bi.next_session_forecast")
    assert row["why"].startswith("1.6 × usual: reports after the close; market volatility up")


def test_what_makes_little_difference_is_not_said(db, one):
    small = {MoveReason.LEVEL: np.log(1.019), MoveReason.LAST_YEAR: -np.log(1.019)}
    issue(db, combined(one, usual_move=MOVE, reasons=small))
    (row,) = rows(db, "SELECT why FROM bi.next_session_forecast")
    assert row["why"] == "1.0 × usual"
    assert len(rows(db, "SELECT FROM bi.forecast_reasons")) == 2


def test_the_reasons_are_those_of_the_forecast_that_is_shown(db, one):
    issue(db, combined(one, fingerprint="1"))
    other = {MoveReason.LSTM: np.log(1.6)}
    issue(db, combined(one, fingerprint="2", reasons=other), backtest=True)
    assert len(rows(db, "SELECT FROM bi.forecast_reasons")) == len(REASONS)
    issue(db, combined(one, fingerprint="3", reasons=other))
    (row,) = rows(db, "SELECT reason, factor FROM bi.forecast_reasons")
    assert row == {"reason": "lstm", "factor": pytest.approx(1.6)}
    (row,) = rows(db, "SELECT why FROM bi.next_session_forecast")
    assert row["why"] == "1.6 × usual: the network expects more"


def test_every_reason_has_its_words_for_more_and_for_less(db, one):
    signs = {reason: (-1) ** place for place, reason in enumerate(MoveReason)}
    phrases = set()
    for turn, fingerprint in ((1, "1"), (-1, "2")):
        terms = {reason: turn * sign * 0.1 for reason, sign in signs.items()}
        issue(db, combined(one, reasons=terms, fingerprint=fingerprint))
        phrases |= {row["phrase"] for row in rows(db, "SELECT phrase FROM bi.forecast_reasons")}
    assert None not in phrases
    assert len(phrases) == 2 * len(MoveReason)


def test_a_word_that_is_no_reason_is_refused(db, one):
    rule = "SELECT pg_get_constraintdef(oid) AS rule FROM pg_constraint WHERE conname = :name"
    (found,) = rows(db, rule, name="forecasts_reasons_check")
    listed_there = set(re.findall(r"'(\w+)'::text", found["rule"])) - {"object"}
    assert listed_there == set(MoveReason)
    with pytest.raises(IntegrityError, match="forecasts_reasons_check"), db.begin_nested():
        issue(db, combined(one, reasons={"mood": 0.1}))


@pytest.mark.parametrize(
    "wrong",
    [
        {"probability_of_fall": 1.1},
        {"probability_of_move_2": float("nan")},
        {"probability_of_move_5": -0.1},
        {"usual_move": float("inf")},
        {"usual_move": -0.1},
    ],
)
def test_impossible_numbers_are_refused(db, one, wrong):
    with pytest.raises(IntegrityError, match="forecasts_moves_check"), db.begin_nested():
        issue(db, combined(one, **wrong))


# ---- orders

WIDE = tuple(2 * quantile for quantile in QUANTILES)
SKEWED = (*(3 * quantile for quantile in QUANTILES[:4]), *QUANTILES[4:])
ORDERS = {
    ForecastOrder.TICKER: ["AAA", "BBB", "CCC", "DDD"],
    ForecastOrder.LARGEST_EXPECTED_MOVE: ["BBB", "CCC", "AAA", "DDD"],
    ForecastOrder.MOST_UNUSUAL: ["AAA", "CCC", "BBB", "DDD"],
    ForecastOrder.LARGEST_DOWNSIDE: ["CCC", "BBB", "AAA", "DDD"],
    ForecastOrder.MOST_PROBABLE_RISE: ["CCC", "AAA", "BBB", "DDD"],
}


@pytest.fixture
def four(db, one):
    """Forecasts of four tickers, of which the last has a naive one only."""
    bbb, ccc, ddd = listed(db, "BBB", "CCC", "DDD")
    issue(
        db,
        combined(one),
        combined(bbb, quantiles=WIDE, usual_move=4 * MOVE, probability_of_rise=0.4),
        combined(ccc, quantiles=SKEWED, usual_move=2 * MOVE, probability_of_rise=0.6),
        naive_of(ddd),
    )


@pytest.mark.parametrize(("order", "expected"), ORDERS.items())
def test_what_comes_first_is_what_was_asked_for(db, four, order, expected):
    assert [row["ticker"] for row in bi.forecasts.latest(db, order).rows()] == expected
    found = bi.forecasts.latest_with_skill(db, order).rows()
    assert [row["ticker"] for row in found] == expected


@pytest.mark.parametrize(("order", "expected"), ORDERS.items())
def test_pages_follow_the_order(db, four, order, expected):
    db.execute(text("UPDATE stockbatch.instruments SET active = true"))
    after, pages = "", []
    for _ in range(4):
        (row,) = bi.forecasts.latest_by(db, None, after, 1, order).rows() or [None]
        if row is None:
            break
        after = row["ticker"]
        pages.append(after)
    assert pages == expected[:3]  # the last has no headline
    everything = bi.forecasts.latest_by(db, None, "", 10, order).rows()
    assert [row["ticker"] for row in everything] == expected[:3]
