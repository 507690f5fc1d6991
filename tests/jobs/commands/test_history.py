"""`stockbatch runs`, `retry` and `backfill`."""

import re

from stockbatch.exceptions import UnknownRun
from tests.support.evenings import evening, once, runs, work
from tests.support.market import (
    CODE,
    facts,
    fetch,
    session,
)


def test_runs_are_listed_and_shown_in_detail(app, stockbatch):
    work(app, evening(-1), evening(0))
    said = stockbatch("runs").output
    (first, second) = fetch(app.engine, "SELECT id, session FROM stockbatch.runs ORDER BY id")
    assert said.index(str(second["session"])) < said.index(str(first["session"]))
    assert str(first["session"]) not in stockbatch("runs", "--limit", 1).output
    detail = stockbatch("runs", first["id"]).output
    assert str(second["session"]) not in detail
    assert re.search(r"trained +no_model +3 +AAA", detail)
    assert isinstance(stockbatch("runs", 4711).exception, UnknownRun)


def test_what_failed_is_run_again_on_request(app, stockbatch):
    app.clock = lambda: evening(-1)

    def fail():
        raise ValueError("a bug")

    app.on_event = once("score", fail)
    assert isinstance(stockbatch("retry").exception, ValueError)
    assert runs(app) == [(CODE, session(-1), "schedule", "failed", 1)]
    assert "a bug" in stockbatch("runs").output
    assert (
        f"XNYS {session(-1)} finished: 3 outcomes" in stockbatch("retry", "--exchange", CODE).output
    )
    assert runs(app) == [(CODE, session(-1), "schedule", "finished", 2)]
    assert stockbatch("retry").output == "nothing is due\n"


def test_a_backfill_runs_what_it_is_asked_for(app, stockbatch, change):
    app.clock = lambda: evening(0)
    span = ("backfill", "--from", session(-3), "--to", session(2))

    def said(*more):
        answer = stockbatch(*span, *more)
        assert answer.exception is None, answer.exception
        return answer.output.splitlines()

    days = [session(offset) for offset in (-3, -2, -1, 0)]  # those to come are left out
    planned = [f"XNYS {day} is missing: would run it" for day in days]
    assert said("--dry-run") == planned
    assert runs(app) == []
    done = said()
    assert [line.split(" finished")[0] for line in done] == [f"XNYS {day}" for day in days]
    assert runs(app) == [(CODE, day, "backfill", "finished", 1) for day in days]
    assert said() == ["XNYS: nothing to run"]

    change("UPDATE stockbatch.runs SET status = 'failed' WHERE session = :day", day=days[1])
    before = facts(app.engine)
    assert f"XNYS {days[1]} is failed: would leave it" in said("--dry-run")
    again = said("--dry-run", "--reprocess", "failed")
    assert [line for line in again if "would run" in line] == [
        f"XNYS {days[1]} is failed: would run it"
    ]
    assert len(said("--reprocess", "failed")) == 1
    assert len(said("--reprocess", "completed")) == 4
    attempts = fetch(app.engine, "SELECT max(attempt) AS n FROM stockbatch.runs GROUP BY session")
    assert attempts == [{"n": 2}] * 4
    for table in ("bars", "forecasts", "scores", "models"):
        assert facts(app.engine)[table].keys() == before[table].keys()
