"""The logins that `deployment/logins.sql` makes with the secrets of `secrets.sh`."""

import subprocess
from functools import partial

import psycopg
import pytest
from sqlalchemy import make_url, text

from jobs.app import App
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server, teams
from stockbatch.exceptions import AccessDenied, DatabaseUnavailable, UnsuitableLogin
from tests.support import deployed
from tests.support.market import NOW, Market, PlainTrainer, fetch, run, small, watch
from tests.support.superuser import superuser

ROLES = {"owner": "owner", "daemon": "writer", "rest": "api", "dashboard": "reader"}
"""By login: the role that its process works in."""
EMBEDDED = "api, writer, reader, stockbatch_writer, stockbatch_reader, stockbatch_api"


@pytest.fixture(scope="module")
def server(pytestconfig, programs, tmp_path_factory):
    """A server without roles and database of ours; the URL of its superuser."""
    home = tmp_path_factory.mktemp("server")
    try:
        started = embedded_server.start(home, programs=programs, options={"fsync": "off"})
        url = superuser(started).set(database="postgres")
        with psycopg.connect(database.for_clients(url), autocommit=True) as connection:
            connection.execute("DROP DATABASE stockbatch")
            connection.execute(f"DROP ROLE {EMBEDDED}")
        yield url
    finally:
        embedded_server.stop(home)


def make_logins(server, programs, secrets):
    """Run the script as `psql` does in the container; return its exit status and what it said."""
    script = deployed.DEPLOYMENT / "logins.sql"
    command = [programs / "psql", "-X", "-v", f"secrets={secrets}", "-f", script]
    done = subprocess.run(
        [*command, database.for_clients(server.set(password=None))],
        env={"PGPASSWORD": server.password, "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def secrets(server, programs, tmp_path_factory):
    """The folder of secrets; the logins are made and the schema is migrated by its owner."""
    folder = deployed.made_secrets(tmp_path_factory.mktemp("compose"))
    status, said = make_logins(server, programs, folder)
    assert status == 0, said
    database.migrate(settings(server, folder, "owner"))
    return folder


def settings(server, secrets, login):
    """Return the settings of a process that has the secret URL of `login`, but for the host."""
    given = make_url((secrets / f"{login}_url").read_text())
    assert (given.host, given.port, given.database) == ("postgres", 5432, "stockbatch")
    here = given.set(host=server.host, port=server.port)
    return Settings(home=secrets, database_url=database.for_clients(here))


@pytest.fixture
def connect(server, secrets, request):
    """Make connections of a login in the role of its process."""

    def make(login, role=None):
        engine = database.engine(settings(server, secrets, login), role or ROLES[login])
        request.addfinalizer(engine.dispose)
        connection = engine.connect()
        request.addfinalizer(connection.close)
        return connection

    return make


@pytest.fixture
def grafana(server, secrets):
    """A connection as Grafana makes it: without any SET ROLE."""
    password = (secrets / "grafana_password").read_text()
    url = server.set(username="stockbatch_grafana", password=password, database="stockbatch")
    with psycopg.connect(database.for_clients(url)) as connection:
        yield connection


@pytest.mark.parametrize("login", ROLES)
def test_a_process_works_in_its_role(connect, login):
    connection = connect(login)
    user = connection.scalar(text("SELECT current_user"))
    assert user == f"stockbatch_{login if login == 'owner' else ROLES[login]}"
    assert not connection.scalar(text("SELECT rolsuper OR rolcreaterole OR rolcreatedb OR"
        " rolreplication OR rolbypassrls FROM pg_roles WHERE rolname = session_user"))  # fmt: skip
    connection.execute(text("SELECT * FROM bi.accuracy"))


def test_a_run_has_all_the_rights_it_needs(server, secrets, tmp_path):
    own = small(settings(server, secrets, "daemon"))
    engine = database.engine(own, role="writer")
    database.require_current(engine)
    app = App(settings=own, engine=engine, trainer=PlainTrainer(), clock=lambda: NOW)
    watch(app, Market(tmp_path / "market.csv"))
    run(app)
    shown = fetch(engine, "SELECT ticker FROM bi.next_session_forecast WHERE method = 'lstm'")
    assert len(shown) == 3
    engine.dispose()


@pytest.mark.parametrize("login", ["daemon", "rest", "dashboard"])
def test_no_login_gets_further_than_its_role(connect, login):
    connection = connect(login, "owner")  # in which no role is taken: the login's own rights
    others = {"stockbatch_owner"} | {f"stockbatch_{role}" for role in ROLES.values()}
    others -= {f"stockbatch_{ROLES[login]}"}
    for statement in ("DROP TABLE stockbatch.forecasts", *(f"SET ROLE {one}" for one in others)):
        connection.rollback()
        connection.execute(text("SET TRANSACTION READ WRITE"))  # the default is no protection
        with pytest.raises(AccessDenied, match=r"must be owner|permission denied"):
            connection.execute(text(statement))


def test_grafana_reads_views_and_nothing_else(grafana):
    grafana.execute("SELECT * FROM bi.run_history")
    assert grafana.execute("SHOW statement_timeout").fetchone() == ("30s",)
    for query, error in (
        ("SELECT 1 FROM stockbatch.runs", psycopg.errors.InsufficientPrivilege),
        ("CREATE TABLE public.x ()", psycopg.errors.ReadOnlySqlTransaction),
        ("SET ROLE stockbatch_writer", psycopg.errors.InsufficientPrivilege),
    ):
        grafana.rollback()
        with pytest.raises(error):
            grafana.execute(query)


def test_grafana_need_not_name_the_schema_and_looks_in_no_other(server, grafana):
    trap = "public.next_session_forecast"
    in_database = database.for_clients(server.set(database="stockbatch"))
    with psycopg.connect(in_database, autocommit=True) as administrator:
        administrator.execute(f"CREATE TABLE {trap} ()")
        administrator.execute("CREATE FUNCTION public.mine() RETURNS int LANGUAGE sql RETURN 1")
        try:
            found = grafana.execute("SELECT ticker, why FROM next_session_forecast")
            assert [column.name for column in found.description] == ["ticker", "why"]
            assert grafana.execute("SHOW search_path").fetchone() == ("bi",)
            with pytest.raises(psycopg.errors.UndefinedFunction):
                grafana.execute("SELECT mine()")
        finally:
            grafana.rollback()
            administrator.execute(f"DROP TABLE {trap}")
            administrator.execute("DROP FUNCTION public.mine()")


def test_logins_are_limited(connect):
    owner = connect("owner")
    reserved = owner.scalar(text("SELECT current_setting('reserved_connections', true)"))
    limits = owner.execute(
        text("SELECT rolname, rolconnlimit, rolconfig FROM pg_roles WHERE rolcanlogin"
             " AND rolname LIKE 'stockbatch%'")
    )  # fmt: skip
    found = {name: (limit, config or []) for name, limit, config in limits}
    assert set(found) == {f"stockbatch_{name}" for name in (*ROLES, "grafana")}
    # Of the 100 that there are, 23 are reserved here, on older servers 3.
    assert [found[f"stockbatch_{name}"][0] for name in ("owner", "daemon")] == [5, 20]
    readers = [found[f"stockbatch_{name}"][0] for name in ("rest", "dashboard", "grafana")]
    assert readers == ([26, 13, 6] if reserved else [36, 18, 9])
    for name, (_, config) in found.items():
        timeout = [one for one in config if one.startswith("statement_timeout=")]
        assert bool(timeout) == (name != "stockbatch_owner")


@pytest.mark.parametrize("login", ["rest", "dashboard", "grafana"])
def test_a_reader_leaves_no_trace_and_no_lasting_change(server, programs, secrets, login):
    password = (secrets / f"{login}_password").read_text()
    name = f"stockbatch_{login}"
    url = database.for_clients(server.set(username=name, password=password, database="stockbatch"))
    with psycopg.connect(url, autocommit=True) as reader:
        reader.execute("SET default_transaction_read_only = off")
        for statement in ("CREATE TEMPORARY TABLE x ()", "SELECT lo_create(0)",
                          "SELECT lo_from_bytea(0, 'x')", "SELECT lo_put(1, 0, 'x')"):  # fmt: skip
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute(statement)
        reader.execute(f"ALTER ROLE {name} PASSWORD 'another'")
        reader.execute(f"ALTER ROLE {name} SET default_transaction_read_only = off")
        reader.execute(f"ALTER ROLE {name} IN DATABASE stockbatch SET search_path = x")
    assert make_logins(server, programs, secrets)[0] == 0
    with psycopg.connect(url) as reader:
        assert reader.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
        # People type the names of views; the service's own statements have theirs in full.
        expected = '"$user", public' if login == "rest" else "bi"
        assert reader.execute("SHOW search_path").fetchone() == (expected,)


def test_readers_leave_connections_to_the_daemon(server, secrets, connect):
    taken = []
    try:
        for login in ("rest", "dashboard", "grafana"):
            password = (secrets / f"{login}_password").read_text()
            url = server.set(
                username=f"stockbatch_{login}", password=password, database="stockbatch"
            )
            with pytest.raises(psycopg.OperationalError, match="too many connections for role"):
                taken += iter(partial(psycopg.connect, database.for_clients(url)), None)
        for _ in range(10):
            connect("daemon")
    finally:
        for connection in taken:
            connection.close()


def test_the_doctor_finds_that_readers_only_read(server, secrets):
    engine = database.engine(settings(server, secrets, "daemon"))
    database.require_readers_only_read(engine)
    engine.dispose()


def test_nobody_else_may_connect(server, secrets, connect):
    with psycopg.connect(database.for_clients(server), autocommit=True) as administrator:
        administrator.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    stranger = server.set(username="stranger", password="x", database="stockbatch")
    with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
        psycopg.connect(database.for_clients(stranger))


def test_another_password_takes_effect(server, programs, secrets, tmp_path):
    before = settings(server, secrets, "rest")
    other = deployed.made_secrets(tmp_path)
    for login in ("owner", "daemon", "dashboard", "grafana"):
        file = f"{login}_password"
        (other / file).write_text((secrets / file).read_text())
    status, said = make_logins(server, programs, other)
    assert status == 0, said
    refused = database.engine(before, "api")
    with pytest.raises(DatabaseUnavailable, match="password authentication failed"):
        refused.connect()
    accepted = database.engine(settings(server, other, "rest"), "api")
    accepted.connect().close()
    accepted.dispose()
    assert make_logins(server, programs, secrets)[0] == 0
    refused.connect().close()
    refused.dispose()


def test_a_team_has_a_login_of_its_own(server, programs, secrets, tmp_path):
    others = {file.name: file.read_text() for file in secrets.glob("*_password")}
    for name, password in {**others, "team_small_password": "", "team_big_password": ""}.items():
        (tmp_path / name).write_text(password)
    script = [deployed.DEPLOYMENT / "secrets.sh", tmp_path]
    subprocess.run(script, check=True, capture_output=True)
    passwords = {file.name: file.read_text() for file in tmp_path.glob("team_*")}
    assert set(map(len, passwords.values())) == {48}
    own = settings(server, secrets, "owner")
    daemon = database.engine(settings(server, secrets, "daemon"))
    with daemon.begin() as connection:
        connection.execute(text("INSERT INTO stockbatch.labels (kind, name, instrument_id)"
            " SELECT 'watchlist', 'small', min(id) FROM stockbatch.instruments"))  # fmt: skip
    daemon.dispose()
    with pytest.raises(UnsuitableLogin, match=r"a file team_small_password .*/logins\.sql"):
        teams.add(own, "small", "small")
    assert make_logins(server, programs, tmp_path)[0] == 0
    assert make_logins(server, programs, tmp_path)[0] == 0  # once more
    url = teams.url(own, teams.add(own, "small", "small").name)
    assert url.password is None
    reads = database.for_clients(url.set(password=passwords["team_small_password"]))
    with psycopg.connect(reads) as reader:
        found = reader.execute("SELECT ticker FROM instruments").fetchall()
        assert found == [("AAA",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("SELECT * FROM bi.instruments")
    teams.remove(own, "small")
    with pytest.raises(psycopg.OperationalError, match="CONNECT privilege"):
        psycopg.connect(reads)
    with psycopg.connect(database.for_clients(server), autocommit=True) as administrator:
        administrator.execute("DROP ROLE stockbatch_team_small, stockbatch_team_big")


@pytest.mark.parametrize("state", ["missing", "empty", "of a team"])
def test_a_lacking_password_is_noticed(server, programs, tmp_path, state):
    folder = deployed.made_secrets(tmp_path)
    (folder / "grafana_password").unlink()
    if state == "empty":
        (folder / "grafana_password").touch()
    elif state == "of a team":
        (folder / "grafana_password").write_text("x")
        (folder / "team_small_password").touch()
    status, said = make_logins(server, programs, folder)
    assert status == 3
    assert "a password file is missing or empty" in said
