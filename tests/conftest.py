"""Fixtures: one server for all tests of a session, a freshly migrated database for each test.

The process that pytest was called in owns a folder for all servers that tests start, shares it with
the xdist workers, and stops every server in it at the end, whatever happened to the workers.
"""

import fcntl
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from sqlalchemy import URL, Engine
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.database.embedded_server import EmbeddedServer
from stockbatch.engine.training import TrainingProcess
from stockbatch.records import Instrument
from stockbatch.store.calendar import extend
from tests.support.ledger import listed
from tests.support.loopback import YahooServer, serving
from tests.support.market import NOW, Market, calendar, session, small, watch

SERVERS = pytest.StashKey[Path]()

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("unhurried")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-bin",
        type=Path,
        metavar="DIR",
        help="binaries of the PostgreSQL to test with, e.g. /usr/lib/postgresql/15/bin; "
        "default: the embedded one",
    )
    parser.addoption(
        "--renew-frozen", action="store_true", help="write the frozen rows anew, to be reviewed"
    )


def _memory() -> Path | None:
    """Return a folder in memory if there is one with room: databases are copied faster there."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 6 * 2**30 else None


def pytest_configure(config: pytest.Config) -> None:
    for name in list(os.environ):
        if name.startswith(("STOCKBATCH_", "PG")):
            del os.environ[name]
    if hasattr(config, "workerinput"):
        config.stash[SERVERS] = Path(config.workerinput["servers"])
    else:
        config.stash[SERVERS] = Path(tempfile.mkdtemp(prefix="stockbatch-tests-", dir=_memory()))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["servers"] = str(node.config.stash[SERVERS])


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    _stop_servers(config.stash[SERVERS])
    shutil.rmtree(config.stash[SERVERS])


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keep every test out of the user's files, and stop what it started in its own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield
    _stop_servers(tmp_path)


@pytest.fixture(scope="session")
def programs(pytestconfig: pytest.Config) -> Path:
    """The folder of the PostgreSQL programs under test."""
    return pytestconfig.getoption("postgres_bin") or embedded_server.binaries()


@pytest.fixture
def server_home(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A short path, not yet there, for a server of the test's own; it is stopped afterwards."""
    home = pytestconfig.stash[SERVERS] / uuid.uuid4().hex[:8]
    yield home
    embedded_server.stop(home)


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config, programs: Path) -> EmbeddedServer:
    """The server that all tests share: never stop it."""
    home = pytestconfig.stash[SERVERS] / "shared"
    return embedded_server.start(home, programs=programs, options={"fsync": "off"})


@pytest.fixture(scope="session")
def migrated(server: EmbeddedServer) -> str:
    """The name of a migrated database to copy; the first worker that comes makes it."""
    return _migrated(server)


@pytest.fixture
def empty_url(server: EmbeddedServer) -> Iterator[URL]:
    """The owner's URL of a fresh, empty database."""
    yield from _fresh_database(server, "template1")


@pytest.fixture
def settings(server: EmbeddedServer, migrated: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name a fresh, migrated database, with the owner's login."""
    for url in _fresh_database(server, migrated):
        yield _settings(tmp_path / "home", url)


@pytest.fixture
def empty_settings(empty_url: URL, tmp_path: Path) -> Settings:
    """Settings that name a fresh, empty database, with the owner's login."""
    return _settings(tmp_path / "home", empty_url)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """The owner's engine."""
    made = database.engine(settings, role="owner")
    yield made
    made.dispose()


@pytest.fixture
def writer(settings: Settings) -> Iterator[Engine]:
    """The engine that jobs have."""
    made = database.engine(settings, role="writer")
    yield made
    made.dispose()


@pytest.fixture
def own_db(engine: Engine) -> Iterator[Session]:
    """An open session of the owner's in a database of the test's own."""
    with Session(engine) as session:
        yield session


@pytest.fixture(scope="session")
def shared_engine(
    server: EmbeddedServer, migrated: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The owner's engine of a migrated database in which nothing is ever committed."""
    for url in _fresh_database(server, migrated):
        made = database.engine(_settings(tmp_path_factory.mktemp("home"), url), role="owner")
        yield made
        made.dispose()


@pytest.fixture
def db(shared_engine: Engine) -> Iterator[Session]:
    """An open session of the owner's, of whose work nothing stays, commits included."""
    with shared_engine.connect() as connection:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        connection.rollback()


@contextmanager
def _apps(
    server: EmbeddedServer, migrated: str, trainer: TrainingProcess, home: Path
) -> Iterator[Callable[..., App]]:
    with ExitStack() as stack:

        def make(market: Market, *, like: App | None = None, **changes: Any) -> App:
            if like is not None:
                like.engine.dispose()  # a template has no connections
            template = str(like.engine.url.database) if like else migrated
            url = stack.enter_context(contextmanager(_fresh_database)(server, template))
            settings = _settings(home, url)
            if like is None:
                settings = small(settings)
            else:
                own = {"database_url": settings.database_url}
                settings = like.settings.model_copy(update=own)
            engine = database.engine(settings, role="writer")
            stack.callback(engine.dispose)
            values = {"settings": settings, "trainer": trainer, "clock": lambda: NOW} | changes
            app = App(engine=engine, **values)
            if like is None:
                watch(app, market)
            return app

        yield make


def _migrated(server: EmbeddedServer) -> str:
    name = "migrated"
    with (server.folder / "migrated.lock").open("w") as lock, _maintenance(server) as connection:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not connection.execute(
            "SELECT 1 FROM pg_database WHERE datname = %s", [name]
        ).fetchone():
            connection.execute("DROP DATABASE IF EXISTS migrating")
            connection.execute("CREATE DATABASE migrating")
            database.migrate(
                _settings(server.folder, server.url("owner").set(database="migrating"))
            )
            connection.execute(f"ALTER DATABASE migrating RENAME TO {name}")
    return name


def _stop_servers(folder: Path) -> None:
    for lock in folder.rglob("postgres.lock"):
        embedded_server.stop(lock.parent)


def _settings(home: Path, url: URL) -> Settings:
    return Settings(home=home, database_url=database.for_clients(url))


def _fresh_database(server: EmbeddedServer, template: str) -> Iterator[URL]:
    name = f"test_{uuid.uuid4().hex}"
    with _maintenance(server) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    yield server.url("owner").set(database=name)
    with _maintenance(server) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _maintenance(server: EmbeddedServer) -> psycopg.Connection:
    url = server.url("owner").set(database="postgres")
    return psycopg.connect(database.for_clients(url), autocommit=True)


@pytest.fixture(scope="session")
def trainer() -> Iterator[TrainingProcess]:
    """One training process for all tests of a worker: its start takes longer than most tests."""
    with TrainingProcess(1) as process:
        yield process


@pytest.fixture
def market(tmp_path: Path) -> Market:
    """Bars of three tickers, for a test to change before and between runs."""
    return Market(tmp_path / "market.csv")


@pytest.fixture
def make_app(
    server: EmbeddedServer, migrated: str, trainer: TrainingProcess, tmp_path: Path
) -> Iterator[Callable[..., App]]:
    """A maker of Apps, each with a fresh database and the tickers of a market on its watchlist.

    With `like`, another App, the database is a copy of that one's.
    """
    with _apps(server, migrated, trainer, tmp_path / "home") as make:
        yield make


@pytest.fixture(scope="module")
def make_lasting_app(
    server: EmbeddedServer,
    migrated: str,
    trainer: TrainingProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., App]]:
    """What `make_app` is, for fixtures that the tests of a module share."""
    with _apps(server, migrated, trainer, tmp_path_factory.mktemp("home")) as make:
        yield make


@pytest.fixture(scope="module")
def own_server(pytestconfig: pytest.Config, programs: Path) -> Iterator[EmbeddedServer]:
    """A server that the tests of a module may treat as badly as they like."""
    home = pytestconfig.stash[SERVERS] / uuid.uuid4().hex[:8]
    yield embedded_server.start(home, programs=programs, options={"fsync": "off"})
    embedded_server.stop(home)


@pytest.fixture(scope="module")
def make_app_of_own(
    own_server: EmbeddedServer, trainer: TrainingProcess, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., App]]:
    """What `make_lasting_app` is, on the module's own server."""
    home = tmp_path_factory.mktemp("home")
    with _apps(own_server, _migrated(own_server), trainer, home) as make:
        yield make


@pytest.fixture
def app(make_app: Callable[..., App], market: Market) -> App:
    """What a job is given, with the tickers of `market` on the watchlist."""
    return make_app(market)


@pytest.fixture
def yahoo_server() -> Iterator[YahooServer]:
    server = YahooServer()
    with serving(server.answer) as port:
        server.port = port
        yield server


@pytest.fixture
def one(db: Session) -> Instrument:
    """The only ticker of a watchlist, on a calendar whose sessions are stored."""
    extend(db, calendar(), session(-300), session(30))
    (instrument,) = listed(db, "AAA")
    return instrument
