"""Fixtures: one server for all tests of a session, a freshly migrated database for each test.

Every server is a copy of one prepared cluster, but where its creation is what is tested.

The process that pytest was called in owns a folder for all servers that tests start, shares it with
the xdist workers, and stops every server in it at the end, whatever happened to the workers.

Networks are made up unless a test asks for `tensorflow`. The tests of a file run in one worker, so
that what they share is made once; so do all that ask for one of GROUPS.
"""

import fcntl
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest
from sqlalchemy import URL, Engine, text
from sqlalchemy.orm import Session
from xdist.scheduler import LoadScopeScheduling

from jobs.app import App
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.database.embedded_server import EmbeddedServer
from stockbatch.engine.training import TrainingProcess
from stockbatch.market import calendars
from stockbatch.market.sessions import FIRST_DAY
from stockbatch.records import Instrument
from stockbatch.store.calendar import extend
from tests.support import demonstration as demonstrations
from tests.support.demonstration import Demonstration
from tests.support.ledger import listed
from tests.support.loopback import YahooServer, serving
from tests.support.market import (
    BEFORE,
    NOW,
    TICKERS,
    Market,
    PlainTrainer,
    calendar,
    session,
    small,
    watch,
)
from tests.support.superuser import superuser

SERVERS = pytest.StashKey[Path]()
GROUPS = ("tensorflow", "browser", "demonstration")
"""Fixtures that take long to start. Whoever imports TensorFlow by itself asks for it, too."""
FAST = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off"}
"""A database lives for seconds: nothing of it needs to survive a crash, or tidying up."""
EMPTY = embedded_server.DATABASE
"""The database of every cluster, as its start leaves it."""
MIGRATED = "migrated"
"""A migrated database of every cluster, to be copied by tests."""

hypothesis.settings.register_profile("unhurried", deadline=None)  # a busy machine fails no test
hypothesis.settings.load_profile("unhurried")


def pytest_xdist_auto_num_workers() -> int:
    """Return how many workers `-n auto` is: tests of daemons wait for a third of their time."""
    return max(2, round(1.5 * len(os.sched_getaffinity(0))))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--postgres-bin",
        type=Path,
        metavar="DIR",
        help="binaries of the PostgreSQL to test with, e.g. /usr/lib/postgresql/15/bin; "
        "default: the embedded one",
    )
    parser.addoption(
        "--demo",
        type=Path,
        metavar="FOLDER",
        help="where `stockbatch demo` was run in FOLDER/home and said what is in FOLDER/said; "
        "default: the first test that needs it runs it",
    )
    parser.addoption(
        "--renew-frozen", action="store_true", help="write the frozen rows anew, to be reviewed"
    )


def _memory() -> Path | None:
    """Return a folder in memory if there is one with room: databases are copied faster there."""
    folder = Path("/dev/shm")
    return folder if folder.is_dir() and shutil.disk_usage(folder).free > 6 * 2**30 else None


def pytest_configure(config: pytest.Config) -> None:
    gc.disable()  # until all tests are collected: next to nothing of that can be thrown away
    for name in list(os.environ):
        if name.startswith(("STOCKBATCH_", "PG")):
            del os.environ[name]
    if hasattr(config, "workerinput"):
        config.stash[SERVERS] = Path(config.workerinput["servers"])
    else:
        config.stash[SERVERS] = Path(tempfile.mkdtemp(prefix="stockbatch-tests-", dir=_memory()))
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the tests of GROUPS first, and tell the process that deals tests out which they are."""
    groups = {i.nodeid: name for i in items for name in GROUPS if name in i.fixturenames}
    items.sort(key=lambda item: item.nodeid not in groups)
    if hasattr(config, "workerinput"):
        own = config.stash[SERVERS] / f"groups.{os.getpid()}"
        own.write_text(json.dumps(groups))
        own.rename(config.stash[SERVERS] / "groups")  # all workers say the same


def pytest_collection_finish(session: pytest.Session) -> None:
    """Let the collector of garbage pass over what stays: modules, and thousands of tests."""
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()
    if "keras" in sys.modules:
        raise pytest.UsageError("a file of tests imports Keras in every worker: see support/later")


class _Scheduler(LoadScopeScheduling):
    """Gives all tests of a group, or else of a file, to one worker.

    With pytest 9.2, xdist's own `--dist loadgroup` takes no notice of groups.
    """

    @cached_property
    def _groups(self) -> dict[str, str]:
        groups: dict[str, str] = json.loads((self.config.stash[SERVERS] / "groups").read_text())
        return groups

    def _split_scope(self, nodeid: str) -> str:
        return self._groups.get(nodeid) or nodeid.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    return _Scheduler(config, log) if config.getoption("dist") == "loadscope" else None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node) -> None:
    node.workerinput["servers"] = str(node.config.stash[SERVERS])


def pytest_unconfigure(config: pytest.Config) -> None:
    if hasattr(config, "workerinput"):
        return
    _stop_servers(config.stash[SERVERS])
    shutil.rmtree(config.stash[SERVERS])


@pytest.fixture(autouse=True)
def _few_calendars(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Propose among few calendars: building all takes seconds, and only their own test needs it."""
    if request.path.name != "test_calendars.py":
        few = ("24/5", "24/7", "XBOM", "XLON", "XNYS", "XTKS")
        monkeypatch.setattr(calendars, "candidates", lambda: few)


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
def prepared(pytestconfig: pytest.Config, programs: Path) -> Path:
    """The home of a cluster to copy, not running; the first worker that comes makes it."""
    home = pytestconfig.stash[SERVERS] / "prepared"
    with _locked(home):
        if not home.exists():
            server = _start(home, programs)
            with _maintenance(server) as connection:
                connection.execute(f"CREATE DATABASE {MIGRATED} TEMPLATE {EMPTY}")
            database.migrate(_settings(home, superuser(server).set(database=MIGRATED)))
            embedded_server.stop(home)
    return home


@pytest.fixture(scope="session")
def server(pytestconfig: pytest.Config, prepared: Path, programs: Path) -> EmbeddedServer:
    """The server that all tests share: never stop it."""
    home = pytestconfig.stash[SERVERS] / "shared"
    with _locked(home):
        if not home.exists():
            _copy(prepared, home)
    return _start(home, programs)


@pytest.fixture
def cluster(pytestconfig: pytest.Config, prepared: Path) -> Iterator[Path]:
    """The home of a cluster of the test's own, not running; it is stopped afterwards."""
    home = pytestconfig.stash[SERVERS] / uuid.uuid4().hex[:8]
    _copy(prepared, home)
    yield home
    embedded_server.stop(home)


@pytest.fixture
def empty_url(server: EmbeddedServer) -> Iterator[URL]:
    """The owner's URL of a fresh, empty database."""
    yield from _fresh_database(server, EMPTY)


@pytest.fixture
def settings(server: EmbeddedServer, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name a fresh, migrated database, with the owner's login."""
    for url in _fresh_database(server, MIGRATED):
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
    server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """The owner's engine of a migrated database in which nothing is ever committed."""
    for url in _fresh_database(server, MIGRATED):
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


@pytest.fixture(scope="session")
def watched(server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A database of the shared server, to be copied, with TICKERS on its watchlist.

    The thousands of sessions before the first bar are stored, as the first run would do.
    """
    folder = tmp_path_factory.mktemp("watched")
    with _apps(server, folder / "home") as make:
        app = make(Market(folder / "market.csv"))
        with app.transaction() as db:
            extend(db, calendar(), FIRST_DAY, session(-BEFORE))
        app.engine.dispose()
        yield str(app.engine.url.database)


@contextmanager
def _apps(
    server: EmbeddedServer, home: Path, watched: str | None = None
) -> Iterator[Callable[..., App]]:
    with ExitStack() as stack:

        def make(market: Market, *, like: App | None = None, **changes: Any) -> App:
            if like is not None:
                like.engine.dispose()  # a template has no connections
            bars = market.bars if isinstance(market, Market) else ()
            is_known = like is None and watched is not None and tuple(bars) == TICKERS
            template = str(like.engine.url.database) if like else watched if is_known else MIGRATED
            url = stack.enter_context(contextmanager(_fresh_database)(server, template))
            settings = _settings(home, url)
            if like is None:
                settings = small(settings)
            else:
                own = {"database_url": settings.database_url}
                settings = like.settings.model_copy(update=own)
            engine = database.engine(settings, role="writer")
            stack.callback(engine.dispose)
            values = {"settings": settings, "trainer": PlainTrainer(), "clock": lambda: NOW}
            if like is not None:
                values["providers"] = dict(like.providers)  # with what they have read of files
            app = App(engine=engine, **values | changes)
            if is_known:
                with engine.begin() as connection:
                    statement = text("UPDATE stockbatch.instruments SET provider = :provider")
                    connection.execute(statement, {"provider": market.specification})
            elif like is None:
                watch(app, market)
            return app

        yield make


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """Let one worker at a time make a home."""
    with home.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _copy(prepared: Path, home: Path) -> None:
    """Copy a cluster, but for its port: no two can have the same."""
    shutil.copytree(prepared, home)
    passwords = home / "postgres" / "pgpass"
    lines = [line.split(":") for line in passwords.read_text().splitlines()]
    port = str(embedded_server._free_port())
    passwords.write_text("".join(":".join([h, port, *rest]) + "\n" for h, _, *rest in lines))


def _start(home: Path, programs: Path) -> EmbeddedServer:
    return embedded_server.start(home, programs=programs, options=FAST)


def _stop_servers(folder: Path) -> None:
    for lock in folder.rglob("postgres.lock"):
        embedded_server.stop(lock.parent)


def _settings(home: Path, url: URL) -> Settings:
    return Settings(home=home, database_url=database.for_clients(url))


def _fresh_database(server: EmbeddedServer, template: str) -> Iterator[URL]:
    name = f"test_{uuid.uuid4().hex}"
    with _maintenance(server) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        # Of rights on the database itself nothing is copied.
        connection.execute(f"REVOKE TEMPORARY ON DATABASE {name} FROM PUBLIC")
        connection.execute(f"GRANT TEMPORARY ON DATABASE {name} TO stockbatch_writer")
    yield superuser(server).set(database=name)
    with _maintenance(server) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _maintenance(server: EmbeddedServer) -> psycopg.Connection:
    url = superuser(server).set(database="postgres")
    return psycopg.connect(database.for_clients(url), autocommit=True)


@pytest.fixture(scope="session")
def tensorflow() -> Iterator[TrainingProcess]:
    """A real training process, for the tests that need more than rows."""
    with TrainingProcess(1) as process:
        yield process


@pytest.fixture(scope="session")
def demonstration(pytestconfig: pytest.Config) -> Demonstration:
    """A home in which the demonstration has been run, for tests to look at."""
    folder = pytestconfig.getoption("demo")
    if folder:
        return demonstrations.brought(folder)
    return demonstrations.run(pytestconfig.stash[SERVERS] / "demo")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    from tests.support.browser import ABSENT, CHROMIUM, DRIVER, chromium

    if CHROMIUM is None or DRIVER is None:
        pytest.skip(ABSENT)
    with chromium() as opened:
        yield opened


@pytest.fixture
def market(tmp_path: Path) -> Market:
    """Bars of three tickers, for a test to change before and between runs."""
    return Market(tmp_path / "market.csv")


@pytest.fixture
def make_app(server: EmbeddedServer, watched: str, tmp_path: Path) -> Iterator[Callable[..., App]]:
    """A maker of Apps, each with a fresh database and the tickers of a market on its watchlist.

    With `like`, another App, the database is a copy of that one's.
    """
    with _apps(server, tmp_path / "home", watched) as make:
        yield make


@pytest.fixture(scope="module")
def make_lasting_app(
    server: EmbeddedServer, watched: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., App]]:
    """What `make_app` is, for fixtures that the tests of a module share."""
    with _apps(server, tmp_path_factory.mktemp("home"), watched) as make:
        yield make


@pytest.fixture(scope="module")
def own_server(
    pytestconfig: pytest.Config, prepared: Path, programs: Path
) -> Iterator[EmbeddedServer]:
    """A server that the tests of a module may treat as badly as they like."""
    home = pytestconfig.stash[SERVERS] / uuid.uuid4().hex[:8]
    _copy(prepared, home)
    yield _start(home, programs)
    embedded_server.stop(home)


@pytest.fixture(scope="module")
def make_app_of_own(
    own_server: EmbeddedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., App]]:
    """What `make_lasting_app` is, on the module's own server."""
    home = tmp_path_factory.mktemp("home")
    with _apps(own_server, home) as make:
        yield make


@pytest.fixture
def app(make_app: Callable[..., App], market: Market) -> App:
    """What a job is given, with the tickers of `market` on the watchlist."""
    return make_app(market)


@pytest.fixture
def change(app: App) -> Iterator[Callable[..., None]]:
    """Change the database of an App behind the program's back, as its owner."""
    owner = database.engine(app.settings, role="owner")

    def execute(statement: str, **values: Any) -> None:
        with owner.begin() as connection:
            connection.execute(text(statement), values)

    yield execute
    owner.dispose()


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
