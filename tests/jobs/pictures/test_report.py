"""`stockbatch report`: one file that needs nothing else."""

import re
import sys
from base64 import b64decode
from io import BytesIO

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
from stockbatch.records import Event, SubjectKind, Timing
from stockbatch.store import events, instruments
from stockbatch.store import forecasts as store
from stockbatch.store.calendar import extend
from stockbatch.store.risk import Subject
from tests.support.browser import PHONE, complaints, hosts_asked, prefer, resize
from tests.support.disk import small_disk
from tests.support.ledger import forecast_of, listed, opened
from tests.support.market import CODE, NOW, Market, calendar, run, session
from tests.support.risks import (
    hold,
    measured,
    of_group,
    of_portfolio,
    of_ticker,
    silent_of,
    tell,
)
from tests.support.sheets import sheets


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


def shown(browser, file):
    """Return all that a page on disk says, and the texts of its plots."""
    hosts_asked(browser), complaints(browser)
    browser.get(file.as_uri())
    texts = "return [...document.querySelectorAll('svg text')].map(text => text.textContent)"
    return browser.execute_script("return document.body.innerText"), browser.execute_script(texts)


def headline_of(address, ticker):
    query = "SELECT * FROM bi.next_session_forecast WHERE ticker = :ticker AND is_headline"
    (row,) = forecasts(address, query, ticker=ticker)
    return row


@pytest.mark.slow
def test_a_page_needs_no_network_and_no_script(report, filled, browser, tmp_path):
    page = tmp_path / "report.html"
    assert report(filled, "AAA", "--out", page) == (0, f"{page}: written\n")
    row = headline_of(filled, "AAA")
    said, texts = shown(browser, page)
    assert f"AAA: forecast of {session(1)}" in said
    assert f"± {row['expected_move_pct']:.1f} %" in said
    assert row["why"] is None or row["why"] in said
    assert f"Point forecast: {price(row['forecast_close'])}" in said
    assert f"known to move it: reports after the close ({session(0)})" in said
    assert "Not investment advice." in said
    for column in ("forecast_close", "close_low_80", "close_high_95"):
        assert price(row[column]) in said
    for words in ("Prices and the session to come", "Predicted against actual", "Error over time"):
        assert words in texts
    assert texts.count("report") == 4  # two in either plot
    assert "Training of its own model" in texts
    assert browser.title == f"AAA: forecast of {session(1)} · stockbatch"
    assert "<script" not in page.read_text(encoding="utf-8")
    assert hosts_asked(browser) == set()
    assert complaints(browser) == []


@pytest.mark.slow
def test_a_page_is_read_on_a_phone_and_in_the_dark(report, filled, browser, tmp_path):
    page = tmp_path / "report.html"
    assert report(filled, "AAA", "--out", page)[0] == 0
    resize(browser, PHONE)
    prefer(browser, "dark")
    try:
        shown(browser, page)
        width, smallest, ground, words, plotted = browser.execute_script("""
        const of = (what, name) => getComputedStyle(document.querySelector(what))[name];
        const sizes = [...document.querySelectorAll('svg text')].map(
            text => text.getBoundingClientRect().height);
        return [document.documentElement.scrollWidth, Math.min(...sizes.filter(size => size)),
            of('html', 'colorScheme'), of('body', 'color'), of('svg text', 'fill')]
        """)
    finally:
        prefer(browser, "light")
    assert width <= PHONE[0]
    assert smallest >= 8
    assert (ground, words, plotted) == ("light dark", *["rgb(255, 255, 255)"] * 2)


@pytest.mark.slow
@pytest.mark.parametrize(("width", "height"), [(8.27, 11.69), (8.5, 11)], ids=["a4", "letter"])
def test_a_page_is_printed_on_any_paper(report, filled, browser, tmp_path, width, height):
    page = tmp_path / "report.html"
    assert report(filled, "--out", page)[0] == 0
    browser.get(page.as_uri())
    size = {"paperWidth": width, "paperHeight": height, "printBackground": True}
    printed = browser.execute_cdp_cmd("Page.printToPDF", size)["data"]
    pages = PdfReader(BytesIO(b64decode(printed))).pages
    said = "".join(one.extract_text() for one in pages)
    for ticker in ("AAA", "BBB", "CCC"):
        row = headline_of(filled, ticker)
        assert f"{ticker} ± {row['expected_move_pct']:.1f} %" in said
        assert price(row["origin_close"]) in said


@pytest.mark.slow
def test_a_page_on_all_tickers_has_them_all(report, filled, browser, tmp_path):
    page = tmp_path / "report.html"
    assert report(filled, "--out", page)[0] == 0
    said, texts = shown(browser, page)
    assert f"Forecasts of {session(1)}" in said
    rows = forecasts(
        filled,
        "SELECT * FROM bi.next_session_forecast WHERE is_headline"
        " ORDER BY expected_move_pct DESC, ticker",
    )
    table, *_ = sheets(page.read_text(encoding="utf-8"))
    assert [row["ticker"] for row in table] == [row["ticker"] for row in rows]
    for found, row in zip(table, rows, strict=True):
        assert found["expected move"] == f"± {row['expected_move_pct']:.1f} %"
        assert found["last close"] == price(row["origin_close"])
        assert found["event"] == (row["event"] or "")
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


@pytest.mark.parametrize(("paper", "size"), [("a4", (595, 842)), ("letter", (612, 792))])
def test_a_pdf_holds_its_text_on_pages_of_paper(report, filled, tmp_path, paper, size):
    document = tmp_path / "report.pdf"
    assert report(filled, "AAA", "--out", document, "--paper", paper)[0] == 0
    (row,) = forecasts(
        filled,
        "SELECT * FROM bi.next_session_forecast WHERE ticker = 'AAA' AND method = 'ewma'",
    )
    pages = PdfReader(document).pages
    assert {tuple(map(round, page.mediabox[2:])) for page in pages} == {size}
    said = "\n".join(page.extract_text() for page in pages)
    assert f"AAA: forecast of {session(1)}" in said
    assert price(row["close_low_80"]) in said
    assert f"{len(pages)} of {len(pages)}" in said
    assert "Not investment advice." in said


def test_every_ticker_is_on_paper_under_its_headings(report, settings, engine, tmp_path):
    tickers = [f"T{number:03}" for number in range(120)]
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        made = [forecast_of(instrument) for instrument in listed(db, *tickers)]
        store.add(db, made, opened(db), issued_at=NOW)
        db.commit()
    document = tmp_path / "report.pdf"
    assert report(engine.url, "--out", document)[0] == 0
    texts = [page.extract_text() for page in PdfReader(document).pages]
    assert len(texts) > 2
    assert sorted(re.findall(r"\bT\d{3}\b", "\n".join(texts))) == tickers
    assert all("expected move" in text for text in texts if re.search(r"\bT\d{3}\b", text))


def test_a_ticker_is_no_markup_of_a_page(report, settings, engine, tmp_path):
    hostile = "</table><script>alert(1)</script>"
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        (instrument,) = listed(db, hostile)
        store.add(db, [forecast_of(instrument)], opened(db), issued_at=NOW)
        db.commit()
    for arguments in ((hostile,), ()):
        page = tmp_path / "report.html"
        assert report(engine.url, *arguments, "--out", page)[0] == 0
        written = page.read_text(encoding="utf-8")
        assert "<script" not in written
        assert "&lt;/table&gt;&lt;script&gt;alert(1)" in written
    assert report(engine.url, hostile, "--out", tmp_path / "report.pdf")[0] == 0


def test_risk_is_a_section_of_the_report_on_all_and_of_that_on_a_ticker(report, engine, tmp_path):
    hostile = "<script>alert(1)</script>"
    with Session(engine) as db:
        aaa, bbb = held = listed(db, "AAA", "BBB")
        store.add(db, [forecast_of(one) for one in held], opened(db), issued_at=NOW)
        hold(db, "Ours", {aaa: 1.0})
        hold(db, hostile, {bbb: 1.0})
        tell(
            db,
            *(of_ticker(one) for one in held),
            of_group("Energy", held, times=0.5),
            of_portfolio("Ours", [aaa], times=2),
            silent_of(hostile, "no bar of BBB"),
        )
        measured(db, Subject(SubjectKind.PORTFOLIO, "Ours"), breaches=40, kupiec_p=1e-9)
        db.commit()
    page = tmp_path / "report.html"
    assert report(engine.url, "--out", page)[0] == 0
    written = page.read_text(encoding="utf-8")
    assert "<script" not in written
    assert "How well it was told: 5 %, last 250 sessions, late: made after" in written
    _, portfolios, groups, told = sheets(written)
    at = "shortfall, 5\N{NO-BREAK SPACE}%"
    assert [(row["portfolio"], row[at]) for row in portfolios] == [
        ("Ours", "5.20 %"),
        (hostile, ""),
    ]
    assert portfolios[1]["why there is no forecast"] == "no bar of BBB"
    assert [(row["group"], row[at]) for row in groups] == [("Energy", "1.30 %")]
    assert [(row["of"], row["in words"]) for row in told] == [("Ours", "too many breaches")]

    assert report(engine.url, "AAA", "--out", page)[0] == 0
    levels = sheets(page.read_text(encoding="utf-8"))[1]
    assert [(row["sessions"], row["expected shortfall"]) for row in levels] == [
        ("one in 20", "2.60 %"),
        ("one in 40", "3.10 %"),
        ("one in 100", "3.60 %"),
    ]
    assert report(engine.url, "--out", tmp_path / "report.pdf")[0] == 0
    said = "".join(one.extract_text() for one in PdfReader(tmp_path / "report.pdf").pages)
    assert "Risk of portfolios" in said
    assert f"No forecast of {hostile}: no bar of BBB." in " ".join(said.split())


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
