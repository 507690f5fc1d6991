"""Databases that are set up in another way than ours, and what may stand in between."""

import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from sqlalchemy import text

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.exceptions import DatabaseReadOnly, DatabaseUnavailable
from tests.conftest import MIGRATED
from tests.support.market import run
from tests.support.places import ROOT
from tests.support.superuser import superuser

PGBOUNCER = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
OTHER_DEFAULTS = {
    "datestyle": "German, DMY",
    "intervalstyle": "sql_standard",
    "timezone": "Asia/Tokyo",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "transform_null_equals": "on",
    "default_transaction_isolation": "serializable",
    "idle_session_timeout": "1s",
    "idle_in_transaction_session_timeout": "1s",
    "search_path": "nowhere",
    "statement_timeout": "1s",
    "lock_timeout": "1ms",
}


def say(settings, *arguments):
    """Run the command line against a database; return its status and all it said."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        env={
            **os.environ,
            "STOCKBATCH_HOME": str(settings.home),
            "STOCKBATCH_DATABASE_URL": settings.database_url.get_secret_value(),
        },
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def alter(engine):
    """Change a default of the test's database, for all connections made from then on."""

    def change(name, value):
        with engine.begin() as connection:
            quoted = f"\"{engine.url.database}\" SET {name} = '{value}'"
            connection.execute(text(f"ALTER DATABASE {quoted}"))

    return change


def test_no_default_of_the_database_changes_what_is_read(app, alter, engine):
    for name, value in OTHER_DEFAULTS.items():
        alter(name, value)
    app.engine.dispose()
    with app.engine.connect() as connection:
        row = connection.execute(
            text("SELECT now() AS now, DATE '2024-12-31' AS day, INTERVAL '1 day -2 hours' AS span,"
                 " 0.1::float8 + 0.2 AS number, '\\x00ff'::bytea AS bytes, '\\n' AS word,"
                 " '…ä' AS sign, current_setting('transaction_isolation') AS isolation")
        ).one()  # fmt: skip
    assert abs(row.now - datetime.now(UTC)) < timedelta(minutes=1)
    assert row.now.utcoffset() == timedelta()
    assert row[1:] == (
        *(date(2024, 12, 31), timedelta(hours=22), 0.1 + 0.2, b"\x00\xff", "\\n", "…ä"),
        "read committed",
    )
    assert run(app).outcomes
    shown = text("SELECT count(*) FROM bi.next_session_forecast WHERE method = 'lstm'")
    with app.transaction() as db:
        assert db.scalar(shown) == 3


def test_the_lock_of_a_quiet_connection_outlasts_the_servers_patience(settings, alter):
    alter("idle_session_timeout", "100ms")
    engine = database.engine(settings, "writer")
    with engine.connect() as connection:
        connection.detach()
        connection.execute(text("SELECT pg_try_advisory_lock(1)"))
        connection.commit()
        time.sleep(0.5)
        assert connection.scalar(text("SELECT pg_advisory_unlock(1)"))
    engine.dispose()


def test_a_database_that_can_only_be_read(settings, alter):
    alter("default_transaction_read_only", "on")
    engine = database.engine(settings, "writer")
    with pytest.raises(DatabaseReadOnly, match="read-only") as caught, engine.begin() as connection:
        connection.execute(text("DELETE FROM stockbatch.pauses"))
    assert "\n" not in str(caught.value)
    engine.dispose()
    for command in (["doctor"], ["tickers", "add", "^GSPC", "--provider", "demo"]):
        status, said = say(settings, *command)
        assert status == (1 if command == ["doctor"] else 3), said
        assert "takes no changes" in said
        assert "default_transaction_read_only" in said
        assert "INSERT INTO" not in said


def test_reading_goes_on_where_only_reading_is_allowed(settings, alter):
    alter("default_transaction_read_only", "on")
    status, said = say(settings, "tickers", "list")
    assert status == 0, said


def test_a_standby_says_what_it_is(cluster, programs, tmp_path, monkeypatch):
    # A server of ours is none, but for this test: its logins could not be set anew.
    monkeypatch.setattr(embedded_server, "_settle", lambda *_: None)
    data = cluster / "postgres" / "data"
    (data / "standby.signal").touch()
    os.chown(data / "standby.signal", data.stat().st_uid, data.stat().st_gid)
    url = superuser(embedded_server.start(cluster, programs=programs)).set(database=MIGRATED)
    standby = Settings(home=tmp_path, database_url=database.for_clients(url))
    status, said = say(standby, "doctor")
    assert status == 1, said
    assert "wrong  database: " in said
    assert "it is a standby" in said
    status, said = say(standby, "tickers", "list")
    assert status == 0, said
    status, said = say(standby, "tickers", "add", "^GSPC", "--provider", "demo")
    assert status == 3, said
    assert "name the primary" in said
    assert said.count("\n") == 1


def test_an_encoding_without_all_characters_is_refused_by_name(settings, engine, server):
    name = f"latin_{uuid.uuid4().hex}"
    with psycopg.connect(database.for_clients(engine.url), autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
            " LOCALE_PROVIDER libc"
            " TEMPLATE template0"
        )
        latin = Settings(
            home=settings.home, database_url=database.for_clients(engine.url.set(database=name))
        )
        with pytest.raises(DatabaseUnavailable, match=r"encoding is LATIN1.*ENCODING 'UTF8'"):
            database.migrate(latin)
        connection.execute(f"DROP DATABASE {name}")


@pytest.fixture
def pooled(engine, settings, tmp_path):
    """A maker of settings that reach the test's database by a PgBouncer of the given mode."""
    if PGBOUNCER is None:
        pytest.skip("a pooler is needed: apt-get install pgbouncer")
    running = []

    def start(mode):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = engine.url
        file = tmp_path / f"{port}.ini"
        file.write_text(
            f"[databases]\nstocks = host={url.host} port={url.port} dbname={url.database}"
            f" user={url.username} password={url.password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\n"
            f"pool_mode = {mode}\nunix_socket_dir =\nquery_wait_timeout = 10\n"
        )
        log = (tmp_path / f"{port}.log").open("w")
        as_user = ["-u", "nobody"] if os.getuid() == 0 else []  # it refuses to work for root
        running.append((subprocess.Popen([PGBOUNCER, *as_user, file], stderr=log), log))
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        pooler = url.set(port=port, database="stocks")
        return Settings(home=settings.home, database_url=database.for_clients(pooler))

    yield start
    for process, log in running:
        process.kill()
        process.wait()
        log.close()


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_changes_sessions_is_refused_by_name(pooled, mode):
    settings = pooled(mode)
    engine = database.engine(settings, "writer")
    for _ in range(2):
        with pytest.raises(DatabaseUnavailable, match=r"pooler.*pool_mode = session"):
            engine.connect()
    engine.dispose()
    status, said = say(settings, "doctor")
    assert status == 1, said
    assert "wrong  database: " in said
    assert "PgBouncer" in said


def test_a_pooler_by_session_serves(pooled, market):
    settings = pooled("session")
    engine = database.engine(settings, "writer")
    with engine.connect() as one, engine.connect() as other:
        pids = [c.scalar(text("SELECT pg_backend_pid()")) for c in (one, other)]
        assert one.scalar(text("SELECT current_user")) == "stockbatch_writer"
    assert len(set(pids)) == 2
    engine.dispose()
    _, said = say(settings, "doctor")
    assert "ok     database: " in said, said
