"""The built-in dashboard as a visitor sees it, in a real browser."""

import re
import time
from dataclasses import dataclass

import pandas as pd
import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from sqlalchemy import Engine

from jobs.pictures.tables import titled
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
    prefer,
    resize,
    shown_figures,
    shown_sheet,
    visit,
    wait_for,
)
from tests.support.market import CODE, NOW, Market, fetch, run, session

pytestmark = pytest.mark.slow
TITLED = "return document.title.startsWith(arguments[0] + ' ·') || null"


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
        "SELECT * FROM bi.next_session_forecast WHERE is_headline ORDER BY expected_move_pct DESC"
    )
    assert len(expected) == 3
    figures = shown_figures(desktop.browser)
    assert figures["Target session"] == str(session(2))
    assert figures["Tickers"] == "3"
    assert figures["With an event"] == "1"
    skills = desktop.rows(
        "SELECT skill_pct FROM bi.accuracy WHERE scope = 'ticker' AND is_headline"
        " AND metric = 'pinball' AND window_sessions = 250 AND kind = 'late'"
    )
    better = sum(row["skill_pct"] > 0 for row in skills)
    assert figures["Better than rolling quantiles, late"] == f"{better} of 3"

    table = shown_sheet(desktop.browser)
    assert [row["ticker"] for row in table] == [row["ticker"] for row in expected]
    for shown, row in zip(table, expected, strict=True):
        assert shown["expected move"] == f"± {row['expected_move_pct']:.1f} %"
        assert shown["downside"] == f"{row['downside_pct']:+.1f} %".replace("-", "−")
        assert shown["rise"] == f"{row['probability_of_rise_pct']:.0f} %"
        assert shown["last close"] == price(row["origin_close"])
        assert shown["event"] == (row["event"] or "")
    common = "return document.querySelector('[data-testid=stMain]').innerText"
    assert f"all: session {session(2)} · kind late" in desktop.browser.execute_script(common)


def test_a_row_is_a_link_wherever_it_is_clicked_and_for_the_keyboard(desktop):
    desktop.open("")
    (cell,) = desktop.browser.find_elements(
        By.XPATH, "//tr[th[contains(., 'BBB')]]/td[contains(., 'reports')]"
    )
    cell.click()
    wait_for(desktop.browser, TITLED, "BBB")
    desktop.open("")
    link = desktop.browser.find_element(By.XPATH, "//tbody/tr[1]/th/a")
    ticker = link.text
    link.send_keys(Keys.ENTER)
    wait_for(desktop.browser, TITLED, ticker)


def test_a_visitor_takes_the_table_away(desktop, tmp_path):
    desktop.browser.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)}
    )
    desktop.open("")
    for words in ("CSV", "Excel"):
        desktop.browser.find_element(By.XPATH, f"//button[contains(., '{words}')]").click()
    files = [tmp_path / f"next-session.{suffix}" for suffix in ("csv", "xlsx")]
    for _ in range(100):
        if all(file.exists() for file in files):
            break
        time.sleep(0.1)
    expected = desktop.rows("SELECT * FROM bi.next_session_forecast WHERE is_headline")
    for taken in (pd.read_csv(files[0]), pd.read_excel(files[1])):
        by_ticker = taken.set_index("ticker")
        assert taken["ticker"].iloc[0] == shown_sheet(desktop.browser)[0]["ticker"]
        for row in expected:
            found = by_ticker.loc[row["ticker"]]
            assert found["expected_move_pct"] == pytest.approx(row["expected_move_pct"])
            assert str(found["session"])[:10] == str(session(2))


@pytest.mark.parametrize("colour", ["light", "dark"])
def test_pages_are_as_light_or_dark_as_the_visitor_likes(desktop, colour):
    prefer(desktop.browser, colour)
    try:
        desktop.open("ticker?ticker=BBB")
        colours = """
        const of = (what, name) => getComputedStyle(document.querySelector(what))[name];
        const text = [...document.querySelectorAll('[data-testid=stVegaLiteChart] svg text')];
        return [of('[data-testid=stApp]', 'backgroundColor'), getComputedStyle(text[0]).fill,
            of('.sheet thead th', 'backgroundColor')]
        """
        ground, words, heading = (
            sum(map(int, re.findall(r"\d+", found)[:3]))
            for found in desktop.browser.execute_script(colours)
        )
    finally:
        prefer(desktop.browser, "light")
    assert (ground > words) == (heading > words) == (colour == "light")
    assert abs(ground - words) > 300


def test_the_ticker_page_shows_forecast_prices_and_training(desktop):
    desktop.open("ticker?ticker=BBB")
    (row,) = desktop.rows(
        "SELECT * FROM bi.next_session_forecast WHERE ticker = 'BBB' AND is_headline"
    )
    figures = shown_figures(desktop.browser)
    assert figures["Expected move"] == f"± {row['expected_move_pct']:.1f} %"
    assert figures["Against the usual"] == f"{row['move_ratio']:.1f} ×"
    assert figures["Upside, 95 % level"] == f"{row['upside_pct']:+.1f} %"
    assert figures["Beyond ±2 %"] == f"{row['probability_of_move_2_pct']:.0f} %"
    said = desktop.browser.execute_script("return document.body.innerText")
    assert row["why"] is None or row["why"] in said
    assert f"Point forecast: {price(row['forecast_close'])}" in said
    assert f"known to move it: reports after the close ({session(1)})" in said
    assert desktop.browser.title == "BBB · stockbatch"

    assert "trained because" not in said
    desktop.browser.find_element(By.XPATH, "//summary[contains(., 'was trained')]").click()
    plots = """
    return [...document.querySelectorAll('[data-testid=stVegaLiteChart] svg')].some(
        plot => plot.textContent.includes('Training of its own model')) || null
    """
    wait_for(desktop.browser, plots)


def test_the_pointer_shows_the_numbers_of_its_session(desktop):
    desktop.open("ticker?ticker=BBB")
    tips = pointed_at(desktop.browser, "Prices and the session to come", from_right=0.02)
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
    for title in ("Prices and the session to come", "Predicted against actual"):
        past, ahead = desktop.browser.execute_script(words, title)
        assert past < ahead - 50
    desktop.open("")
    shown = {row["ticker"]: row["event"] for row in shown_sheet(desktop.browser)}
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
    found = shown_sheet(desktop.browser)
    assert [row["method"] for row in found] == [titled(row["method"]) for row in expected]
    for shown, row in zip(found[:-1], expected[:-1], strict=True):
        assert shown["scored"] == f"{row['n']:,}"
        assert shown["pinball"] == f"{row['pinball']:.5f}"
        assert shown["inside 80 %"] == f"{row['coverage_80_pct']:.1f} %"
    assert found[-1]["method"] == "Naive"  # it has no quantiles
    assert found[-1]["point vs naive"] == "+0.00 %"

    (row,) = desktop.rows(
        "SELECT skill_pct, n FROM bi.accuracy WHERE ticker = 'CCC' AND is_headline"
        " AND metric = 'pinball' AND window_sessions = 250 AND kind = 'late'"
    )
    shown = {row["ticker"]: row for row in shown_sheet(desktop.browser, -1)}
    skill = f"{row['skill_pct']:+.2f} %".replace("-", "−")
    assert shown["CCC"]["vs rolling quantile"] == skill
    said = desktop.browser.execute_script("return document.body.innerText")
    assert f"the last 250 sessions, of which {row['n']} are scored" in said


def test_the_operations_page_shows_runs_and_outcomes(desktop):
    desktop.open("operations")
    figures = shown_figures(desktop.browser)
    assert figures == {
        "Last run": "finished",
        "Its session": str(session(1)),
        "Tickers": "3",
        "Without a forecast": "0",
    }
    runs = shown_sheet(desktop.browser)
    assert [row["session"] for row in runs] == [str(session(day)) for day in (1, 0, -1)]
    expected = desktop.rows(
        "SELECT action, replace(reason, '_', ' ') AS reason, count(*) AS tickers"
        " FROM bi.outcomes WHERE session = :day GROUP BY 1, 2 ORDER BY 3 DESC, 1",
        day=session(1),
    )
    found = [
        (row["outcome"], row["reason"], int(row["tickers"]))
        for row in shown_sheet(desktop.browser, 1)
    ]
    assert sorted(found) == sorted(tuple(row.values()) for row in expected)


@pytest.mark.parametrize("page", ["", "ticker", "risk", "accuracy", "operations", "how-to-read"])
def test_a_page_fits_a_phone_and_asks_nobody_else(visitor, page):
    browser = visitor.browser
    resize(browser, PHONE)
    hosts_asked(browser), complaints(browser)
    visitor.open(page)
    width = PHONE[0]
    assert browser.execute_script("return document.documentElement.scrollWidth") == width
    wide = """
    const main = document.querySelector('[data-testid=stMain]');
    const parts = ['Metric', 'VegaLiteChart', 'CaptionContainer', 'ButtonGroup', 'Html'];
    const names = parts.map(part => `[data-testid=st${part}]`).join(', ');
    return [main.scrollWidth, ...[...main.querySelectorAll(names)].map(
        part => part.getBoundingClientRect().right)]
    """
    rights = browser.execute_script(wide)
    few = ("how-to-read", "risk")  # of so short a market no risk is told
    assert len(rights) > (1 if page in few else 3)
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
