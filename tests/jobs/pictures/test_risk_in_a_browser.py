"""The page of risk as a visitor sees it, in a real browser."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from sqlalchemy.orm import Session

from stockbatch import database
from stockbatch.config import PREFIX
from stockbatch.records import GroupKind, SubjectKind
from stockbatch.store import instruments, labels
from stockbatch.store.calendar import extend
from stockbatch.store.risk import Subject
from tests.support.browser import (
    DESKTOP,
    PHONE,
    complaints,
    dashboard,
    hosts_asked,
    pointed_at,
    resize,
    shown_figures,
    shown_sheet,
    visit,
    wait_for,
)
from tests.support.ledger import bars_of, store
from tests.support.market import TICKERS, Market, calendar, session
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

pytestmark = pytest.mark.slow
HOSTILE = "<img src=x onerror=alert(1)> [a](http://e.com) " + "w" * 50


@pytest.fixture(scope="module")
def risk(browser, make_lasting_app, server, tmp_path_factory):
    """The address of the page over a database in which risk was told and scored for a month."""
    folder = tmp_path_factory.mktemp("risk")
    app = make_lasting_app(Market(folder / "bars.csv"))
    owner = database.engine(app.settings, role="owner")
    with Session(owner) as db:
        extend(db, calendar(), session(-300), session(30))
        held = instruments.find(db, TICKERS)
        for one in held:
            store(db, one, bars_of([session(0)], [100.0]))
        labels.put(db, GroupKind.SECTOR, "Energy", [one.id for one in held[:2]])
        hold(db, "Ours", dict(zip(held, (60.0, -80.0, 5.0), strict=True)))
        hold(db, HOSTILE, {held[2]: 1.0})
        for day in range(-20, 1):
            of_groups = [of_group("Energy", held[:2], times=0.5)] if day == 0 else []
            told = [of_portfolio("Ours", held), *map(of_ticker, held), *of_groups]
            tell(db, *told, silent_of(HOSTILE, "no bar of CCC"), day=day)
            if day:
                came(db, "Ours", session(day + 1), -0.025 if day == -3 else 0.004)
        measured(db, Subject(SubjectKind.PORTFOLIO, "Ours"), breaches=40, kupiec_p=1e-9)
        db.commit()
    owner.dispose()
    address = server.url("reader").set(database=app.engine.url.database)
    variables = {
        "HOME": str(folder),
        f"{PREFIX}HOME": str(folder / "home"),
        f"{PREFIX}DATABASE_URL": database.for_clients(address),
    }
    with dashboard(variables, folder / "log") as url:
        yield f"{url}/risk"
        browser.get("about:blank")  # or else it goes on asking for a server that is gone
    assert "Traceback" not in (folder / "log").read_text()


def test_a_portfolio_is_chosen_by_its_row(browser, risk):
    resize(browser, DESKTOP)
    visit(browser, risk)
    assert shown_figures(browser)["95 % interval"] == "−2.4 to +2.5 %"
    assert [row["portfolio"] for row in shown_sheet(browser)] == ["Ours", HOSTILE]
    assert shown_sheet(browser, 1)[2]["in money"] == "300.00"
    tips = pointed_at(browser, "Returns against the value at risk", from_right=0.2)
    assert tips["value at risk, %"] == "2.00"
    link = browser.find_element(By.XPATH, "//tbody//th/a[contains(., 'onerror')]")
    link.send_keys(Keys.ENTER)
    said = "return document.body.innerText.includes(arguments[0]) || null"
    wait_for(browser, said, f"No forecast for {session(1)}: no bar of CCC.")
    assert browser.execute_script("return document.images.length") == 0
    links = "return document.querySelectorAll('[href^=\"http://e.com\"]').length"
    assert browser.execute_script(links) == 0


def test_the_verdict_is_in_words_a_phone_has_room_for(browser, risk):
    resize(browser, PHONE)
    hosts_asked(browser), complaints(browser)
    visit(browser, risk)
    (told,) = shown_sheet(browser, -1)
    assert (told["of"], told["breaches"]) == ("Ours\ntoo many breaches", "40")
    assert browser.execute_script("return document.documentElement.scrollWidth") == PHONE[0]
    rights = browser.execute_script("""
    const main = document.querySelector('[data-testid=stMain]');
    const parts = ['Metric', 'VegaLiteChart', 'CaptionContainer', 'ButtonGroup', 'Html', 'Alert'];
    const names = parts.map(part => `[data-testid=st${part}]`).join(', ');
    return [main.scrollWidth, ...[...main.querySelectorAll(names)].map(
        part => part.getBoundingClientRect().right)]
    """)
    assert len(rights) > 10
    assert max(rights) <= PHONE[0]
    assert hosts_asked(browser) == {"127.0.0.1"}
    assert complaints(browser) == []
