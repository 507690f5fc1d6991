"""`stockbatch tickers tag`, `groups`, `import` of groups, and `watchlists`."""

import json

import pytest

from stockbatch.store import bi
from tests.support.market import fetch, run, session


def words(answer):
    assert answer.exit_code == 0, answer.output
    return [line.split() for line in answer.output.splitlines()]


def members(app):
    with app.transaction() as db:
        return bi.groups.members(db)


def test_tickers_are_tagged_and_listed_by_group(app, stockbatch):
    sectors = ("--sector", "Energy", "--industry", "Oil & Gas")
    assert stockbatch("tickers", "tag", "AAA", "BBB", *sectors, "--tag", "value").output == (
        "AAA, BBB: sector Energy, industry Oil & Gas, tag value\n"
    )
    stockbatch("tickers", "tag", "CCC", "--tag", "value", "--tag", "growth")
    assert ["tag", "value", "3"] in words(stockbatch("tickers", "groups"))
    assert ["exchange", "XNYS", "3"] in words(stockbatch("tickers", "groups"))
    listed = words(stockbatch("tickers", "list", "--group", "energy"))
    assert listed[0] == ["2", "tickers"]
    assert {line[0] for line in listed if len(line) > 3} & {"AAA", "BBB", "CCC"} == {"AAA", "BBB"}
    told = stockbatch("tickers", "tag", "AAA", "--untag", "value", "--sector", "").output
    assert told == "AAA: sector none, no longer value\n"
    assert members(app) == {
        ("industry", "Oil & Gas"): ["AAA", "BBB"],
        ("sector", "Energy"): ["BBB"],
        ("tag", "growth"): ["CCC"],
        ("tag", "value"): ["BBB", "CCC"],
    }


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["tickers", "tag", "AAA"], "give --sector, --industry, --tag or --untag"),
        (["tickers", "tag", "AAA", "ZZZ", "--tag", "x"], "ZZZ is not on the watchlist"),
        (["tickers", "tag", "AAA", "--tag", "=cmd"], "'=cmd' cannot name a group of tickers"),
        (["tickers", "tag", "AAA", "--tag", "a,b"], "no comma"),
        (["tickers", "tag", "AAA", "--sector", "x" * 10_000], "more than 100 characters"),
        (["tickers", "tag", "AAA", "--tag", "x", "--untag", "none"], "no group 'none'"),
        (["tickers", "list", "--group", "none"], "'stockbatch tickers groups' lists them"),
        (["watchlists", "add", "a\u202eb", "AAA"], "characters that cannot be seen"),
        (["watchlists", "remove", "none", "AAA"], "There is no group 'none'"),
        (["watchlists", "delete", "none"], "There is no group 'none'"),
    ],
)
def test_what_is_refused_changes_nothing(app, stockbatch, arguments, reason):
    answer = stockbatch(*arguments)
    assert answer.exit_code
    assert reason in answer.output + str(answer.exception)
    assert members(app) == {}


def test_a_named_watchlist_is_for_looking_at(app, stockbatch):
    assert stockbatch("watchlists", "add", "my [bank]", "CCC", "AAA").output == (
        "in my [bank]: CCC, AAA\n"
    )
    stockbatch("watchlists", "add", "my [bank]", "AAA", "BBB")
    listed = words(stockbatch("watchlists", "list"))
    assert ["my", "[bank]", "3", "AAA,", "BBB,", "CCC"] in listed
    taken = stockbatch("watchlists", "remove", "my [bank]", "BBB", "ZZZ").output
    assert taken == "1 of 2 taken out of my [bank]\n"
    assert stockbatch("watchlists", "delete", "my [bank]").output == (
        "my [bank] is forgotten, of 2 tickers\n"
    )
    active = fetch(app.engine, "SELECT count(*) AS n FROM stockbatch.instruments WHERE active")
    assert active == [{"n": 3}]


def test_an_import_puts_new_and_known_tickers_into_groups(app, stockbatch, tmp_path):
    stockbatch("tickers", "tag", "AAA", "--sector", "Other", "--tag", "mine")
    stockbatch("tickers", "remove", "CCC")
    file = tmp_path / "list.csv"
    file.write_text(
        "ticker,calendar,GICS Sector,tags\n"
        "AAA,XNYS,Consumer\xa0 Staples,value; dividend\n"
        "BBB,XNYS,=1+1,value\n"
        f"CCC,XNYS,,value|{'x' * 10_000}\n"
        "DDD,XNYS,Energy,value|[red]\n"
        "EEE,XNYS,Energy,value\n"
    )
    provider = fetch(app.engine, "SELECT DISTINCT provider FROM stockbatch.instruments")
    answer = stockbatch("tickers", "import", file, "--provider", provider[0]["provider"])
    assert answer.exit_code == 4
    assert "1 added, 1 on the watchlist already" in answer.output
    for line, column, name in ((3, 3, "'=1+1'"), (4, 4, "'xxx"), (5, 4, "'[red]'")):
        assert f"{file}, line {line}, column {column}: {name}" in answer.output
    assert max(map(len, answer.output.splitlines())) < 300
    assert members(app) == {
        ("sector", "Consumer Staples"): ["AAA"],
        ("sector", "Energy"): ["EEE"],
        ("tag", "dividend"): ["AAA"],
        ("tag", "mine"): ["AAA"],
        ("tag", "value"): ["AAA", "EEE"],
    }


@pytest.fixture
def scored(app, stockbatch):
    """An App with a sector of two tickers and some scores."""
    stockbatch("tickers", "tag", "AAA", "CCC", "--sector", "Energy")
    for offset in range(3):
        run(app, session(offset))
    return app


@pytest.mark.usefixtures("scored")
def test_forecasts_are_those_of_a_group(stockbatch):
    (_, _, _, *rows) = words(stockbatch("forecasts", "--group", "energy"))
    assert [row[0] for row in rows if row] == ["AAA", "CCC"]


def test_accuracy_is_that_of_a_group_together_or_one_by_one(scored, stockbatch):
    asked = ("accuracy", "--group", "sector:Energy", "--window", "20")
    listed = words(stockbatch(*asked))
    assert {row[0] for row in listed[3:] if row} == {"sector:Energy"}
    told = json.loads(stockbatch(*asked, "--format", "json").output)
    rows = fetch(scored.engine, "SELECT * FROM bi.group_accuracy WHERE window_sessions = 20")
    assert len(told) == len(rows) > 3
    by_method = {row["method"]: row for row in rows}
    for one in told:
        row = by_method[one["method"]]
        assert (one["group"], one["ticker"], one["n"]) == ("sector:Energy", None, row["n"])
        assert one["skill_pct"] == pytest.approx(row["skill_vs_rolling_quantile_pct"], abs=1e-4)
        assert one["coverage_80_pct"] == pytest.approx(row["coverage_80_pct"], abs=1e-4)
        error = row["skill_vs_rolling_quantile_error_pct"]
        assert one["skill_error_pct"] == pytest.approx(error, abs=1e-4)
    assert told[0]["method"] == "combined"  # what is shown first
    one_by_one = words(stockbatch(*asked, "--by-ticker"))
    assert [row[0] for row in one_by_one[3:] if row] == ["AAA", "CCC"]


@pytest.mark.usefixtures("scored")
def test_a_group_of_which_no_run_knows_yet_is_shown_one_by_one(stockbatch):
    stockbatch("tickers", "tag", "BBB", "--tag", "new")
    told = json.loads(stockbatch("accuracy", "--group", "new", "--format", "json").output)
    assert [row["ticker"] for row in told] == ["BBB"]


@pytest.mark.usefixtures("scored")
def test_an_exchange_is_a_group(stockbatch):
    assert stockbatch("accuracy", "--group", "xnys").output == stockbatch("accuracy").output


@pytest.mark.parametrize("command", ["forecasts", "accuracy"])
def test_a_group_that_there_is_not(app, stockbatch, command):
    stockbatch("tickers", "tag", "AAA", "--sector", "Energy")
    answer = stockbatch(command, "--group", "Enegry")
    assert answer.exit_code
    assert "(did you mean 'Energy'?)" in str(answer.exception)
    both = stockbatch(command, "AAA", "--group", "Energy")
    assert both.exit_code == 2
    assert "name tickers or a --group, not both" in both.output
