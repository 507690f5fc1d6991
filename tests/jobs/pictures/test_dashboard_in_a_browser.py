"""The built-in dashboard as a visitor sees it, in a real browser."""

from dataclasses import dataclass

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from sqlalchemy import Engine

from jobs.replay.backtest import backtest
from jobs.words import DISCLAIMER, price
from stockbatch import database
from stockbatch.config import PREFIX
from stockbatch.records import Event, Timing
from stockbatch.store import events, instruments
from tests.support.browser import (
    DESKTOP,
    PHONE,
    complaints,
    dashboard,
    hosts_asked,
    pointed_at,
    resize,
    shown_figures,
    shown_table,
    visit,
    wait_for,
)
from tests.support.market import CODE, NOW, Market, fetch, run, session

pytestmark = pytest.mark.slow
NUMBERS = {
    "forecast": "forecast_close",
    "naive": "origin_close",
    "change": "forecast_return_pct",
    "80 % from": "close_low_80",
    "to": "close_high_80",
    "P(rise)": "probability_of_rise_pct",
}


@dataclass
class Visitor:
    """A browser before a dashboard, and the owner's engine of the database behind it."""

    browser: Chrome
    url: str
    engine: Engine

    def open(self, page):
        visit(self.browser, f"{self.url}/{page}")

    def rows(self, query, **parameters):
        return fetch(self.engine, query, **parameters)


@pytest.fixture(scope="module")
def visitor(browser, make_lasting_app, server, tmp_path_factory):
    """A database in which the jobs have worked for a month, served to a headless Chromium."""
    folder = tmp_path_factory.mktemp("dashboard")
    market = Market(folder / "bars.csv")
    app = make_lasting_app(market)
    list(backtest(app, CODE, session(-18), session(-2)))
    for offset in range(-1, 2):
        run(app, session(offset))
    with app.transaction() as db:
        reports = [
            Event(symbol="BBB", date=session(1), timing=Timing.AFTER_CLOSE),
            Event(symbol="BBB", date=session(-9)),
        ]
        events.record(db, instruments.find(db, ["BBB"]), reports, "import", NOW)
    owner = database.engine(app.settings, role="owner")
    address = server.url("reader").set(database=owner.url.database)
    variables = {
        "HOME": str(folder),
        f"{PREFIX}HOME": str(folder / "home"),
        f"{PREFIX}DATABASE_URL": database.for_clients(address),
    }
    with dashboard(variables, folder / "log") as url:
        yield Visitor(browser, url, owner)
        browser.get("about:blank")  # or else it goes on asking for a server that is gone
    owner.dispose()
    said = (folder / "log").read_text()
    assert "Traceback" not in said, said


@pytest.fixture
def desktop(visitor):
    resize(visitor.browser, DESKTOP)
    return visitor


def test_the_overview_shows_the_forecasts_of_the_next_session(desktop):
    desktop.open("")
    expected = desktop.rows(
        "SELECT *, close_high_80 / origin_close - close_low_80 / origin_close AS width"
        " FROM bi.next_session_forecast WHERE is_headline ORDER BY width DESC"
    )
    assert len(expected) == 3
    figures = shown_figures(desktop.browser)
    assert figures["Target session"] == str(session(2))
    assert figures["Tickers"] == "3"
    skills = desktop.rows(
        "SELECT skill_pct FROM bi.accuracy WHERE scope = 'ticker' AND is_headline"
        " AND metric = 'pinball' AND window_sessions = 250 AND kind = 'late'"
    )
    better = sum(row["skill_pct"] > 0 for row in skills)
    assert figures["Better than rolling quantiles, late"] == f"{better} of 3"

    table = shown_table(desktop.browser)
    assert [row["ticker"] for row in table] == [row["ticker"] for row in expected]
    for shown, row in zip(table, expected, strict=True):
        for heading, column in NUMBERS.items():
            assert float(shown[heading]) == pytest.approx(row[column])
        assert (shown["kind"], shown["session"][:10]) == ("late", str(session(2)))


def test_the_ticker_page_shows_forecast_prices_and_training(desktop):
    desktop.open("ticker?ticker=BBB")
    (row,) = desktop.rows(
        "SELECT * FROM bi.next_session_forecast WHERE ticker = 'BBB' AND is_headline"
    )
    figures = shown_figures(desktop.browser)
    assert figures == {
        "Target session": str(session(2)),
        "Forecast, currency unknown": price(row["forecast_close"]),
        "Naive: the last close": price(row["origin_close"]),
        "Change": f"{row['forecast_return_pct']:+.2f} %",
        "80 % interval": f"{price(row['close_low_80'])} to {price(row['close_high_80'])}",
        "P(rise)": f"{row['probability_of_rise_pct']:.0f} %",
    }


def test_the_pointer_shows_the_numbers_of_its_session(desktop):
    desktop.open("ticker?ticker=BBB")
    tips = pointed_at(desktop.browser, "Closing price", from_right=0.02)
    (row,) = desktop.rows(
        "SELECT close, average_50 FROM bi.price_and_forecast"
        " WHERE ticker = 'BBB' AND session = :day",
        day=tips["session"],
    )
    assert tips["close"] == f"{row['close']:,.7g}"
    assert tips["average of 50"] == f"{row['average_50']:,.7g}"

    (row,) = desktop.rows(
        "SELECT p.*, h.origin_close FROM bi.price_and_forecast AS p"
        " JOIN bi.forecast_history AS h USING (ticker, session)"
        " WHERE ticker = 'BBB' AND session = :day AND h.method = 'naive'",
        day=session(2),
    )
    tips = pointed_at(desktop.browser, "Predicted against actual", from_right=0.005)
    assert tips["session"] == str(session(2))
    assert tips["forecast"] == f"{row['forecast_close']:,.7g}"
    assert tips["actual close"] == "not yet"
    assert tips["naive forecast"] == f"{row['origin_close']:,.7g}"
    assert tips["low end, 95 %"] == f"{row['close_low_95']:,.7g}"
    assert tips["kind"] == "late"
    assert tips["event"] == f"reports after the close ({session(1)})"


def test_reports_are_marked_over_the_plots(desktop):
    desktop.open("ticker?ticker=BBB")
    words = """
    const plots = [...document.querySelectorAll('[data-testid=stVegaLiteChart] svg')];
    const plot = plots.find(one => one.textContent.includes(arguments[0]));
    return [...plot.querySelectorAll('text')].filter(text => text.textContent === 'report').map(
        text => text.getBoundingClientRect().right)
    """
    for title in ("Closing price", "Predicted against actual"):
        past, ahead = desktop.browser.execute_script(words, title)
        assert past < ahead - 50
    desktop.open("")
    shown = {row["ticker"]: row["event"] for row in shown_table(desktop.browser)}
    assert shown == {"AAA": "", "BBB": "reports after the close", "CCC": ""}


def test_a_visitor_zooms_to_the_last_weeks(desktop):
    desktop.open("ticker?ticker=BBB")
    points = """
    const plots = [...document.querySelectorAll('[data-testid=stVegaLiteChart] svg')];
    const plot = plots.find(one => one.textContent.includes('Predicted against actual'));
    const counts = [...plot.querySelectorAll('g.mark-symbol.role-mark')].map(
        group => group.querySelectorAll('path').length);
    return Math.max(...counts) === arguments[0] ? counts.length : null
    """
    (row,) = desktop.rows(
        "SELECT count(*) FROM bi.price_and_forecast"
        " WHERE ticker = 'BBB' AND forecast_close IS NOT NULL"
    )
    assert wait_for(desktop.browser, points, row["count"])
    desktop.browser.find_element(By.XPATH, "//button[normalize-space()='3 weeks']").click()
    assert wait_for(desktop.browser, points, 16)  # of the session to come there is no actual


def test_the_accuracy_page_compares_methods_and_tickers(desktop):
    desktop.open("accuracy")
    expected = desktop.rows(
        "SELECT * FROM bi.leaderboard WHERE kind = 'late' AND window_sessions = 250"
        " AND session = (SELECT max(session) FROM bi.leaderboard) ORDER BY pinball"
    )
    assert len(expected) > 3
    found = shown_table(desktop.browser)
    assert [row["method"] for row in found] == [row["method"] for row in expected]
    for shown, row in zip(found[:-1], expected[:-1], strict=True):
        assert float(shown["scored"]) == row["n"]
        assert float(shown["pinball"]) == pytest.approx(row["pinball"])
        assert float(shown["inside 80 %"]) == pytest.approx(row["coverage_80_pct"])
    assert found[-1]["method"] == "naive"  # it has no quantiles
    assert float(found[-1]["point vs naive"]) == 0

    (row,) = desktop.rows(
        "SELECT skill_pct FROM bi.accuracy WHERE ticker = 'CCC' AND is_headline"
        " AND metric = 'pinball' AND window_sessions = 250 AND kind = 'late'"
    )
    shown = {row["ticker"]: row for row in shown_table(desktop.browser, 1)}
    assert float(shown["CCC"]["vs rolling quantile"]) == pytest.approx(row["skill_pct"])


def test_the_operations_page_shows_runs_and_outcomes(desktop):
    desktop.open("operations")
    figures = shown_figures(desktop.browser)
    assert figures == {
        "Last run": "finished",
        "Its session": str(session(1)),
        "Tickers": "3",
        "Without a forecast": "0",
    }
    runs = shown_table(desktop.browser)
    assert [row["session"][:10] for row in runs] == [str(session(day)) for day in (1, 0, -1)]
    expected = desktop.rows(
        "SELECT action, reason, count(*) AS tickers FROM bi.outcomes WHERE session = :day"
        " GROUP BY action, reason ORDER BY tickers DESC, action",
        day=session(1),
    )
    found = [
        (row["outcome"], row["reason"], int(row["tickers"]))
        for row in shown_table(desktop.browser, 1)
    ]
    assert sorted(found) == sorted(tuple(row.values()) for row in expected)


@pytest.mark.parametrize("page", ["", "ticker", "accuracy", "operations", "how-to-read"])
def test_a_page_fits_a_phone_and_asks_nobody_else(visitor, page):
    browser = visitor.browser
    resize(browser, PHONE)
    hosts_asked(browser), complaints(browser)
    visitor.open(page)
    width = PHONE[0]
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    wide = """
    const main = document.querySelector('[data-testid=stMain]');
    const parts = ['Metric', 'VegaLiteChart', 'DataFrame', 'CaptionContainer', 'ButtonGroup'];
    const names = parts.map(part => `[data-testid=st${part}]`).join(', ') + ', table';
    return [main.scrollWidth, ...[...main.querySelectorAll(names)].map(
        part => part.getBoundingClientRect().right)]
    """
    rights = browser.execute_script(wide)
    assert len(rights) > 3
    assert max(rights) <= width
    said = browser.execute_script("return document.body.innerText")
    assert DISCLAIMER in " ".join(said.split())
    assert (
        browser.execute_script(
            "return document.querySelectorAll('[data-testid=stException]').length"
        )
        == 0
    )
    assert hosts_asked(browser) == {"127.0.0.1"}
    assert complaints(browser) == []


def test_only_the_reader_is_connected(desktop):
    desktop.open("operations")
    found = desktop.rows(
        "SELECT DISTINCT usename, application_name FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        " AND application_name LIKE 'stockbatch%' AND application_name <> 'stockbatch writer'"
    )
    assert found == [{"usename": "reader", "application_name": "stockbatch reader"}]
