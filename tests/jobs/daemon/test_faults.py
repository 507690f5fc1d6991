"""Faults survived: whatever happens at whatever phase, the daemon ends with the undisturbed tables.

Every test begins after one evening of work and disturbs the next, in which all is trained anew.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event

from jobs.daemon.loop import Care, work_off
from jobs.daily import chunk as make_forecasts
from stockbatch import database
from stockbatch.database import embedded_server
from stockbatch.exceptions import TrainingFailed
from stockbatch.records import Action, Reason
from tests.support.disk import small_disk
from tests.support.evenings import Evenings, Watched, evening, since, work
from tests.support.market import (
    Market,
    PlainTrainer,
    announced_until,
    assert_same,
    end_leases,
    facts,
    fetch,
    in_chunks,
    outcomes,
    session,
)

PHASES = (
    *("open", "fetch", "confirm", "score", "forecast", "base: compute", "base: save"),
    *("forecasts: load", "forecasts: save", "forecasts: commit", "metrics", "finish"),
)
WITH_DATABASE = ("fetch", "score", "base: save", "forecasts: commit", "metrics", "finish")
"""Phases at which the database is taken away: before and inside transactions."""
IN_TICKERS = 5
"""An epoch in which tickers are trained: there were three of the base."""


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return Market(tmp_path_factory.mktemp("market") / "market.csv")


@pytest.fixture(scope="module")
def begun(make_app_of_own, market):
    """A first evening is done; from now on every evening trains everything."""
    app = in_chunks(make_app_of_own(market))
    changes = {"retrain_after_sessions": 1, "base_after_sessions": 1}
    app.settings = app.settings.model_copy(update=changes)
    since(app, evening(0))
    work(app, evening(0))
    return app


@pytest.fixture(scope="module")
def undisturbed(make_app_of_own, market, begun):
    app = make_app_of_own(market, like=begun)
    work(app, evening(1))
    return facts(app.engine)


@pytest.fixture
def app(make_app_of_own, market, begun):
    return make_app_of_own(market, like=begun)


@pytest.fixture
def owner(app) -> Iterator[psycopg.Connection]:
    """A connection beside the daemon's, each statement of which is a transaction."""
    url = app.settings.database_url.get_secret_value()
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


class Outage(Evenings):
    """Evenings of which one has an outage that is over after a few looks at the clock.

    It begins when an event comes for the first time; looks take a minute each while it lasts.
    """

    def __init__(self, app, *instants, event, begin, end, looks=6):
        super().__init__(*instants)
        self._event, self._begin, self._end, self._looks = event, begin, end, looks
        self.left = None
        app.on_event = self._on_event

    def _on_event(self, event):
        if event == self._event and self.left is None:
            self.left = self._looks
            self._begin()

    def __call__(self):
        if self.left:
            self.left -= 1
            self.instants[0] += timedelta(minutes=1)
            if not self.left:
                self._end()
        return super().__call__()


def tries(app, offset=1):
    query = "SELECT tries, status FROM stockbatch.runs WHERE session = :day"
    (row,) = fetch(app.engine, query, day=session(offset))
    assert row["status"] == "finished"
    return row["tries"]


def survive(app, outage, undisturbed):
    """Work through an outage that is known to have happened, to the same end."""
    work(app, clock=outage, care=Care(review=outage.go_on))
    assert outage.left == 0
    assert_same(facts(app.engine), undisturbed)


# ---- processes that die


@pytest.mark.parametrize("phase", PHASES)
def test_a_daemon_killed_at_a_phase(app, daemons, undisturbed, phase):
    killed = daemons.run(app, evening(1), faults=[(phase, 1, ["SIGKILL"])])
    assert killed == -signal.SIGKILL
    end_leases(app.engine)
    work(app, evening(1))
    assert tries(app) == (1 if phase == "open" else 2)
    assert_same(facts(app.engine), undisturbed)


def test_a_daemon_killed_in_the_middle_of_training(app, daemons, undisturbed):
    killed = daemons.run(app, evening(1), faults=[("epoch", IN_TICKERS, ["SIGKILL"])], trains=True)
    assert killed == -signal.SIGKILL
    end_leases(app.engine)
    work(app, evening(1))
    assert_same(facts(app.engine), undisturbed)


@pytest.mark.parametrize(
    ("number", "said"),
    [(signal.SIGKILL, "killed by SIGKILL"), (signal.SIGSTOP, "it finished no epoch for 1 s")],
)
def test_a_child_killed_or_stuck_in_the_middle_of_training(app, undisturbed, number, said, caplog):
    epochs = []

    def on_epoch(process):
        epochs.append(process.pid)
        process.silence = 1 if len(epochs) < IN_TICKERS else 60  # its start may take longer
        if len(epochs) == IN_TICKERS:
            os.kill(process.pid, number)

    with Watched(on_epoch) as app.trainer:
        work(app, evening(1))
    assert f"The training process ended early: {said}" in caplog.text
    assert not Path(f"/proc/{epochs[0]}").exists()
    assert tries(app) == 1  # another child trains them by halves
    assert_same(facts(app.engine), undisturbed)


# ---- a database in trouble


@pytest.fixture
def restart(own_server):
    home = own_server.folder.parent

    def stop():
        assert embedded_server.stop(home)

    def start():
        embedded_server.start(home, options={"fsync": "off"})

    yield stop, start
    start()  # for the tests to come, whatever became of this one


@pytest.mark.parametrize("event", WITH_DATABASE)
def test_a_database_restarted_at_a_phase(app, restart, undisturbed, event):
    def again():
        for step in restart:
            step()

    outage = Outage(app, evening(1), event=event, begin=again, end=lambda: None, looks=1)
    survive(app, outage, undisturbed)


@pytest.mark.parametrize("event", ["fetch", "forecasts: commit"])
def test_a_database_gone_for_minutes(app, restart, undisturbed, event, caplog):
    stop, start = restart
    outage = Outage(app, evening(1), event=event, begin=stop, end=start)
    survive(app, outage, undisturbed)
    assert "trying again in" in caplog.text


def test_a_server_without_a_free_connection(app, own_server, owner, undisturbed, caplog):
    name = app.engine.url.database
    url = own_server.url("writer").set(database=name)  # superusers always get one
    app.settings = app.settings.model_copy(
        update={"database_url": type(app.settings.database_url)(database.for_clients(url))}
    )
    app.engine = database.engine(app.settings)

    def begin():
        owner.execute(f"ALTER DATABASE {name} CONNECTION LIMIT 0")
        owner.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'writer'"
        )

    def end():
        owner.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")

    outage = Outage(app, evening(1), event="forecasts: save", begin=begin, end=end)
    survive(app, outage, undisturbed)
    assert "too many connections for database" in caplog.text
    app.engine.dispose()


@pytest.mark.parametrize(
    ("statement_timeout", "lock_timeout", "said"),
    [("10min", "200ms", "Another program holds a lock"), ("500ms", "10s", "statement timeout")],
)
def test_a_statement_that_waits_too_long(
    app, owner, undisturbed, caplog, statement_timeout, lock_timeout, said
):
    @event.listens_for(app.engine, "connect")
    def configure(connection, _record):
        connection.execute(f"SET statement_timeout = '{statement_timeout}'")
        connection.execute(f"SET lock_timeout = '{lock_timeout}'")
        connection.commit()

    app.engine.dispose()

    def begin():
        owner.execute("BEGIN")
        owner.execute("LOCK TABLE stockbatch.forecasts IN ACCESS EXCLUSIVE MODE")

    outage = Outage(
        app,
        evening(1),
        event="forecasts: save",
        begin=begin,
        end=lambda: owner.execute("COMMIT"),
    )
    survive(app, outage, undisturbed)
    assert said in caplog.text


def test_a_full_disk(app, own_server, owner, undisturbed, caplog):
    tables = ("forecasts", "outcomes", "models")
    with small_disk(own_server.folder.parent / "disk", "2m") as disk:
        space = disk / "space"
        space.mkdir()
        os.chown(space, *[own_server.folder.stat().st_uid] * 2)
        owner.execute(f"CREATE TABLESPACE small LOCATION '{space}'")
        for table in tables:  # every new row wants a new page
            owner.execute(f"ALTER TABLE stockbatch.{table} SET (fillfactor = 10)")
            owner.execute(f"ALTER TABLE stockbatch.{table} SET TABLESPACE small")
        owner.execute("CREATE TABLE filler (bytes char(4000)) TABLESPACE small")

        def begin():
            with suppress(psycopg.errors.DiskFull):
                while True:
                    owner.execute("INSERT INTO filler SELECT 'x' FROM generate_series(1, 2)")

        def end():
            owner.execute("DROP TABLE filler")

        outage = Outage(app, evening(1), event="base: save", begin=begin, end=end)
        survive(app, outage, undisturbed)
        assert "No space left on device" in caplog.text
        for table in tables:
            owner.execute(f"ALTER TABLE stockbatch.{table} SET TABLESPACE pg_default")
        owner.execute("DROP TABLESPACE small")


# ---- the world outside


def test_a_provider_down_for_days(make_app_of_own, begun, market):
    """What could not be forecast in time is made up for: late, and of the same bars."""
    disturbed, calm = (make_app_of_own(market, like=begun) for _ in "ab")
    away = market.file.with_suffix(".away")
    for app in (calm, disturbed):
        for offset in (1, 2, 3, 4):
            if app is disturbed and offset == 1:
                market.file.rename(away)
            if app is disturbed and offset == 3:
                away.rename(market.file)
            app.clock = lambda offset=offset: evening(offset)
            work_off(app)
            if away.exists():
                failed = Action.NONE, Reason.FETCH_FAILED
                assert set(outcomes(app.engine, session(offset)).values()) == {failed}
    for offset in (1, 2, 3, 4):
        day = session(offset)
        assert outcomes(disturbed.engine, day) == outcomes(calm.engine, day)
    found, expected = facts(disturbed.engine), facts(calm.engine)
    for table in ("bars", "market_inputs"):
        assert_same({table: found[table]}, {table: expected[table]})
    made = """SELECT i.ticker, f.target_session, f.method, count(*) AS made, count(s.id) AS scored
    FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = f.instrument_id
    LEFT JOIN stockbatch.scores AS s ON s.forecast_id = f.id GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
    assert fetch(disturbed.engine, made) == fetch(calm.engine, made)


@pytest.mark.parametrize("event", ["fetch", "forecast", "forecasts: save"])
@pytest.mark.parametrize("by", [timedelta(hours=5), timedelta(days=4000)])
def test_a_clock_set_back(app, undisturbed, event, by):
    clock = Evenings(evening(1), evening(1))
    back = [evening(0) - by]

    def on_event(now):
        if now == event and back:
            clock.instants[0] = back.pop()

    app.on_event = on_event
    work(app, clock=clock, care=Care(review=clock.go_on))
    assert not back
    assert_same(facts(app.engine), undisturbed)


def test_a_calendar_beyond_its_bounds(app, undisturbed, caplog):
    """Weekdays stand in for sessions nobody has announced yet."""
    with announced_until(session(0)):
        work(app, evening(1))
    assert f"XNYS: holidays after {session(0)} are unknown" in caplog.text
    found = facts(app.engine)
    expected = undisturbed | {"sessions": found["sessions"]}
    assert_same(found, expected)


# ---- poison


class Choking(PlainTrainer):
    """Fails wherever the data of one ticker are."""

    def __init__(self, seeds):
        self._seeds = seeds

    def fit(self, network, data, settings, **options):
        if set(data.seeds.tolist()) & self._seeds:
            raise TrainingFailed(reason="poison")
        return super().fit(network, data, settings, **options)


def test_a_ticker_that_spoils_its_training_is_forecast_by_the_model_in_use(app, undisturbed):
    seen = []

    class Watching(PlainTrainer):
        def fit(self, network, data, settings, **options):
            seen.append(data.seeds.tolist())
            raise MemoryError  # no ticker is to blame for that

    app.trainer = Watching()
    app.clock = lambda: evening(1)
    work_off(app)
    app.trainer = Choking({seen[0][1]})  # AAA and BBB are the first chunk
    work(app, evening(1))
    assert tries(app) == 2
    found = outcomes(app.engine, session(1))
    assert found["BBB"] in {(Action.REUSED, Reason.FAILED), (Action.BASE, Reason.FAILED)}
    trained = Action.TRAINED, Reason.BASE_CHANGED
    assert found == {"AAA": trained, "BBB": found["BBB"], "CCC": trained}
    compare_others(app, undisturbed)


def test_a_ticker_that_spoils_everything_has_no_forecast_and_stops_no_other(
    app, undisturbed, monkeypatch
):
    state = make_forecasts.state

    def choke(given, parameters):
        if "BBB" in {instrument.ticker for instrument in given.material.instruments}:
            raise IndexError("poison")
        return state(given, parameters)

    monkeypatch.setattr(make_forecasts, "state", choke)
    work(app, evening(1))
    assert tries(app) == 1
    found = outcomes(app.engine, session(1))
    assert found["BBB"] == (Action.NONE, Reason.FAILED)
    compare_others(app, undisturbed)
    query = """SELECT message FROM stockbatch.outcomes WHERE is_final AND reason = 'failed'"""
    assert fetch(app.engine, query) == [{"message": "IndexError('poison')"}]


def compare_others(app, undisturbed):
    """Assert that AAA and CCC have what they have without BBB's trouble."""

    def of_others(found):
        return {
            name: {
                key: numbers
                for key, numbers in found[name].items()
                if ("instrument_id", "BBB") not in key and "BBB" not in str(key)
            }
            for name in ("bars", "outcomes", "forecasts", "scores")
        }

    assert_same(of_others(facts(app.engine)), of_others(undisturbed))
