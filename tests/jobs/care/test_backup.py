"""Backup and restore: everything comes back, or nothing changes."""

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest
from alembic import command as alembic
from sqlalchemy import text

from jobs import files
from jobs.app import App
from jobs.care import backup as job
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.exceptions import AccessDenied, BackupFailed, RestoreFailed, SchemaTooNew
from tests.support.market import (
    Market,
    PlainTrainer,
    assert_same,
    dump,
    facts,
    fetch,
    run,
    session,
)
from tests.support.superuser import superuser

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


@pytest.fixture(scope="module")
def ran(make_lasting_app, tmp_path_factory):
    """An App that has run two sessions, for tests to copy."""
    app = make_lasting_app(Market(tmp_path_factory.mktemp("market") / "market.csv"))
    run(app)
    run(app, session(1))
    return app


@pytest.fixture
def filled(make_app, market, ran):
    return make_app(market, like=ran)


@pytest.fixture(scope="module")
def written(ran, tmp_path_factory):
    path = tmp_path_factory.mktemp("backup") / "stockbatch.backup"
    job.backup(ran.settings, path)
    return path


@pytest.fixture
def file(written, tmp_path):
    """A backup of two sessions."""
    return shutil.copy(written, tmp_path / written.name)


@pytest.fixture
def boss(empty_url, tmp_path):
    """The superuser's engine of the empty database, which belongs to a login that is none."""
    url = database.for_clients(empty_url)
    engine = database.engine(Settings(home=tmp_path, database_url=url), role="owner")
    with engine.begin() as connection:
        connection.execute(text(f"ALTER DATABASE {empty_url.database} OWNER TO keeper"))
    yield engine
    engine.dispose()


@pytest.fixture
def empty_settings(server, boss, tmp_path):
    url = server.url("owner").set(database=boss.url.database)
    return Settings(home=tmp_path / "home", database_url=database.for_clients(url))


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
    database.require_current(target)

    restored = reopened(filled, empty_settings)
    run(filled, session(2))
    run(restored, session(2))
    assert_same(facts(target), facts(owner))
    restored.engine.dispose()
    owner.dispose()


def test_another_login_may_own_what_is_restored(file, server, empty_settings, boss):
    name = boss.url.database
    with boss.begin() as connection:
        connection.execute(text("DROP ROLE IF EXISTS newcomer"))
        connection.execute(text("CREATE ROLE newcomer LOGIN PASSWORD 'x'"))
        connection.execute(text(f"ALTER DATABASE {name} OWNER TO newcomer"))
    url = superuser(server).set(database=name, username="newcomer", password="x")
    settings = Settings(home=empty_settings.home, database_url=database.for_clients(url))
    job.restore(settings, file)
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'stockbatch'"
    assert fetch(boss, owners) == [{"tableowner": "newcomer"}]
    defaults = {row for row in grants(boss) if row[0] == "default"}
    assert ("default", "bi", "", "", "stockbatch_reader", "SELECT") in defaults
    with boss.begin() as connection:
        connection.execute(text("REASSIGN OWNED BY newcomer TO keeper"))
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
    file, empty_settings, target, boss
):
    with boss.begin() as connection:
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
    with boss.begin() as connection:
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
        if "--format=custom" in command:
            monkeypatch.undo()
            job.backup(settings, file)
        return said

    monkeypatch.setattr(job, "_call", meanwhile)
    with pytest.raises(BackupFailed, match="there is such a file already"):
        job.backup(settings, file)
    job._contents(settings, file)
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["one"]


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_who_is_told_to_end_ends_pg_dump_and_leaves_no_file(settings, engine, tmp_path, number):
    with begun_backup(settings, engine, tmp_path / "one") as (process, child):
        process.send_signal(number)
        assert process.wait(30) == 128 + number
        assert not child.is_running()
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == []


def test_the_next_backup_removes_what_a_killed_one_has_left(settings, engine, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    with begun_backup(settings, engine, folder / "killed.backup") as (process, child):
        process.kill()
        child.kill()
        process.wait(30)
    (left,) = folder.iterdir()
    strangers = {
        ".stockbatch-notes.partial.backup": "a name that is not ours",
        left.name.replace(".backup", ".html"): "of another kind of file",
        left.name.upper(): "",
    }
    for name, content in strangers.items():
        (folder / name).write_text(content)
    link = left.with_name(f".stockbatch-{'0' * 24}.partial.backup")
    link.symlink_to(folder / left.name.upper())
    with begun_backup(settings, engine, folder / "alive.backup") as (process, _):
        # Meanwhile another one is written, which leaves alone what this one is writing.
        assert not left.exists()
        (alive,) = {path.name for path in folder.iterdir()} - {*strangers, link.name}
        files.remove_left(folder, r"\.stockbatch-.{24}\.partial\.backup")
        assert (folder / alive).exists()
    assert process.wait(60) == 0
    assert {path.name for path in folder.iterdir()} == {*strangers, link.name, "alive.backup"}


@contextmanager
def begun_backup(settings, engine, file):
    """Yield the process of a backup, and that of pg_dump, which wait for a lock while inside."""
    ours = os.environ | {"STOCKBATCH_DATABASE_URL": settings.database_url.get_secret_value()}
    command = [sys.executable, "-m", "jobs", "db", "backup", str(file)]
    with engine.connect() as holder, engine.connect() as looker:
        looker.execution_options(isolation_level="AUTOCOMMIT")  # in one transaction all looks alike
        holder.execute(text("LOCK TABLE stockbatch.bars IN ACCESS EXCLUSIVE MODE"))
        process = subprocess.Popen(command, env=ours)
        # Other tests dump databases of the same server.
        dumping = (
            "SELECT 1 FROM pg_stat_activity"
            " WHERE application_name = 'pg_dump' AND datname = current_database()"
        )
        while not (looker.execute(text(dumping)).first() and _children(process)):
            assert process.poll() is None
            time.sleep(0.05)
        (child,) = _children(process)
        yield process, child


def _children(process):
    return psutil.Process(process.pid).children()


# ---- a backup that is to do more than to be restored


@pytest.fixture
def shell(tmp_path):
    """A file that a command of a shell would make, and that command, as a statement."""
    made = tmp_path / "made_by_a_shell"
    return made, f"COPY (SELECT 1) TO PROGRAM 'touch {made}'"


PLANT = """
CREATE FUNCTION stockbatch.planted() RETURNS trigger LANGUAGE plpgsql {options} AS $planted$
BEGIN
    {statement};
    RETURN NEW;
END
$planted$;
CREATE TRIGGER planted BEFORE INSERT OR UPDATE ON stockbatch.{table}
    FOR EACH ROW EXECUTE FUNCTION stockbatch.planted();
"""


def plant(settings, table, statement, options=""):
    owner = database.engine(settings, role="owner")
    with owner.begin() as connection:
        connection.exec_driver_sql(PLANT.format(table=table, statement=statement, options=options))
    owner.dispose()


def test_what_no_migration_made_is_refused(settings, empty_settings, target, tmp_path, shell):
    made, statement = shell
    plant(settings, "alembic_version", statement)
    job.backup(settings, tmp_path / "crafted")
    with pytest.raises(RestoreFailed, match=r"the function stockbatch\.planted\(\), which is not"):
        job.restore(empty_settings, tmp_path / "crafted")
    assert schemas(target) == []
    assert not made.exists()


PLANTED = {
    "the function stockbatch.judge_kind()": """
        CREATE OR REPLACE FUNCTION stockbatch.judge_kind() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NEW; END'""",
    "the function bi.stamp()": """
        CREATE FUNCTION bi.stamp() RETURNS integer LANGUAGE sql AS 'SELECT 1'""",
    "the trigger mine of stockbatch.runs": """
        CREATE TRIGGER mine BEFORE INSERT ON stockbatch.runs
        EXECUTE FUNCTION suppress_redundant_updates_trigger()""",
    "the trigger first of stockbatch.runs": """
        CREATE TRIGGER first BEFORE INSERT ON stockbatch.runs
        EXECUTE FUNCTION stockbatch.judge_kind()""",
    "RULE stockbatch runs also": """
        CREATE RULE also AS ON INSERT TO stockbatch.runs DO ALSO NOTIFY x""",
    "POLICY stockbatch runs mine": """
        CREATE POLICY mine ON stockbatch.runs USING (true)""",
    "PROCEDURE stockbatch mine()": """
        CREATE PROCEDURE stockbatch.mine() LANGUAGE sql AS 'SELECT 1'""",
    "AGGREGATE bi mine(integer)": """
        CREATE AGGREGATE bi.mine(integer) (SFUNC = int4pl, STYPE = integer)""",
    "OPERATOR bi =": """
        CREATE OPERATOR bi.= (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq)""",
}


@pytest.mark.parametrize("name", PLANTED)
def test_what_would_act_by_itself_is_named(
    settings, engine, empty_settings, target, tmp_path, name
):
    with engine.begin() as connection:
        connection.exec_driver_sql(PLANTED[name])
    job.backup(settings, tmp_path / "crafted")
    with pytest.raises(RestoreFailed, match=f"contains {re.escape(name)}.*, which is not this"):
        job.restore(empty_settings, tmp_path / "crafted")
    assert schemas(target) == []


def test_another_schema_in_a_backup_is_refused(
    settings, engine, empty_settings, target, tmp_path, monkeypatch
):
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE SCHEMA theirs; CREATE TABLE theirs.x ()")
    monkeypatch.setattr(job, "SCHEMAS", (*job.SCHEMAS, "theirs"))
    job.backup(settings, tmp_path / "crafted")
    monkeypatch.undo()
    with pytest.raises(RestoreFailed, match="it contains SCHEMA - theirs owner, which is not"):
        job.restore(empty_settings, tmp_path / "crafted")
    assert schemas(target) == []


def test_a_file_that_lies_about_what_it_contains_is_found_out(
    settings, empty_settings, target, tmp_path, shell
):
    plant(settings, "runs", shell[1])
    file = tmp_path / "crafted"
    job.backup(settings, file)
    file.write_bytes(file.read_bytes().replace(b"FUNCTION\0", b"SEQUENCE\0"))
    with pytest.raises(RestoreFailed, match=r"the function stockbatch\.planted\(\), which is not"):
        job.restore(empty_settings, file)
    assert schemas(target) == []
    assert not shell[0].exists()


def test_a_superuser_restores_nothing(settings, file, boss, tmp_path):
    superuser = Settings(home=tmp_path, database_url=database.for_clients(boss.url))
    with pytest.raises(RestoreFailed, match="the login owner may run programs on the server"):
        job.restore(superuser, file)
    assert schemas(boss) == []


@pytest.fixture
def blind(monkeypatch):
    """A restore that finds nothing strange."""
    monkeypatch.setattr(job.check, "strange_object", lambda connection: None)


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("options", ["", "SECURITY DEFINER"])
def test_what_a_migration_sets_off_reaches_no_shell(
    settings, engine, tmp_path, server_home, shell, options
):
    made, statement = shell
    alembic.downgrade(database.alembic_config(engine), "0018")
    plant(settings, "alembic_version", statement, options)
    job.backup(settings, tmp_path / "crafted")
    embedded = Settings(home=server_home)
    with pytest.raises(AccessDenied, match="to or from an external"):
        job.restore(embedded, tmp_path / "crafted")
    assert not made.exists()


@pytest.mark.usefixtures("blind")
def test_what_the_next_run_and_the_next_start_set_off_reaches_no_shell(
    filled, tmp_path, server_home, shell
):
    made, statement = shell
    caught = f"BEGIN {statement}; EXCEPTION WHEN insufficient_privilege THEN NULL; END"
    for table in ("runs", "bars", "leases"):
        plant(filled.settings, table, caught, "SECURITY DEFINER")
        change = database.engine(filled.settings, role="owner")
        with change.begin() as connection:
            name = f"planted_by_{table}"
            connection.exec_driver_sql(f"ALTER FUNCTION stockbatch.planted RENAME TO {name}")
        change.dispose()
    job.backup(filled.settings, tmp_path / "crafted")
    embedded = Settings(home=server_home)
    embedded_server.start(embedded.home, options={"log_connections": "on"})
    job.restore(embedded, tmp_path / "crafted")
    restored = reopened(filled, embedded)
    run(restored, session(2))
    assert fetch(restored.engine, "SELECT count(*) AS n FROM stockbatch.runs") == [{"n": 3}]
    restored.engine.dispose()
    embedded_server.stop(embedded.home)
    embedded_server.start(embedded.home, options={"log_connections": "on"})
    folder = embedded.home / "postgres"
    said = (folder / "log.previous").read_text() + (folder / "log").read_text()
    who = set(re.findall(r"authorized: user=(\w+) database=(\w+)", said))
    assert {("keeper", "stockbatch"), ("writer", "stockbatch"), ("owner", "postgres")} <= who
    again = (folder / "log").read_text()
    assert "user=owner database=stockbatch" not in again
    assert not made.exists()
