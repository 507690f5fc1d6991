"""`stockbatch report`: one file that needs nothing else."""

import sys

import pytest
from PIL import Image, ImageColor
from pypdf import PdfReader
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from jobs import cli
from jobs.pictures.drawing import BLUE, VERMILION
from jobs.replay.backtest import backtest
from jobs.words import price
from stockbatch import database
from stockbatch.config import PREFIX
from stockbatch.records import Event, Timing
from stockbatch.store import events, instruments
from stockbatch.store import forecasts as store
from stockbatch.store.calendar import extend
from tests.support.browser import PHONE, complaints, hosts_asked, resize, wait_for
from tests.support.disk import small_disk
from tests.support.ledger import forecast_of, listed, opened
from tests.support.market import CODE, NOW, Market, calendar, run, session


@pytest.fixture(scope="module")
def filled(make_lasting_app, server, tmp_path_factory):
    """The reader's URL of a database in which the jobs have worked for some days."""
    market = Market(tmp_path_factory.mktemp("market") / "bars.csv")
    app = make_lasting_app(market)
    list(backtest(app, CODE, session(-8), session(-2)))
    for offset in range(-1, 1):
        run(app, session(offset))
    with app.transaction() as db:
        reports = [
            Event(symbol="AAA", date=session(-6), timing=Timing.DURING),
            Event(symbol="AAA", date=session(0), timing=Timing.AFTER_CLOSE),
        ]
        events.record(db, instruments.find(db, ["AAA"]), reports, "import", NOW)
    return server.url("reader").set(database=app.engine.url.database)


@pytest.fixture
def report(monkeypatch, capsys, tmp_path):
    """Call the command on a database; return its status and what it said."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path / "home"))

    def call(address, *arguments):
        monkeypatch.setenv(f"{PREFIX}DATABASE_URL", database.for_clients(address))
        monkeypatch.setattr(sys, "argv", ["stockbatch", "report", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return ended.value.code or 0, printed.out + printed.err

    return call


def forecasts(address, query, **parameters):
    engine = create_engine(address)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(text(query), parameters).mappings()]
    engine.dispose()
    return found


def drawn(browser, file):
    """Return the texts of the plots of a page on disk."""
    hosts_asked(browser), complaints(browser)
    browser.get(file.as_uri())
    script = """
    const texts = [...document.querySelectorAll('svg text')].map(text => text.textContent);
    return texts.length ? texts : null
    """
    return wait_for(browser, script)


@pytest.mark.slow
def test_a_page_needs_no_network(report, filled, browser, tmp_path):
    page = tmp_path / "report.html"
    assert report(filled, "AAA", "--out", page) == (0, f"{page}: written\n")
    (row,) = forecasts(
        filled,
        "SELECT * FROM bi.next_session_forecast WHERE ticker = 'AAA' AND is_headline",
    )
    texts = drawn(browser, page)
    assert f"AAA: forecast of {session(1)}" in texts
    for column in ("forecast_close", "origin_close", "close_low_80", "close_high_95"):
        assert price(row[column]) in texts
    for words in ("Closing price", "Predicted against actual", "Error over time"):
        assert words in texts
    assert f"known to move it: reports after the close ({session(0)})" in texts
    assert texts.count("report") == 4  # two in either plot
    assert "Training of its own model" in texts
    assert "Not investment advice." in " ".join(texts)
    assert browser.title == "stockbatch"
    assert hosts_asked(browser) == set()
    assert complaints(browser) == []
    resize(browser, PHONE)
    width = "return document.querySelector('svg').getBoundingClientRect().width"
    assert browser.execute_script(width) <= PHONE[0]


@pytest.mark.slow
def test_a_page_on_all_tickers_has_them_all(report, filled, browser, tmp_path):
    page = tmp_path / "report.html"
    assert report(filled, "--out", page)[0] == 0
    texts = drawn(browser, page)
    assert f"Forecasts of {session(1)}" in texts
    rows = forecasts(filled, "SELECT * FROM bi.next_session_forecast WHERE is_headline")
    assert len(rows) == 3
    for row in rows:
        assert row["ticker"] in texts
        assert price(row["close_high_80"]) in texts
    assert texts.count("reports after the close") == 1
    assert any("last 250 sessions, backtest" in line for line in texts)


def test_a_picture_is_drawn(report, filled, tmp_path):
    picture = tmp_path / "report.png"
    assert report(filled, "AAA", "--out", picture)[0] == 0
    with Image.open(picture) as image:
        image.load()
        assert image.format == "PNG"
        assert image.width > 1600
        colours = {colour for _, colour in image.convert("RGB").getcolors(1 << 24)}
    assert ImageColor.getrgb(BLUE) in colours
    assert ImageColor.getrgb(VERMILION) in colours


def test_a_pdf_holds_its_text(report, filled, tmp_path):
    document = tmp_path / "report.pdf"
    assert report(filled, "AAA", "--out", document)[0] == 0
    (row,) = forecasts(
        filled,
        "SELECT * FROM bi.next_session_forecast WHERE ticker = 'AAA' AND method = 'ewma'",
    )
    (page,) = PdfReader(document).pages
    said = page.extract_text()
    assert f"AAA: forecast of {session(1)}" in said
    assert price(row["close_low_95"]) in said
    assert "Not investment advice." in said


def test_a_ticker_cannot_end_the_script_of_the_page(report, settings, engine, server, tmp_path):
    hostile = "</script><script>alert(1)</script>"
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        (instrument,) = listed(db, hostile)
        store.add(db, [forecast_of(instrument)], opened(db), issued_at=NOW)
        db.commit()
    page = tmp_path / "report.html"
    assert report(engine.url, hostile, "--out", page)[0] == 0
    written = page.read_text(encoding="utf-8")
    assert "</script><script>alert" not in written
    assert r"\u003c/script>\u003cscript>alert(1)" in written


# ---- what cannot be done is said in a line


def refused(answer, *words):
    status, said = answer
    assert status == 2
    assert said.count("\n") == 1
    assert "Traceback" not in said
    for word in words:
        assert word in said


def test_an_unknown_ticker(report, filled, tmp_path):
    page = tmp_path / "report.html"
    refused(report(filled, "ZZZ", "--out", page), "no forecast of ZZZ", "stockbatch run")
    assert not page.exists()


def test_nothing_to_report(report, engine, tmp_path):
    page = tmp_path / "report.html"
    refused(report(engine.url, "--out", page), "no forecast yet", "stockbatch demo")
    assert not page.exists()


@pytest.mark.parametrize("suffix", [".html", ".pdf"])
def test_a_file_that_cannot_be_written(report, filled, tmp_path, suffix):
    page = tmp_path / "nowhere" / f"report{suffix}"
    refused(report(filled, "AAA", "--out", page), str(page), "cannot be written", "No such file")


@pytest.mark.parametrize("suffix", [".html", ".pdf", ".png"])
def test_a_full_disk_is_said_in_one_line_and_leaves_no_file(report, filled, tmp_path, suffix):
    with small_disk(tmp_path / "disk", "8k") as disk:
        page = disk / f"report{suffix}"
        status, said = report(filled, "AAA", "--out", page)
        assert status == 2
        assert said == f"error: {page} cannot be written: No space left on device\n"
        assert list(disk.iterdir()) == []
        page.write_text("another one")
        assert report(filled, "AAA", "--out", page)[0] == 2
        assert [file.read_text() for file in disk.iterdir()] == ["another one"]


@pytest.mark.parametrize("name", ["report.jpg", "report", "html"])
def test_a_name_that_says_no_known_format(report, filled, tmp_path, name):
    refused(report(filled, "--out", tmp_path / name), ".html, .pdf, .png")
    assert not (tmp_path / name).exists()


def test_an_older_schema(report, engine, tmp_path):
    with engine.begin() as connection:
        connection.execute(text("DROP VIEW bi.next_session_forecast"))
    status, said = report(engine.url, "--out", tmp_path / "report.html")
    assert status != 0
    assert "stockbatch migrate" in said
