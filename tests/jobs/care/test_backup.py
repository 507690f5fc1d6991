"""Backup and restore: everything comes back, or nothing changes."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time

import psutil
import pytest
from alembic import command as alembic
from sqlalchemy import text

from jobs.app import App
from jobs.care import backup as job
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.exceptions import BackupFailed, RestoreFailed, SchemaTooNew
from tests.support.market import PlainTrainer, assert_same, dump, facts, fetch, run, session

GRANTS = """
SELECT 'table' AS what, table_schema, table_name, '' AS part, grantee, privilege_type
FROM information_schema.table_privileges
UNION ALL
SELECT 'column', table_schema, table_name, column_name, grantee, privilege_type
FROM information_schema.column_privileges
UNION ALL
SELECT 'schema', nspname, '', '', acl.grantee::regrole::text, acl.privilege_type
FROM pg_namespace, aclexplode(nspacl) AS acl
UNION ALL
SELECT 'default', nspname, '', '', acl.grantee::regrole::text, acl.privilege_type
FROM pg_default_acl JOIN pg_namespace AS n ON n.oid = defaclnamespace, aclexplode(defaclacl) AS acl
"""
OURS = ("stockbatch_writer", "stockbatch_reader", "stockbatch_api")


@pytest.fixture
def filled(app):
    run(app)
    run(app, session(1))
    return app


@pytest.fixture
def file(filled, tmp_path):
    """A backup of two sessions."""
    path = tmp_path / "stockbatch.backup"
    job.backup(filled.settings, path)
    return path


@pytest.fixture
def target(empty_settings):
    engine = database.engine(empty_settings, role="owner")
    yield engine
    engine.dispose()


def grants(engine):
    found = (tuple(row.values()) for row in fetch(engine, GRANTS))
    return {row for row in found if row[1] in job.SCHEMAS and row[4] in OURS}


def schemas(engine):
    query = "SELECT nspname FROM pg_namespace WHERE nspname IN ('stockbatch', 'bi')"
    return [row["nspname"] for row in fetch(engine, query)]


def reopened(filled, settings, **changes):
    """Return an App like `filled` on another database."""
    engine = database.engine(settings, role="writer")
    values = {"trainer": PlainTrainer(), "clock": filled.clock} | changes
    chosen = filled.settings.model_copy(update={"database_url": settings.database_url})
    return App(settings=chosen, engine=engine, **values)


def test_everything_comes_back_and_goes_on(filled, file, empty_settings, target):
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    job.restore(empty_settings, file)
    owner = database.engine(filled.settings, "owner")
    before, after = dump(owner), dump(target)
    assert after == before
    assert len(after["forecasts"]) > 0
    assert grants(target) == grants(owner)
    assert len(grants(target)) > 50
    owner.dispose()
    database.require_current(target)

    restored = reopened(filled, empty_settings)
    run(filled, session(2))
    run(restored, session(2))
    assert_same(facts(restored.engine), facts(filled.engine))
    restored.engine.dispose()


def test_another_login_may_own_what_is_restored(file, server, empty_settings, target):
    name = target.url.database
    with target.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS newcomer"))
        connection.execute(text("CREATE ROLE newcomer LOGIN PASSWORD 'x'"))
        connection.execute(text(f"ALTER DATABASE {name} OWNER TO newcomer"))
    url = server.url("owner").set(database=name, username="newcomer", password="x")
    settings = Settings(home=empty_settings.home, database_url=database.for_clients(url))
    job.restore(settings, file)
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'stockbatch'"
    assert fetch(target, owners) == [{"tableowner": "newcomer"}]
    defaults = {row for row in grants(target) if row[0] == "default"}
    assert ("default", "bi", "", "", "stockbatch_reader", "SELECT") in defaults
    with target.begin() as connection:
        connection.execute(text("REASSIGN OWNED BY newcomer TO owner"))
        connection.execute(text("DROP OWNED BY newcomer"))
        connection.execute(text("DROP ROLE newcomer"))


def test_an_embedded_server_is_backed_up_and_restored(tmp_path, server_home):
    settings = Settings(home=server_home)
    database.migrate(settings)
    job.backup(settings, tmp_path / "one")
    with pytest.raises(RestoreFailed, match="has the schema stockbatch already"):
        job.restore(settings, tmp_path / "one")
    other = Settings(home=server_home / "other")
    try:
        job.restore(other, tmp_path / "one")
        engine = database.engine(other, "reader")
        assert fetch(engine, "SELECT * FROM bi.run_history") == []
        engine.dispose()
    finally:
        embedded_server.stop(other.home)


def test_a_backup_of_an_older_revision_is_migrated(settings, empty_settings, target, tmp_path):
    source = database.engine(settings, role="owner")
    alembic.downgrade(database.alembic_config(source), "0005")
    source.dispose()
    job.backup(settings, tmp_path / "old")
    job.restore(empty_settings, tmp_path / "old")
    assert database.revision(target) == database.head()


def test_a_backup_of_a_newer_program_is_told(settings, engine, empty_settings, tmp_path):
    with engine.begin() as connection:
        connection.execute(text("UPDATE stockbatch.alembic_version SET version_num = '9999'"))
    job.backup(settings, tmp_path / "new")
    with pytest.raises(SchemaTooNew, match="9999"):
        job.restore(empty_settings, tmp_path / "new")


def test_a_file_is_never_overwritten(settings, tmp_path):
    file = tmp_path / "mine"
    file.write_text("precious")
    with pytest.raises(BackupFailed, match="there is such a file already"):
        job.backup(settings, file)
    assert file.read_text() == "precious"


def test_a_backup_that_fails_leaves_no_file(settings, empty_settings, tmp_path, monkeypatch):
    with pytest.raises(BackupFailed, match="holds nothing of this program"):
        job.backup(empty_settings, tmp_path / "one")
    with pytest.raises(BackupFailed, match="No such file or directory"):
        job.backup(settings, tmp_path / "absent" / "one")
    monkeypatch.setattr(job, "SCHEMAS", ("nonsense",))
    with pytest.raises(BackupFailed, match="no matching schemas were found"):
        job.backup(settings, tmp_path / "one")
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_programs_that_are_too_old_are_told(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(job, "_server_version", lambda engine: 99)
    with pytest.raises(BackupFailed, match=r"pg_dump is 18, and the server is 99: install"):
        job.backup(settings, tmp_path / "one")


def test_a_backup_of_a_newer_server_is_refused(file, empty_settings, target, monkeypatch):
    monkeypatch.setattr(job, "_server_version", lambda engine: 15)
    with pytest.raises(RestoreFailed, match="comes from PostgreSQL 18, and the server is 15"):
        job.restore(empty_settings, file)
    assert schemas(target) == []


def test_files_that_are_no_backup_are_refused(file, empty_settings, target, tmp_path, monkeypatch):
    wrong = tmp_path / "wrong"
    with pytest.raises(RestoreFailed, match="No such file or directory"):
        job.restore(empty_settings, wrong)
    for content in (b"", b"SELECT 1;\n" * 200, b"PGDMP" + bytes(500)):
        wrong.write_bytes(content)
        with pytest.raises(RestoreFailed) as refused:
            job.restore(empty_settings, wrong)
        assert "\n" not in str(refused.value)
    assert schemas(target) == []


def test_a_backup_of_another_program_is_refused(server, empty_settings, target, tmp_path):
    with target.begin() as connection:
        connection.execute(text("CREATE TABLE theirs ()"))
    settings = Settings(home=tmp_path, database_url=database.for_clients(target.url))
    address, variables = database.for_programs(settings)
    programs = embedded_server.binaries()
    file = tmp_path / "theirs"
    job._call([str(programs / "pg_dump"), "-Fc", f"--file={file}", address], variables)
    with pytest.raises(RestoreFailed, match="a backup of something else"):
        job.restore(empty_settings, file)


def test_a_file_cut_short_restores_nothing(file, empty_settings, target):
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) * 3 // 4])
    with pytest.raises(RestoreFailed):
        job.restore(empty_settings, file)
    assert schemas(target) == []


def test_a_restore_that_is_killed_leaves_nothing_and_can_be_done_again(
    file, empty_settings, target
):
    with target.begin() as connection:
        connection.execute(
            text(
                "CREATE FUNCTION pause() RETURNS event_trigger LANGUAGE plpgsql AS"
                " 'BEGIN PERFORM pg_advisory_lock(42); END'"
            )
        )
        connection.execute(
            text(
                "CREATE EVENT TRIGGER pause ON ddl_command_end WHEN TAG IN ('CREATE INDEX')"
                " EXECUTE FUNCTION pause()"
            )
        )
    failures = []

    def restore():
        try:
            job.restore(empty_settings, file)
        except RestoreFailed as error:
            failures.append(str(error))

    thread = threading.Thread(target=restore)
    with target.connect() as holder:
        holder.execute(text("SELECT pg_advisory_lock(42)"))
        thread.start()
        killed = False
        while thread.is_alive() and not killed:
            waiting = "SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            if holder.execute(text(waiting)).first() is None:
                thread.join(0.05)
                continue
            for child in psutil.Process().children():
                if child.name() == "pg_restore":
                    child.kill()
                    killed = True
        thread.join()
        holder.execute(text("SELECT pg_advisory_unlock(42)"))
    (failure,) = failures
    assert "pg_restore ended with status -9" in failure
    with target.begin() as connection:
        connection.execute(text("DROP EVENT TRIGGER pause"))
    for _ in range(600):  # until the server has noticed
        others = "SELECT FROM pg_stat_activity WHERE application_name = 'pg_restore'"
        with target.connect() as connection:
            if connection.execute(text(others)).first() is None:
                break
    assert schemas(target) == []
    job.restore(empty_settings, file)
    database.require_current(target)


def test_of_two_backups_to_one_file_one_is_refused_and_the_other_whole(
    settings, tmp_path, monkeypatch
):
    file, call = tmp_path / "one", job._call

    def meanwhile(command, variables):
        said = call(command, variables)
        if "--format=custom" in command and not file.exists():
            job.backup(settings, file)
        return said

    monkeypatch.setattr(job, "_call", meanwhile)
    with pytest.raises(BackupFailed, match="there is such a file already"):
        job.backup(settings, file)
    monkeypatch.undo()
    job._contents(settings, file)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["one"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_who_is_told_to_end_ends_pg_dump_and_leaves_no_file(settings, engine, tmp_path, number):
    ours = os.environ | {"STOCKBATCH_DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", "jobs", "db", "backup", str(tmp_path / "one")]
    with engine.connect() as holder:
        holder.execute(text("LOCK TABLE stockbatch.bars IN ACCESS EXCLUSIVE MODE"))
        process = subprocess.Popen(command, env=ours)
        dumping = "SELECT FROM pg_stat_activity WHERE application_name = 'pg_dump'"
        while not holder.execute(text(dumping)).first():
            assert process.poll() is None
            time.sleep(0.05)
        (child,) = psutil.Process(process.pid).children()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert not child.is_running()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []
