"""What an archive takes, what it leaves, and that nothing is lost on the way, read by DuckDB."""

import json
import os
import re
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import text

from jobs import cli
from jobs.care import archive as job
from jobs.care.archive import archive
from jobs.care.export import export
from jobs.care.folders import Local
from jobs.care.prune import prune_backtests
from jobs.replay.backtest import backtest
from stockbatch import database
from stockbatch.exceptions import (
    AccessDenied,
    ArchiveFailed,
    ExportFailed,
    ExportInProgress,
    LockLost,
    RunInProgress,
    SessionArchived,
)
from stockbatch.methods import registry
from stockbatch.records import Kind
from stockbatch.store import archives, forecasts, instruments, runs
from tests.support.disk import small_disk
from tests.support.evenings import once
from tests.support.ledger import forecast_of
from tests.support.market import CODE, METRICS, Market, dump, end_leases, fetch, run, session
from tests.support.places import ROOT

FIRST, LAST = session(-24), session(20)
"""Origins of the backtest: targets from April 29th to July 3rd."""
NEWEST = session(21)
"""The last session run."""
JUNE = date(2024, 6, 28)
"""The last session that is archived here: the newest month that is three sessions before."""
BASELINES = ["ewma", "garch", "har", "naive", "rolling_quantile"]
GONE = "target_session <= :last AND method = ANY (:methods)"
SHOWN = "SELECT * FROM bi.price_and_forecast ORDER BY calendar, ticker, session"
FACTS = "SELECT * FROM bi.forecast_history ORDER BY ticker, session, method"


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return Market(tmp_path_factory.mktemp("market") / "market.csv")


@pytest.fixture(scope="module")
def begun(make_lasting_app, market):
    """An App with two months of forecasts in its database, for tests to copy."""
    app = make_lasting_app(market)
    for day in (session(0), session(1), NEWEST):
        run(app, day)
    list(backtest(app, CODE, FIRST, LAST))
    run(app, session(22))  # the bar of the last target is final now
    return app


def catching_up(app, sessions):
    """Let an App catch up with so many sessions."""
    app.settings = app.settings.model_copy(update={"catch_up_sessions": sessions})
    return app


@pytest.fixture
def app(make_app, market, begun, monkeypatch):
    monkeypatch.setattr(job, "KEPT", 3)
    return catching_up(make_app(market, like=begun), 0)


def gone(app, what="count(*) AS n", **given):
    query = f"SELECT {what} FROM stockbatch.forecasts WHERE {GONE}"
    return fetch(app.engine, query, **{"last": JUNE, "methods": BASELINES} | given)


def frames(folder):
    """Return the queries by which DuckDB reads both kinds of files."""
    return (f"read_parquet('{folder}/{name}/**/*.parquet', hive_partitioning = true)"
            for name in ("archived_forecasts", "archived_scores"))  # fmt: skip


def ids(folder):
    """Return the ids of the forecasts and of the scores in files, sorted."""
    return [
        [row[0] for row in duckdb.sql(f"SELECT id FROM {one} ORDER BY id").fetchall()]
        for one in frames(folder)
    ]


def stored(app):
    """Return the ids of the forecasts and of the scores in the database, sorted."""
    return [
        [row["id"] for row in fetch(app.engine, f"SELECT id FROM stockbatch.{name} ORDER BY id")]
        for name in ("forecasts", "scores")
    ]


def nothing_changed(app, before):
    assert dump(app.engine) == before


def test_the_baselines_are_those_of_the_words():
    assert registry.baselines() == BASELINES


def test_months_move_and_all_else_is_as_it_was(app, tmp_path):
    before, shown = dump(app.engine), fetch(app.engine, SHOWN)
    held = stored(app)
    said = list(archive(app, tmp_path / "lake"))
    assert [(one.month.calendar, one.month.day.month) for one in said] == [
        (CODE, 4),
        (CODE, 5),
        (CODE, 6),
    ]
    assert not any(one.waiting for one in said)
    assert str(said[2]).startswith(
        f"XNYS 2024-06: {said[2].written.forecasts:,} forecasts and ".replace(",", "")
    )

    after = dump(app.engine)
    for name in before.keys() - {"forecasts", "scores", "archives"}:
        assert after[name] == before[name], name
    written = ids(tmp_path / "lake")
    for moved, left, all_of_them in zip(written, stored(app), held, strict=True):
        assert moved
        assert sorted(moved + left) == all_of_them
    assert gone(app) == [{"n": 0}]
    assert len(written[0]) == sum(one.written.forecasts for one in said)
    assert len(written[1]) == sum(one.written.scores for one in said)

    rows = {row["id"]: row for row in before["forecasts"]}
    found = duckdb.sql(f"FROM {next(frames(tmp_path / 'lake'))} ORDER BY id").to_arrow_table()
    for row in found.to_pylist():
        expected = rows[row["id"]]
        assert (row["calendar"], row["year"], row["month"]) == (
            *(CODE, 2024), expected["target_session"].month)  # fmt: skip
        assert {name: row[name] for name in expected if name != "reasons"} == {
            name: value for name, value in expected.items() if name != "reasons"
        }
    assert fetch(app.engine, SHOWN) == shown

    (row,) = fetch(app.engine, "SELECT * FROM bi.archives WHERE through_session = :j", j=JUNE)
    expected = {"calendar": CODE, "first_session": session(0), "part": 1}
    expected |= {"methods": ", ".join(BASELINES), "folder": str(tmp_path / "lake")}
    expected |= {
        "forecasts": said[2].written.forecasts,
        "scores": said[2].written.scores,
        "bytes": said[2].written.size,
    }
    assert row | expected == row
    files = sorted((tmp_path / "lake").rglob("*-1.parquet"))
    assert [str(file.relative_to(tmp_path / "lake").parent) for file in files] == [
        f"archived_{what}/calendar=XNYS/year=2024/month={month}"
        for what in ("forecasts", "scores") for month in (4, 5, 6)
    ]  # fmt: skip

    assert list(archive(app, tmp_path / "lake")) == []
    assert dump(app.engine) == after
    assert sorted((tmp_path / "lake").rglob("*.parquet")) == files


UNION = re.search(
    r"```sql\n(SELECT method.+?-- DuckDB: .+?)```",
    (ROOT / "deployment/guides/rest-and-files.md").read_text(),
    re.DOTALL,
)


def test_what_is_exported_and_what_is_archived_are_what_was_there(app, tmp_path):
    """By the query of the guide."""
    query = (
        "SELECT method, kind, count(*) AS n, avg(pinball) AS pinball FROM bi.forecast_history"
        " WHERE score_status = 'scored' GROUP BY method, kind ORDER BY method, kind"
    )
    before = fetch(app.engine, query)
    list(archive(app, tmp_path))
    assert fetch(app.engine, query) != before
    export(app, tmp_path)
    guide = UNION[1].replace("/data/lake", str(tmp_path))
    found = duckdb.sql(guide).to_arrow_table().to_pylist()
    for row, expected in zip(found, before, strict=True):
        assert row["pinball"] == pytest.approx(expected["pinball"])
        assert {**row, "pinball": expected["pinball"]} == expected
    list(archive(app, tmp_path))  # the files of the export are none of its business
    export(app, tmp_path)
    assert len(ids(tmp_path)[0]) > 0


VICTIM = """
import json, os, pathlib, signal, sys
from jobs.app import App
from jobs.care import archive
from stockbatch import config, database
from tests.support.market import NOW

order = json.loads(sys.argv[1])
left = order["count"]

def come(event):
    global left
    left -= event == order["event"]
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

replace = pathlib.Path.replace
def watched(self, target):
    ours = target.suffix == ".parquet"
    come("before" if ours else "")
    replace(self, target)
    come("after" if ours else "")
pathlib.Path.replace = watched

archive.KEPT = 3
settings = config.Settings(
    home=order["home"], database_url=order["url"], catch_up_sessions=0
)
app = App(settings=settings, engine=database.engine(settings), trainer=None, clock=lambda: NOW)
app.on_event = come
list(archive.archive(app, pathlib.Path(order["folder"])))
"""


@pytest.mark.parametrize(
    ("event", "count", "months"),
    [
        ("archive: write", 1, 0),
        ("before", 1, 0),
        ("after", 1, 0),
        ("archive: read", 3, 1),
        ("after", 4, 1),
        ("archive: delete", 2, 1),
        ("archive: commit", 3, 2),
    ],
)
def test_killed_at_a_phase_nothing_is_lost_and_the_next_one_gets_there(
    app, begun, tmp_path, event, count, months
):
    folder = tmp_path / "lake"
    before = stored(app)
    url = app.settings.database_url.get_secret_value()
    order = {"home": str(tmp_path), "url": url, "folder": str(folder), "event": event}
    command = [sys.executable, "-c", VICTIM, json.dumps(order | {"count": count})]
    ended = subprocess.run(command, timeout=60, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert ended.returncode == -signal.SIGKILL
    end_leases(app.engine)
    found = fetch(app.engine, "SELECT * FROM stockbatch.archives ORDER BY month")
    assert len(found) == months
    committed = {
        file: file.stat().st_ino
        for row in found
        for file in folder.rglob(f"month={row['month'].month}/*.parquet")
    }
    assert len(committed) == 2 * months
    files = [
        {id_ for file in committed if file.is_relative_to(folder / name)
         for id_ in pq.read_table(file, columns=["id"])["id"].to_pylist()}
        for name in ("archived_forecasts", "archived_scores")
    ]  # fmt: skip
    for moved, left, all_of_them in zip(files, stored(app), before, strict=True):
        assert sorted([*moved, *left]) == all_of_them

    said = list(archive(app, folder))
    assert len(said) == 3 - months
    assert {file: file.stat().st_ino for file in committed} == committed
    assert not list(folder.rglob("*.partial"))
    for moved, left, all_of_them in zip(ids(folder), stored(app), before, strict=True):
        assert sorted(moved + left) == all_of_them
    assert gone(app) == [{"n": 0}]


# ---- what stays


def test_what_waits_for_a_bar_or_a_score_stays_and_follows(app, change, tmp_path):
    bar = "UPDATE stockbatch.bars SET {} WHERE session = :day AND instrument_id = :id"
    one, other, third = (row["id"] for row in fetch(
        app.engine, "SELECT id FROM stockbatch.instruments ORDER BY ticker"))  # fmt: skip
    change(bar.format("state = 'provisional'"), day=session(2), id=one)
    change(bar.format("state = 'quarantined'"), day=session(3), id=other)
    scores = (
        "DELETE FROM stockbatch.scores USING stockbatch.forecasts AS f WHERE f.id = forecast_id"
    )
    change(f"{scores} AND target_session = :day AND instrument_id = :id", day=session(4), id=third)
    change("TRUNCATE stockbatch.unscored")
    change("INSERT INTO stockbatch.unscored (forecast_id) SELECT id FROM stockbatch.forecasts"
           " WHERE target_session = :day AND instrument_id = :id AND method = 'naive'",
           day=session(5), id=third)  # fmt: skip
    left = "target_session, instrument_id, count(DISTINCT method) AS n"
    last = list(archive(app, tmp_path))[-1]
    stayed = {
        (row["target_session"], row["instrument_id"]): row["n"]
        for row in fetch(
            app.engine,
            f"SELECT {left} FROM stockbatch.forecasts WHERE {GONE} GROUP BY 1, 2",
            last=JUNE,
            methods=BASELINES,
        )
    }
    waiting = [(session(2), one), (session(3), other), (session(4), third), (session(5), third)]
    assert sorted(stayed) == sorted(waiting)
    assert stayed[session(5), third] == 1
    assert last.waiting == gone(app)[0]["n"]
    assert str(last).endswith(
        f"; {last.waiting} forecasts left, for want of a final bar or a score"
    )

    (again,) = archive(app, tmp_path)
    assert (again.written.forecasts, again.waiting) == (0, last.waiting)
    change(bar.format("state = 'final'"), day=session(2), id=one)
    change("TRUNCATE stockbatch.unscored")
    (again,) = archive(app, tmp_path)
    assert again.written.forecasts > 0
    assert again.waiting == last.waiting - again.written.forecasts
    parts = fetch(
        app.engine, "SELECT part, forecasts FROM bi.archives WHERE through_session = :j", j=JUNE
    )
    assert [(row["part"], row["forecasts"]) for row in parts] == [
        (1, last.written.forecasts), (2, again.written.forecasts)]  # fmt: skip
    assert len(list(tmp_path.rglob("month=6/*-2.parquet"))) == 2
    found = ids(tmp_path)[0]
    assert len(found) == len(set(found))


def test_what_charts_show_stays(app, change, tmp_path):
    """The rolling quantiles where nothing better was made, and whatever was the headline."""
    change("DELETE FROM stockbatch.unscored")
    for table in ("scores AS t USING stockbatch.forecasts AS f WHERE f.id = t.forecast_id",
                  "forecasts AS f WHERE true"):  # fmt: skip
        change(f"DELETE FROM stockbatch.{table} AND f.method IN ('lstm', 'combined')"
               " AND f.target_session = :day", day=session(7))  # fmt: skip
    headline = "INSERT INTO stockbatch.headlines (from_session, method) VALUES (:day, :method)"
    change("ALTER TABLE stockbatch.headlines DISABLE TRIGGER USER")
    change(headline, day=session(10), method="ewma")
    change(headline, day=session(11), method="lstm")
    shown = fetch(app.engine, SHOWN)
    assert {row["method"] for row in shown if row["session"] == session(7)} == {"rolling_quantile"}
    assert {row["method"] for row in shown if row["session"] == session(10)} == {"ewma"}
    list(archive(app, tmp_path))
    assert fetch(app.engine, SHOWN) == shown
    left = {(row["target_session"], row["method"]) for row in gone(app, "target_session, method")}
    assert left == {(session(7), "rolling_quantile"), (session(10), "ewma")}


def test_a_demonstration_and_another_exchange_stay(app, change, tmp_path):
    change("UPDATE stockbatch.instruments SET demo = true WHERE ticker = 'AAA'")
    change("UPDATE stockbatch.instruments SET calendar = '24/7' WHERE ticker = 'BBB'")
    before = fetch(app.engine, "SELECT DISTINCT calendar FROM bi.forecast_history")
    list(archive(app, tmp_path))
    left = {row["ticker"] for row in fetch(
        app.engine, "SELECT ticker FROM stockbatch.forecasts JOIN stockbatch.instruments AS i"
        f" ON i.id = instrument_id WHERE {GONE}", last=JUNE, methods=BASELINES)}  # fmt: skip
    assert left == {"AAA", "BBB"}
    assert len(before) == 2
    assert fetch(app.engine, "SELECT DISTINCT calendar FROM bi.archives") == [{"calendar": CODE}]

    # Once it has been run itself, the other one is archived, too.
    change("INSERT INTO stockbatch.runs (calendar, session, attempt, trigger, status, code_version,"
           " engine_hash, owner, tried_at, started_at) SELECT '24/7', session, 1, trigger, status,"
           " code_version, engine_hash, gen_random_uuid(), tried_at, started_at"
           " FROM stockbatch.runs WHERE session = :day", day=NEWEST)  # fmt: skip
    said = list(archive(app, tmp_path))
    assert {one.month.calendar for one in said} == {"24/7"}
    assert len(list(tmp_path.rglob("calendar=24%2F7/**/*.parquet"))) == 2 * len(said)
    query = f"SELECT DISTINCT calendar FROM {next(frames(tmp_path))} ORDER BY ALL"
    assert duckdb.sql(query).fetchall() == [("24/7",), (CODE,)]


def test_nothing_goes_that_a_window_may_read(make_app, market, begun, tmp_path):
    app = make_app(market, like=begun)
    before = dump(app.engine)
    assert list(archive(app, tmp_path)) == []
    nothing_changed(app, before)
    assert job.KEPT == 500


def test_nothing_goes_that_may_be_caught_up(app, tmp_path):
    found = {}
    for sessions in (23, 22, 4, 3):  # the first sessions of June and of July are 22 and 3 before
        said = archive(catching_up(app, sessions), tmp_path)
        found[sessions] = [one.month.day.month for one in said]
    assert found == {23: [4], 22: [5], 4: [], 3: [6]}


def test_without_a_finished_run_nothing_goes(app, change, tmp_path):
    change("UPDATE stockbatch.runs SET status = 'failed', message = 'x'")
    assert list(archive(app, tmp_path)) == []


# ---- afterwards


@pytest.fixture
def archived(app, tmp_path):
    list(archive(app, tmp_path / "lake"))
    return app


def test_no_forecast_of_such_a_session_is_taken(archived, change):
    with archived.transaction() as db:
        (one,) = instruments.find(db, ["AAA"])
    old = {"fingerprint": "new", "target_session": JUNE, "origin_session": session(17)}

    def add(**changes):
        with archived.transaction() as db:
            opened = runs.open_run(db, CODE, session(22), trigger="manual", reprocess=True,
                                   code_version="1", engine_hash="h")  # fmt: skip
            return forecasts.add(
                db, [forecast_of(one, **old | changes)], opened, issued_at=archived.clock()
            )

    refusal = r"a forecast by rolling_quantile of AAA for 2024-06-28: those up to 2024-06-28 are in"
    with pytest.raises(AccessDenied, match=refusal):
        add()
    assert add(target_session=session(19), origin_session=session(18)) == 1
    assert add(method="lstm") == 1
    change("UPDATE stockbatch.instruments SET demo = true")
    assert add() == 1


def test_work_on_such_a_session_is_refused_before_it_starts(archived, monkeypatch):
    before = dump(archived.engine)
    monkeypatch.setattr(archived, "providers", {})
    words = f"Session {JUNE} of XNYS cannot be forecast any more: .* up to {JUNE} are in an archive"
    with pytest.raises(SessionArchived, match=words):
        list(backtest(archived, CODE, session(17), session(20)))
    with pytest.raises(SessionArchived, match="2024-06-05 of XNYS"):
        run(archived, session(1), reprocess=True)
    nothing_changed(archived, before)
    assert run(archived, session(1)).done_before


def test_a_session_that_only_files_name_keeps_its_instants(archived, change):
    change("DELETE FROM stockbatch.scores")
    change("DELETE FROM stockbatch.forecasts")
    with archived.engine.connect() as db, pytest.raises(AccessDenied, match="has been forecast"):
        db.execute(text("DELETE FROM stockbatch.sessions WHERE calendar = 'XNYS' AND session = :d"),
                   {"d": JUNE})  # fmt: skip


HISTORY = f"{METRICS} WHERE ticker IS NULL ORDER BY 1, 2, 3, 4, 5, 6, 7"


def test_metrics_go_on_as_if_nothing_had_been_taken(make_app, market, begun, tmp_path, monkeypatch):
    """Of windows that are all in the database; what is known of others stays."""
    monkeypatch.setattr(job, "KEPT", 22)  # May goes
    undisturbed, app = (make_app(market, like=begun) for _ in "ab")
    known = fetch(app.engine, HISTORY)
    said = list(archive(app, tmp_path))
    assert [one.month.day.month for one in said] == [4, 5]
    assert fetch(app.engine, HISTORY) == known
    for one in (undisturbed, app):
        run(one, session(23))
        list(backtest(one, CODE, session(21), session(22)))
    short = f"{METRICS} WHERE window_sessions = 20 ORDER BY 1, 2, 3, 4, 5, 6, 7"
    found = fetch(app.engine, short)
    assert found == fetch(undisturbed.engine, short)
    assert max(row["through_session"] for row in found) == session(23)
    longer = [row for row in fetch(app.engine, HISTORY) if row["window_sessions"] > 20]
    assert longer == [row for row in known if row["window_sessions"] > 20]
    assert any(row["window_sessions"] > 20 and row["through_session"] == session(23)
               for row in fetch(undisturbed.engine, HISTORY))  # fmt: skip
    facts = "SELECT * FROM bi.group_accuracy ORDER BY 1, 2, 3, 4, 5"
    assert len(fetch(app.engine, facts)) <= len(fetch(undisturbed.engine, facts))


def test_a_bar_restated_long_after_scores_what_is_left(make_app, begun, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "KEPT", 3)
    market = Market(tmp_path / "market.csv")
    app = catching_up(make_app(market, like=begun), 0)
    list(archive(app, tmp_path / "lake"))
    known = fetch(app.engine, HISTORY)
    files = {file: file.stat().st_ino for file in tmp_path.rglob("*.parquet")}
    restate = "UPDATE stockbatch.bars SET close = close * 1.01, revision = revision + 1"
    with app.transaction() as db:
        db.execute(text(f"{restate} WHERE session = :day"), {"day": session(8)})
    noted = "SELECT DISTINCT method FROM stockbatch.unscored AS u JOIN stockbatch.forecasts AS f"
    noted += " ON f.id = u.forecast_id WHERE target_session = :d ORDER BY 1"
    assert [row["method"] for row in fetch(app.engine, noted, d=session(8))] == [
        "combined", "lstm"]  # fmt: skip
    run(app, session(23))
    revised = "SELECT DISTINCT method FROM stockbatch.scores JOIN stockbatch.forecasts AS f"
    revised += " ON f.id = forecast_id WHERE revision = 2 ORDER BY 1"
    assert [row["method"] for row in fetch(app.engine, revised)] == [
        "combined", "lstm"]  # fmt: skip
    assert fetch(app.engine, HISTORY) == known  # every window reaches into what was archived
    assert list(archive(app, tmp_path / "lake")) == []
    assert {file: file.stat().st_ino for file in tmp_path.rglob("*.parquet")} == files


def test_backtests_that_are_left_can_be_deleted_afterwards(archived):
    assert prune_backtests(archived, None).forecasts > 0
    kinds = fetch(archived.engine, "SELECT DISTINCT kind FROM stockbatch.forecasts")
    assert kinds == [{"kind": Kind.LATE}]


# ---- what goes wrong


def test_only_the_owner_archives(app, monkeypatch, tmp_path):
    before = dump(app.engine)
    original = database.engine
    monkeypatch.setattr(database, "engine", lambda settings, role: original(settings, "writer"))
    with pytest.raises(AccessDenied, match="permission denied for table archives"):
        list(archive(app, tmp_path / "lake"))
    assert not (tmp_path / "lake").exists()
    nothing_changed(app, before)


def test_what_was_not_written_is_not_deleted(app, tmp_path, monkeypatch):
    before = dump(app.engine)

    def spoil():
        (file,) = tmp_path.rglob("archived_scores-1.parquet")
        table = pq.read_table(file)
        pq.write_table(table.slice(1), file)

    app.on_event = lambda event: spoil() if event == "archive: read" and list(
        tmp_path.rglob("archived_scores-1.parquet")) else None  # fmt: skip
    with pytest.raises(
        ArchiveFailed, match="nothing of it was deleted: read again, it is not what"
    ):
        list(archive(app, tmp_path))
    nothing_changed(app, before)

    app.on_event = lambda event: None
    original = archives.drop
    monkeypatch.setattr(archives, "drop", lambda db, *of: original(db, *of) | {"scores": 1})
    with pytest.raises(ArchiveFailed, match=r"XNYS 2024-04 was not archived, .*'scores': 1"):
        list(archive(app, tmp_path))
    nothing_changed(app, before)


def test_who_has_lost_the_exchange_deletes_nothing(app, tmp_path):
    before = dump(app.engine)
    app.on_event = once("archive: commit", lambda: end_leases(app.engine))
    with pytest.raises(LockLost, match="its lease 'run XNYS' was not renewed"):
        list(archive(app, tmp_path))
    nothing_changed(app, before)


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really PAR1"])
def test_a_file_that_cannot_be_read_is_no_archive(app, tmp_path, content):
    before = dump(app.engine)

    def spoil(event):
        for file in tmp_path.rglob("*-1.parquet") if event == "archive: read" else ():
            file.write_bytes(content)

    app.on_event = spoil
    with pytest.raises(ArchiveFailed, match="read again, it is not what was written"):
        list(archive(app, tmp_path))
    nothing_changed(app, before)
    app.on_event = lambda event: None
    with pytest.raises(ExportFailed, match="a file of that name cannot be read, move it away"):
        list(archive(app, tmp_path))
    for file in tmp_path.rglob("*-1.parquet"):
        file.unlink()
    list(archive(app, tmp_path))
    assert gone(app) == [{"n": 0}]


def test_a_score_that_comes_meanwhile_is_not_lost(app, change, tmp_path):
    def come():
        change(
            "INSERT INTO stockbatch.unscored (forecast_id) SELECT min(id) FROM stockbatch.forecasts"
            " WHERE method = 'naive' AND target_session <= '2024-04-30'"
        )

    app.on_event = once("archive: delete", come)
    with pytest.raises(ArchiveFailed, match="'unscored': 1"):
        list(archive(app, tmp_path))
    (month, *_) = archive(app, tmp_path)
    assert month.waiting == 1


def test_a_file_that_holds_more_than_the_database_is_not_replaced(app, change, tmp_path):

    def interrupt():
        raise KeyboardInterrupt

    app.on_event = once("archive: commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        list(archive(app, tmp_path))
    before = ids(tmp_path)
    app.on_event = lambda event: None
    # As in a database that was restored from an older backup.
    oldest = "(SELECT min(id) FROM stockbatch.forecasts WHERE method = 'naive'"
    oldest += " AND target_session <= '2024-04-30')"
    change(f"DELETE FROM stockbatch.scores WHERE forecast_id = {oldest}")
    change(f"DELETE FROM stockbatch.forecasts WHERE id = {oldest}")
    rows = dump(app.engine)
    with pytest.raises(ExportFailed, match=r"-1\.parquet cannot be written: it holds 1 row that"):
        list(archive(app, tmp_path))
    nothing_changed(app, rows)
    assert ids(tmp_path) == before
    list(archive(app, tmp_path / "other"))
    assert gone(app) == [{"n": 0}]


def test_folders_that_cannot_be_written(app, tmp_path):
    before = dump(app.engine)
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(ExportFailed, match="file/lake cannot be written: Not a directory"):
        list(archive(app, occupied / "lake"))
    with pytest.raises(ExportFailed, match=r"/proc/lake cannot be written: ."):
        list(archive(app, Path("/proc/lake")))
    month = tmp_path / "archived_forecasts" / "calendar=XNYS" / "year=2024" / "month=4"
    month.mkdir(parents=True)
    (month / "archived_forecasts-1.parquet").write_text("somebody else's")
    with pytest.raises(ExportFailed, match="somebody else's file has that name: move it away"):
        list(archive(app, tmp_path))
    assert (month / "archived_forecasts-1.parquet").read_text() == "somebody else's"
    nothing_changed(app, before)
    with Local(tmp_path).alone(), pytest.raises(ExportInProgress):
        list(archive(app, tmp_path))


def test_a_full_disk_loses_nothing(app, tmp_path):
    held = stored(app)
    with small_disk(tmp_path / "disk", "96k") as folder:
        with pytest.raises(ExportFailed, match="cannot be written: No space left on device"):
            list(archive(app, folder))
        assert fetch(app.engine, "SELECT month FROM stockbatch.archives") == [
            {"month": date(2024, 4, 1)}
        ]
        april = [
            pq.read_table(next(folder.rglob(f"month=4/{name}-1.parquet")))["id"].to_pylist()
            for name in ("archived_forecasts", "archived_scores")
        ]
        for moved, left, all_of_them in zip(april, stored(app), held, strict=True):
            assert sorted(moved + left) == all_of_them


def test_an_exchange_in_use_waits_for_another_time(app, tmp_path):
    with runs.exclusive(app.engine, CODE), pytest.raises(RunInProgress):
        list(archive(app, tmp_path))
    assert gone(app)[0]["n"] > 0


def test_the_command_says_what_it_did(app, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", app.settings.database_url.get_secret_value())
    monkeypatch.setenv("STOCKBATCH_CATCH_UP_SESSIONS", "0")
    folder = tmp_path / "lake"

    def call():
        monkeypatch.setattr(sys, "argv", ["stockbatch", "prune", "--archive", str(folder)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code

    call()
    said = capsys.readouterr().out.splitlines()
    (june,) = [line for line in said if line.startswith("XNYS 2024-06: ")]
    assert re.fullmatch(r"XNYS 2024-06: \d+ forecasts and \d+ scores archived, \d\.\d MiB", june)
    total = len(ids(folder)[0])
    assert (
        f"archive: {total} forecasts moved to {folder};"
        " months within 3 sessions before the last run stay" in said
    )
    call()
    assert f"archive: 0 forecasts moved to {folder}" in capsys.readouterr().out
