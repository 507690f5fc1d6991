"""What a terminal of 80 columns shows: no line wider, no number cut."""

import csv
import io
import json
import re
import sys
from functools import partial

import pytest

from jobs import cli
from stockbatch.config import PREFIX
from stockbatch.records import ForecastOrder
from tests.support.market import ORIGIN, TICKERS, Market, fetch, run, session
from tests.support.terminal import COLUMNS, called, width

LISTS = ("status", "doctor", "forecasts", "accuracy", "runs", "tickers list")


@pytest.fixture(scope="module")
def variables(make_lasting_app, tmp_path_factory):
    """Variables of the environment that name a database in which two sessions were run."""
    folder = tmp_path_factory.mktemp("market")
    market = Market(folder / "bars-of-a-market-whose-file-has-quite-a-long-name.csv")
    market.bars["BBB"][session(-3)]["volume"] = 0.0
    market.write()
    app = make_lasting_app(market)
    for day in (ORIGIN, session(1)):
        run(app, day)
    variables = {
        f"{PREFIX}DATABASE_URL": app.settings.database_url.get_secret_value(),
        f"{PREFIX}HOME": str(folder),
    }
    return app, variables


@pytest.fixture
def command(variables, monkeypatch):
    """Call the command in this process; it succeeds."""
    for name, value in variables[1].items():
        monkeypatch.setenv(name, value)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stockbatch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code

    return call


@pytest.fixture
def shown(command):
    """Return what a command shows on a terminal of 80 columns."""
    return lambda *arguments, columns=COLUMNS: called(partial(command, *arguments), columns)


@pytest.fixture
def piped(command, capsys):
    """Return what a command writes where there is no terminal."""

    def ask(*arguments):
        command(*arguments)
        return capsys.readouterr().out

    return ask


@pytest.mark.parametrize("words", LISTS)
def test_what_is_listed_fits(shown, words):
    said = shown(*words.split())
    assert said.strip()
    # A path is a word, and no number.
    wider = [line for line in said.splitlines() if width(line) > COLUMNS]
    assert [line for line in wider if len(line.split()) > 1] == []
    assert not re.search(r"\d…", said)


def test_forecasts_are_led_by_what_varies(shown, variables):
    (title, headings, _, *rows) = filter(str.strip, shown("forecasts").splitlines())
    assert title == f"forecasts of {session(2)}, which is over (not investment advice)"
    assert headings.split()[:7] == ["ticker", "move", "%", "×", "usual", "low", "%"]
    assert [row.split()[0] for row in rows] == list(TICKERS)
    query = "SELECT * FROM bi.next_session_forecast WHERE is_headline AND ticker = 'AAA'"
    (row,) = fetch(variables[0].engine, query)
    told = rows[0].split()
    assert told[1:4] == ["±", f"{row['expected_move_pct']:.2f}", f"{row['move_ratio']:.1f}"]
    assert told[4:6] == [f"{row[name]:+.2f}" for name in ("downside_pct", "upside_pct")]
    rise, fall = (row[f"probability_of_{what}_pct"] for what in ("rise", "fall"))
    assert told[6:8] == [f"{rise:.1f}", f"{fall:.1f}"]
    assert 90 < rise + fall <= 100.001


def test_one_row_stands_upright_with_all_it_has(shown, piped):
    lines = shown("forecasts", "AAA").splitlines()
    assert [line for line in lines if line.startswith("last close ")]
    assert [line for line in lines if line.startswith("95 % interval ")]
    assert max(map(width, lines)) <= COLUMNS
    (_, headings, _, row, _) = filter(str.strip, piped("forecasts", "AAA").splitlines())
    assert "last close" not in headings
    assert row.startswith("AAA")


def test_wide_has_every_column_and_a_pipe_a_line_a_row(shown, piped):
    assert "95 % interval" in shown("forecasts", "--wide", columns=250)
    for arguments in (("tickers", "list"), ("tickers", "list", "--wide")):
        lines = [line for line in piped(*arguments).splitlines() if line.startswith(TICKERS)]
        assert len([line for line in lines if "quite-a-long-name.csv" in line]) == len(TICKERS)


@pytest.mark.parametrize(
    "words",
    [
        *("forecasts", "runs", "accuracy", "tickers list", "status", "models list", "doctor"),
        *("quality", "providers", "headline list", "schedule"),
    ],
)
def test_every_list_is_there_for_programs(piped, words):
    found = json.loads(piped(*words.split(), "--format", "json"))
    rows = list(csv.DictReader(io.StringIO(piped(*words.split(), "--format", "csv"))))
    assert len(found) == len(rows) > 0
    assert list(found[0]) == list(rows[0])


@pytest.mark.parametrize("words", ["alerts", "events list", "tokens list"])
def test_where_there_is_nothing_programs_get_an_empty_list(piped, words):
    assert json.loads(piped(*words.split(), "--format", "json")) == []
    assert piped(*words.split(), "--format", "csv").count("\n") == 1


def test_numbers_of_files_are_rounded_to_what_they_mean(piped):
    for row in json.loads(piped("forecasts", "--format", "json")):
        assert row["close_low_80"] == round(row["close_low_80"], 3)
        assert row["forecast_return_pct"] == round(row["forecast_return_pct"], 4)


@pytest.mark.parametrize(
    ("order", "key"),
    [
        (ForecastOrder.TICKER, lambda row: row["ticker"]),
        (ForecastOrder.LARGEST_EXPECTED_MOVE, lambda row: -row["expected_move_pct"]),
        (ForecastOrder.MOST_UNUSUAL, lambda row: -row["move_ratio"]),
        (ForecastOrder.LARGEST_DOWNSIDE, lambda row: row["downside_pct"]),
        (ForecastOrder.MOST_PROBABLE_RISE, lambda row: -row["probability_of_rise_pct"]),
    ],
)
def test_forecasts_are_sorted_by_what_is_asked_for(piped, order, key):
    rows = json.loads(piped("forecasts", "--sort", order, "--format", "json"))
    assert {row["ticker"] for row in rows} == set(TICKERS)
    assert rows == sorted(rows, key=key)
    assert len({key(row) for row in rows}) > 1


def test_what_all_rows_share_is_said_once_and_rows_too_wide_stand_upright(shown, piped):
    lines = shown("tickers", "list").splitlines()
    assert "provider" not in lines[1]
    assert sum("quite-a-long-name.csv" in line for line in lines) == 1
    upright = shown("forecasts", "--wide").splitlines()
    assert max(map(width, upright)) <= COLUMNS
    for ticker in TICKERS:
        at = upright.index(f"ticker         {ticker}")
        assert any(line.startswith("95 % interval  ") for line in upright[at : at + 20])
    assert piped("forecasts", "--wide").count("95 % interval") == 1


def test_a_narrow_terminal_folds_texts_and_cuts_no_number(shown):
    said = shown("runs", columns=60)
    assert str(ORIGIN) in said
    assert "3 trained" in " ".join(said.split())
