import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL, inspect, text
from sqlalchemy.exc import IntegrityError

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.config.text import describe
from stockbatch.database import embedded_server
from stockbatch.exceptions import (
    AccessDenied,
    ConfigurationError,
    DatabaseBusy,
    DatabaseNotCreated,
    DatabaseUnavailable,
)
from tests.support.places import ROOT

SECRET = "hunter2-is-the-password"
DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))


def external(url, home="/nonexistent"):
    return Settings(home=home, database_url=url)


def ask(engine, query):
    with engine.connect() as connection:
        return connection.scalar(text(query))


@pytest.fixture
def connect(request):
    """Make engines that are disposed of afterwards."""

    def make(settings, role="writer"):
        engine = database.engine(settings, role)
        request.addfinalizer(engine.dispose)
        return engine

    return make


@pytest.fixture
def login(settings, engine, request):
    """Make a login with the given options; return settings that use it on the test's database."""

    def make(name, options=""):
        name = f"{name}_{engine.url.database[-8:]}"
        with engine.begin() as connection:
            connection.execute(text(f"CREATE ROLE {name} LOGIN PASSWORD '{SECRET}' {options}"))
        request.addfinalizer(lambda: drop(name))
        url = engine.url.set(username=name, password=SECRET)
        return external(database.for_clients(url), settings.home)

    def drop(name):
        with engine.begin() as connection:
            connection.execute(text(f"DROP OWNED BY {name}"))
            connection.execute(text(f"DROP ROLE {name}"))

    return make


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_external_url_is_passed_through(scheme):
    url_given = (
        f"{scheme}://me:{SECRET}@db.example:5433/prices?sslmode=verify-full&sslrootcert=ca.pem"
    )
    url = database.url(external(url_given))
    assert url.drivername == "postgresql+psycopg"
    assert (url.host, url.port, url.database, url.password) == (
        "db.example", 5433, "prices", SECRET,
    )  # fmt: skip
    assert dict(url.query) == {"sslmode": "verify-full", "sslrootcert": "ca.pem"}
    assert database.for_clients(url) == url_given.replace(scheme, "postgresql")


def test_redacted_url_has_no_secret():
    url = database.url(
        external(f"postgresql://me:{SECRET}@db/x?sslpassword={SECRET}&sslmode=require")
    )
    assert database.redacted(url) == "postgresql://me:***@db/x?sslmode=require"


@pytest.mark.parametrize(
    "written", [f"mysql://me:{SECRET}@db/x", SECRET, f"postgresql://me:{SECRET}@db:port/x"]
)
def test_unusable_url_is_refused_without_repeating_it(written):
    with pytest.raises(ConfigurationError, match=r"database_url: .*postgresql://") as caught:
        database.url(external(written))
    assert SECRET not in str(caught.value)


# Each has a bare character in its password, or is misread in another way.
AMBIGUOUS = (
    "postgresql://me:hun@ter2-is@127.0.0.1/d",
    "postgresql://me:hun@ter2-is/the@127.0.0.1/d",
    "postgresql://me:hun/ter2-is@127.0.0.1/d",
    "postgresql://me:12/ter2-is@127.0.0.1/d",
    "postgresql://me:hun/ter2?is@127.0.0.1/d",
    "postgresql://me:hun?x=ter2/is@127.0.0.1/d",
    "postgresql://me:hun%ter2-is@127.0.0.1/d",
    "postgresql://me:hunter2-is",
    "postgresql://me@hunter2-is:hunter2@127.0.0.1/d",
    "postgresql://me:hunter2-is@127.0.0.1/d?hunter2",
    "postgresql://me:hunter2-is@127.0.0.1/d?hunter=2",
    "postgresql://me:hunter2-is@127.0.0.1/d?host=ter2&host=is",
    "postgresql://me:[hun]ter2-is@[::1/d",
)


def described(url):
    """Return the line of `config show` that is about the URL."""
    (line,) = (
        o
        for o in describe(external(url), {}, database.shown).splitlines()
        if o.startswith("database_url")
    )
    return line.partition("#")[0]


@pytest.mark.parametrize("written", AMBIGUOUS)
def test_a_url_that_can_be_read_in_two_ways_is_refused_without_repeating_it(written):
    with pytest.raises(
        ConfigurationError, match=r"settings: database_url: .*%40 for @|query"
    ) as caught:
        database.url(external(written))
    shown = str(caught.value) + described(written)
    for part in ("hun", "ter2", "-is", "127.0.0.1/d?"):
        assert part not in shown
    assert caught.value.__context__ is None


def test_what_a_user_sees_of_such_a_url(monkeypatch, tmp_path):
    for arguments in (["status"], ["config", "check"], ["doctor"], ["config", "show"]):
        done = subprocess.run(
            [sys.executable, "-m", "jobs", *arguments],
            env={
                **os.environ,
                "STOCKBATCH_HOME": str(tmp_path),
                "STOCKBATCH_DATABASE_URL": "postgresql://u:p@ssw0rd-Secret@127.0.0.1/d",
            },
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        assert done.returncode == {"doctor": 1, "show": 0}.get(arguments[-1], 2), said
        assert "ssw0rd" not in said
        assert "Secret" not in said
        assert ("database_url: cannot be read" in said) == (arguments[-1] != "show")


@given(st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=8))
def test_no_password_is_shown_however_it_is_written(password):
    hidden = f"Zq{password}Zq"
    url = URL.create("postgresql", "me", hidden, "db.example", 5433, "prices")
    read = database.url(external(url.render_as_string(hide_password=False)))
    assert (read.username, read.password, read.host, read.port, read.database) == url[1:6]
    assert database.url(external(database.for_clients(read))) == read
    assert conninfo_to_dict(database.for_clients(read))["password"] == hidden
    assert database.redacted(read) == "postgresql://me:***@db.example:5433/prices"
    bare = external(f"postgresql://me:{hidden}@db.example:5433/prices")
    try:
        shown = database.redacted(database.url(bare))
    except ConfigurationError as error:
        shown = str(error)
    assert "Zq" not in shown + described(bare.database_url.get_secret_value())


def test_servers_of_which_one_is_chosen():
    query = "target_session_attrs=read-write"
    for hosts, ports in (("one:1,two:2", "1,2"), ("one,two", None)):
        url = database.url(external(f"postgresql://me:{SECRET}@{hosts}/prices?{query}"))
        assert url.query["host"] == "one,two"
        assert url.query.get("port") == ports
        assert database.redacted(url).startswith("postgresql://me:***@/prices?host=one%2Ctwo")
    url = database.url(external(f"postgresql://me:{SECRET}@%2Frun%2Fpostgresql/my%20prices"))
    assert (url.query["host"], url.database) == ("/run/postgresql", "my prices")


def test_blanks_reach_the_programs_of_postgresql():
    spaced = f"postgresql://me:{SECRET}@db/my%20prices?options=-c%20work_mem%3D1MB"
    written = database.for_clients(database.url(external(spaced)))
    assert conninfo_to_dict(written) == {
        "user": "me", "password": SECRET, "host": "db", "dbname": "my prices",
        "options": "-c work_mem=1MB",
    }  # fmt: skip


def test_a_server_among_others_is_found(settings, engine, connect):
    url, name = engine.url, f"{engine.url.database}?target_session_attrs=read-write"
    several = f"postgresql://{url.username}:{url.password}@127.0.0.1:9,{url.host}:{url.port}/{name}"
    assert ask(connect(external(several, settings.home)), "SELECT 1") == 1


@pytest.mark.parametrize("password", ["e", "o", "stock", "127.0.0.1"])
def test_a_short_password_garbles_no_message(settings, engine, connect, password):
    url = engine.url.set(password=password)
    with pytest.raises(DatabaseUnavailable) as caught:
        ask(connect(external(database.for_clients(url), settings.home)), "SELECT 1")
    words = 'password authentication failed for user "owner"'
    assert str(caught.value).endswith(f"FATAL: {words}")
    assert f"owner:***@{url.host}:{url.port}/{url.database}" in str(caught.value)


def test_reading_creates_no_cluster(tmp_path):
    home = tmp_path / "home"
    with pytest.raises(DatabaseNotCreated, match=str(home)):
        database.engine(Settings(home=home), role="reader", create=False)
    assert not home.exists()


def test_embedded_life(server_home, connect):
    settings = Settings(home=server_home)
    database.migrate(settings)
    for role in ("owner", "writer", "reader", "api"):
        engine = connect(settings, role)
        assert ask(engine, "SELECT session_user") == role
        expected = "owner" if role == "owner" else f"stockbatch_{role}"
        assert ask(engine, "SELECT current_user") == expected
    with connect(settings, "reader").connect() as connection:
        connection.execute(text("SELECT * FROM bi.accuracy"))
        with pytest.raises(AccessDenied, match="permission denied for schema stockbatch"):
            connection.execute(text("SELECT * FROM stockbatch.bars"))

    arguments, variables = database.psql(settings, "reader", create=False)
    assert variables == {}
    password = embedded_server.running(server_home).passwords["reader"]
    assert not any(password in argument for argument in arguments)
    said = subprocess.run(
        [*arguments, "-XAtc", "SELECT current_user"], env={}, check=True, capture_output=True
    )
    assert said.stdout == b"reader\n"


def test_connections_are_set_up(settings, connect):
    engine = connect(settings, "writer")
    for name, value in {
        "TimeZone": "UTC",
        "client_encoding": "UTF8",
        "search_path": "public",
        "statement_timeout": "10min",
        "lock_timeout": "10s",
        "application_name": "stockbatch writer",
    }.items():
        assert ask(engine, f"SELECT current_setting('{name}')") == value
    assert ask(connect(settings, "owner"), "SELECT current_setting('statement_timeout')") == "0"


def test_search_path_does_not_follow_the_login(settings, engine, connect, login):
    named_like_the_schema = login("schema_owner")
    with engine.begin() as connection:
        name = named_like_the_schema.database_url.get_secret_value().split("/")[2].split(":")[0]
        connection.execute(text(f"CREATE SCHEMA {name} AUTHORIZATION {name}"))
    assert inspect(connect(named_like_the_schema, "owner")).default_schema_name == "public"


def test_one_login_takes_the_role_of_its_task(settings, connect):
    assert ask(connect(settings, "owner"), "SELECT current_user") == "owner"
    assert ask(connect(settings, "writer"), "SELECT current_user") == "stockbatch_writer"
    assert ask(connect(settings, "reader"), "SELECT current_user") == "stockbatch_reader"


def test_role_lasts_when_a_connection_is_used_again(settings, connect):
    engine = connect(settings, "writer")
    with engine.connect() as connection:
        connection.execute(text("SELECT 1 FROM stockbatch.bars"))
        connection.rollback()
    assert ask(engine, "SELECT current_user") == "stockbatch_writer"
    assert engine.pool.checkedin() == 1


def test_login_without_the_roles_keeps_its_own_rights(connect, login):
    stranger = login("stranger")
    assert ask(connect(stranger, "writer"), "SELECT current_user LIKE 'stranger%'")
    with pytest.raises(AccessDenied, match=r"stranger_\w+:\*\*\*@.*permission denied") as caught:
        ask(connect(stranger, "writer"), "SELECT count(*) FROM stockbatch.bars")
    assert SECRET not in str(caught.value)


def test_membership_that_does_not_allow_to_take_the_role(engine, connect, login):
    if ask(engine, "SELECT current_setting('server_version_num')::int < 160000"):
        pytest.skip("membership without SET exists from PostgreSQL 16 on")
    member = login("member")
    name = connect(member).url.username
    with engine.begin() as connection:
        connection.execute(text(f"GRANT stockbatch_writer TO {name} WITH SET FALSE"))
    assert ask(connect(member, "writer"), "SELECT current_user") == name


def test_writer_cannot_rewrite_the_ledger(writer):
    for statement in (
        "DELETE FROM stockbatch.forecasts",
        "UPDATE stockbatch.forecasts SET close=1",
    ):
        with writer.connect() as connection, pytest.raises(AccessDenied, match="forecasts"):
            connection.execute(text(statement))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"port": 9}, "Connection refused"),
        ({"host": "no-such-host.invalid"}, r"resolve|not known"),
        ({"password": SECRET}, "password authentication failed"),
        ({"database": "no_such_database"}, 'database "no_such_database" does not exist'),
        ({"query": {"sslmode": "require"}}, "SSL"),
    ],
)
def test_unreachable_database_is_one_plain_line(settings, engine, connect, change, reason):
    url = engine.url.set(**change)
    unreachable = connect(external(database.for_clients(url), settings.home))
    with pytest.raises(DatabaseUnavailable, match=reason) as caught:
        ask(unreachable, "SELECT 1")
    message = str(caught.value)
    assert message.startswith("No connection to postgresql://owner:***@")
    assert "\n" not in message
    assert url.password not in message + repr(unreachable) + repr(settings)
    assert caught.value.__suppress_context__


def test_server_that_is_too_old(settings, connect, monkeypatch):
    monkeypatch.setattr("stockbatch.database.connection.OLDEST_SERVER", 99)
    with pytest.raises(DatabaseUnavailable, match="this program needs 99 or later"):
        ask(connect(settings), "SELECT 1")


def test_lost_connection_and_recovery(settings, engine, connect):
    jobs = connect(settings)
    with jobs.connect() as connection:
        pid = connection.scalar(text("SELECT pg_backend_pid()"))
        assert ask(engine, f"SELECT pg_terminate_backend({pid}, 5000)")
        with pytest.raises(DatabaseUnavailable, match=r"terminat|closed"):
            connection.execute(text("SELECT 1"))
    assert ask(jobs, "SELECT current_user") == "stockbatch_writer"


def test_lock_held_by_another_program(settings, engine, connect):
    with engine.begin() as holder, connect(settings, "owner").connect() as waiter:
        holder.execute(text("LOCK TABLE stockbatch.bars"))
        waiter.execute(text("SET lock_timeout = '50ms'"))
        with pytest.raises(DatabaseBusy, match="lock timeout"):
            waiter.execute(text("SELECT 1 FROM stockbatch.bars"))


def test_other_errors_stay_what_they_are(engine):
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE public.one (n int PRIMARY KEY)"))
        connection.execute(text("INSERT INTO public.one VALUES (1)"))
    with engine.begin() as connection, pytest.raises(IntegrityError):
        connection.execute(text("INSERT INTO public.one VALUES (1)"))


def test_psql_of_an_external_server_gets_the_password_in_a_variable(settings, engine):
    arguments, variables = database.psql(settings)
    assert variables == {"PGPASSWORD": engine.url.password}
    assert not any(engine.url.password in argument for argument in arguments)
    said = subprocess.run(
        [*arguments, "-XAtc", "SELECT current_database()"],
        env=variables, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout.strip() == engine.url.database


@pytest.fixture(scope="module")
def tls(pytestconfig, tmp_path_factory):
    """A server that speaks TLS under a certificate of ours; its owner's URL and the authority."""
    if not DEBIAN:
        pytest.skip("TLS needs a PostgreSQL built with it: apt-get install postgresql")
    folder = tmp_path_factory.mktemp("tls")
    for name, subject in (("ca", "/CN=test authority"), ("other", "/CN=somebody else")):
        openssl("req", "-x509", "-days", "2", "-subj", subject, "-keyout", folder / f"{name}.key",
                "-out", folder / f"{name}.pem")  # fmt: skip
    openssl("req", "-x509", "-days", "2", "-subj", "/CN=localhost", "-addext",
            "subjectAltName=DNS:localhost", "-addext", "basicConstraints=critical,CA:FALSE",
            "-CA", folder / "ca.pem", "-CAkey", folder / "ca.key",
            "-keyout", folder / "server.key", "-out", folder / "server.pem")  # fmt: skip
    options = {
        "ssl": "on",
        "ssl_cert_file": str(folder / "server.pem"),
        "ssl_key_file": str(folder / "server.key"),
    }
    home = folder / "home"
    try:
        server = embedded_server.start(home, programs=DEBIAN[-1].parent, options=options)
        yield server.url("owner").set(host="localhost"), folder
    finally:
        embedded_server.stop(home)


def openssl(*arguments):
    command = ["openssl", *arguments, "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    subprocess.run([*command, "-noenc"], check=True, capture_output=True)


def test_verified_tls(tls, connect):
    url, folder = tls
    query = {"sslmode": "verify-full", "sslrootcert": str(folder / "ca.pem")}
    engine = connect(external(database.for_clients(url.set(query=query))), "owner")
    assert ask(engine, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    arguments, variables = database.psql(external(database.for_clients(url.set(query=query))))
    subprocess.run([*arguments, "-Xc", "SELECT 1"], env=variables, check=True, capture_output=True)


@pytest.mark.parametrize(
    ("host", "authority", "reason"),
    [
        ("localhost", "other.pem", "certificate verify failed"),
        ("127.0.0.1", "ca.pem", "does not match host name"),
        ("localhost", "absent.pem", "absent.pem"),
    ],
)
def test_unverified_tls_is_refused(tls, connect, host, authority, reason):
    url, folder = tls
    query = {"sslmode": "verify-full", "sslrootcert": str(folder / authority)}
    engine = connect(external(database.for_clients(url.set(host=host, query=query))))
    with pytest.raises(DatabaseUnavailable, match=reason) as caught:
        ask(engine, "SELECT 1")
    assert "\n" not in str(caught.value)


def test_a_host_of_another_name_is_trusted_by_its_authority_alone(tls, connect):
    url, folder = tls
    query = {"sslmode": "verify-ca", "sslrootcert": str(folder / "ca.pem")}
    engine = connect(
        external(database.for_clients(url.set(host="127.0.0.1", query=query))), "owner"
    )
    assert ask(engine, "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_no_mode_that_asks_for_tls_goes_on_without_it(settings, engine, tls, connect, mode):
    _, folder = tls
    query = {"sslmode": mode, "sslrootcert": str(folder / "ca.pem")}
    plain = external(database.for_clients(engine.url.set(query=query)), settings.home)
    with pytest.raises(DatabaseUnavailable, match="does not support SSL"):
        ask(connect(plain), "SELECT 1")


def test_the_command_line_migrates_over_verified_tls(tls, tmp_path):
    url, folder = tls
    file = tmp_path / "database_url"
    query = {"sslmode": "verify-full", "sslrootcert": str(folder / "ca.pem")}
    file.write_text(database.for_clients(url.set(query=query)) + "\n")
    done = subprocess.run(
        [sys.executable, "-m", "jobs", "--verbose", "migrate"],
        env={**os.environ, "STOCKBATCH_DATABASE_URL_FILE": str(file)},
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert f"is at revision {database.head()}" in done.stdout
    assert url.password not in done.stdout + done.stderr


def test_a_connection_lost_in_the_pool_is_replaced(writer, engine):
    with writer.connect() as connection:
        lost = connection.scalar(text("SELECT pg_backend_pid()"))
    with engine.connect() as other:
        other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": lost})
    with writer.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) != lost
