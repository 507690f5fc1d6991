"""Sources of events from packages of somebody else's, installed beside ours."""

import sys

import pytest
from sqlalchemy.orm import Session

from jobs import cli
from stockbatch.config import PREFIX
from stockbatch.events import registry
from stockbatch.store import event_refreshes
from tests.support.market import fetch
from tests.support.packages import install

ALMANAC = '''
"""Report dates out of a book: what a stranger may add in a file."""
from datetime import UTC, datetime, timedelta

from stockbatch.events.base import EventRequest, FetchedEvents, SourceKind, SourceSetup
from stockbatch.records import Event, Timing

class Almanac:
    def __init__(self, setup: SourceSetup) -> None:
        self._home = setup.settings.home

    def state(self) -> str:
        return "printed long ago"

    def events(self, requests):
        for request in requests:
            day = (datetime.now(UTC) + timedelta(days=30)).date()
            event = Event(symbol=request.symbol, date=day, timing=Timing.AFTER_CLOSE)
            yield FetchedEvents(symbol=request.symbol, events=(event,))

    def close(self) -> None:
        pass

KIND = SourceKind(make=Almanac, symbol=lambda i: f"{i.ticker}.book", ahead=True, about="a book")
'''
BAD = {
    "unimportable": "raise ImportError('something of its own is missing')",
    "untyped": "KIND = 3",
    "nameless": ALMANAC.replace('f"{i.ticker}.book"', "i.no_such_thing"),
    "unmade": ALMANAC.replace("setup.settings.home", "1 / 0"),
    "silent": ALMANAC.replace("for request in requests:", "for request in ():"),
    "mute": ALMANAC.replace("yield FetchedEvents(", "yield str("),
    "odd": ALMANAC.replace("timing=", "kind='No Kind!', timing="),
    "late": ALMANAC.replace(
        "            yield", "            raise KeyError('gone')\n            yield"
    ),
}
"""Modules that fail, each in its own way."""


@pytest.fixture
def stockbatch(monkeypatch, capsys, settings, tmp_path):
    """Call the command in this process, on a migrated database."""
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path / "home"))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stockbatch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call


@pytest.fixture
def ask(tmp_path, monkeypatch, stockbatch, market):
    """Install modules as sources of their names, in a package each, and let them be asked."""
    stockbatch("tickers", "add", "AAA", "BBB", "--provider", market.specification)
    monkeypatch.syspath_prepend(tmp_path)

    def installed(**modules):
        for name, code in modules.items():
            install(tmp_path, name, registry.GROUP, {name: f"{name}:KIND"}, **{name: code})
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setenv(f"{PREFIX}EVENT_SOURCES", " ".join(modules))

    return installed


def stated(engine):
    rows = fetch(
        engine,
        "SELECT ticker, event, source FROM bi.events WHERE event_date > now() ORDER BY 1, 3",
    )
    return [tuple(row.values()) for row in rows]


BOOK = ("reports after the close", "almanac")


def test_a_package_adds_a_source(stockbatch, ask, engine):
    assert len(ALMANAC.splitlines()) < 40
    ask(almanac=ALMANAC)
    assert stockbatch("config", "check")[0] == 0
    checks = stockbatch("doctor")[1].splitlines()
    assert (
        "ok     events: the next report is known of 0 of 2 tickers; almanac has not been asked"
        in checks
    )
    assert "ok     events almanac: 2 tickers, printed long ago" in checks

    status, out, err = stockbatch("events", "refresh")
    assert (status, err) == (0, "")
    answered = "almanac: 2 of 2 tickers answered for; events: 2 new, 0 changed, 0 withdrawn"
    assert answered in out
    assert stated(engine) == [("AAA", *BOOK), ("BBB", *BOOK)]
    for command in ("status", "doctor"):
        assert (
            "events: the next report is known of 2 of 2 tickers; almanac last answered 20"
            in stockbatch(command)[1]
        )


@pytest.mark.parametrize("name", BAD)
def test_one_that_fails_keeps_no_other_from_being_asked(stockbatch, ask, engine, name):
    ask(**{name: BAD[name], "almanac": ALMANAC})
    status, out, err = stockbatch("events", "refresh")
    assert "Traceback" not in out + err
    assert "almanac: 2 of 2 tickers answered for" in out
    assert [row for row in stated(engine) if row[-1] == "almanac"] == [
        ("AAA", *BOOK),
        ("BBB", *BOOK),
    ]
    with Session(engine) as db:
        fresh = {one.source: one for one in event_refreshes.freshness(db, [name, "almanac"])}
    assert fresh["almanac"].answered_at is not None
    assert fresh["almanac"].problems == 0
    if name in ("unimportable", "untyped"):
        assert status == 4
        assert f"{name}, which the package {name} offers, cannot be used" in err
        assert name not in fresh
    elif name == "nameless":
        assert status == 0
        assert name not in fresh
    else:
        assert status == 0
        assert (fresh[name].answered_at, fresh[name].problems) == (None, 2)

    out = stockbatch("status")[1]
    assert "almanac last answered 20" in out
    told = "has not been asked" if name not in fresh else "has never answered ("
    assert f"{name} {told}" in out
    status, out, _ = stockbatch("doctor")
    assert "Traceback" not in out
    assert "ok     events almanac: 2 tickers, printed long ago" in out
    wrong = [line for line in out.splitlines() if line.startswith("wrong")]
    broken = name in ("unimportable", "untyped", "nameless", "unmade")
    assert [line.partition(":")[0] for line in wrong] == [f"wrong  events {name}"] * broken


def test_a_name_that_nobody_has_is_told(stockbatch, ask):
    ask(almanac=ALMANAC)
    unknown = "nobody is not a source of events: event_sources names some of"
    asking = "--set", "event_sources=nobody almanac"
    status, out, err = stockbatch(*asking, "events", "refresh")
    assert (status, err.startswith(f"error: {unknown}")) == (2, True)
    assert "almanac: 2 of 2 tickers answered for" in out
    status, out, _ = stockbatch(*asking, "doctor")
    assert (status, f"wrong  events nobody: {unknown}" in out) == (1, True)


def test_our_names_stay_ours(ask):
    ask(yahoo=ALMANAC)
    assert registry.kind("yahoo").about != "a book"
