"""The page of risk: what it says, without a browser."""

import pytest
import streamlit
from sqlalchemy.orm import Session

from jobs.pictures import risk
from jobs.pictures.dashboard.page import escaped
from stockbatch.records import GroupKind, Kind, SubjectKind
from stockbatch.store import instruments, labels
from stockbatch.store.risk import Subject
from tests.support.ledger import bars_of, listed, store
from tests.support.market import session
from tests.support.pages import figures, tables, texts
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

HOSTILE = "<b>![x](http://e.com/x.png)"


@pytest.fixture
def told(engine):
    """A database in which the risk of two portfolios, a group and three tickers has been told."""
    with Session(engine) as db:
        aaa, bbb, ccc = held = listed(db, "AAA", "BBB", "CCC")
        for one, close in zip(held, (100.0, 50.0, 20.0), strict=True):
            store(db, one, bars_of([session(0)], [close]))
        labels.put(db, GroupKind.SECTOR, "Energy", [aaa.id, bbb.id])
        hold(db, "Ours", {aaa: 60.0, bbb: -80.0})
        hold(db, HOSTILE, {ccc: 1.0})
        hold(db, "New", {ccc: 2.0})
        tell(
            db,
            of_portfolio("Ours", [aaa, bbb]),
            silent_of(HOSTILE, "there is no forecast of <CCC>"),
            of_group("Energy", [aaa, bbb], times=0.5),
            *(of_ticker(one, times=n) for n, one in enumerate(held, 1)),
        )
        db.commit()
        yield db


def test_a_portfolio_comes_first_with_its_levels_in_percent_and_money(open_page, told):
    app = open_page("risk")
    portfolios, levels, holdings = tables(app)[:3]
    assert [row["portfolio"] for row in portfolios] == ["Ours", HOSTILE, "New"]
    assert portfolios[0]["value at risk, 5\N{NO-BREAK SPACE}%"] == "2.00 %"
    assert portfolios[0]["shortfall, 1\N{NO-BREAK SPACE}%"] == "3.60 %"
    assert [row["why there is no forecast"] for row in portfolios] == [
        "",
        "there is no forecast of <CCC>",
        risk.UNTOLD,
    ]
    assert figures(app)["Exposure"] == "10,000.00 USD"
    assert figures(app)["80 % interval"] == "−1.2 to +1.3 %"
    assert figures(app)["95 % interval"] == "−2.4 to +2.5 %"
    assert levels == [
        {
            "sessions": f"one in {often}",
            "level": f"{level} %",
            "value at risk": f"{at_risk:.2f} %",
            "in USD": f"{100 * at_risk:.2f}",
            "expected shortfall": f"{shortfall:.2f} %",
            "shortfall in USD": f"{100 * shortfall:.2f}",
        }
        for often, level, at_risk, shortfall in (
            (20, "5", 2.0, 2.6),
            (40, "2.5", 2.4, 3.1),
            (100, "1", 3.0, 3.6),
        )
    ]
    assert [(row["ticker"], row["value"], row["of the exposure"]) for row in holdings] == [
        ("AAA", "6,000.00", "60.0 %"),
        ("BBB", "−4,000.00", "−40.0 %"),
    ]
    said = texts(app)
    assert "late: made after the deadline" in said.replace("\\", "")
    assert "700 past sessions" in said
    assert "this session is over" in said


def test_a_portfolio_without_a_forecast_says_why_and_is_no_markup(open_page, told):
    app = open_page("risk", portfolio=HOSTILE)
    reason = f"No forecast for {session(1)}: there is no forecast of <CCC>."
    assert escaped(reason) in [box.value for box in app.warning]
    assert app.selectbox[0].options == ["Ours", HOSTILE, "New"]
    assert HOSTILE not in texts(app)
    assert "<b>" not in "".join(box.proto.body for box in app.get("html"))
    assert tables(app)[1][0]["ticker"] == "CCC"
    app = open_page("risk", portfolio="New")
    assert "Its risk has not been told yet" in texts(app)
    assert "`stockbatch run`" in texts(app)
    said = texts(open_page("risk", portfolio="javascript:alert(1)"))
    assert "no portfolio of the name in the address" in said
    assert "javascript" not in said


def test_a_portfolio_of_which_nothing_but_its_holdings_is_known_is_shown(open_page, engine):
    with Session(engine) as db:
        (aaa,) = listed(db, "AAA")
        hold(db, "Ours", {aaa: 3.0})
        db.commit()
    app = open_page("risk")
    assert tables(app) == [[{"ticker": "AAA", "quantity": "3"}]]
    assert "Its risk has not been told yet" in texts(app)
    assert "The risk of no ticker has been told yet" in texts(app)


def test_groups_and_tickers_have_the_largest_shortfall_first(open_page, told):
    app = open_page("risk")
    groups, tickers = tables(app)[3:5]
    assert [row["group"] for row in groups] == ["Energy"]
    assert groups[0]["shortfall, 5\N{NO-BREAK SPACE}%"] == "1.30 %"
    found = {row["ticker"]: row["shortfall, 5\N{NO-BREAK SPACE}%"] for row in tickers}
    assert list(found.items()) == [("CCC", "7.80 %"), ("BBB", "5.20 %"), ("AAA", "2.60 %")]
    app.text_input[0].set_value(" bb").run()
    assert [row["ticker"] for row in tables(app)[4]] == ["BBB"]
    app.text_input[0].set_value("").run()
    (group,) = (box for box in app.selectbox if box.label == "Group or watchlist")
    group.set_value("sector: Energy").run()
    assert [row["ticker"] for row in tables(app)[4]] == ["BBB", "AAA"]
    app.text_input[0].set_value("CCC").run()
    assert "No ticker or name has that in it" in texts(app)


def test_who_is_removed_from_the_watchlist_is_not_shown(open_page, told):
    instruments.remove(told, ["CCC"])
    told.commit()
    assert [row["ticker"] for row in tables(open_page("risk"))[4]] == ["BBB", "AAA"]


def test_how_well_it_was_told_is_said_in_words_of_one_kind(open_page, told):
    ours = Subject(SubjectKind.PORTFOLIO, "Ours")
    measured(told, ours)
    measured(told, ours, kind=Kind.BACKTEST, breaches=40, kupiec_p=1e-9)
    measured(told, ours, level=0.025, breaches=7, z2=-1.2)
    measured(told, ours, window_sessions=20, sessions=12, breaches=0, christoffersen_p=None)
    (aaa,) = instruments.find(told, ["AAA"])
    measured(told, Subject(SubjectKind.TICKER, None, aaa.id), breaches=1, kupiec_p=0.0003)
    told.commit()
    app = open_page("risk")
    portfolio, ticker = tables(app)[-2:]
    assert (portfolio[0]["of"], portfolio[0]["in words"]) == ("Ours", "as expected")
    assert (portfolio[0]["breaches"], portfolio[0]["expected"]) == ("12", "12.5")
    assert portfolio[0]["Kupiec p"] == "0.900"
    assert portfolio[0]["Z2"] == "+0.10"
    assert (ticker[0]["of"], ticker[0]["in words"]) == ("AAA", "too few breaches")
    assert figures(app)["Portfolios as expected"] == "1 of 1"
    assert figures(app)["Tickers as expected"] == "0 of 1"
    app.button_group[-1].set_value(2.5).run()
    assert tables(app)[-1][0]["in words"] == "larger losses than told"
    app = open_page("risk")
    app.button_group[-2].set_value(20).run()
    assert tables(app)[-1][0]["in words"] == "too early to tell"
    assert figures(app)["Portfolios as expected"] == "too early to tell"
    assert "Christoffersen p" not in tables(app)[-1][0]
    app = open_page("risk")
    app.button_group[-3].set_value(Kind.BACKTEST).run()
    assert tables(app)[-1][0]["in words"] == "too many breaches"
    assert "backtest: a simulation of the past" in texts(app)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, risk.EXPECTED),
        ({"sessions": 19, "kupiec_p": 0.0}, risk.EARLY),
        ({"kupiec_p": 0.009}, risk.MANY),
        ({"kupiec_p": 0.009, "breaches": 1}, risk.FEW),
        ({"kupiec_p": 0.011}, risk.EXPECTED),
        ({"christoffersen_p": 0.009}, risk.CLUSTERED),
        ({"z2": -2.0}, risk.EXPECTED),  # what is unlikely is known at 2.5 % alone
        ({"z2": -0.71, "level_pct": 2.5}, risk.LARGER),
        ({"z2": -0.69, "level_pct": 2.5}, risk.EXPECTED),
        ({"z2": -2.0, "level_pct": 2.5, "sessions": 199}, risk.EXPECTED),
        ({"level_pct": 1.0, "sessions": 99}, risk.EARLY),
        ({"kupiec_p": float("nan"), "christoffersen_p": float("nan")}, risk.EXPECTED),
    ],
)
def test_a_verdict(changes, words):
    told = {"sessions": 250, "level_pct": 5.0, "breaches": 20, "kupiec_p": 0.03, "z2": 0.0}
    assert risk.verdict(told | {"christoffersen_p": 0.2} | changes) == words


def test_the_past_of_a_portfolio_is_a_chart_of_one_kind(open_page, told):
    aaa, bbb = instruments.find(told, ["AAA", "BBB"])
    for day in range(-10, 0):
        tell(told, of_portfolio("Ours", [aaa, bbb]), day=day)
        tell(told, of_portfolio("Ours", [aaa, bbb]), day=day, kind=Kind.BACKTEST)
        came(told, "Ours", session(day + 1), -0.022 if day == -4 else 0.001)
    told.commit()
    app = open_page("risk")
    assert len(app.get("arrow_vega_lite_chart") or app.get("vega_lite_chart")) == 1
    kinds = app.button_group[0]
    assert kinds.options == ["late", "backtest"]


def test_without_a_portfolio_the_page_names_the_command(open_page, engine):
    with Session(engine) as db:
        (aaa,) = listed(db, "AAA")
        tell(db, of_ticker(aaa))
        db.commit()
    app = open_page("risk")
    assert "`stockbatch portfolios import FILE`" in texts(app)
    assert [row["ticker"] for row in tables(app)[0]] == ["AAA"]
    assert "No forecast of risk has been scored yet" in texts(app)
    streamlit.cache_data.clear()
