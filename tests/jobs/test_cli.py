"""The `stockbatch` command: what it prints, how it ends."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from jobs import cli, symbols
from jobs.words import rounded
from stockbatch import database
from stockbatch.config import PREFIX
from stockbatch.engine import features, inference
from stockbatch.exceptions import RateLimited
from stockbatch.market import sessions
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.records import LSTM, Event, NewsItem, Timing
from stockbatch.store import events, instruments, models, news
from stockbatch.store import forecasts as forecast_store
from tests.support.disk import small_disk
from tests.support.ledger import forecast_of, listed, opened
from tests.support.market import (
    AFTER,
    NOW,
    ORIGIN,
    TICKERS,
    Market,
    PlainTrainer,
    fetch,
    run,
    session,
)
from tests.support.places import ROOT

HEAVY = {"tensorflow", "keras", "pandas", "numpy", "sqlalchemy", "psycopg", "pydantic"}
COMMANDS = (
    *(("",), ("demo",), ("run",), ("fetch",), ("backtest",), ("status",), ("forecasts",)),
    *(("accuracy",), ("providers",), ("headline", "list"), ("headline", "set")),
    *(("quality", name) for name in ("show", "accept", "reject")),
    *(("api",), ("dashboard",), ("report",), ("doctor",), ("migrate",), ("prune",)),
    *(("daemon",), ("schedule",), ("pause",), ("resume",), ("runs",), ("retry",), ("backfill",)),
    *(("tune",), ("export",), ("alerts",), ("alerts", "test")),
    *(("tickers", name) for name in ("add", "import", "tag", "groups", "rename", "remove")),
    *(("tickers", "list"), *(("watchlists", name) for name in ("add", "remove", "delete", "list"))),
    *(("events", name) for name in ("import", "list")),
    *(("news", name) for name in ("import", "list", "refresh")),
    *(("portfolios", name) for name in ("import", "list")),
    *(("models", name) for name in ("list", "show", "promote", "rollback")),
    *(("models", name) for name in ("export", "inputs", "publish")),
    *(("tokens", name) for name in ("add", "list", "revoke")),
    *(("teams", name) for name in ("add", "list", "url", "remove")),
    *(("db", name) for name in ("start", "stop", "url", "psql", "dictionary", "backup", "restore")),
    *(("config", name) for name in ("show", "check", "template")),
)


@dataclass
class Answer:
    status: int
    out: str
    err: str


@contextmanager
def plain_trainer(threads, **limits):
    yield PlainTrainer()


@pytest.fixture
def stockbatch(monkeypatch, capsys, tmp_path):
    """Call the command in this process, with a trainer that needs no TensorFlow."""
    monkeypatch.setattr("jobs.app.TrainingProcess", plain_trainer)
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name, value in {"UNITS": 3, "LOOKBACK": 5, "HISTORY_SESSIONS": 100}.items():
        monkeypatch.setenv(f"{PREFIX}MODEL__{name}", str(value))
    monkeypatch.setenv(f"{PREFIX}MODEL__MINIMUM_HISTORY", "60")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stockbatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Answer(ended.value.code or 0, captured.out, captured.err)

    return call


@pytest.fixture
def use(monkeypatch):
    """Let the command use the database of an App or of settings."""

    def point(settings):
        url = settings.database_url.get_secret_value()
        monkeypatch.setenv(f"{PREFIX}DATABASE_URL", url)

    return point


@pytest.fixture(scope="module")
def traded(make_lasting_app, tmp_path_factory):
    """An App that has run two sessions; its tests only read."""
    market = Market(tmp_path_factory.mktemp("market") / "market.csv")
    app = make_lasting_app(market)
    for day in (ORIGIN, session(1)):
        run(app, day)
    return app


@pytest.fixture
def reading(stockbatch, use, traded):
    """The command on the database of `traded`."""
    use(traded.settings)
    return stockbatch


def says(answer, status, *words):
    """Assert that a command ended with one line of error that holds some words."""
    assert answer.status == status, answer
    assert answer.out == ""
    assert answer.err.count("\n") == 1
    assert "Traceback" not in answer.err
    for word in words:
        assert word in answer.err


# ---- the command line


def test_help_needs_nothing_heavy():
    """It is the imports that would make it slow."""
    code = (
        "import sys\n"
        "from jobs import cli\n"
        "try:\n    cli.main()\n"
        "finally:\n    print('modules', *sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=True
    )
    usage, _, modules = done.stdout.rpartition("modules ")
    assert "Not investment advice" in usage
    assert not HEAVY & set(modules.split())


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(stockbatch, command):
    answer = stockbatch(*filter(None, command), "--help")
    assert answer.status == 0
    assert answer.out.strip().startswith(f"Usage: stockbatch {' '.join(command)}".rstrip())
    assert answer.err == ""
    assert max(map(len, answer.out.splitlines())) <= 80
    assert stockbatch(*filter(None, command), "-h").out == answer.out


def test_the_terminal_breaks_the_lines_of_help_not_the_source(stockbatch):
    said = stockbatch("prune", "--help").out
    _, _, paragraph = said.partition(" Forecasts and scores stay")
    first, *others = [line.rstrip() for line in paragraph.partition("╭")[0].splitlines()]
    lines = [f" Forecasts and scores stay{first}", *filter(None, others)]
    assert len(lines) > 2
    for line, after in pairwise(lines):
        assert len(f"{line} {after.split()[0]}") > 80 - 2  # it would not have fitted


def test_help_has_commands_in_a_few_groups(stockbatch):
    said = stockbatch("--help").out
    panels = [line.split("─")[1].strip() for line in said.splitlines() if line.startswith("╭")]
    assert panels == ["Options", *cli.PANELS]
    assert len(cli.PANELS) == 6


def test_the_version_is_told(stockbatch):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert stockbatch("--version").out == f"stockbatch {project['version']}\n"


@pytest.mark.parametrize(
    ("shell", "how"),
    [("bash", "complete -o"), ("zsh", "compdef"), ("fish", "complete --command stockbatch")],
)
def test_a_shell_learns_to_complete(stockbatch, monkeypatch, shell, how):
    monkeypatch.setattr("shellingham.detect_shell", lambda *_: (shell, f"/bin/{shell}"))
    script = stockbatch("--show-completion").out
    assert how in script
    assert "stockbatch" in script


def test_quiet_says_only_what_is_asked_for_or_wrong(fresh, market):
    provider = ("--provider", market.specification)
    assert fresh("-q", "tickers", "add", "AAA", *provider) == Answer(0, "", "")
    assert fresh("--quiet", "run", "--session", ORIGIN) == Answer(0, "", "")
    assert "AAA" in fresh("--quiet", "tickers", "list").out
    says(fresh("--quiet", "run", "ZZZ"), 2, "ZZZ is not on the watchlist")


def test_the_help_of_an_import_names_every_column(stockbatch):
    said = " ".join(stockbatch("tickers", "import", "--help").out.replace("│", " ").split())
    assert f"ticker, {', '.join(symbols.COLUMNS)}." in said


@pytest.mark.parametrize("group", [(), ("tickers",), ("models",), ("db",), ("config",)])
def test_a_group_alone_shows_its_help(stockbatch, group):
    answer = stockbatch(*group)
    assert answer.status == 2
    assert "Usage: stockbatch" in answer.out + answer.err
    assert "COMMAND [ARGS]" in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["frobnicate"], 2, ["No such command 'frobnicate'", "'stockbatch --help' tells more"]),
        (["run", "--sesion", "x"], 2, ["--sesion", "--session", "'stockbatch run --help'"]),
        (["run", "--session", "yesterday"], 2, ["'yesterday' does not match", "%Y-%m-%d"]),
        (["run", "--from", "2024-06-03"], 2, ["give --session, or both --from and --to"]),
        (["run", "--to", "2024-06-03"], 2, ["give --session, or both --from and --to"]),
        (
            ["run", "--session", "2024-06-03", "--from", "2024-06-03", "--to", "2024-06-04"],
            2,
            ["give --session, or both --from and --to"],
        ),
        *(
            ([command, "--from", "2024-06-04", "--to", "2024-06-03"], 2, ["--from is after --to"])
            for command in ("run", "backtest", "backfill")
        ),
        *(
            ([command, "--from", "2999-01-02", "--to", "2999-01-05"], 2, ["is in the future"])
            for command in ("run", "backtest", "backfill")
        ),
        (
            ["backtest", "--from", "2024-06-03", "--to", "2024-06-04", "--base-every", "-1"],
            2,
            ["--base-every", "greater than or equal to 1"],
        ),
        (["tokens", "add", "me", "--days", "-1"], 2, ["--days", "greater than or equal to 1"]),
        (["forecasts", "--method", "prophet"], 2, ["prophet is no method: use all, "]),
        (["tickers", "add"], 2, ["name tickers, or give --all"]),
        (["tickers", "add", "AAA", "--all"], 2, ["name tickers, or give --all"]),
        (["tickers", "remove"], 2, ["Missing argument 'TICKER'"]),
        (["models", "export", "AAA", "a.h5"], 2, ["must end in .keras"]),
        (["models", "promote", "AAA", "best"], 2, ["MODEL_ID", "valid integer"]),
        (["models", "promote", "AAA", "1", "--from", "now"], 2, ["'now' does not match"]),
        (["forecasts", "--format", "xml"], 2, ["for '--format': 'xml' is not one of"]),
        (["db", "url", "--role", "god"], 2, ["'god' is not one of"]),
        (["--set", "model.unts=2", "config", "show"], 2, ["model.unts", "did you mean units?"]),
        (["--set", "model.units=0", "config", "show"], 2, ["model.units", "greater than"]),
        (["--set", "units", "config", "show"], 2, ["units: write it as KEY=VALUE"]),
        (["--set", "a=1", "--set", "a.b=2", "config", "show"], 2, ["a has a value"]),
        (["--config", "nowhere.toml", "status"], 2, ["nowhere.toml", "there is no such file"]),
        *(
            (command, 3, ["There is no database in", "'stockbatch db start' or 'stockbatch demo'"])
            for command in (
                ["status"],
                ["forecasts"],
                ["tickers", "list"],
                ["tickers", "remove", "AAA"],
                ["models", "list"],
                ["models", "show", "AAA"],
                ["models", "promote", "AAA", "1"],
                ["models", "rollback", "AAA"],
                ["models", "export", "AAA", "a.keras"],
                ["db", "url"],
                ["db", "psql"],
            )
        ),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else None,
)
def test_an_error_is_one_line_and_an_exit_status(stockbatch, tmp_path, arguments, status, words):
    says(stockbatch(*arguments), status, *words)
    assert not (tmp_path / "home").exists(), "reading creates no database"


@pytest.mark.parametrize(
    ("package", "extra", "arguments"),
    [
        ("uvicorn", "api", ["api"]),
        ("streamlit", "dashboard", ["dashboard"]),
        ("vl_convert", "dashboard", ["report", "--out", "report.html"]),
        ("pyarrow", "export", ["export", "--to", "lake"]),
        ("optuna", "tune", ["tune", "--before", "2024-06-03"]),
        ("apprise", "alerts", ["alerts", "test"]),
        ("mlflow", "mlflow", ["models", "publish", "--to", "http://127.0.0.1:1"]),
        ("apprise", "alerts", ["daemon"]),
    ],
)
def test_an_extra_that_is_missing_is_named_at_once(
    stockbatch, monkeypatch, tmp_path, package, extra, arguments
):
    monkeypatch.setenv(f"{PREFIX}ALERT_URLS", "json://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    says(
        stockbatch(*arguments), 2, f"the extra '{extra}'", "uv sync --frozen --inexact --extra all"
    )
    assert not (tmp_path / "home").exists()


def test_every_extra_that_users_may_need_is_in_all_and_in_the_tests():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for_users = extras.keys() - {"all", "test"}
    assert extras["all"] == [f"stockbatch[{','.join(sorted(for_users))}]"]
    assert f"stockbatch[{','.join(sorted(for_users - {'notebooks'}))}]" in extras["test"]
    asked_for = {
        found
        for folder in ("jobs", "stockbatch")
        for file in (ROOT / folder).rglob("*.py")
        for found in re.findall(r'(?:require|MissingExtra)\([^)]*extra="(\w+)"\)', file.read_text())
    }
    assert asked_for == for_users - {"notebooks"}


def fail(error):
    def check(*arguments, **options):
        raise error

    return check


def test_what_nobody_expected_is_one_line_too(reading, monkeypatch):
    monkeypatch.setattr("jobs.daily.run.run_session", fail(ZeroDivisionError("of\nall things")))
    says(reading("run"), 70, "unexpected ZeroDivisionError: of all things", "--debug")


def test_debug_shows_where(reading, monkeypatch):
    monkeypatch.setattr("jobs.daily.run.run_session", fail(ZeroDivisionError("of all things")))
    answer = reading("--debug", "run")
    assert answer.status == 70
    assert answer.err.startswith("Traceback")
    assert "in check" in answer.err
    answer = reading("--debug", "models", "show", "ZZZ")
    assert answer.status == 1
    assert "Traceback" in answer.err
    assert answer.err.endswith("error: ZZZ has no trained model: 'stockbatch run' trains one\n")


def test_an_interruption_says_that_nothing_is_lost(reading, monkeypatch):
    monkeypatch.setattr("jobs.daily.run.run_session", fail(KeyboardInterrupt()))
    says(reading("run"), 130, "interrupted: what was committed stays")


# ---- the watchlist


@pytest.fixture
def fresh(stockbatch, use, settings):
    """The command on an empty, migrated database."""
    use(settings)
    return stockbatch


def test_tickers_are_added_listed_and_removed(fresh, market, engine):
    provider = ("--provider", f"csv:{market.file.name}")
    assert fresh("tickers", "add", "BBB", "AAA", "BBB", *provider).out == "2 added\n"
    listed = fetch(engine, "SELECT ticker, provider, active FROM stockbatch.instruments ORDER BY 1")
    assert listed == [
        {"ticker": ticker, "provider": market.specification, "active": True}
        for ticker in ("AAA", "BBB")
    ]
    elsewhere = fresh("tickers", "add", "CCC", "AAA", "--provider", "demo")
    says(elsewhere, 2, "AAA is on the watchlist already, fed by csv:")
    answer = fresh("tickers", "add", "BBB", "AAA", *provider)
    assert answer.out == "0 added, 2 on the watchlist already\n"
    answer = fresh("tickers", "list")
    assert answer.out.startswith("2 tickers\n")
    assert market.specification in answer.out

    assert fresh("tickers", "remove", "AAA").out == "removed: AAA\n"
    says(fresh("tickers", "remove", "AAA"), 2, "AAA is not on the watchlist")
    assert fresh("tickers", "add", "AAA", *provider).out == "1 added\n"


def test_who_names_a_fallback_for_a_known_ticker_is_told_how(fresh, market, engine):
    provider = ("--provider", market.specification)
    asked = "SELECT provider FROM stockbatch.fallbacks"
    fresh("tickers", "add", "AAA", *provider, "--fallback", "demo")
    again = ("tickers", "add", "AAA", *provider, "--fallback", "yfinance")
    assert "to change their fallbacks, remove them and add them again" in fresh(*again).out
    assert fetch(engine, asked) == [{"provider": "demo"}]
    fresh("tickers", "remove", "AAA")
    assert fresh(*again).out == "1 added\n"
    assert fetch(engine, asked) == [{"provider": "yfinance"}]


def test_all_tickers_of_a_provider_are_added(fresh, market):
    provider = ("--provider", market.specification)
    fresh("tickers", "add", "BBB", *provider)
    answer = fresh("tickers", "add", "--all", *provider)
    assert answer.out == "2 added, 1 on the watchlist already\n"
    answer = fresh("tickers", "add", "--all", *provider)
    assert answer.out == "0 added, 3 on the watchlist already\n"
    says(fresh("tickers", "add", "--all", "--provider", "yfinance"), 4, "cannot list its tickers")


def test_an_unknown_ticker_keeps_no_other_from_being_added(fresh, market):
    market.list("GOOGL")
    answer = fresh("tickers", "add", "AAA", "GOGL", "BBB", "--provider", market.specification)
    assert (answer.status, answer.out) == (4, "2 added\n")
    assert answer.err.endswith("error: csv does not know GOGL: did you mean GOOGL?\n")
    answer = fresh("tickers", "add", "GOGL", "--provider", market.specification)
    says(answer, 4, "csv does not know GOGL")


def test_an_unknown_provider_or_a_file_that_cannot_be_read_adds_nothing(fresh, engine, tmp_path):
    says(fresh("tickers", "add", "AAA", "--provider", "telex"), 4, "telex is not a provider")
    says(fresh("tickers", "add", "--all", "--provider", "csv:none.csv"), 4, "cannot be read")
    bad = tmp_path / "bad.csv"
    bad.write_text("date,open,high,low\n")
    says(fresh("tickers", "add", "--all", "--provider", f"csv:{bad}"), 4, str(bad), "column close")
    assert fetch(engine, "SELECT * FROM stockbatch.instruments") == []


def test_a_bad_file_of_a_folder_keeps_no_other_ticker_from_being_added(fresh, tmp_path):
    folder = tmp_path / "bars"
    folder.mkdir()
    text = "date,open,high,low,close\n2024-06-03,1,2,1,2\n"
    for name, written in (("AAA", text), ("BBB", ""), ("CCC", text)):
        (folder / f"{name}.csv").write_text(written)
    answer = fresh("tickers", "add", "--all", "--provider", f"csv:{folder}")
    assert (answer.status, answer.out) == (4, "2 added\n")
    assert answer.err.endswith(f"error: {folder}/BBB.csv, line 1, column 1: the file is empty\n")


def test_adding_stops_where_the_provider_fails_and_goes_on_there(
    fresh, market, engine, monkeypatch
):
    """What was added before a failure, or before Ctrl-C, is not asked for again."""
    names = ("tickers", "add", "AAA", "BBB", "CCC", "--provider", market.specification)
    original, asked = CsvFiles.listing, []
    refused = RateLimited(provider="csv", ticker="BBB")

    def failing(error):
        def listing(self, ticker):
            asked.append(ticker)
            if error is not None and ticker == "BBB":
                raise error
            return original(self, ticker)

        return listing

    monkeypatch.setattr(CsvFiles, "listing", failing(refused))
    answer = fresh(*names)
    assert (answer.status, answer.out) == (4, "1 added\n")
    assert answer.err.endswith(f"error: {refused}\n")
    monkeypatch.setattr(CsvFiles, "listing", failing(KeyboardInterrupt()))
    says(fresh(*names), 130, "interrupted")
    monkeypatch.setattr(CsvFiles, "listing", failing(None))
    assert fresh(*names).out == "2 added, 1 on the watchlist already\n"
    assert asked == ["AAA", "BBB", "BBB", "BBB", "CCC"]
    assert len(fetch(engine, "SELECT * FROM stockbatch.instruments")) == 3


@pytest.mark.parametrize(
    "content",
    [
        "AAA\nCCC\n",
        "# mine\n\n  AAA \nCCC\nAAA\n",
        "name,Ticker\nAlpha,AAA\nGamma,CCC\n",
        "\ufeffticker;\nAAA\nCCC\n".replace(";", ""),
        "Symbol,Security,GICS Sector\nAAA,Alpha,Energy\nCCC,Gamma,Energy\n",
    ],
)
def test_a_file_of_tickers_is_imported(fresh, market, tmp_path, content):
    file = tmp_path / "mine.txt"
    file.write_text(content, encoding="utf-8")
    provider = ("--provider", market.specification)
    fresh("tickers", "add", "CCC", *provider)
    answer = fresh("tickers", "import", file, *provider)
    assert answer.out == "1 added, 1 on the watchlist already\n"
    assert fresh("tickers", "import", file, *provider).out.startswith("0 added, 2 on")


def test_a_file_without_tickers_is_refused(fresh, tmp_path):
    says(fresh("tickers", "import", "nowhere.txt"), 4, "nowhere.txt cannot be read: No such file")
    (tmp_path / "empty.txt").write_text("ticker\n")
    says(fresh("tickers", "import", "empty.txt"), 4, "empty.txt", "it names no ticker")
    (tmp_path / "binary.txt").write_bytes(b"\xff\xfe\x00")
    says(fresh("tickers", "import", "binary.txt"), 4, "binary.txt")


# ---- events


def test_events_are_imported_and_listed(fresh, market, tmp_path):
    assert fresh("events", "list").out.startswith("0 events ahead\n")
    fresh("tickers", "add", "AAA", "BBB", "--provider", market.specification)
    file = tmp_path / "reports.csv"
    ahead = datetime.now(UTC).date() + timedelta(days=20)
    lines = f"AAA,2024-08-01,16:05\nBBB,{ahead},\nBBB,soon,\nZZZ,2024-08-01,\nYYY,2024-08-01,\n"
    file.write_text(f"symbol,date,time\n{lines}")
    answer = fresh("events", "import", file)
    assert answer.status == 4
    assert answer.out == "2 added, 0 changed, 0 known already\n"
    assert answer.err.splitlines()[0] == "2 lines left out, not on the watchlist: ZZZ, YYY"
    assert answer.err.endswith("line 4, column 2: 'soon' is no date such as 2024-07-25\n")
    listed = fresh("events", "list").out
    assert listed.startswith("1 event ahead\n")
    assert re.search(rf"BBB +{ahead} +reports, hour unknown", listed)
    (row,) = json.loads(fresh("events", "list", "AAA", "--format", "json").out)
    expected = {
        "event_date": "2024-08-01",
        "session": "2024-08-02",
        "event": "reports after the close",
    }
    assert row | expected == row
    said = fresh("events", "list", "AAA", "--format", "csv").out
    assert said.startswith("session,ticker,calendar,kind,event_date,")
    says(fresh("events", "list", "CCC"), 2, "CCC")
    says(fresh("events", "import", "nowhere.csv"), 4, "nowhere.csv cannot be read: No such file")


# ---- news


def test_news_are_imported_scored_and_listed(fresh, market, tmp_path):
    assert fresh("news", "list").out.startswith("0 news items\n")
    fresh("tickers", "add", "AAA", "BBB", "--provider", market.specification)
    file = tmp_path / "news.csv"
    lines = 'AAA,2024-08-01T12:00Z,"A great, \u202ehappy day",\nBBB,2024-08-02,Fine,0.25\n'
    file.write_text(f"symbol,published_at,title,score\n{lines}BBB,soon,x,\nZZZ,2024-08-01,x,\n")
    answer = fresh("news", "import", file)
    assert answer.status == 4
    assert answer.out == "2 added, 0 known already\n"
    assert answer.err.splitlines()[0] == "1 line left out, not on the watchlist: ZZZ"
    words = "line 4, column 2: 'soon' is no instant such as 2024-07-01T12:00Z\n"
    assert answer.err.endswith(words)
    listed = fresh("news", "list").out
    assert re.search(r"BBB +2024-08-03 00:00 +\+0\.25 +Fine +import", listed)
    assert re.search(r"AAA +2024-08-01 12:00 +\+0\.\d\d +A great, \\u202ehappy day", listed)
    (row,) = json.loads(fresh("news", "list", "AAA", "--format", "json").out)
    expected = {"session": "2024-08-01", "scored_by": "vader", "is_assumed": True, "url": None}
    assert row | expected == row
    says(fresh("news", "list", "CCC"), 2, "CCC")
    says(fresh("news", "import", "nowhere.csv"), 4, "nowhere.csv cannot be read: No such file")
    answer = fresh("--set", "news_sources=nobody", "config", "check")
    assert "nobody is not a source of news: news_sources names some of yahoo" in answer.out
    says(fresh("news", "refresh"), 2, "yahoo, alpha_vantage and feeds are there to be asked")
    feeds = ("--set", "news_sources=feeds", "--set", "news_feeds=NOPE=http://127.0.0.1:1/")
    answer = fresh(*feeds, "news", "refresh")
    assert answer.err == "not on the watchlist, and named in the settings: NOPE\n"
    assert answer.out == "none of the tickers is one that feeds covers\n"


def test_news_that_nobody_can_score_are_kept_and_end_with_an_error(fresh, market, tmp_path):
    fresh("tickers", "add", "AAA", "--provider", market.specification)
    file = tmp_path / "news.csv"
    file.write_text("symbol,published_at,title\nAAA,2024-08-01,A great day\n")
    nobody = ("--set", "news_scorer=nobody")
    answer = fresh(*nobody, "news", "import", file)
    assert (answer.status, answer.out) == (2, "1 added, 0 known already\n")
    assert answer.err.startswith("kept without a score: nobody is not a scorer: news_scorer is")
    feeds = ("--set", "news_sources=feeds", "--set", "news_feeds=NOPE=http://127.0.0.1:1/")
    assert fresh(*nobody, *feeds, "news", "refresh").status == 2
    assert fresh("news", "import", file) == Answer(0, "0 added, 1 known already\n", "")
    assert fresh(*nobody, "news", "import", file).status == 0


# ---- runs


def test_constituents_are_imported_with_what_the_file_says(fresh, market, engine, tmp_path):
    file = tmp_path / "index.csv"
    file.write_text(
        "Ticker,Name,Calendar,Currency,Provider,Symbol\n"
        f"AAA,Alpha,,USD,{market.specification},\n"
        f"BETA,Beta plc,XLON,GBP,{market.specification},BBB\n"
        f"BTC-USD,Bitcoin,24/7,USD,{market.specification},CCC\n"
    )
    answer = fresh("tickers", "import", file, "--fallback", "demo")
    assert answer.out == "3 added\n", answer
    rows = fetch(
        engine,
        "SELECT ticker, i.symbol, name, calendar, currency, f.provider AS fallback, f.symbol AS f"
        " FROM stockbatch.instruments AS i JOIN stockbatch.fallbacks AS f ON instrument_id = i.id"
        " ORDER BY ticker",
    )
    assert [tuple(row.values()) for row in rows] == [
        ("AAA", "AAA", "Alpha", "XNYS", "USD", "demo", "AAA"),
        ("BETA", "BBB", "Beta plc", "XLON", "GBP", "demo", "BETA"),
        ("BTC-USD", "CCC", "Bitcoin", "24/7", "USD", "demo", "BTC-USD"),
    ]
    file.write_text("ticker,calendar\nDDD,NYES\n")
    says(fresh("tickers", "import", file), 4, f"{file}, line 2, column 2: NYES", "did you mean")


def test_what_prices_are_adjusted_for_is_known_once_bars_come(fresh, market, engine, tmp_path):
    file = tmp_path / "list.csv"
    file.write_text("ticker,calendar\nAAA,XNYS\n")
    fresh("tickers", "import", file, "--provider", market.specification)
    query = "SELECT price_basis FROM stockbatch.instruments"
    assert fetch(engine, query) == [{"price_basis": None}]
    fresh("fetch", "--session", ORIGIN)
    assert fetch(engine, query) == [{"price_basis": "as_traded"}]
    assert "as_traded" in fresh("tickers", "list").out


def coins(tmp_path):
    """Return a folder with bars of a coin, for every day of half a year, and of a share."""
    folder = tmp_path / "coins"
    folder.mkdir()
    days = {
        "COIN": np.arange("2024-01-01", "2024-06-29", dtype="datetime64[D]"),
        "SHARE": sessions.of_years("XNYS", 2024, 2024)[:120],
    }
    for name, of_one in days.items():
        rows = [f"{day},{10 + i % 7},17,9,{10 + i % 5},{1000 + i}" for i, day in enumerate(of_one)]
        text = "\n".join(["Date,Open,High,Low,Close,Volume", *rows])
        (folder / f"{name}.csv").write_text(text + "\n")
    return f"csv:{folder}"


def test_a_calendar_that_bars_do_not_fit_is_never_given_in_silence(fresh, engine, tmp_path):
    provider = ("--provider", coins(tmp_path))
    answer = fresh("tickers", "add", "--all", *provider)
    assert (answer.status, answer.out) == (4, "1 added\n")
    doubt = "56 of 180 bars are of days on which XNYS is closed, the last of 2024-06-23"
    assert f"\nerror: COIN: {doubt}: give --calendar 24/7" in answer.err
    says(fresh("tickers", "add", "COIN", *provider), 4, doubt)
    says(fresh("tickers", "add", "COIN", *provider, "--calendar", "24/8"), 2, "24/8", "24/7")
    says(fresh("tickers", "add", "NONE", *provider, "--calendar", "24/7"), 4, "NONE")
    assert fresh("tickers", "add", "COIN", *provider, "--calendar", "24/7").out == "1 added\n"
    rows = fetch(engine, "SELECT ticker, calendar FROM stockbatch.instruments ORDER BY ticker")
    assert [tuple(row.values()) for row in rows] == [("COIN", "24/7"), ("SHARE", "XNYS")]
    assert "does not fit" not in fresh("status").out


def test_a_calendar_that_does_not_fit_is_told_everywhere(fresh, tmp_path):
    fresh("tickers", "add", "--all", "--provider", coins(tmp_path), "--calendar", "nyse")
    told = (
        "XNYS does not fit COIN: 56 of 180 bars are of days on which XNYS is closed, the last of"
        " 2024-06-23; remove what trades elsewhere and add it with --calendar 24/7"
    )
    assert told in fresh("fetch", "--session", "2024-06-28", "--exchange", "nasdaq").out
    assert f"warning: {told}" in fresh("status").out
    assert f"wrong  calendar XNYS: {told}" in fresh("doctor").out


def test_exchanges_are_named_as_people_name_them(fresh, market):
    fresh("tickers", "add", "AAA", "--provider", market.specification)
    for name in ("xnys", "NYSE", "nasdaq", "NMS"):
        assert fresh("retry", "--exchange", name).status == 0, name
    says(fresh("retry", "--exchange", "XLNO"), 2, "XLNO", "did you mean XLON")
    says(fresh("run", "--exchange", "Wallstreet"), 2, "Wallstreet")
    assert "paused: XLON" in fresh("pause", "--exchange", "l").out


def test_lines_that_are_no_symbol_are_told_and_the_others_are_added(
    fresh, market, engine, tmp_path
):
    file = tmp_path / "index.csv"
    file.write_text(
        "Symbol;Security;GICS Sector;GICS Sub-Industry\nAAA;Alpha;Energy;Oil\nno symbol;;;\n",
        encoding="utf-16",
    )
    answer = fresh("tickers", "import", file, "--provider", market.specification)
    assert (answer.status, answer.out) == (4, "1 added\n")
    assert answer.err.endswith(f"error: {file}, line 3, column 1: 'no symbol' is not a symbol\n")
    [row] = fetch(engine, "SELECT ticker, name, sector, industry FROM bi.instruments")
    assert tuple(row.values()) == ("AAA", "Alpha", "Energy", "Oil")


def test_a_fallback_has_its_own_symbol(fresh, market, engine):
    one = ("tickers", "add", "AAA", "--provider", market.specification)
    says(fresh(*one, "--fallback-symbol", "X"), 2, "a --fallback-symbol for each --fallback")
    says(fresh(*one, "--fallback", "telex"), 4, "telex is not a provider")
    assert fresh(*one, "--fallback", "demo", "--fallback-symbol", "^GSPC").out == "1 added\n"
    rows = fetch(engine, "SELECT position, provider, symbol FROM stockbatch.fallbacks")
    assert [tuple(row.values()) for row in rows] == [(1, "demo", "^GSPC")]


def test_a_renamed_ticker_keeps_its_history(fresh, market, engine):
    fresh("tickers", "add", "--all", "--provider", market.specification)
    fresh("run", "--session", ORIGIN)
    market.bars["NEW"] = market.bars.pop("AAA")
    market.write()
    says(fresh("tickers", "rename", "AAA", "BBB"), 2, "BBB is on the watchlist already")
    fresh("tickers", "remove", "CCC")
    says(fresh("tickers", "rename", "AAA", "CCC"), 2, "CCC is taken")
    says(fresh("tickers", "rename", "ZZZ", "NEW"), 2, "ZZZ is not on the watchlist")
    assert fresh("tickers", "rename", "AAA", "NEW").out == "AAA is NEW from now on\n"
    answer = fresh("run", "--session", session(1))
    assert answer.out == f"XNYS {session(1)} finished: 2 outcomes: 2 reused (fresh)\n"
    (kept,) = fetch(engine, "SELECT old_ticker, old_symbol, new_ticker FROM stockbatch.renames")
    assert tuple(kept.values()) == ("AAA", "AAA", "NEW")
    scored = "SELECT * FROM bi.forecast_history WHERE ticker = 'NEW' AND score_status = 'scored'"
    assert fetch(engine, scored)


def test_fetching_alone_forecasts_nothing(fresh, market, engine):
    fresh("tickers", "add", "--all", "--provider", market.specification)
    market.drop("BBB", ORIGIN)
    market.drop("CCC", ORIGIN)
    assert fresh("fetch", "AAA", "--session", ORIGIN).out == (
        f"XNYS {ORIGIN}: 1 of 1 ticker has its bar\n"
    )
    assert fresh("fetch", "--session", ORIGIN).out == (
        f"XNYS {ORIGIN}: 1 of 3 tickers have their bar\n"
        f"BBB, CCC: csv has no bar of this session, its last is of {session(-1)}\n"
    )
    assert fetch(engine, "SELECT count(*) AS n FROM stockbatch.bars")[0]["n"] == 3 * 151 - 2
    nothing = fresh("fetch", "BBB", "CCC", "--session", ORIGIN)
    assert nothing.status == 4
    assert nothing.out.startswith(f"XNYS {ORIGIN}: 0 of 2 tickers have their bar\nBBB, CCC: csv ")
    for table in ("runs", "outcomes", "forecasts", "models"):
        assert fetch(engine, f"SELECT * FROM stockbatch.{table}") == []
    says(fresh("fetch", "ZZZ"), 2, "ZZZ is not on the watchlist")


def test_quality_shows_findings_and_takes_decisions(fresh, market, engine):
    fresh("tickers", "add", "--all", "--provider", market.specification)
    assert fresh("quality").out.strip().startswith("nothing found")
    market.bars["BBB"][session(-3)]["volume"] = 0.0
    saturday = ORIGIN.replace(day=1)
    market.bars["CCC"][saturday] = dict(market.bars["CCC"][session(-1)])
    market.write()
    fresh("fetch", "--session", ORIGIN)
    lines = fresh("quality").out.splitlines()
    assert lines[0] == "1 off_calendar, 1 zero_volume"
    first, second = (line.split() for line in lines if "2024-0" in line)
    assert first[1:5] == ["CCC", str(saturday), "off_calendar", "quarantined"]
    assert second[1:6] == ["BBB", str(session(-3)), "zero_volume", "warning", "nothing"]
    assert "CCC" not in fresh("quality", "BBB").out
    says(fresh("quality", "ZZZ"), 2, "ZZZ is not on the watchlist")
    answer = fresh("quality", "accept", first[0], "--by", "ops")
    assert answer.out == f"accepted: CCC {saturday}: the exchange does not trade on this day\n"
    shown = fresh("quality", "CCC").out
    assert "accepted" in shown
    assert "by ops" in shown
    state = f"SELECT state FROM stockbatch.bars WHERE session = '{saturday}'"
    assert fetch(engine, state) == [{"state": "final"}]
    fresh("quality", "reject", first[0])
    assert fetch(engine, state) == [{"state": "quarantined"}]
    says(fresh("quality", "accept", second[0]), 2, "there is nothing to decide")
    says(fresh("quality", "accept", "4711"), 2, "There is no finding 4711")


def test_all_findings_of_a_ticker_are_shown_and_the_newest_of_all(fresh, market, monkeypatch):
    monkeypatch.setattr("jobs.commands.quality.SHOWN", 2)
    fresh("tickers", "add", "--all", "--provider", market.specification)
    for offset in range(-6, -1, 2):
        market.bars["AAA"][session(offset)]["volume"] = 0.0
    market.write()
    fresh("fetch", "--session", ORIGIN)
    of_all = fresh("quality").out.splitlines()
    assert of_all[0] == "3 zero_volume"
    assert [str(session(o)) in "".join(of_all) for o in (-6, -4, -2)] == [False, True, True]
    assert of_all[-1] == "the newest 2 are shown: name a ticker to see all of its own"
    of_one = fresh("quality", "AAA").out
    assert all(str(session(offset)) in of_one for offset in (-6, -4, -2))
    assert "are shown" not in of_one


def test_every_calendar_of_the_watchlist_is_run(fresh, engine, tmp_path):
    """Crypto has bars every day, currencies on weekdays, shares on sessions."""
    wanted = {"24/7": "BTC", "24/5": "EURUSD", "XNYS": "AAA"}
    file, last = tmp_path / "mixed.csv", NOW.date()
    rng = np.random.default_rng(1)
    with file.open("w") as bars:
        bars.write("ticker,date,open,high,low,close,volume\n")
        for code, ticker in wanted.items():
            days = sessions.load(code, last).window(
                sessions.load(code, last).previous(last.replace(day=1)), 160
            )
            closes = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, len(days))))
            for day, close in zip(days, closes, strict=True):
                bars.write(f"{ticker},{day},{close},{close * 1.01},{close * 0.99},{close},5\n")
    index = tmp_path / "index.csv"
    rows = [f"{ticker},{code}" for code, ticker in wanted.items()]
    index.write_text("\n".join(["ticker,calendar", *rows]))
    assert fresh("tickers", "import", index, "--provider", f"csv:{file}").out == "3 added\n"
    friday, saturday = "2024-11-22", "2024-11-23"
    lines = fresh("run", "--session", friday).out.splitlines()
    assert lines == [
        f"{code} {friday} finished: 1 outcome: 1 trained (no_model)" for code in sorted(wanted)
    ]
    answer = fresh("run", "--session", saturday)
    assert answer.out == f"24/7 {saturday} finished: 1 outcome: 1 reused (fresh)\n"
    targets = fetch(
        engine,
        "SELECT DISTINCT calendar, target_session FROM stockbatch.forecasts"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id ORDER BY 1, 2",
    )
    assert [(row["calendar"], f"{row['target_session']}") for row in targets] == [
        ("24/5", "2024-11-25"),
        ("24/7", saturday),
        ("24/7", "2024-11-24"),
        ("XNYS", "2024-11-25"),
    ]
    scored = fetch(engine, "SELECT DISTINCT status FROM stockbatch.scores")
    assert scored == [{"status": "scored"}]


def test_a_run_says_what_it_did(fresh, market):
    says(fresh("run", "--session", ORIGIN), 2, "The watchlist is empty")
    fresh("tickers", "add", "--all", "--provider", market.specification)
    says(fresh("run", "--session", "2024-06-01"), 2, "2024-06-01 is not a trading session of XNYS")
    says(fresh("run", "--session", ORIGIN, "--exchange", "NYES"), 2, "did you mean", "XNYS")
    says(fresh("run", "--session", ORIGIN, "ZZZ"), 2, "ZZZ is not on the watchlist")
    says(fresh("run", "--session", ORIGIN, "--provider", "telex"), 4, "telex is not a provider")

    answer = fresh("run", "AAA", "CCC", "--session", ORIGIN)
    assert answer.out == f"XNYS {ORIGIN} finished: 2 outcomes: 2 trained (no_model)\n"
    answer = fresh("run", "--from", "2024-06-01", "--to", session(1))
    assert answer.out.splitlines() == [
        f"XNYS {ORIGIN} finished: 3 outcomes: 3 trained (no_model)",
        f"XNYS {session(1)} finished: 3 outcomes: 3 reused (fresh)",
    ]
    for _ in range(2):
        answer = fresh("run", "--session", session(1))
        assert answer.out == f"XNYS {session(1)} finished already: 3 outcomes: 3 reused (fresh)\n"
    answer = fresh("run", "--session", session(1), "--retrain", "BBB")
    assert answer.out == f"XNYS {session(1)} finished: 1 outcome: 1 trained (forced)\n"
    assert answer.err == ""


def test_the_first_day_of_a_file_that_ends_years_ago_tells_the_truth(fresh, market, engine):
    fresh("tickers", "add", "--all", "--provider", market.specification)
    now = datetime.now(UTC)
    last = sessions.load("XNYS", now.date()).last_closed(now, timedelta(minutes=45))
    newest = session(AFTER)
    words = (
        f"XNYS: 0 of 3 tickers have a bar of {last}; the newest is of {newest}:"
        f" 'stockbatch run --session {newest}' or 'backtest'"
    )
    answer = fresh("run")
    assert answer.out == f"XNYS {last} finished: 3 outcomes: 3 none (no_bar)\n"
    assert answer.err.endswith(f"warning: {words}\n")
    assert answer.status == 4
    answer = fresh("doctor")
    assert answer.status == 1
    assert f"wrong  bars: {words}" in answer.out.splitlines()
    assert f"warning: {words}" in fresh("status").out.splitlines()
    assert fetch(engine, "SELECT DISTINCT is_ready FROM bi.data_freshness") == [{"is_ready": False}]
    answer = fresh("run", "--session", newest)
    assert (answer.status, answer.err) == (0, "")
    words = f"0 of 3 tickers have a bar of {last}; nothing has come since {newest}, which was run"
    assert f"warning: XNYS: {words}" in fresh("status").out.splitlines()
    assert fresh("backtest", "--from", session(-5), "--to", session(2)).status == 0


def test_a_walk_without_sessions_says_so(fresh, market):
    fresh("tickers", "add", "--all", "--provider", market.specification)
    says(fresh("run", "--from", "2024-06-01", "--to", "2024-06-02"), 2, "2024-06-01", "2024-06-02")


def test_an_external_database_is_migrated_by_its_own_command(stockbatch, use, empty_settings):
    use(empty_settings)
    says(stockbatch("run"), 3, "is at revision none", "'stockbatch migrate' brings it there")
    answer = stockbatch("migrate")
    assert answer.status == 0
    assert "is at revision" in answer.out
    assert password(empty_settings) not in answer.out
    says(stockbatch("run"), 2, "The watchlist is empty")


def test_an_external_server_is_not_started_or_stopped(fresh):
    says(fresh("db", "start"), 2, "external server")
    says(fresh("db", "stop"), 2, "external server")


def password(settings):
    from sqlalchemy import make_url

    return make_url(settings.database_url.get_secret_value()).password


# ---- answers


def test_forecasts_are_printed_as_a_table(reading):
    title, heading, rows = table(reading("forecasts"))
    over = f"forecasts of {session(2)}, which is over"
    assert title == f"{over} (not investment advice)"
    assert heading.split()[:3] == ["ticker", "move", "%"]
    assert [row.split()[0] for row in rows] == list(TICKERS)
    _, heading, rows = table(reading("forecasts", "--method", "all", "--wide"))
    assert heading.split()[:3] == ["ticker", "session", "method"]
    assert {row.split()[3] for row in rows} >= {"combined", "lstm", "naive"}
    _, _, rows = table(reading("forecasts", "CCC", "AAA", "--method", "ewma", "--wide"))
    assert [row.split()[0] for row in rows[:2]] == ["AAA", "CCC"]


@pytest.mark.parametrize("arguments", [(), ("BBB",), ("BBB", "--method", "all")])
def test_forecasts_in_csv_and_json_are_those_of_the_view(reading, traded, arguments):
    where = "ticker = 'BBB'" if arguments else "true"
    where += "" if "all" in arguments else " AND is_headline"
    query = (
        f"SELECT * FROM bi.next_session_forecast WHERE {where}"
        " ORDER BY ticker, is_headline DESC, method"
    )
    expected = [
        {name: rounded(name, value) for name, value in row.items()}
        for row in fetch(traded.engine, query)
    ]
    found = json.loads(reading("forecasts", *arguments, "--format", "json").out)
    assert found == json.loads(json.dumps(expected, default=str))
    rows = list(
        csv.DictReader(io.StringIO(reading("forecasts", *arguments, "--format", "csv").out))
    )
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        assert row == {name: "" if v is None else str(v) for name, v in wanted.items()}


def test_forecasts_say_what_is_known_to_move_the_session(fresh, own_db):
    one, two = listed(own_db, "AAA", "BBB")
    made = [forecast_of(instrument, method=LSTM) for instrument in (one, two)]
    forecast_store.add(own_db, made, opened(own_db), issued_at=NOW)
    report = Event(symbol="AAA", date=ORIGIN, timing=Timing.AFTER_CLOSE)
    events.record(own_db, [one], [report], "import", NOW)
    own_db.commit()
    _, _, rows = table(fresh("forecasts"))
    assert ["reports after the close" in row for row in rows] == [True, False]


def test_the_forecasts_of_a_ticker_end_with_what_became_of_it(reading):
    last = reading("forecasts", "AAA").out.splitlines()[-1]
    assert last == f"AAA {session(1)}: reused (fresh)"


def test_forecasts_of_nobody_are_none(reading, fresh):
    assert json.loads(fresh("forecasts", "--format", "json").out) == []
    answer = fresh("forecasts", "--format", "csv")
    assert answer.out.startswith("session,session_close_at,ticker,")
    assert answer.out.count("\n") == 1
    assert answer.err == "there are none yet: 'stockbatch run' makes them\n"
    says(fresh("forecasts", "AAA"), 2, "AAA is not on the watchlist")


def test_status_names_the_database_and_what_is_in_it(reading, traded):
    answer = reading("status")
    assert answer.status == 0
    assert answer.out.startswith("database: postgresql://owner:***@127.0.0.1:")
    assert password(traded.settings) not in answer.out
    lines = answer.out.splitlines()
    (count,) = fetch(traded.engine, "SELECT count(*) AS n FROM stockbatch.forecasts")
    for line in ("tickers: 3", f"last bar: {session(1)}", f"forecasts: {count['n']}"):
        assert line in lines
    (of_run,) = [line.split() for line in lines if line.split()[:2] == ["XNYS", str(session(1))]]
    assert of_run[2] == "finished"
    assert of_run[-3:] == ["3", "3", "reused"]
    (heading,) = [line.split() for line in lines if line.startswith("exchange")]
    assert heading == ["exchange", "session", "status", "seconds", "tickers", "outcomes"]
    good = [line.removeprefix("accuracy: ") for line in lines if line.startswith("accuracy: ")]
    for baseline, said in zip(("rolling quantiles", "the last close"), good, strict=True):
        assert re.fullmatch(rf"better than {baseline} by XNYS [+-][\d.]+ % \(3 late\)", said)
    known = "the next report is known of 0 of 3 tickers; yahoo has not been asked"
    assert f"events: {known}" in lines


def test_status_of_nothing_is_no_error(fresh):
    answer = fresh("status")
    assert answer.status == 0
    assert "tickers: 0" in answer.out


def test_a_healthy_installation_is_all_right(reading):
    answer = reading("doctor")
    assert answer.status == 0
    lines = answer.out.splitlines()
    assert {line[:6] for line in lines} == {"ok    "}
    checks = [line[7:].split(":")[0].split()[0] for line in lines]
    assert checks == [
        *("settings", "providers", "disk", "database", "migrations", "readers"),
        *("clock", "ledger", "watchlist", "bars", "provider", "events", "events", "calendar"),
    ]


def test_the_doctor_says_what_is_wrong_and_how_to_mend_it(fresh, market):
    answer = fresh("doctor")
    assert answer.status == 1
    assert "wrong  watchlist: The watchlist is empty: 'stockbatch tickers add" in answer.out

    fresh("tickers", "add", "--all", "--provider", market.specification)
    market.file.write_text("nothing of use")
    answer = fresh("doctor")
    assert answer.status == 1
    (wrong,) = [line for line in answer.out.splitlines() if line.startswith("wrong")]
    assert wrong.startswith(f"wrong  provider {market.specification}: {market.file}, line 1")
    assert answer.err == ""


def test_the_doctor_names_an_outdated_schema(stockbatch, use, empty_settings):
    use(empty_settings)
    answer = stockbatch("doctor")
    assert answer.status == 1
    assert "ok     database: PostgreSQL" in answer.out
    assert "wrong  migrations:" in answer.out
    assert "'stockbatch migrate' brings it there" in answer.out


def test_the_doctor_names_a_server_out_of_reach(stockbatch, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://me:hunter2@127.0.0.1:1/stocks")
    answer = stockbatch("doctor")
    assert answer.status == 1
    assert "wrong  database: No connection to postgresql://me:***@127.0.0.1:1/stocks" in answer.out
    assert "hunter2" not in answer.out + answer.err
    says(stockbatch("run"), 3, "No connection to postgresql://me:***@127.0.0.1:1/stocks")


def test_the_settings_are_shown_without_passwords(stockbatch, monkeypatch, tmp_path):
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://me:hunter2@db.example/stocks")
    file = tmp_path / "mine.toml"
    file.write_text("retrain_after_sessions = 7\nchunk_tickers = 8\n")
    answer = stockbatch("--config", file, "--set", "chunk_tickers=9", "config", "show")
    assert answer.status == 0
    assert "hunter2" not in answer.out
    assert 'database_url = "postgresql://me:***@db.example/stocks"' in answer.out
    assert "retrain_after_sessions = 7 " in answer.out
    assert "chunk_tickers = 9 " in answer.out
    assert "units = 3 " in answer.out


def test_the_settings_are_checked_without_a_connection(stockbatch, monkeypatch, tmp_path):
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "postgresql://me@127.0.0.1:1/stocks")
    assert stockbatch("config", "check").out.startswith("ok")
    file = tmp_path / "mine.toml"
    file.write_text("retrain_after_sessions = 0\nthread = 8\n")
    answer = stockbatch("--config", file, "--set", "chunk_tickers=0", "config", "check")
    assert answer.status == 2
    for words in ("retrain_after_sessions: ", "did you mean threads?", "options: chunk_tickers"):
        assert words in answer.out
    assert len(answer.out.splitlines()) == 3


def test_crontabs_and_the_database_url_are_checked_as_well(stockbatch, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", "mysql://me@127.0.0.1:1/stocks")
    wrong = "--set", "base_refit=0 6 * * someday", "--set", "maintenance=every day"
    answer = stockbatch(*wrong, "config", "check")
    assert answer.status == 2
    for key in ("base_refit", "maintenance", "database_url"):
        assert f"wrong  settings: {key}: " in answer.out
    assert len(answer.out.splitlines()) == 3


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("provider=bloomberg", "provider: bloomberg is not a provider: use one of csv:PATH"),
        ("provider=csv", "provider: csv is not a provider"),
        ("provider=demo:x", "provider: demo:x is not a provider"),
        ("exchange=NOWHERE", "exchange: NOWHERE is not the code of an exchange calendar"),
        ("exchanges.NOWHERE.close_delay_minutes=5", "exchanges.NOWHERE: NOWHERE is not the code"),
        ("exchanges.NYSE.close_delay_minutes=5", "exchanges.NYSE: runs know this exchange as XNYS"),
        ("api_address=999.1.1.1:80", "api_address: '999.1.1.1' does not appear to be an IPv4"),
        ("monitoring_address=[1::2::3]:80", "monitoring_address: "),
        ("alert_urls=json://one hunter2://two", "alert_urls: number 2 is not a URL that Apprise"),
        ("alert_urls=hunter2", "alert_urls: number 1 is not a URL that Apprise"),
        ("database_url=postgresql://me:hunt@er2@h/d", "database_url: cannot be read"),
    ],
)
def test_settings_that_name_what_there_is_not_are_found(stockbatch, setting, words):
    answer = stockbatch("--set", setting, "config", "check")
    assert answer.status == 2, answer
    assert words in answer.out
    assert "hunt" not in answer.out + answer.err
    assert len(answer.out.splitlines()) == 1


def test_settings_that_name_what_there_is_are_right(stockbatch, monkeypatch):
    monkeypatch.setenv(f"{PREFIX}EXCHANGES__XTKS__CLOSE_DELAY_MINUTES", "90")
    chosen = ("provider=csv:prices", "exchange=XLON", "alert_urls=json://one mailto://a:b@mail.example",
              "monitoring_address=", "api_address=[::1]:80")  # fmt: skip
    options = [word for setting in chosen for word in ("--set", setting)]
    assert stockbatch(*options, "config", "check").out.startswith("ok")


def table(answer):
    """Return title, headings and rows of a printed table."""
    assert answer.status == 0, answer
    title, headings, _, *rows = filter(None, answer.out.splitlines())
    return title, headings, rows


def test_models_are_listed_and_shown(reading, traded):
    title, headings, rows = table(reading("models", "list", "--wide"))
    assert title == "3 models of lstm"
    for word in ("kind", "base", "verdict", "in use from", "comparison loss", "gain on base"):
        assert word in headings
    assert [row.split()[0] for row in rows] == list(TICKERS)
    assert all(str(ORIGIN) in row and "no_model" in row for row in rows)
    answer = reading("models", "show", "BBB")
    assert answer.status == 0
    for word in ("fingerprint", "'units': 3", "return, overnight_gap", " bytes"):
        assert word in answer.out
    for word in ("kind", "parent_id", "verdict", "comparison_loss", "champion_loss", "gain_error"):
        assert word in answer.out
    says(reading("models", "show", "ZZZ"), 1, "ZZZ has no trained model")
    says(reading("models", "list", "ZZZ"), 1, "ZZZ has no trained model")
    says(reading("models", "export", "ZZZ", "z.keras"), 1, "ZZZ has no trained model")


def test_the_models_a_ticker_has_had_say_how_they_compared(reading, traded):
    (known,) = fetch(
        traded.engine,
        "SELECT m.* FROM stockbatch.models AS m JOIN stockbatch.instruments AS i"
        " ON i.id = m.instrument_id WHERE ticker = 'BBB' AND m.kind = 'ticker'",
    )
    _, _, rows = table(reading("models", "list", "BBB", "--wide"))
    (row,) = [row for row in rows if row.split()[1:3] == [str(known["id"]), "ticker"]]
    gain, error = (100 * known[name] / known["base_loss"] for name in ("gain", "gain_error"))
    assert row.split()[3] == str(known["parent_id"])
    assert known["verdict"] in row
    for words in (f"{known['comparison_loss']:.4f}", f"{gain:+.2f} ± {error:.2f} %"):
        assert words in row


def test_a_model_is_put_into_use_and_back(fresh, market, engine):
    fresh("tickers", "add", "AAA", "BBB", "--provider", market.specification)
    for day in (ORIGIN, session(1)):
        assert fresh("run", "--session", day, "--retrain").status == 0
    made = fetch(
        engine,
        "SELECT m.id, m.kind, i.ticker FROM stockbatch.models AS m"
        " LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id ORDER BY m.id",
    )
    first, second = (m["id"] for m in made if (m["ticker"], m["kind"]) == ("AAA", "ticker"))
    other = next(m["id"] for m in made if m["ticker"] == "BBB")
    for model, day, arguments in (
        (first, session(2), ()),
        (second, session(9), ("--from", session(9))),
    ):
        answer = fresh("models", "promote", "AAA", model, *arguments)
        assert answer.out == f"AAA: model {model} is in use from {day} on\n"
    answer = fresh("models", "rollback", "AAA")
    assert answer.out == f"AAA: back to model {first}, in use from {session(9)} on\n"
    _, _, rows = table(fresh("models", "list", "--wide"))
    assert rows[0].split()[:3] == ["AAA", str(first), "ticker"]
    assert re.search(rf"{session(9)} +rollback", rows[0])

    says(fresh("models", "promote", "AAA", other), 2, "cannot serve AAA: it belongs to BBB")
    says(fresh("models", "promote", "AAA", "999"), 2, "There is no model 999")
    says(fresh("models", "promote", "ZZZ", first), 2, "ZZZ is not on the watchlist")
    before = ("--from", session(0))
    says(fresh("models", "promote", "AAA", second, *before), 2, f"up to {session(1)}, and {ORIGIN}")
    says(fresh("models", "promote", "AAA", first, "--from", "2024-06-08"), 2, "is not a trading")
    says(fresh("--set", "model.units=4", "models", "promote", "AAA", first), 2, "other settings")


PREDICT = """
import sys
from jobs import cli
try:
    cli.main()
except SystemExit as ended:
    assert not ended.code
import keras, numpy as np
model = keras.saving.load_model(sys.argv[-1])
np.save(sys.argv[-1] + ".npy", model.predict(np.load(sys.argv[-1] + ".inputs.npy"), verbose=0))
"""


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
def test_an_exported_model_predicts_what_the_stored_one_does(traded, tmp_path, use):
    use(traded.settings)
    file = tmp_path / "bbb.keras"
    inputs = np.random.default_rng(0).normal(size=(4, 6, len(features.NAMES))).astype("float32")
    np.save(f"{file}.inputs.npy", inputs)
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, "models", "export", "BBB", file],
        env={**os.environ, f"{PREFIX}HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{file}: model ")
    assert done.stderr == ""
    with traded.transaction() as db:
        model = models.champion(db, "BBB", LSTM)
    expected = inference.quantiles(inference.stack([model.weights]), inputs[None])[0]
    predicted = np.load(f"{file}.npy")
    np.testing.assert_allclose(predicted.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
def test_a_full_disk_is_said_in_one_line_and_leaves_no_model(traded, tmp_path, use):
    use(traded.settings)
    with small_disk(tmp_path / "disk", "8k") as disk:
        file = disk / "bbb.keras"
        done = subprocess.run(
            [sys.executable, "-m", "jobs", "models", "export", "BBB", file],
            env={**os.environ, f"{PREFIX}HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: {file} cannot be written: No space left on device\n"
        assert list(disk.iterdir()) == []


def test_prune_says_what_it_dropped(stockbatch, use, app):
    run(app)
    use(app.settings)
    old = datetime(2010, 1, 4, tzinfo=UTC)
    with app.transaction() as db:
        item = NewsItem(symbol="AAA", published_at=old, title="Old", source="x")
        news.record(db, instruments.find(db, ["AAA"]), [item], NOW)
    answer = stockbatch("prune", "--backtests", "--before", "2024-06-01")
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        "backtests: 0 forecasts, 0 scores and 0 metrics deleted; 0 forecasts of risk with them",
        "news: 1 item deleted",
        "XNYS: weights of 0 retired models dropped, 0.0 MiB",
    ]
    answer = stockbatch("prune", "--before", "2024-06-01")
    assert (answer.status, answer.out) == (2, "")
    assert "--before goes with --backtests" in answer.err


@pytest.mark.parametrize("folder", ["s3://lake/archive", "file:///lake", "", " "])
def test_an_archive_goes_to_a_folder_that_somebody_named(
    stockbatch, use, app, tmp_path, monkeypatch, folder
):
    use(app.settings)
    monkeypatch.chdir(tmp_path)
    before = list(tmp_path.iterdir())
    answer = stockbatch("prune", "--archive", folder)
    assert (answer.status, answer.out) == (2, "")
    assert "--archive takes a folder of this machine" in answer.err
    assert list(tmp_path.iterdir()) == before


@pytest.mark.parametrize("content", [None, "SELECT 1;\n"])
def test_what_cannot_be_restored_makes_no_cluster(stockbatch, tmp_path, content):
    if content:
        (tmp_path / "file").write_text(content)
    answer = stockbatch("db", "restore", "file")
    words = "file was not restored, and "
    says(answer, 3, words, "No such file" if content is None else "does not appear to be")
    assert not (tmp_path / "home" / "postgres").exists()


@pytest.fixture
def as_keeper(server):
    """Return settings with the login that owns an embedded database, and is no superuser."""

    def changed(settings):
        url = server.url("owner").set(database=database.url(settings).database)
        return settings.model_copy(update={"database_url": SecretStr(database.for_clients(url))})

    return changed


def test_backup_and_restore(stockbatch, use, app, empty_settings, as_keeper, tmp_path):
    use(app.settings)
    file = tmp_path / "one.backup"
    answer = stockbatch("db", "backup", file)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.startswith(f"{file}: 0.")
    says(stockbatch("db", "restore", file), 3, "restore as one that is no superuser")
    use(as_keeper(app.settings))
    says(stockbatch("db", "restore", file), 3, "has the schema stockbatch already")
    boss = database.engine(empty_settings, role="owner")
    with boss.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {boss.url.database} OWNER TO keeper"))
    boss.dispose()
    use(as_keeper(empty_settings))
    answer = stockbatch("db", "restore", file)
    assert (answer.status, answer.err) == (0, "")
    assert answer.out.endswith(f"is restored from {file}\n")
    assert "AAA" in stockbatch("tickers", "list").out


# ---- how files are understood

BARS_OF_A_FILE = (
    "Date,Open,High,Low,Close,Volume\n2024-05-01,1,2,1,1.5,100\n2024-05-02,1.5,3,1,2.125,90\n"
)


def test_providers_are_listed(stockbatch):
    answer = stockbatch("providers")
    assert answer.status == 0
    for name in ("csv:PATH", "demo", "yfinance", "alpha_vantage"):
        assert name in answer.out


def test_how_a_file_is_understood_is_shown_and_nothing_made(stockbatch, tmp_path):
    home = tmp_path / "home"
    file = tmp_path / "AAA.csv"
    file.write_text(BARS_OF_A_FILE)
    answer = stockbatch("providers", "csv", file)
    assert (answer.status, answer.err) == (0, "")
    assert "session is Date, open is Open" in answer.out
    assert "prices      split_adjusted" in answer.out
    assert "first       AAA 2024-05-01: open 1, high 2, low 1, close 1.5, volume 100" in answer.out
    assert "last        AAA 2024-05-02: open 1.5, high 3, low 1, close 2.125" in answer.out
    assert not home.exists()
    other = stockbatch("providers", "csv", file, "--basis", "total_return")
    assert "prices      total_return" in other.out


def test_stamps_are_shown_as_the_days_of_an_exchange(stockbatch, tmp_path):
    file = tmp_path / "SAP.DE.csv"
    bars = (f"2024-06-{day} 22:00:00+00:00,1,2,1,{1 + day / 100}\n" for day in (24, 25, 26))
    file.write_text("Date,Open,High,Low,Close\n" + "".join(bars))
    written = stockbatch("providers", "csv", file).out
    assert "of UTC: for those of an exchange, give --calendar" in written
    assert "last        SAP.DE 2024-06-26" in written
    known = stockbatch("providers", "csv", file, "--calendar", "xetr").out
    assert "of UTC" not in known
    assert "last        SAP.DE 2024-06-27: open 1, high 2, low 1, close 1.26" in known


def test_of_files_that_are_alike_one_is_shown_and_every_bad_one(stockbatch, tmp_path):
    for number in range(5):
        (tmp_path / f"T{number}.csv").write_text(BARS_OF_A_FILE)
    (tmp_path / os.fsdecode(b"\xc6\xc6.csv")).write_text(BARS_OF_A_FILE)
    answer = stockbatch("providers", "csv", tmp_path)
    assert answer.status == 4
    assert answer.out.count("understood  ") == 1
    assert "4 more files are understood like these" in answer.out
    assert "in all 10 bars of 5 tickers, 2024-05-01 to 2024-05-02" in answer.out
    assert answer.err.count("error:") == 1
    assert r"\xc6\xc6.csv cannot be read" in answer.err


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--column", "close=Last"), "write --column once, as ticker=NAME"),
        (("--column", "ticker=a", "--column", "ticker=b"), "write --column once"),
        (("--provider", "demo", "--basis", "as_traded"), "demo has no option basis: it takes none"),
    ],
)
def test_options_that_make_no_sense_are_refused(stockbatch, options, reason):
    answer = stockbatch("tickers", "add", "AAA", *options)
    assert answer.status == 2
    assert reason in answer.err


def test_what_was_understood_is_said_once_and_kept(fresh, engine, tmp_path):
    folder = tmp_path / "bars"
    folder.mkdir()
    for number in range(5):
        (folder / f"T{number}.csv").write_text(BARS_OF_A_FILE)
    answer = fresh("tickers", "add", "--all", "--provider", f"csv:{folder}")
    assert answer.out == "5 added\n"
    (said,) = answer.err.splitlines()
    assert said.startswith("T0 and 4 more: prices adjusted for splits")
    kept = fetch(engine, "SELECT DISTINCT price_basis, understood FROM stockbatch.instruments")
    assert kept == [
        {"price_basis": "split_adjusted", "understood": said.removeprefix("T0 and 4 more: ")}
    ]
    assert "split_adjusted" in fresh("tickers", "list").out


def test_options_of_a_file_are_kept_in_its_specification(fresh, engine, tmp_path):
    file = tmp_path / "all.csv"
    file.write_text("Stock,date,open,high,low,close,volume\nA,2024-05-01,1,2,1,1.5,100\n")
    listed = tmp_path / "mine.txt"
    listed.write_text("A\n")
    chosen = ("--column", "ticker=Stock", "--basis", "total_return", "--provider", f"csv:{file}")
    assert fresh("tickers", "add", "A", *chosen).status == 0
    assert fetch(engine, "SELECT ticker, provider, price_basis FROM stockbatch.instruments") == [
        {
            "ticker": "A",
            "provider": f"csv:{file}#ticker=Stock&basis=total_return",
            "price_basis": "total_return",
        }
    ]
    again = fresh("tickers", "import", listed, *chosen)
    assert again.out == "0 added, 1 on the watchlist already\n"
