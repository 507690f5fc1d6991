"""Exported Parquet files say what the database says, read by DuckDB and pandas."""

import json
import os
import resource
import signal
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs import cli
from jobs.care import export as job
from jobs.care import manifest
from jobs.care.export import export
from jobs.care.folders import Bucket, Local
from stockbatch import database
from stockbatch.exceptions import ExportFailed, ExportInProgress
from stockbatch.store import bi, instruments
from tests.support.buckets import object_store
from tests.support.disk import small_disk
from tests.support.market import Market, dump, fetch, run, session

SESSIONS = 4
VOLATILE = {"age_hours"}


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    market = Market(tmp_path_factory.mktemp("market") / "market.csv", ["AAA", "BBB"])
    market.split("AAA", 2, session(3))
    return market


@pytest.fixture(scope="module")
def stored(make_lasting_app, market):
    """An App with some sessions in its database, of which no test changes anything."""
    app = make_lasting_app(market)
    for offset in range(SESSIONS):
        run(app, session(offset))
    return app


@pytest.fixture(scope="module")
def begun(make_lasting_app, market):
    """An App like it after two sessions, for tests to copy."""
    app = make_lasting_app(market)
    run(app, session(-1))
    run(app, session(0))
    return app


@pytest.fixture
def changing(make_app, market, begun):
    """An App for a test to change."""
    return make_app(market, like=begun)


@pytest.fixture
def engine_of():
    """The owner's engine of an App's database."""
    made = []

    def engine(app):
        made.append(database.engine(app.settings, role="owner"))
        return made[-1]

    yield engine
    for one in made:
        one.dispose()


def read(folder, name):
    """Return the rows of a relation as a reader sees them, without the columns of the folders."""
    query = f"FROM read_parquet('{folder}/{name}/**/*.parquet', hive_partitioning = true)"
    rows = duckdb.sql(query).to_arrow_table().to_pylist()
    for row in rows:
        if "year" in row:
            day = row["session"]
            assert row.pop("year") == (day.year if day else None)
            assert row.pop("month") == (day.month if day else None)
    return rows


def same(folder, engine):
    """Compare every exported relation with the database, row by row, and return their names."""
    views = fetch(
        engine,
        "SELECT relname FROM pg_class WHERE relnamespace = 'bi'::regnamespace AND relkind = 'v'",
    )
    queries = {row["relname"]: f"SELECT * FROM bi.{row['relname']}" for row in views}
    for name, query in (queries | {"bars": bi.export.BARS}).items():
        expected = fetch(engine, query)
        if not expected:
            assert not list((folder / name).rglob("*.parquet"))
            continue
        compare(read(folder, name), expected)
    return sorted(queries)


def compare(found, expected):
    def sortable(rows):
        kept = [{c: v for c, v in row.items() if c not in VOLATILE} for row in rows]
        return sorted(kept, key=repr)

    def plain(rows):
        return [
            {c: v.astimezone(UTC) if isinstance(v, datetime) else v for c, v in row.items()}
            for row in rows
        ]

    assert sortable(plain(found)) == sortable(plain(expected))


def files(folder):
    """Return which file stands at each path: a file that is replaced is another one."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.stat().st_ino for path in found}


def test_duckdb_reads_what_the_database_holds(stored, tmp_path):
    renewals = {renewal.relation.name: renewal for renewal in export(stored, tmp_path)}
    names = same(tmp_path, stored.engine)
    assert sorted(renewals) == sorted([*names, "bars"])
    assert {"forecast_history", "price_and_forecast", "run_history", "accuracy"} <= set(names)
    assert renewals["bars"].parts == len(renewals["bars"].stale) > 6
    month = tmp_path / "bars" / "year=2024" / "month=6" / "bars.parquet"
    assert month.is_file()
    assert len(read(tmp_path, "forecast_history")) > 2 * SESSIONS
    answer = duckdb.sql(
        f"SELECT count(*) FROM read_parquet('{tmp_path}/bars/**/*.parquet',"
        " hive_partitioning = true) WHERE year = 2024 AND month = 6"
    )
    (june,) = fetch(
        stored.engine,
        "SELECT count(*) FROM stockbatch.bars WHERE session BETWEEN '2024-06-01' AND '2024-06-30'",
    )
    assert answer.fetchall() == [(june["count"],)]


def test_pandas_reads_every_relation_with_its_types(stored, tmp_path):
    export(stored, tmp_path)
    table = pd.read_parquet(tmp_path / "forecast_history")
    assert len(table) == len(read(tmp_path, "forecast_history"))
    assert str(table["updated_at"].dtype) == "datetime64[us, UTC]"
    assert table["forecast_close"].dtype == float
    assert set(table["year"].astype(int)) == {2024}
    for folder in tmp_path.iterdir():
        if folder.is_dir():
            assert len(pd.read_parquet(folder)) == len(read(tmp_path, folder.name))


def test_nothing_new_writes_nothing(stored, tmp_path):
    export(stored, tmp_path)
    before = files(tmp_path)
    assert all(not renewal.stale and not renewal.surplus for renewal in export(stored, tmp_path))
    assert files(tmp_path) == before


def changed(app, folder):
    """Export again; return by relation which files are other ones than before."""
    before = files(folder)
    export(app, folder)
    after = files(folder)
    same(folder, app.engine)
    names = {path for path in before | after if before.get(path) != after.get(path)}
    return {
        relation.name: {name for name in names if name.startswith(f"{relation.name}/")}
        for relation in folder.iterdir()
    }


def test_only_months_with_changes_are_written(changing, tmp_path):
    export(changing, tmp_path)
    same(tmp_path, changing.engine)
    run(changing, session(1))  # June, as the session before; bars begin in the year before
    of = changed(changing, tmp_path)
    june = "year=2024/month=6"
    assert of["bars"] == {f"bars/{june}/bars.parquet"}
    assert of["price_and_forecast"] == {f"price_and_forecast/{june}/price_and_forecast.parquet"}
    assert of["forecast_history"] == {f"forecast_history/{june}/forecast_history.parquet"}
    assert of["next_session_forecast"]
    assert not of["instruments"]


def test_texts_of_other_tables_are_noticed(changing, tmp_path, engine_of):
    export(changing, tmp_path)
    owner = engine_of(changing)
    with owner.begin() as db:
        db.execute(text("UPDATE stockbatch.instruments SET ticker = 'ABC' WHERE ticker = 'AAA'"))
    of = changed(changing, tmp_path)
    everything = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("bars.parquet")}
    assert of["bars"] == everything
    assert of["instruments"]


def test_a_restated_bar_changes_later_averages_and_a_split_all_prices(
    changing, tmp_path, engine_of
):
    export(changing, tmp_path)
    owner = engine_of(changing)
    with owner.begin() as db:
        db.execute(
            text(
                "UPDATE stockbatch.bars SET close = (high + low) / 2, revision = 2,"
                " fetched_at = clock_timestamp() WHERE session = :day"
            ),
            {"day": session(-20)},
        )
    of = changed(changing, tmp_path)
    assert len(of["bars"]) == 1
    assert len(of["price_and_forecast"]) == 2
    with owner.begin() as db:
        db.execute(
            text(
                "INSERT INTO stockbatch.corporate_actions"
                " (instrument_id, session, kind, value, source_id)"
                " SELECT i.id, :day, 'split', 3, s.id"
                " FROM stockbatch.instruments AS i, stockbatch.sources AS s"
            ),
            {"day": session(0)},
        )
    of = changed(changing, tmp_path)
    assert of["bars"] == {"bars/year=2024/month=6/bars.parquet"}
    assert len(of["price_and_forecast"]) == len(list((tmp_path / "bars").rglob("*.parquet")))


def test_rows_that_are_gone_are_gone_from_the_files(changing, tmp_path, engine_of):
    own = tmp_path / "bars" / "year=2023" / "notes.txt"
    own.parent.mkdir(parents=True)
    own.write_text("not ours")
    export(changing, tmp_path)
    owner = engine_of(changing)
    last = "SELECT max(session) FROM stockbatch.bars WHERE session < '2024-01-01'"
    with owner.begin() as db:
        db.execute(text("DELETE FROM stockbatch.bars WHERE session < '2023-12-01'"))
        db.execute(text(f"DELETE FROM stockbatch.bars WHERE session = ({last})"))
    of = changed(changing, tmp_path)
    gone = {path for path in of["bars"] if not (tmp_path / path).exists()}
    assert {path.split("/")[2] for path in gone} == {"month=10", "month=11"}
    assert {path.split("/")[2] for path in of["bars"] - gone} == {"month=12"}
    assert not (tmp_path / "bars/year=2023/month=10").exists()
    assert own.read_text() == "not ours"


def test_texts_and_missing_sessions_arrive_as_they_are(changing, tmp_path):
    messages = ['comma, "quoted"\nnew line', "", "\\N", "NULL", "t", " ünïcode 🂡 ", "1e5"]
    with changing.transaction() as db:
        for number, message in enumerate(messages):
            db.execute(
                text(
                    "INSERT INTO stockbatch.data_issues"
                    " (instrument_id, session, check_name, severity, message, observed)"
                    " SELECT id, :session, 'test ' || :number, 'warning', :message, 1e-300"
                    " FROM stockbatch.instruments WHERE ticker = 'AAA'"
                ),
                {
                    "message": message,
                    "number": str(number),
                    "session": None if number % 2 else session(0),
                },
            )
    export(changing, tmp_path)
    rows = [row for row in read(tmp_path, "data_issues") if row["check_name"][:4] == "test"]
    assert sorted(row["message"] for row in rows) == sorted(messages)
    assert {row["session"] for row in rows} == {None, session(0)}
    assert {row["threshold"] for row in rows} == {None}
    unplaced = tmp_path / "data_issues" / f"year={job.NO_MONTH}" / f"month={job.NO_MONTH}"
    assert (unplaced / "data_issues.parquet").is_file()
    same(tmp_path, changing.engine)
    assert all(not renewal.stale and not renewal.surplus for renewal in export(changing, tmp_path))


@pytest.mark.parametrize("content", [b"", b"PAR1 but not really PAR1"])
def test_a_broken_or_foreign_file_is_replaced(stored, tmp_path, content):
    export(stored, tmp_path)
    file = next((tmp_path / "bars").rglob("*.parquet"))
    file.write_bytes(content)
    other = tmp_path / "instruments" / "instruments.parquet"
    pd.DataFrame({"a": [1]}).to_parquet(other)
    renewals = {renewal.relation.name: renewal for renewal in export(stored, tmp_path)}
    assert [len(renewals[name].stale) for name in ("bars", "instruments", "sessions")] == [1, 1, 0]
    same(tmp_path, stored.engine)


VICTIM = """
import json, os, pathlib, signal, sys
from jobs.app import App
from jobs.care.export import export
from jobs.care.folders import Bucket, Local
from stockbatch import database
from stockbatch import config, database

order = json.loads(sys.argv[1])
left = order["count"]

def come(event, *aside):
    global left
    left -= event == order["event"]
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)

replace = pathlib.Path.replace
def watched(self, target):
    ours = target.suffix == ".parquet"  # not the list of them
    come("before" if ours else "")
    replace(self, target)
    come("after" if ours else "")
pathlib.Path.replace = watched

settings = config.Settings(home=order["home"], database_url=order["url"])
app = App(settings=settings, engine=database.engine(settings), trainer=None)
app.on_event = come
export(app, order["folder"])
"""


@pytest.mark.parametrize(("event", "count"), [("part", 9), ("before", 5), ("after", 12)])
def test_a_killed_export_leaves_whole_files_and_is_finished_by_the_next(
    stored, tmp_path, event, count
):
    folder = tmp_path / "lake"
    url = stored.settings.database_url.get_secret_value()
    order = {"home": str(tmp_path), "url": url, "folder": str(folder), "event": event}
    command = [sys.executable, "-c", VICTIM, json.dumps(order | {"count": count})]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    whole = list(folder.rglob("*.parquet"))
    assert len(whole) == (count if event == "after" else count - 1)
    for file in whole:
        assert duckdb.sql(f"SELECT count(*) FROM '{file}'").fetchall() > [(0,)]
    left = list(folder.rglob("*.partial"))
    assert len(left) == (event == "before")
    before = files(folder)
    renewals = export(stored, folder)
    assert sum(len(renewal.surplus) for renewal in renewals) == len(left)
    assert not list(folder.rglob("*.partial"))
    same(folder, stored.engine)
    after = files(folder)
    kept = [str(file.relative_to(folder)) for file in whole]
    assert [after[name] for name in kept] == [before[name] for name in kept]


def test_two_exporters_do_not_meet(stored, tmp_path):
    with Local(tmp_path).alone(), pytest.raises(ExportInProgress, match=str(tmp_path)):
        export(stored, tmp_path)
    export(stored, tmp_path)


def test_folders_that_cannot_be_written(stored, tmp_path):
    occupied = tmp_path / "file"
    occupied.touch()
    with pytest.raises(ExportFailed, match="file/lake cannot be written: Not a directory"):
        export(stored, occupied / "lake")
    with pytest.raises(ExportFailed, match=r"/proc/lake cannot be written: ."):
        export(stored, Path("/proc/lake"))
    (tmp_path / "bars").touch()
    with pytest.raises(ExportFailed, match=r"bars\.parquet cannot be written: "):
        export(stored, tmp_path)


def test_a_full_disk_is_said_in_one_line(stored, tmp_path, capfd):
    def small_files():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    url = stored.settings.database_url.get_secret_value()
    ended = subprocess.run(
        [sys.executable, "-m", "jobs", "export", "--to", str(tmp_path / "lake")],
        env=os.environ | {"STOCKBATCH_DATABASE_URL": url},
        preexec_fn=small_files,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 1
    assert ended.stderr.startswith("error: ")
    assert ended.stderr.endswith("cannot be written: File too large\n")
    assert ended.stderr.count("\n") == 1
    export(stored, tmp_path / "lake")
    same(tmp_path / "lake", stored.engine)


@pytest.mark.parametrize("size", ["4k", "16k", "64k"])
def test_on_a_full_disk_all_files_are_whole(stored, tmp_path, size):
    with small_disk(tmp_path / "disk", size) as disk:
        with pytest.raises(ExportFailed, match="cannot be written: No space left") as it:
            export(stored, disk / "lake")
        assert "\n" not in str(it.value)
        for file in (disk / "lake").rglob("*"):
            if file.is_file() and file.parent != disk / "lake":
                assert pq.read_metadata(file).num_rows


def test_exporting_changes_nothing_in_the_database(stored, tmp_path):
    before = dump(stored.engine)
    export(stored, tmp_path)
    assert dump(stored.engine) == before


def test_the_command(stored, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", stored.settings.database_url.get_secret_value())

    def call():
        monkeypatch.setattr(sys, "argv", ["stockbatch", "export", "--to", str(tmp_path / "lake")])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        lines = map(str.split, capsys.readouterr().out.splitlines())
        return ended.value.code or 0, next(line for line in lines if line[:1] == ["bars"])

    status, (_, parts, written, removed) = call()
    assert (status, parts, removed) == (0, written, "0")
    assert call() == (0, ["bars", parts, "0", "0"])
    same(tmp_path / "lake", stored.engine)


@pytest.mark.slow
def test_real_bars(make_app, market, tmp_path):
    """The bars of an index of the demo, as a data lake has them."""
    app = make_app(market)
    listings = [one for one in app.provider("demo").listings() if one.ticker == "^GSPC"]
    with app.transaction() as db:
        instruments.add(db, listings, provider="demo")
    run(app, date(2018, 12, 31), tickers=["^GSPC"])
    export(app, tmp_path / "lake")
    same(tmp_path / "lake", app.engine)
    query = f"FROM read_parquet('{tmp_path}/lake/bars/**/*.parquet') WHERE ticker = '^GSPC'"
    ((close,),) = duckdb.sql(f"SELECT close {query} AND session = '2018-12-31'").fetchall()
    assert close == pytest.approx(2506.85)


def test_what_somebody_else_keeps_under_our_names_is_neither_removed_nor_replaced(
    stored, tmp_path, capsys
):
    folder, outside = tmp_path / "lake", tmp_path / "outside"
    outside.write_text("precious")
    theirs = folder / "bars" / "year=1999" / "month=1" / "bars.parquet"
    theirs.parent.mkdir(parents=True)
    pd.DataFrame({"a": [1]}).to_parquet(theirs)
    old = folder / "instruments" / ".instruments.parquet.partial"
    old.parent.mkdir()
    old.symlink_to(outside)
    before = theirs.read_bytes()
    export(stored, folder)
    export(stored, folder)
    assert theirs.read_bytes() == before
    assert old.is_symlink()
    assert outside.read_text() == "precious"
    theirs.unlink()
    old.unlink()
    same(folder, stored.engine)


@pytest.mark.parametrize("planted", ["file", "link"])
def test_a_file_that_stands_where_ours_is_to_be_is_told(stored, tmp_path, planted):
    outside = tmp_path / "outside"
    outside.write_text("precious")
    file = tmp_path / "lake" / "instruments" / "instruments.parquet"
    file.parent.mkdir(parents=True)
    if planted == "file":
        pd.DataFrame({"a": [1]}).to_parquet(file)
    else:
        file.symlink_to(outside)
    before = file.read_bytes()
    with pytest.raises(ExportFailed, match=r"instruments\.parquet cannot be written: somebody"):
        export(stored, tmp_path / "lake")
    assert file.read_bytes() == before
    assert outside.read_text() == "precious"
    assert not list((tmp_path / "lake").rglob("*.partial"))
    file.unlink()
    export(stored, tmp_path / "lake")
    same(tmp_path / "lake", stored.engine)


def test_what_a_version_without_a_list_has_written_is_known(stored, tmp_path):
    export(stored, tmp_path)
    (tmp_path / manifest.NAME).unlink()
    assert all(not renewal.stale for renewal in export(stored, tmp_path))


@pytest.mark.parametrize("line", ["../outside", "/etc/passwd", "bars/../../outside", ""])
def test_a_list_that_was_tampered_with_leads_nowhere_else(tmp_path, line):
    (tmp_path / manifest.NAME).write_text(f"{line}\n")
    found = manifest.Manifest(Local(tmp_path), lambda _file: False)
    assert not any(found.surplus(name, set()) for name in ("..", "", "bars", "/etc"))


@pytest.fixture(scope="module")
def store():
    with object_store() as variables:
        yield variables


@pytest.fixture
def lake(store, monkeypatch, tmp_path):
    """The URL of a folder of its own in an object store, that the environment leads to."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    return f"s3://lake/{tmp_path.name}"


def bucket():
    return fs.FileSystem.from_uri("s3://lake")[0]


def objects(url):
    """Return when each object below a URL came, by its name."""
    path = url.removeprefix("s3://")
    found = bucket().get_file_info(fs.FileSelector(path, recursive=True, allow_not_found=True))
    return {o.path[len(path) + 1 :]: o.mtime_ns for o in found if o.type == fs.FileType.File}


def brought(url, folder):
    """Return a folder of this machine with what is below a URL."""
    fs.copy_files(url, str(folder))
    return folder


def put(url, content):
    with bucket().open_output_stream(url.removeprefix("s3://")) as stream:
        stream.write(content)


def written(renewals):
    return sum(len(one.stale) for one in renewals)


def test_an_object_store_holds_what_the_database_holds(changing, lake, tmp_path):
    put(f"{lake}/bars/year=2023/notes.txt", b"not ours")
    put(f"{lake}/others/bars.parquet", b"not ours either")
    assert written(export(changing, lake)) > 20
    same(brought(lake, tmp_path / "first"), changing.engine)
    before = objects(lake)
    assert all(not one.stale and not one.surplus for one in export(changing, lake))
    assert objects(lake) == before
    put(f"{lake}/instruments/instruments.parquet", b"PAR1 but not really PAR1")
    run(changing, session(1))
    renewals = {one.relation.name: len(one.stale) for one in export(changing, lake)}
    assert (renewals["bars"], renewals["instruments"]) == (1, 1)
    same(brought(lake, tmp_path / "then"), changing.engine)
    assert (tmp_path / "then/bars/year=2023/notes.txt").read_bytes() == b"not ours"
    assert (tmp_path / "then/others/bars.parquet").read_bytes() == b"not ours either"


def test_rows_that_are_gone_are_gone_from_an_object_store(changing, lake, tmp_path, engine_of):
    export(changing, lake)
    with engine_of(changing).begin() as db:
        db.execute(text("DELETE FROM stockbatch.bars WHERE session < '2023-12-01'"))
    renewals = {one.relation.name: one for one in export(changing, lake)}
    assert "bars/year=2023/month=11/bars.parquet" in renewals["bars"].surplus
    same(brought(lake, tmp_path), changing.engine)
    assert set(objects(lake)) == set((tmp_path / manifest.NAME).read_text().splitlines()) | {
        manifest.NAME
    }


def test_an_object_that_stands_where_ours_is_to_be_is_told(stored, lake):
    put(f"{lake}/instruments/instruments.parquet", b"precious")
    with pytest.raises(ExportFailed, match=f"{lake}/instruments/.* cannot be written: somebody"):
        export(stored, lake)
    with bucket().open_input_stream(f"{lake[5:]}/instruments/instruments.parquet") as stream:
        assert stream.read() == b"precious"


def test_two_exporters_do_not_meet_in_an_object_store(stored, lake):
    with (
        Session(stored.engine) as db,
        Bucket(lake).alone(db),
        pytest.raises(ExportInProgress, match=lake),
    ):
        export(stored, lake)
    export(stored, lake)


def test_what_fails_half_way_leaves_no_object(stored, lake, monkeypatch, tmp_path):
    of_rows, count = job.blocks, iter(range(1000))

    def breaking(lines, schema):
        for block in of_rows(lines, schema):
            yield block
            if next(count) == 7:
                raise OSError(28, "No space left on device")

    monkeypatch.setattr(job, "blocks", breaking)
    with pytest.raises(ExportFailed, match="cannot be written: No space left on device"):
        export(stored, lake)
    assert len([name for name in objects(lake) if name.endswith(".parquet")]) == 7
    export(stored, lake)
    same(brought(lake, tmp_path), stored.engine)


def test_a_killed_export_to_an_object_store_is_finished_by_the_next(stored, lake, tmp_path):
    url = stored.settings.database_url.get_secret_value()
    order = {"home": str(tmp_path), "url": url, "folder": lake, "event": "part", "count": 9}
    command = [sys.executable, "-c", VICTIM, json.dumps(order)]
    assert subprocess.run(command, timeout=60).returncode == -signal.SIGKILL
    before = objects(lake)
    assert len([name for name in before if name.endswith(".parquet")]) == 8
    export(stored, lake)
    same(brought(lake, tmp_path / "lake"), stored.engine)
    after = objects(lake)
    assert all(after[name] == at for name, at in before.items() if name.endswith(".parquet"))


@pytest.mark.parametrize(
    ("to", "reason"),
    [
        ("s3://nobucket/lake", "there is no such bucket"),
        ("s3://key:hunter2@lake/x", "keys do not belong into a URL"),
        ("https://example.com/lake", "https:// is not known here"),
        ("", "it is empty: give a path"),
    ],
)
def test_stores_that_cannot_be_written_to(stored, lake, tmp_path, monkeypatch, to, reason):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportFailed, match=reason) as it:
        export(stored, to)
    assert "hunter2" not in str(it.value)
    assert not objects(lake)
    assert not list(tmp_path.iterdir())


BARS = """
SELECT i.ticker, b.session, b.open, b.high, b.low, b.close, b.volume, b.price_basis, b.revision,
    (SELECT string_agg(concat_ws(' ', a.kind, a.value, a.in_prices), ',' ORDER BY a.kind)
        FROM stockbatch.corporate_actions AS a
        WHERE a.instrument_id = b.instrument_id AND a.session = b.session) AS actions
FROM stockbatch.bars AS b JOIN stockbatch.instruments AS i ON i.id = b.instrument_id
ORDER BY 1, 2
"""


@pytest.mark.parametrize("place", ["a folder", "a store"])
def test_the_provider_parquet_makes_the_same_bars_of_it(
    make_app, stored, market, tmp_path, lake, place
):
    to = lake if place == "a store" else str(tmp_path / "lake")
    export(stored, to)
    expected = fetch(stored.engine, BARS)
    assert any(row["actions"] and "split" in row["actions"] for row in expected)
    anew = make_app(market)
    run(anew, session(SESSIONS - 1), provider=f"parquet:{to}/bars")
    assert fetch(anew.engine, BARS) == expected
    onto = make_app(market)  # what its own provider gave is compared with
    run(onto, session(-1))
    for offset in range(SESSIONS):
        run(onto, session(offset), provider=f"parquet:{to}/bars")
    assert fetch(onto.engine, BARS) == expected
    findings = "SELECT check_name, message FROM stockbatch.data_issues"
    assert fetch(onto.engine, findings) == fetch(stored.engine, findings)
