"""What is asked of risk: the newest, the preferred kind, page by page."""

from datetime import date

import pytest

from stockbatch.records import GroupKind, Kind
from stockbatch.store import bi
from tests.support.ledger import in_time, listed
from tests.support.market import session
from tests.support.risks import (
    came,
    hold,
    measured,
    of_group,
    of_portfolio,
    of_ticker,
    silent_of,
    tell,
)


def test_the_newest_session_of_an_exchange_counts_and_its_preferred_kind(db):
    aaa, bbb = listed(db, "AAA", "BBB")
    tell(db, of_ticker(aaa), of_ticker(bbb), of_group("Gone", [aaa, bbb]), day=-1)
    tell(db, of_ticker(aaa, times=3), kind=Kind.BACKTEST)
    with in_time(db):
        tell(db, of_ticker(aaa))
    tell(db, of_ticker(aaa, times=2))
    (row,) = bi.risk.latest(db).rows()  # of neither BBB nor the group is anything told
    assert (row["subject"], row["kind"], row["session"]) == ("AAA", "live", session(1))
    told = {name: row[f"value_at_risk_{name}_pct"] for name in ("5", "2_5", "1")}
    assert told == {"5": 2.0, "2_5": 2.4, "1": 3.0}
    assert row["expected_shortfall_1_pct"] == pytest.approx(3.6)
    assert row["value_at_risk_5"] is None


def test_a_demonstration_that_ends_later_hides_nothing_of_ones_own(db):
    (aaa,), (demo,) = listed(db, "AAA"), listed(db, "^DEMO", demo=True)
    assert bi.risk.latest(db).rows() == []
    tell(db, of_ticker(demo), day=5)
    measured(db, of_ticker(demo).subject, kind=Kind.LATE)
    assert [row["ticker"] for row in bi.risk.latest(db).rows()] == ["^DEMO"]
    assert [row["kind"] for row in bi.risk.kinds(db).rows()] == ["late"]
    tell(db, of_ticker(aaa), day=-200)
    measured(db, of_ticker(aaa).subject, kind=Kind.BACKTEST)
    assert [row["ticker"] for row in bi.risk.latest(db).rows()] == ["AAA"]
    assert [row["ticker"] for row in bi.risk.latest(db, "^DEMO").rows()] == ["^DEMO"]
    assert [row["kind"] for row in bi.risk.kinds(db).rows()] == ["backtest"]


def test_what_the_demonstration_measured_later_hides_nothing_of_ones_own(db):
    (aaa,), (demo,) = listed(db, "AAA"), listed(db, "^DEMO", demo=True)
    measured(db, of_ticker(demo).subject)
    measured(db, of_ticker(aaa).subject, day=-60)
    found = bi.risk.backtests(db, "late", 250).rows()
    assert [row["ticker"] for row in found] == ["AAA", "^DEMO"]


def test_groups_of_one_name_are_told_apart(db):
    aaa, bbb = listed(db, "AAA", "BBB")
    sector = of_group("Energy", [aaa, bbb])
    tag = sector._replace(subject=sector.subject._replace(kind=GroupKind.TAG))
    tell(db, sector, tag)
    found = [(row["subject_kind"], row["members"]) for row in bi.risk.latest(db).rows()]
    assert found == [("sector", 2), ("tag", 2)]


def test_one_ticker_may_be_asked_for_alone(db):
    aaa, bbb = listed(db, "AAA", "BBB")
    tell(db, of_ticker(aaa), of_ticker(bbb, times=2), of_group("Energy", [aaa, bbb]))
    (row,) = bi.risk.latest(db, "BBB").rows()
    assert (row["ticker"], row["value_at_risk_5_pct"]) == ("BBB", 4.0)
    assert bi.risk.latest(db, "CCC").rows() == []


def test_a_forecast_made_late_goes_before_the_reason_there_was_none_in_time(db):
    (aaa,) = listed(db, "AAA")
    hold(db, "Ours", {aaa: 2.0})
    assert [row["session"] for row in bi.portfolios.latest(db).rows()] == [None]
    tell(db, of_portfolio("Ours", [aaa]), day=-1)
    with in_time(db):
        tell(db, silent_of("Ours", "no bar"))
    (row,) = bi.portfolios.latest(db).rows()
    assert (row["session"], row["reason"]) == (session(1), "no bar")
    assert row["value_at_risk_5"] is None
    tell(db, of_portfolio("Ours", [aaa], times=2))
    (row,) = bi.portfolios.latest(db).rows()
    assert (row["kind"], row["reason"], row["value_at_risk_5"]) == ("late", None, 400.0)
    assert row["return_low_95_pct"] == -4.8


def test_what_is_sold_out_is_in_the_past_alone(db):
    (aaa,) = listed(db, "AAA")
    hold(db, "Ours", {aaa: 2.0})
    tell(db, of_portfolio("Ours", [aaa]), day=-1)
    came(db, "Ours", session(0), -0.021)
    hold(db, "Ours", {aaa: 0.0})
    assert bi.portfolios.latest(db).rows() == []
    (row,) = bi.portfolios.forecasts(db, "Ours", date.min, date.max, "", 9).rows()
    assert (row["actual_return_pct"], row["inside_95"]) == (-2.1, True)
    (row,) = bi.risk.history(db, "Ours", 5.0).rows()
    assert (row["is_breach"], row["actual_result"]) == (True, -210.0)
