import os
import signal
import socket
import stat
import subprocess
import sys
import time
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import get_args

import psycopg
import pytest
from alembic import command as alembic

from jobs.care import backup
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_logins, embedded_server
from stockbatch.database.embedded_logins import Role
from stockbatch.exceptions import DataFolderOfOtherVersion, EmbeddedServerFailed
from tests.support.superuser import superuser

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")


def connect(server, role="owner"):
    return psycopg.connect(database.for_clients(server.url(role)), connect_timeout=5)


def administering(server):
    return psycopg.connect(database.for_clients(superuser(server)), connect_timeout=5)


def process_id(home):
    return int((home / "postgres/data/postmaster.pid").read_text().split()[0])


def status(pid):
    """State (Z: zombie) and parent of a process; None twice where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:2]
    except FileNotFoundError:
        return None, None


def command_lines():
    """Yield process id and arguments of all processes."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):
            yield int(file.parent.name), file.read_text(errors="replace")


def servers(home):
    """The postmasters of a home; children keep their arguments for a moment."""
    folder = str(home / "postgres/data")
    found = [pid for pid, line in command_lines() if folder in line]
    return [pid for pid in found if status(pid)[1] not in (*map(str, found), None)]


def run_python(code, home, programs, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, str(home), str(programs)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


PREPARE = """
import os, signal, sys
from pathlib import Path
from typing import get_args
from stockbatch.database import embedded_server
from stockbatch.database.embedded_logins import Role
home, programs = map(Path, sys.argv[1:3])
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
"""
START = PREPARE + "print(embedded_server.start(home, programs=programs).port, flush=True)\n"


def test_a_new_server_is_private_and_every_role_gets_in(server_home, programs):
    server = embedded_server.start(server_home, programs=programs)

    assert stat.S_IMODE(server_home.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((server.folder / "data").stat().st_mode) == 0o700
    for secret in ("pgpass", "log"):
        assert stat.S_IMODE((server.folder / secret).stat().st_mode) == 0o600
    for role in get_args(Role):
        with connect(server, role) as connection:
            answer = connection.execute(
                "SELECT session_user, current_setting('is_superuser'), current_setting('timezone'),"
                " current_setting('listen_addresses'), current_setting('server_encoding')"
            ).fetchone()
            login = "keeper" if role == "owner" else role
            assert answer == (login, "off", "UTC", "127.0.0.1", "UTF8")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(
            host="127.0.0.1", port=server.port, user="owner", password="guess", dbname="stockbatch"
        )
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(
            host=str(server.folder), port=server.port, user="owner", dbname="stockbatch"
        )
    assert embedded_server.running(server_home) == server


def test_passwords_stay_in_their_file(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    with connect(server) as connection, pytest.raises(psycopg.errors.SyntaxError):
        connection.execute("SELEC")
    assert servers(cluster), "the processes are not in sight"
    seen = [repr(server), (server.folder / "log").read_text(), *dict(command_lines()).values()]

    for password in server.passwords.values():
        assert len(password) == 32
        assert not any(password in text for text in seen)
    everything = [file for file in server.folder.rglob("*") if file.is_file()]
    holders = {file.name for file in everything if _holds(file, server.passwords["reader"])}
    assert holders == {"pgpass"}


def _holds(file, word):
    try:
        return word.encode() in file.read_bytes()
    except FileNotFoundError:  # the server removes files of its own
        return False


def test_port_and_passwords_survive_restarts(cluster, programs):
    first = embedded_server.start(cluster, programs=programs)
    low, high = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())
    assert not low <= first.port <= high

    assert embedded_server.stop(cluster)
    assert embedded_server.running(cluster) is None
    assert not servers(cluster)
    assert not embedded_server.stop(cluster)

    assert embedded_server.start(cluster, programs=programs) == first
    assert dict(embedded_server.start(cluster).passwords) == dict(first.passwords)


def test_a_cluster_made_before_there_was_a_login_for_the_service_gets_one(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    lines = server.password_file.read_text().splitlines(keepends=True)
    server.password_file.write_text("".join(line for line in lines if ":api:" not in line))
    again = embedded_server.start(cluster, programs=programs)
    with connect(again, "api") as connection:
        connection.execute("SET ROLE stockbatch_api")
    assert embedded_server.start(cluster, programs=programs) == again
    assert stat.S_IMODE(server.password_file.stat().st_mode) == 0o600


# ---- a cluster of before there was a login that owns and is no superuser

OLD_LOGINS = """
ALTER DATABASE {database} OWNER TO owner;
ALTER ROLE writer LOGIN PASSWORD '{writer}';
ALTER ROLE reader LOGIN PASSWORD '{reader}';
ALTER ROLE api LOGIN PASSWORD '{api}';
"""
OF_A_USER = """
CREATE SCHEMA mine;
CREATE TYPE mine.side AS ENUM ('buy', 'sell');
CREATE TABLE mine.trades (id serial, day date NOT NULL, side mine.side) PARTITION BY RANGE (day);
CREATE TABLE mine.trades_2024 PARTITION OF mine.trades FOR VALUES FROM ('2024-01-01') TO (MAXVALUE);
CREATE TABLE mine.counted (id integer GENERATED ALWAYS AS IDENTITY, what text);
CREATE VIEW mine.last AS SELECT max(day) AS day FROM mine.trades;
CREATE MATERIALIZED VIEW mine.all AS SELECT * FROM mine.trades;
CREATE SEQUENCE mine.alone;
CREATE DOMAIN mine.percent AS integer CHECK (VALUE <= 100);
CREATE TYPE mine.pair AS (a integer, b integer);
CREATE TYPE mine.span AS RANGE (SUBTYPE = float8);
CREATE FUNCTION mine."odd "" name"(mine.pair) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE PROCEDURE mine.nothing() LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE mine.total(integer) (SFUNC = int4pl, STYPE = integer);
CREATE TABLE mine.seen (who text, super text);
CREATE FUNCTION mine.spy() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
    INSERT INTO mine.seen VALUES (session_user, current_setting('is_superuser'));
END $$;
CREATE EVENT TRIGGER spy ON ddl_command_start EXECUTE FUNCTION mine.spy();
"""
OF_THE_SUPERUSER = """
SELECT n.nspname || '.' || c.relname FROM pg_class AS c JOIN pg_namespace AS n
    ON n.oid = c.relnamespace WHERE c.relowner = 10 AND c.oid >= 16384 AND n.nspname !~ '^pg_'
UNION ALL SELECT proname FROM pg_proc WHERE proowner = 10 AND oid >= 16384
    AND prolang <> 12  -- the constructors of a range are part of it
UNION ALL SELECT typname FROM pg_type WHERE typowner = 10 AND oid >= 16384
    AND typnamespace <> 'pg_toast'::regnamespace
UNION ALL SELECT nspname FROM pg_namespace WHERE nspowner = 10 AND nspname !~ '^pg_'
    AND oid >= 16384
UNION ALL SELECT datname FROM pg_database WHERE datdba = 10 AND datname = current_database()
UNION ALL SELECT 'default' FROM pg_default_acl WHERE defaclrole = 10
"""
RIGHTS = """
SELECT relname, grantee::regrole::text, string_agg(privilege_type, ' ' ORDER BY privilege_type)
FROM pg_class, aclexplode(relacl) WHERE grantee::regrole::text ~ '^stockbatch_' GROUP BY 1, 2
UNION ALL
SELECT nspname, grantee::regrole::text, privilege_type
FROM pg_default_acl JOIN pg_namespace AS n ON n.oid = defaclnamespace, aclexplode(defaclacl)
WHERE grantee::regrole::text ~ '^stockbatch_'
ORDER BY 1, 2, 3
"""


@pytest.fixture
def old(server_home, monkeypatch, tmp_path):
    """A running server as it was made before, at an older revision, with things of its user's."""
    with monkeypatch.context() as before:
        before.setattr(embedded_logins, "LOGINS", ("owner", "writer", "reader", "api"))
        before.setattr(embedded_logins, "HAND_OVER", "SELECT 1")
        before.setattr(embedded_logins, "SETTLE", OLD_LOGINS)
        server = embedded_server.start(server_home)
    assert "keeper" not in server.password_file.read_text()
    url = database.for_clients(superuser(server))
    owner = database.engine(Settings(home=tmp_path, database_url=url), "owner")
    alembic.upgrade(database.alembic_config(owner), "0017")
    owner.dispose()
    with administering(server) as connection:
        connection.execute(OF_A_USER)
        connection.execute("INSERT INTO mine.trades VALUES (DEFAULT, '2024-06-03', 'buy')")
    return server


def test_an_old_cluster_is_handed_over_once_and_works_on(old, server_home, tmp_path):
    with administering(old) as connection:
        rights = connection.execute(RIGHTS).fetchall()
        assert len(rights) > 50
        assert len(connection.execute(OF_THE_SUPERUSER).fetchall()) > 50
    server = embedded_server.start(server_home)  # while it runs
    with administering(server) as connection:
        left = {name for (name,) in connection.execute(OF_THE_SUPERUSER)}
        assert left == set()
        assert connection.execute(RIGHTS).fetchall() == rights
        assert connection.execute("SELECT * FROM mine.seen").fetchall() == []
    assert embedded_server.start(server_home) == server

    settings = Settings(home=server_home)
    database.migrate(settings)
    with connect(server) as connection:
        seen = "SELECT DISTINCT who, super FROM mine.seen"
        assert connection.execute(seen).fetchall() == [("keeper", "off")]
        connection.execute("INSERT INTO mine.trades VALUES (DEFAULT, '2024-06-04', 'sell')")
        assert connection.execute("SELECT count(*) FROM mine.trades").fetchone() == (2,)
        connection.execute("DROP SCHEMA mine CASCADE")  # all of it is the keeper's
    for role in get_args(Role):
        with connect(server, role) as connection:
            answer = connection.execute(
                "SELECT rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls"
                " FROM pg_roles WHERE rolname = session_user"
            )
            assert answer.fetchone() == (False,)
    backup.backup(settings, tmp_path / "one")
    other = Settings(home=server_home / "other")
    try:
        backup.restore(other, tmp_path / "one")
        with connect(embedded_server.start(other.home)) as connection:
            assert connection.execute(RIGHTS).fetchall() == _rights_of(server)
    finally:
        embedded_server.stop(other.home)


def _rights_of(server):
    with connect(server) as connection:
        return connection.execute(RIGHTS).fetchall()


# ---- a reader who wants more

WRITING = (
    "CREATE TEMPORARY TABLE x ()",
    "CREATE TABLE public.x ()",
    "SELECT lo_create(0)",
    "SELECT lo_creat(-1)",
    "SELECT lo_from_bytea(0, 'x')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_open(1, 131072)",
    "SELECT lowrite(0, 'x')",
    "ALTER ROLE writer PASSWORD 'x'",
    "ALTER ROLE reader CONNECTION LIMIT -1",
    "ALTER DATABASE stockbatch CONNECTION LIMIT 0",
)


@pytest.mark.parametrize("role", ["reader", "api"])
def test_who_reads_can_only_read(cluster, programs, role):
    server = embedded_server.start(cluster, programs=programs)
    with connect(server, role) as connection:
        for statement in WRITING:
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(statement)
    for other in ("postgres", "template1"):
        elsewhere = database.for_clients(server.url(role).set(database=other))
        with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
            psycopg.connect(elsewhere)
    with connect(server, "writer") as connection:
        connection.execute("CREATE TEMPORARY TABLE x ()")


def test_what_a_login_does_to_itself_is_undone_by_the_next_start(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    for role in ("reader", "api", "writer"):
        with connect(server, role) as connection:
            connection.execute(f"ALTER ROLE {role} PASSWORD 'another'")
            connection.execute(f"ALTER ROLE {role} SET statement_timeout = 1")
            connection.execute(f"ALTER ROLE {role} IN DATABASE stockbatch SET search_path = x")
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            connect(server, role)
    embedded_server.stop(cluster)
    embedded_server.start(cluster, programs=programs)
    for role, timeout in (("reader", "1min"), ("api", "30s"), ("writer", "0")):
        with connect(server, role) as connection:
            found = connection.execute("SHOW statement_timeout").fetchone()
            assert found == (timeout,)
            path = "bi" if role == "reader" else '"$user", public'
            assert connection.execute("SHOW search_path").fetchone() == (path,)


def take_all(server, role):
    """Return all connections that a login gets."""
    taken = []
    with suppress(psycopg.OperationalError):
        while len(taken) < 99:
            taken.append(connect(server, role))
    return taken


def test_readers_cannot_take_the_last_connections(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    with administering(server) as connection:
        if connection.info.server_version < 160000:
            pytest.skip("this version reserves none")
        connection.execute("CREATE ROLE person LOGIN PASSWORD 'x' IN ROLE stockbatch_reader")
    person = replace(server, passwords={**server.passwords, "person": "x"})
    with ExitStack() as stack:
        taken = [take_all(person, role) for role in ("reader", "api", "person")]
        for connection in (one for each in taken for one in each):
            stack.enter_context(connection)
        assert [len(each) for each in taken[:2]] == [40, 30]
        assert sum(map(len, taken)) <= 77
        for _ in range(10):
            stack.enter_context(connect(server, "writer"))


def test_stop_does_not_wait_for_clients(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    with closing(connect(server)) as idle:
        idle.execute("CREATE TABLE open_transaction ()")
        begun = time.monotonic()
        assert embedded_server.stop(cluster)
        assert time.monotonic() - begun < 10


def test_asking_creates_nothing(server_home):
    assert not embedded_server.exists(server_home)
    assert embedded_server.running(server_home) is None
    assert not embedded_server.stop(server_home)
    assert not server_home.exists()


def test_four_starts_at_once_make_one_server(server_home, programs):
    starters = [run_python(START, server_home, programs) for _ in range(4)]
    answers = [(*starter.communicate(timeout=120), starter.returncode) for starter in starters]

    port = embedded_server.start(server_home).port
    assert answers == [(f"{port}\n", "", 0)] * 4
    assert servers(server_home) == [process_id(server_home)]


def test_killed_server_recovers_with_all_that_was_committed(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    with closing(connect(server)) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        connection.commit()
        connection.execute("DELETE FROM kept")
        killed = process_id(cluster)
        os.kill(killed, signal.SIGKILL)
        while status(killed)[0] != "Z":
            time.sleep(0.001)
        again = embedded_server.start(cluster, programs=programs)

    with pytest.raises(ChildProcessError):  # its parent has asked what became of it
        os.waitpid(killed, 0)
    assert again == server
    with connect(again) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)


def test_stopping_a_killed_server(cluster, programs):
    embedded_server.start(cluster, programs=programs)
    killed = process_id(cluster)
    os.kill(killed, signal.SIGKILL)
    embedded_server.stop(cluster)
    with suppress(ChildProcessError):
        os.waitpid(killed, 0)
    assert embedded_server.running(cluster) is None
    assert not servers(cluster)


def test_process_number_given_to_another_program(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    file = server.folder / "data/postmaster.pid"
    before = file.read_text().splitlines()
    embedded_server.stop(cluster)
    before[0] = str(os.getpid())
    file.write_text("\n".join(before))
    (server.folder / f".s.PGSQL.{server.port}.lock").write_text(f"{os.getpid()}\n")

    assert embedded_server.running(cluster) is None
    assert embedded_server.start(cluster, programs=programs) == server


def test_creation_that_was_killed_leaves_no_half_cluster(server_home, programs):
    code = PREPARE + (
        "call = embedded_server._call\n"
        "embedded_server._call = lambda *given: (call(*given), die())\n"  # initdb, then death
        "embedded_server.start(home, programs=programs)\n"
    )
    killed = run_python(code, server_home, programs)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(server_home.glob("postgres.partial-*"))) == 1
    assert not embedded_server.exists(server_home)

    with connect(embedded_server.start(server_home, programs=programs), "reader"):
        pass
    assert sorted(path.name for path in server_home.iterdir()) == ["postgres", "postgres.lock"]


def test_starter_killed_before_the_server_was_ready(cluster, programs):
    embedded_server.start(cluster, programs=programs)
    embedded_server.stop(cluster)
    code = PREPARE + (
        "spawn = embedded_server._spawn\n"
        "embedded_server._spawn = lambda *given: (spawn(*given), die())\n"
        "embedded_server.start(home, programs=programs)\n"
    )
    killed = run_python(code, cluster, programs)
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL

    embedded_server.start(cluster, programs=programs)
    assert servers(cluster) == [process_id(cluster)]
    logs = [(cluster / "postgres" / name).read_text() for name in ("log.previous", "log")]
    assert [log.count("starting PostgreSQL") for log in logs] == [1, 1]


def test_interrupting_the_starter_does_not_reach_the_server(cluster, programs):
    code = START + "signal.pause()\n"
    starter = run_python(code, cluster, programs, start_new_session=True)
    assert starter.stdout.readline()
    os.killpg(starter.pid, signal.SIGINT)
    starter.communicate(timeout=60)

    assert starter.returncode
    assert os.getsid(process_id(cluster)) != starter.pid
    with connect(embedded_server.running(cluster)):
        pass


def test_taken_port_is_named(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    embedded_server.stop(cluster)
    with (
        socket.create_server(("127.0.0.1", server.port)),
        pytest.raises(EmbeddedServerFailed, match=f"port {server.port} .* is taken by another"),
    ):
        embedded_server.start(cluster, programs=programs)
    assert embedded_server.start(cluster, programs=programs) == server


def test_data_of_another_version_are_refused_untouched(cluster, programs):
    server = embedded_server.start(cluster, programs=programs)
    embedded_server.stop(cluster)
    version = server.folder / "data/PG_VERSION"
    ours = version.read_text()
    version.write_text("14\n")
    with pytest.raises(DataFolderOfOtherVersion, match=rf"PostgreSQL 14, .* {ours.strip()}:"):
        embedded_server.start(cluster, programs=programs)
    version.write_text(ours)
    assert embedded_server.start(cluster, programs=programs) == server


def test_server_that_does_not_come_up_says_why(cluster, programs):
    wrong = {"shared_buffers": "1"}
    with pytest.raises(EmbeddedServerFailed, match="shared_buffers"):
        embedded_server.start(cluster, programs=programs, options=wrong)
    assert embedded_server.running(cluster) is None
    embedded_server.start(cluster, programs=programs)


def test_server_gets_none_of_our_open_files(cluster, programs):
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    embedded_server.start(cluster, programs=programs)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        assert pipe.read() == b""  # the end: nobody else can write


def test_home_that_cannot_be_a_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedServerFailed, match="file"):
        embedded_server.start(tmp_path / "file")


def test_missing_binaries(server_home, tmp_path):
    with pytest.raises(EmbeddedServerFailed, match="postgres"):
        embedded_server.start(server_home, programs=tmp_path)
    assert not embedded_server.exists(server_home)


@pytest.mark.parametrize("name", ['it\'s, "a" häuschen = $1 %d', "long" * 40])
def test_homes_with_difficult_names(server_home, programs, name):
    server = embedded_server.start(server_home / name, programs=programs)
    try:
        with connect(server, "writer"):
            pass
        fits = len(name) < 100
        assert (server.folder / f".s.PGSQL.{server.port}").is_socket() == fits
        assert (server.folder / f"data/.s.PGSQL.{server.port}").is_socket() == (not fits)
    finally:
        embedded_server.stop(server_home / name)


@AS_ROOT
@pytest.mark.parametrize("way", [0, 1], ids=["in a user namespace", "as nobody"])
def test_root_below_a_closed_folder(server_home, programs, monkeypatch, way):
    server_home.mkdir(mode=0o700)
    home = server_home / "home"
    ways = embedded_server._server_users

    def only_this(folder):
        found = list(ways(folder))
        return found[way:][:1] if len(found) > 1 else found

    monkeypatch.setattr(embedded_server, "_server_users", only_this)
    server = embedded_server.start(home, programs=programs)
    pid = process_id(home)
    assert (Path(f"/proc/{pid}").stat().st_uid == 0) == (way == 0)
    with connect(server, "reader"):
        pass
    assert embedded_server.stop(home)
    assert embedded_server.start(home, programs=programs) == server  # what it was given it keeps
    embedded_server.stop(home)


@AS_ROOT
def test_ordinary_user_and_root_share_a_server(server_home, programs):
    server_home.mkdir()
    os.chown(server_home, 65534, 65534)
    (ordinary := server_home / "home").mkdir()
    os.chown(ordinary, 65534, 65534)
    # The capability lets the other user read this Python, wherever it is.
    identity = ["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all,+dac_override"]
    as_nobody = ["setpriv", *identity, "--ambient-caps=-all,+dac_override", sys.executable, "-c"]
    arguments = [*as_nobody, START, str(ordinary), str(programs)]
    port = int(subprocess.run(arguments, check=True, capture_output=True, timeout=120).stdout)

    for _ in range(2):
        server = embedded_server.start(ordinary, programs=programs)
        assert server.port == port
        assert {path.stat().st_uid for path in (server.folder / "data").iterdir()} == {65534}
        assert embedded_server.stop(ordinary)
    subprocess.run(arguments, check=True, capture_output=True, timeout=120)


def test_root_without_any_way_is_told_what_to_do(server_home, programs, monkeypatch):
    monkeypatch.setattr(embedded_server, "_server_users", lambda _: [(["false"], 0)])
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(EmbeddedServerFailed, match="use an ordinary user"):
        embedded_server.start(server_home, programs=programs)


@pytest.mark.parametrize("content", [b"", b"\xff\0", b"127.0.0.1:1:*:owner:x\n", b"a:b\n", None])
def test_a_damaged_password_file_is_told(tmp_path, content):
    folder = tmp_path / "postgres"
    folder.mkdir()
    if content is not None:
        (folder / "pgpass").write_bytes(content)
    with pytest.raises(EmbeddedServerFailed, match=r"pgpass, its logins .* is damaged: bring it"):
        embedded_server._read(folder)


def test_an_eighth_of_the_memory_holds_tables(monkeypatch):
    def megabytes(memory):
        pages = {"SC_PHYS_PAGES": memory * 2**20 // 4096, "SC_PAGE_SIZE": 4096}
        monkeypatch.setattr("os.sysconf", pages.__getitem__)
        return embedded_server._share_of_memory()

    assert [megabytes(memory) for memory in (512, 2048, 65536)] == [128, 256, 512]
