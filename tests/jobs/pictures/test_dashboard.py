"""The built-in dashboard: what its pages say, without a browser."""

import re
import socket
import sys
from datetime import timedelta

import pytest
import streamlit
from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs import cli
from jobs.pictures.dashboard import page as dashboard_page
from jobs.pictures.dashboard.page import escaped
from jobs.words import DISCLAIMER
from stockbatch import database
from stockbatch.config import PREFIX
from stockbatch.exceptions import DatabaseUnavailable
from stockbatch.records import Alert, Condition, Event, GroupKind, NewsItem, Timing
from stockbatch.store import alerts, events, forecasts, labels, models, news
from stockbatch.store.calendar import extend
from tests.support.ledger import forecast_of, in_time, listed, model_of, naive_of, opened
from tests.support.market import CODE, NOW, calendar, session
from tests.support.pages import figures, tables, texts
from tests.support.places import ROOT

PAGES = ("overview", "ticker", "risk", "accuracy", "operations")
"""Those that read the database."""


@pytest.fixture
def fresh(engine):
    """A database with sessions, a ticker and no forecast."""
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        (instrument,) = listed(db, "AAA")
        db.commit()
        yield db, instrument


def issue(db, *made, **options):
    forecasts.add(db, made, opened(db), **{"issued_at": NOW} | options)
    db.commit()


def test_pages_of_an_empty_database_say_what_to_do(open_page):
    for page in PAGES:
        app = open_page(page)
        assert "`stockbatch " in texts(app)
        assert DISCLAIMER in texts(app)
        assert not app.error


def test_pages_of_an_older_schema_name_the_command_that_mends_it(open_page, engine):
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA bi CASCADE"))
    for page in PAGES:
        (warning,) = open_page(page).warning
        assert "stockbatch migrate" in warning.value
        assert "reload this page" in warning.value


def test_a_database_that_does_not_answer_is_one_sentence(open_page, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/none")
    (warning,) = open_page("overview").warning
    assert dashboard_page.escaped("127.0.0.1:1") in warning.value
    assert "`stockbatch doctor`" in warning.value
    assert "secret" not in warning.value


def test_a_home_without_a_database_is_one_sentence(open_page, monkeypatch, tmp_path):
    monkeypatch.delenv(f"{PREFIX}DATABASE_URL")
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path / "empty"))
    (warning,) = open_page("overview").warning
    assert "stockbatch" in warning.value
    assert not (tmp_path / "empty").exists()


def test_an_address_that_is_taken_is_one_sentence(monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(
            sys, "argv", ["stockbatch", "dashboard", "--address", f"127.0.0.1:{port}"]
        )
        with pytest.raises(SystemExit) as ended:
            cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"error: options: --address: another program listens at 127.0.0.1:{port}: stop it, or"
        " choose another address\n"
    )


def test_pages_read_as_the_reader_whatever_the_login_may(open_page, settings, monkeypatch, fresh):
    from jobs.pictures.dashboard.page import read
    from stockbatch.store.bi.query import ask

    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", settings.database_url.get_secret_value())

    def rights(db):
        return ask(db, "SELECT current_user, has_schema_privilege('stockbatch', 'USAGE')")

    assert read(rights).to_numpy().tolist() == [["stockbatch_reader", False]]


def test_the_demonstration_says_what_it_is(open_page, engine):
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        (instrument,) = listed(db, "^DEMO", demo=True)
        issue(db, forecast_of(instrument))
        for page in ("overview", "ticker"):
            assert "Demonstration: real bars" in texts(open_page(page))

        (own,) = listed(db, "AAA")
        issue(db, forecast_of(own))
    streamlit.cache_data.clear()
    app = open_page("overview")
    assert "Demonstration" not in texts(app)
    assert figures(app)["Tickers"] == "1"
    assert [row["ticker"] for row in tables(app)[0]] == ["AAA"]
    assert "Demonstration" in texts(open_page("ticker", ticker="^DEMO"))


def test_a_live_forecast_is_preferred_and_said_to_be_live(open_page, fresh):
    db, instrument = fresh
    issue(db, forecast_of(instrument, close=90.0), backtest=True)
    assert "backtest: a simulation of the past" in texts(open_page("overview"))
    with in_time(db):
        issue(db, forecast_of(instrument, close=101.0))
    streamlit.cache_data.clear()
    app = open_page("overview")
    assert "1 live: made before the session opened" in texts(app)
    assert escaped("Point forecast: 101.00") in texts(open_page("ticker"))


def test_an_old_forecast_is_said_to_be_old(open_page, fresh):
    db, instrument = fresh
    issue(db, forecast_of(instrument))
    assert f"session {session(1)} is over" in texts(open_page("overview"))
    assert "the forecast is old" in texts(open_page("ticker"))


def test_a_forecast_without_an_interval_is_shown(open_page, fresh):
    db, instrument = fresh
    issue(db, naive_of(instrument))
    assert figures(open_page("overview"))["Tickers"] == "1"
    shown = figures(open_page("ticker"))
    assert shown["Expected move"] == "unknown"
    assert shown["Rise"] == "unknown"


def test_a_model_that_was_compared_with_no_base_is_shown(open_page, fresh):
    db, instrument = fresh
    issue(db, forecast_of(instrument))
    models.add(db, {instrument.id: model_of("AAA")}, opened(db), demo=False)
    db.commit()
    shown = texts(open_page("ticker", "training"))
    assert "trained because" in shown
    assert "than the base" not in shown
    assert "trained because" not in texts(open_page("ticker"))


def test_what_is_known_to_move_a_session_is_said(open_page, fresh):
    db, instrument = fresh
    issue(db, forecast_of(instrument))
    app = open_page("ticker")
    assert "move it" not in texts(app)
    assert "event" not in tables(open_page("overview"))[0][0]

    report = Event(symbol="AAA", date=session(0), timing=Timing.AFTER_CLOSE)
    events.record(db, [instrument], [report], "import", NOW)
    db.commit()
    streamlit.cache_data.clear()
    assert "reports after the close" in texts(open_page("ticker"))
    assert escaped(f"({session(0)})") in texts(open_page("ticker"))
    shown = open_page("overview")
    common = escaped("event reports after the close")  # to the only ticker there is
    assert common in texts(shown)
    assert tables(shown)[1] == [
        {
            "session": str(session(1)),
            "ticker": "AAA",
            "event": "reports after the close",
            "its day": str(session(0)),
        }
    ]


def test_news_are_shown_as_text_and_marked_where_they_are_unusual(open_page, fresh):
    db, instrument = fresh
    issue(db, forecast_of(instrument))
    assert "title" not in str(tables(open_page("ticker")))
    hostile = "<img src=x onerror=alert(1)>", "=1+1", "\u202egnp", "m" * 2**20
    told = [(title, session(0), 0.1) for title in hostile]
    told += [(f"day {day}", session(-day), 0.0) for day in range(1, 30)]
    items = [
        NewsItem(
            symbol="AAA",
            published_at=calendar().close(day) - timedelta(minutes=n),
            title=title,
            source="wire",
            url=None if n else "https://e.com/?a=1&b=2",
            score=score,
            scored_by="wire",
        )
        for n, (title, day, score) in enumerate(told)
    ]
    news.record(db, [instrument], items, NOW)
    db.commit()
    streamlit.cache_data.clear()
    app = open_page("ticker")
    (shown,) = (table for table in tables(app) if "title" in table[0])
    assert len(shown) == 10
    assert [row["title"] for row in shown[:3]] == [*hostile[:2], "\\u202egnp"]
    assert shown[3]["title"] == "m" * 499 + "…"
    assert shown[0]["score"] == "+0.10"
    assert shown[0]["published"] == f"{calendar().close(session(0)):%Y-%m-%d %H:%M}"
    raw = next(box.proto.body for box in app.get("html") if "onerror" in box.proto.body)
    assert "<img" not in raw
    assert raw.count('<a href="https://e.com/?a=1&amp;b=2"') == len(shown[0])
    (row,) = tables(open_page("overview"))[0]
    assert row["unusual news"] == "4 items, 4 × usual"


def test_an_unknown_ticker_in_the_address_is_not_repeated(open_page, fresh):
    db, instrument = fresh
    issue(db, forecast_of(instrument))
    said = texts(open_page("ticker", ticker="![](http://example.com/x.png)"))
    assert "no forecast of the ticker that the address names" in said
    assert "example.com" not in said


def test_the_guide_is_a_page_without_a_database(open_page, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://me:secret@127.0.0.1:1/none")
    app = open_page("how_to_read")
    assert not app.warning
    said = texts(app)
    guide = (ROOT / "deployment" / "guides" / "how-to-read.md").read_text()
    assert [line for line in guide.splitlines() if line.startswith("#")] == re.findall(
        "^#.*", said, re.MULTILINE
    )
    assert ".md" not in said
    assert DISCLAIMER in said


def test_an_embedded_database_that_was_stopped_names_the_command_that_starts_it(
    open_page, monkeypatch, tmp_path
):
    def stopped(*_args, **_options):
        raise DatabaseUnavailable(url="postgresql://reader@127.0.0.1:1/x", reason="refused")

    monkeypatch.delenv(f"{PREFIX}DATABASE_URL")
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path))
    monkeypatch.setattr(database, "engine", stopped)
    for page in PAGES:
        (warning,) = open_page(page).warning
        assert "`stockbatch db start` starts it" in warning.value


def test_a_search_finds_tickers_and_names_and_says_where_there_is_none(open_page, engine):
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        for instrument in listed(db, "AAA", "BBB"):
            issue(db, forecast_of(instrument))
    app = open_page("overview")
    assert [row["ticker"] for row in tables(app)[0]] == ["AAA", "BBB"]
    app.text_input[0].set_value(" bb").run()
    assert [row["ticker"] for row in tables(app)[0]] == ["BBB"]
    app.text_input[0].set_value("nobody").run()
    assert tables(app) == []
    assert "No ticker or name has that in it" in texts(app)


def test_of_many_tickers_the_first_are_drawn(open_page, engine, monkeypatch):
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        for instrument in listed(db, "AAA", "BBB", "CCC"):
            issue(db, forecast_of(instrument))
    monkeypatch.setattr(dashboard_page, "MOST_ROWS", 2)
    app = open_page("overview")
    assert [row["ticker"] for row in tables(app)[0]] == ["AAA", "BBB"]
    assert "the first 2 of 3; all are in the files" in texts(app)
    app.text_input[0].set_value("CCC").run()
    assert [row["ticker"] for row in tables(app)[0]] == ["CCC"]
    assert "all are in the files" not in texts(app)


def test_a_group_is_a_filter_and_has_a_row_of_its_own(open_page, engine):
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        first, other = listed(db, "AAA", "BBB")
        for instrument in (first, other):
            issue(db, forecast_of(instrument))
        labels.put(db, GroupKind.WATCHLIST, "Our *own*", [other.id])
        db.commit()
    app = open_page("overview")
    groups = {row["group"]: row["tickers"] for row in tables(app)[1]}
    assert groups == {"XNYS": "2", "Our *own*": "1"}
    app.selectbox[1].set_value("watchlist: Our *own*").run()
    assert [row["ticker"] for row in tables(app)[0]] == ["BBB"]


def test_the_ticker_is_in_the_title_and_up_to_four_are_compared(open_page, engine):
    with Session(engine) as db:
        extend(db, calendar(), session(-30), session(30))
        for instrument in listed(db, "AAA", "BBB", "CCC", "DDD", "EEE"):
            issue(db, forecast_of(instrument))
    app = open_page("ticker", ticker="BBB")
    assert app.header[0].value == "BBB"
    assert not app.subheader
    app = open_page("ticker", ticker="BBB", compare=["CCC", "none", "BBB", "AAA", "DDD", "EEE"])
    assert app.multiselect[0].value == ["CCC", "AAA", "DDD"]
    assert {row["ticker"] for row in tables(app)[1]} == {"AAA", "BBB", "CCC", "DDD"}


def test_an_alert_that_is_on_is_said_on_top_of_operations(open_page, fresh):
    db, _ = fresh
    assert "no alert is on" in texts(open_page("operations"))
    alert = Alert(
        condition=Condition.FAILED_RUN, subject=CODE, message="it *failed*", session=session()
    )
    alerts.reconcile(db, [alert], NOW, [])
    db.commit()
    streamlit.cache_data.clear()
    (said,) = open_page("operations").error
    assert escaped("it *failed*") in said.value


@pytest.mark.parametrize(
    "text", ["see http://e.example/x", "HTTPS://e.example", "www.e.example", "a@e.example"]
)
def test_what_looks_like_an_address_is_none(text):
    said = escaped(text)
    # What Markdown makes links of, however its signs are escaped.
    assert not re.search(r"(?i)https?:|www\.|@\w", said.replace("\\", ""))
    assert said.replace("\\", "").replace("\u2060", "") == text
