"""A year of the daemon with a fault almost every day: `python -m tests.benchmarks.soak`.

The same made-up market is lived through twice by the daemon's own code under a simulated clock, in
a home with an embedded server each: once in peace, once with faults drawn at random, which happen
at phase events of the daemon. Outages stay short of the deadlines. Afterwards the tables have to be
equal, as the design defines it, but for what tells of the faults themselves: earlier tries of
outcomes, alerts that were raised and cleared, findings about bars that were bad at first, and what
a clock that was ahead has said of sessions after the last, or first opened their runs for.

What a commit that is held over the deadline makes late is late in peace as well: there the deadline
has passed when the same chunk comes to be saved. So kinds, scores and metrics are compared, too.

In the second half nothing ends the process, so that its memory can be watched. What a provider
lacks it lacks of all tickers, unless they are too few to make inputs of the whole market: else what
the others are forecast from would be another market, as the design has it.
"""

import argparse
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import psycopg
from sqlalchemy import URL, Engine

from jobs.app import App
from jobs.daemon.loop import MINUTE, PASSIVE
from jobs.daemon.maintenance import AHEAD
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.database.embedded_server import EmbeddedServer
from stockbatch.records import Check
from stockbatch.store.market import FEWEST
from stockbatch.store.runs import RETRIED
from tests.support.market import Facts, assert_same, facts, fetch, small
from tests.support.places import ROOT
from tests.support.simulation import (
    ASLEEP,
    CALENDAR,
    Order,
    Told,
    Trouble,
    World,
    live,
    spoilt,
    watch,
)
from tests.support.superuser import superuser

CHUNK = 4
PATIENCE = 120.0
"""Seconds until a daemon that says nothing is stuck."""
MOST_TRIES, MOST_WAKES = 20, 500
"""Of one session, and of one try."""
AGAIN = timedelta(minutes=5)
OUTAGE = timedelta(minutes=5)
WARM = 10
"""Sessions after which a daemon has everything in memory that it ever has."""
ENDINGS = {0, -signal.SIGKILL, 143}

CHUNKS = ("forecasts: load", "forecasts: compute", "forecasts: save", "forecasts: commit")
PHASES = ("open", "fetch", "score", "forecast", *CHUNKS, "metrics", "finish")
EVENTS = (*PHASES, ASLEEP)
OUTSIDE = tuple(event for event in PHASES if event != "forecasts: commit")
"""Events at which the daemon is in no transaction."""


HELD = "commit held over the deadline"
JUDGES = ("judge_kind", "judge_commit")
"""The functions of the database that tell live from late, by its clock."""
KEYS = (*range(-3, 4), 495874896747)
"""Advisory keys that somebody might think of, beside hashes of NAMES."""
NAMES = ("stockbatch", "stockbatch daemon", "stockbatch run XNYS", "daemon", "run XNYS")


@dataclass(frozen=True, kw_only=True)
class FaultKind:
    """A kind of fault: at which events it happens, and to which sessions it can."""

    events: Sequence[str]
    ends: bool = False
    """Whether the process at work is another one afterwards."""
    training: bool = False
    """Whether it takes a session in which tickers are trained."""
    partial: bool = False
    """Whether some tickers may lack their bars for a while."""
    ahead: bool = False
    """Whether a base that is about to expire may be refitted, and bars be final, ahead of time."""


FAULT_KINDS = {
    "daemon killed": FaultKind(events=EVENTS, ends=True),
    "daemon told to stop": FaultKind(events=EVENTS, ends=True),
    "daemon told to stop twice": FaultKind(events=PHASES, ends=True),
    "daemon suspended, another at work": FaultKind(events=PHASES, ends=True),
    "training child killed": FaultKind(events=("forecasts: compute",), training=True),
    "training child suspended": FaultKind(events=("forecasts: compute",), training=True),
    "connections ended": FaultKind(events=EVENTS),
    "server restarted": FaultKind(events=EVENTS),
    "server crashed": FaultKind(events=EVENTS),
    "server gone for minutes": FaultKind(events=PHASES),
    "server killed, the daemon starts it": FaultKind(events=EVENTS),
    "no connection left": FaultKind(events=PHASES),
    "reader's connections all taken": FaultKind(events=PHASES),
    "advisory keys taken by a reader": FaultKind(events=PHASES),
    "table locked": FaultKind(events=OUTSIDE),
    "statement time-out": FaultKind(events=PHASES),
    "exception in a phase": FaultKind(events=PHASES),
    "clock set back": FaultKind(events=PHASES),
    "clock ahead and back again": FaultKind(events=(ASLEEP,), partial=True, ahead=True),
    HELD: FaultKind(events=("forecasts: commit",)),
    "provider unreachable": FaultKind(events=("fetch",), partial=True),
    "provider's rate limit": FaultKind(events=("fetch",), partial=True),
    "no bar yet": FaultKind(events=("fetch",), partial=True),
    "bad bar": FaultKind(events=("fetch",), partial=True),
}


OTHERS = [name for name in FAULT_KINDS if name != HELD]


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault: at the `count`-th time that an event comes."""

    kind: str
    event: str
    count: int = 1

    @property
    def place(self) -> tuple[str, int]:
        """Return where it happens within a session, for sorting."""
        if self.event in CHUNKS:
            return (CHUNKS[0], self.count * len(CHUNKS) + CHUNKS.index(self.event))
        return (self.event, 0)


class SoakError(Exception):
    """The daemon did not do what it should."""


class Daemon:
    """A daemon process as seen from outside."""

    def __init__(self, order: Order) -> None:
        context = multiprocessing.get_context("forkserver")
        self._pipe, other = context.Pipe()
        self.process = context.Process(target=live, args=(order, other))
        self.process.start()
        other.close()
        self.hear()

    @property
    def pid(self) -> int:
        assert self.process.pid
        return self.process.pid

    def tell(self, told: Told) -> None:
        self._pipe.send(told)

    def hear(self) -> tuple[str, float]:
        """Return what the daemon says, and seconds; raises EOFError where it has ended."""
        if not self._pipe.poll(PATIENCE):
            raise SoakError(f"daemon {self.pid} is stuck")
        said: tuple[str, float] = self._pipe.recv()
        return said

    def end(self) -> None:
        """End it by force, whatever it does."""
        self.process.kill()
        self.process.join()
        self._pipe.close()


@dataclass
class Life:
    """What one of the two lives of the market was like."""

    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    daemons: int = 0
    memory: list[tuple[int, int]] = field(default_factory=list)
    """Process and bytes of the daemon at work, after each session."""
    lacking: set[tuple[str, str]] = field(default_factory=set)
    """Tickers and sessions of the bars that were missing or bad at first."""

    def steady(self) -> list[int]:
        """Return the memory of the last daemon after each of its sessions once it was warm."""
        last = self.memory[-1][0]
        own = [size for pid, size in self.memory if pid == last]
        return own[WARM:] if len(own) > 2 * WARM else own


class Soak:
    """One life of the market, session by session; the only one who knows what time it is."""

    def __init__(self, world: World, order: Order, server: EmbeddedServer) -> None:
        self.world, self.order, self.server = world, order, server
        self.life = Life()
        self._active: Daemon | None = None
        self._standby: Daemon | None = None
        self._suspended: Daemon | None = None
        self._trouble = Trouble()
        self._outage: timedelta | None = None
        self._mend: list[Callable[[], object]] = []
        self._held: list[psycopg.Connection[Any]] = []
        """Connections of others, with all that they hold."""
        self._judges: list[str] = []
        """The definitions of JUDGES, while others stand in for them."""

    def live(self, planned: Mapping[date, Sequence[Fault]], *, guarded: bool) -> Life:
        """Live through all sessions; if `guarded`, a second daemon waits to take over."""
        started = time.perf_counter()
        try:
            for count, (session, faults) in enumerate(planned.items(), 1):
                self.live_through(session, faults, guarded=guarded)
                if count % 25 == 0:
                    print(f"{self.server.folder}: {count} sessions", file=sys.stderr, flush=True)
            self._end()
        finally:
            self._close()
        self.life.seconds = time.perf_counter() - started
        return self.life

    def live_through(self, session: date, faults: Sequence[Fault], *, guarded: bool) -> None:
        """Wake the daemon up after a close, again and again until the session is finished."""
        now = CALENDAR.close(session) + self.order.settings.close_delay("XNYS")
        pending = deque(faults)
        for _ in range(MOST_TRIES):
            self._rest(now, pending)
            self._recover(OUTAGE)
            if self._is_done(session):
                break
            now += AGAIN
        else:
            raise SoakError(f"{session} is not finished after {MOST_TRIES} tries")
        self._resume()
        self._judge_as_before()
        saturday = session + timedelta(days=(5 - session.weekday()) % 7)
        if saturday < CALENDAR.next(session):
            morning = datetime(saturday.year, saturday.month, saturday.day, 6, tzinfo=UTC)
            self._rest(morning, deque())
            self._let_work(morning, deque(), wake="base_refit")
        assert self._active
        if guarded and self._standby is None:
            self._standby = self._start()
        resident = psutil.Process(self._active.pid).memory_info().rss
        self.life.memory.append((self._active.pid, resident))

    def _end(self) -> None:
        """Tell the daemon at work to stop, as its user would."""
        if self._active:
            os.kill(self._active.pid, signal.SIGTERM)
            self._active.process.join(PATIENCE)
            if self._active.process.exitcode != 0:
                raise SoakError(f"exit status {self._active.process.exitcode} after SIGTERM")

    def _close(self) -> None:
        for daemon in (self._active, self._standby, self._suspended):
            if daemon:
                daemon.end()
        self._recover(OUTAGE)

    def _start(self) -> Daemon:
        self.life.daemons += 1
        return Daemon(self.order)

    def _rest(self, now: datetime, pending: deque[Fault]) -> None:
        """Let time pass until the daemon at work has nothing to do for now."""
        before = 0.0
        for _ in range(MOST_WAKES):
            slept = self._let_work(now, pending)
            if slept >= MINUTE:
                return
            now += timedelta(seconds=slept)
            self._recover(timedelta(seconds=slept))
            if slept == before == PASSIVE and self._standby:  # the other one has the lock
                self._active, self._standby = self._standby, self._active
            before = slept
            time.sleep(0.01)  # for the server to see that a process has gone
        raise SoakError(f"no daemon is at work after {MOST_WAKES} wakes")

    def _let_work(self, now: datetime, pending: deque[Fault], wake: str = "time") -> float:
        """Wake the daemon up and do to it what is pending; return for how long it sleeps then."""
        daemon = self._active = self._active or self._start()
        told = Told(now=now, stop_at=_next(pending), trouble=self._trouble, wake=wake)
        try:
            daemon.tell(told)
            while (said := daemon.hear())[0] == "reached":
                fault = pending.popleft()
                self.life.faults[fault.kind] += 1
                told = self._inject(fault, now, daemon)
                if self._active is not daemon:
                    return 0.0
                daemon.tell(replace(told, stop_at=_next(pending)))
            return said[1]
        except (EOFError, ConnectionError):
            self._bury(daemon)
            return 0.0

    def _bury(self, daemon: Daemon) -> None:
        daemon.process.join(PATIENCE)
        if daemon.process.exitcode not in ENDINGS:
            raise SoakError(f"a daemon ended with status {daemon.process.exitcode}")
        daemon.end()
        self._active, self._standby = self._standby, None

    def _resume(self) -> None:
        """Let a suspended daemon go on: it has to notice that another has taken over."""
        daemon, self._suspended = self._suspended, None
        if daemon is None:
            return
        os.kill(daemon.pid, signal.SIGCONT)
        daemon.tell(Told())
        _, seconds = daemon.hear()
        if seconds >= MINUTE:  # the other had lost its lock, too, and does not know it yet
            daemon, self._active = self._active, daemon
        if self._standby is None:
            self._standby = daemon
        elif daemon:
            daemon.end()

    def _is_done(self, session: date) -> bool:
        query = (
            "SELECT (SELECT count(*) FROM stockbatch.outcomes WHERE is_final AND session = %(day)s"
            "  AND reason <> ALL(%(retried)s)) = (SELECT count(*) FROM stockbatch.instruments)"
            " AND EXISTS (SELECT FROM stockbatch.runs"
            "  WHERE session = %(day)s AND status = 'finished')"
        )
        given = {"day": session, "retried": [str(reason) for reason in RETRIED]}
        with self._owner() as connection:
            row = connection.execute(query, given).fetchone()
        return bool(row and row[0])

    def _owner(self) -> psycopg.Connection[Any]:
        return _connect(superuser(self.server))

    def _reader(self) -> psycopg.Connection[Any]:
        return _connect(self.server.url("reader"))

    # Faults.

    def _inject(self, fault: Fault, now: datetime, daemon: Daemon) -> Told:
        """Do to the daemon, which waits at an event, what the fault is; return how it goes on."""
        rng = random.Random(f"{fault} {now}")
        match fault.kind:
            case "daemon killed":
                daemon.process.kill()
                daemon.process.join()
                self._end_leases()
            case "daemon told to stop":
                os.kill(daemon.pid, signal.SIGTERM)
            case "daemon told to stop twice":
                os.kill(daemon.pid, signal.SIGTERM)
                os.kill(daemon.pid, signal.SIGINT)
            case "daemon suspended, another at work":
                os.kill(daemon.pid, signal.SIGSTOP)
                self._end_connections()
                self._end_leases()
                if self._suspended:
                    self._suspended.end()
                self._suspended = daemon
                self._active, self._standby = self._standby, None
            case "training child killed":
                return Told(child=signal.SIGKILL)
            case "training child suspended":
                return Told(child=signal.SIGSTOP)
            case "connections ended":
                self._end_connections()
            case "server restarted":
                embedded_server.stop(self.order.settings.home)
                self._start_server()
            case "server crashed":
                self._end_server(signal.SIGQUIT)
                self._start_server()
            case "server killed, the daemon starts it":
                self._end_server(signal.SIGKILL)
            case "server gone for minutes":
                embedded_server.stop(self.order.settings.home)
                self._outage = OUTAGE
                self._mend.append(self._start_server)
            case "no connection left":
                self._allow_connections(0)
                self._end_connections()
                self._outage = OUTAGE
                self._mend.append(lambda: self._allow_connections(-1))
            case "reader's connections all taken":
                self._take_connections()
            case "advisory keys taken by a reader":
                self._take_keys()
            case "table locked":
                owner = self._owner()
                self._held.append(owner)
                owner.autocommit = False
                table = rng.choice(("runs", "outcomes"))
                owner.execute(f"LOCK TABLE stockbatch.{table} IN ACCESS EXCLUSIVE MODE")
            case "statement time-out":
                return Told(fault="statement")
            case "exception in a phase":
                return Told(fault="exception")
            case "clock set back":
                back = rng.choice((timedelta(hours=5), timedelta(days=9), timedelta(days=4000)))
                return Told(now=now - back)
            case "clock ahead and back again":
                return self._go_ahead(now, daemon, rng)
            case "commit held over the deadline":
                self._pass_deadline()
            case _:
                return self._trouble_with(fault.kind, now.date(), rng)
        return Told()

    def _trouble_with(self, kind: str, session: date, rng: random.Random) -> Told:
        """Let both providers lack the newest bars, each in its own way."""
        tickers = [*self.world.in_file, *self.world.live]
        if len(tickers) < FEWEST:
            tickers = [rng.choice(tickers)]
        self.life.lacking |= {(ticker, str(session)) for ticker in tickers}
        lacking = [ticker for ticker in tickers if ticker in self.world.in_file]
        self._trouble = Trouble(kind=kind, tickers=frozenset(tickers))
        bars = self.world.bars
        if not lacking:
            pass
        elif kind in {"no bar yet", "provider's rate limit"}:
            self.world.write_but({(ticker, session): None for ticker in lacking})
        elif kind == "bad bar":
            self.world.write_but({(t, session): spoilt(bars[t][session]) for t in lacking})
        elif kind == "provider unreachable":
            self.world.file.unlink()
        if lacking and kind == "provider's rate limit":
            with self.world.file.open("a") as file:
                file.write("T0,20")  # somebody is still writing it
        self._mend.append(self.world.write)
        return Told(trouble=self._trouble)

    def _recover(self, slept: timedelta) -> None:
        """Let pass what has lasted long enough."""
        for connection in self._held:
            connection.close()
        self._held.clear()
        if self._outage and slept < timedelta(seconds=MINUTE):
            self._outage -= slept
            if self._outage > timedelta(0):
                return
        elif slept < timedelta(seconds=MINUTE):
            return
        self._outage, self._trouble = None, Trouble()
        for mend in reversed(self._mend):  # what came last, a server that is gone, goes first
            mend()
        self._mend.clear()

    def _end_connections(self) -> None:
        with self._owner() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def _end_leases(self) -> None:
        """Let as much time pass as it takes until nobody waits for who is gone."""
        with self._owner() as connection:
            connection.execute("DELETE FROM stockbatch.leases")

    def _allow_connections(self, count: int) -> None:
        with self._owner() as connection:
            connection.execute(f"ALTER ROLE writer CONNECTION LIMIT {count}")

    def _end_server(self, number: signal.Signals) -> None:
        """Let the server end without a checkpoint: the next start recovers."""
        file = self.server.folder / "data" / "postmaster.pid"
        os.kill(int(file.read_text().splitlines()[0]), number)
        # It may be the child of a daemon that waits for us, and a zombie until that goes on.
        while embedded_server._is_held(self.server.folder):
            time.sleep(0.01)

    def _start_server(self) -> None:
        embedded_server.start(self.order.settings.home)

    def _take_connections(self) -> None:
        """Connect as a reader until no reader can any more."""
        with suppress(psycopg.OperationalError):
            while True:
                self._held.append(self._reader())

    def _take_keys(self) -> None:
        """Lock what a reader may, as he likes, and stay in a transaction."""
        reader = self._reader()
        self._held.append(reader)
        for name in NAMES:
            for key in ("hashtext(%s)", "hashtextextended(%s, 0)"):
                reader.execute(f"SELECT pg_advisory_lock({key})", [name])
        for key in KEYS:
            reader.execute("SELECT pg_advisory_lock(%s::bigint)", [key])
        reader.execute("BEGIN")
        reader.execute("LOCK TABLE bi.run_history IN ACCESS SHARE MODE")

    def _go_ahead(self, now: datetime, daemon: Daemon, rng: random.Random) -> Told:
        """Let the daemon wake up in a time to come, of which nobody has bars, and come back."""
        ahead = now + timedelta(days=rng.choice((40, 65)))
        days = CALENDAR.between(now.date(), ahead.date()).tolist()
        tickers = (*self.world.in_file, *self.world.live)
        self.life.lacking |= {(ticker, str(day)) for ticker in tickers for day in days}
        self.world.write_but(
            dict.fromkeys(
                (ticker, day)
                for ticker in self.world.in_file
                for day in self.world.bars[ticker]
                if day > now.date()
            )
        )
        for told in (Told(trouble=Trouble(last=now.date())), Told(now=ahead)):
            daemon.tell(told)
            said, _ = daemon.hear()
            assert said == "sleeps"
        with self._owner() as connection:
            # The embedded server has the same clock: what it stamped then is yet to come.
            then = "UPDATE stockbatch.runs SET started_at = %s, tried_at = %s WHERE session > %s"
            connection.execute(then, [ahead, ahead, now.date()])
        self.world.write()
        return Told(now=now, trouble=self._trouble)

    def _pass_deadline(self) -> None:
        """Let the database's clock, where it is asked for deadlines, be past all of them."""
        with self._owner() as connection:
            for name in JUDGES:
                query = "SELECT pg_get_functiondef(%s::regproc)"
                ((body,),) = connection.execute(query, [f"stockbatch.{name}"])
                self._judges.append(body)
                passed = body.replace(
                    "clock_timestamp()", "clock_timestamp() + interval '99 years'"
                )
                connection.execute(passed)

    def _judge_as_before(self) -> None:
        with self._owner() as connection:
            for body in self._judges:
                connection.execute(body)
        self._judges.clear()


def _next(pending: deque[Fault]) -> tuple[str, int] | None:
    return (pending[0].event, pending[0].count) if pending else None


def _connect(url: URL) -> psycopg.Connection[Any]:
    """Connect, to a server that is just recovering when it has."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return psycopg.connect(database.for_clients(url), autocommit=True)
        except psycopg.OperationalError as error:
            recovering = "not yet accepting" in str(error) or "starting up" in str(error)
            if not recovering or time.monotonic() > until:
                raise
        time.sleep(0.1)


Planned = dict[date, list[Fault]]


def draw_held(days: Sequence[date], *, faults: int, seed: int) -> Planned:
    """Draw the sessions whose forecasts are late; the first commit of each is held.

    What is committed afterwards is late as well, however often the others break it off.
    """
    rng = random.Random(seed)
    held = rng.sample(days, round(faults / len(FAULT_KINDS)))
    (event,) = FAULT_KINDS[HELD].events
    return {day: [Fault(kind=HELD, event=event)] if day in held else [] for day in days}


def draw(planned: Planned, calm: Engine, *, tickers: int, faults: int, seed: int) -> None:
    """Draw more faults for sessions, at most two for each, every kind as often as the others.

    `calm` tells in which sessions models are trained.
    """
    query = "SELECT DISTINCT last_session AS day, kind FROM stockbatch.models"
    trained = {(row["day"], row["kind"]) for row in fetch(calm, query)}
    rng = random.Random(seed)
    days = list(planned)
    refitted = {d for n, day in enumerate(days) if (day, "base") in trained
                for d in days[max(0, n - AHEAD) : n + 1]}  # fmt: skip
    chunks = -(-tickers // CHUNK)
    kinds: list[str] = []
    for _ in range(faults - sum(map(len, planned.values()))):
        if not kinds:
            kinds = rng.sample(OTHERS, len(OTHERS))
            # What fits few sessions has the first choice: the last are drawn first.
            kinds.sort(key=lambda name: FAULT_KINDS[name].training)
        name = kinds.pop()
        kind = FAULT_KINDS[name]
        fits = [
            day
            for day in days[: len(days) // 2 if kind.ends else None]
            if len(planned[day]) < 2
            and (not kind.training or (day, "ticker") in trained)
            and not (kind.ahead and (day in refitted or day == days[-1]))
            and (not kind.partial or tickers >= FEWEST or (day, "base") not in trained)
            and not (planned[day] and (kind.training or kind.partial))
        ]
        if not fits:
            continue
        day = rng.choice(fits)
        event = rng.choice(kind.events)
        count = rng.randint(1, chunks) if event in CHUNKS and not kind.training else 1
        planned[day].append(Fault(kind=name, event=event, count=count))
    order = {event: position for position, event in enumerate(EVENTS)}
    for found in planned.values():
        found.sort(key=lambda fault: (order[fault.place[0]], fault.place[1]))


def alike(calm: Facts, rough: Facts, lacking: Set[tuple[str, str]], last: date) -> int:
    """Return the number of rows that both lives left behind; raises AssertionError where not.

    Findings about bars that were `lacking` at first are no difference, nor is that of a line which
    was read while it was being written, nor what is of a session after the `last`.
    """
    expected, found = _lasting(calm, last), _lasting(rough, last)
    for key in found["data_issues"].keys() - expected["data_issues"].keys():
        finding = dict(key)
        half_written = finding["check_name"] == Check.UNREADABLE_LINE
        if half_written or (finding["instrument_id"], finding["session"]) in lacking:
            del found["data_issues"][key]
    assert_same(found, expected)
    return sum(len(rows) for rows in found.values())


ASIDE = {"outcomes": ("is_final", "try_number"), "models": ("weights",), "runs": ("trigger",)}
"""Columns that count tries or, for weights, have a checksum beside them; and what opened a run."""


def _lasting(history: Facts, last: date) -> Facts:
    """Return the facts without earlier tries of outcomes, columns ASIDE, and what is to come."""
    return {
        table: {
            tuple(pair for pair in key if pair[0] not in ASIDE.get(table, ())): numbers
            for key, numbers in rows.items()
            if dict(key).get("is_final") != "False" and dict(key).get("session", "") <= str(last)
        }
        for table, rows in history.items()
    }


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a soak found."""

    sessions: int
    tickers: int
    calm: Life
    rough: Life
    tries: int
    forecasts: int
    live: int
    open_alerts: Sequence[str]
    """The same in both lives."""
    rows: int

    def __str__(self) -> str:
        faults = self.rough.faults
        lines = [
            f"{self.sessions} sessions of {self.tickers} tickers, {faults.total()} faults:",
            *(f"  {count:4} {kind}" for kind, count in sorted(faults.items())),
            f"{self.rough.daemons} daemon processes, {self.sessions} runs,"
            f" {self.tries - self.sessions} tries more than one each",
            f"{self.forecasts} forecasts, {self.live} of them live",
            f"alerts open in both lives: {'; '.join(self.open_alerts) or 'none'}",
            f"memory of the last daemon: {_memory(self.rough.steady())}",
            f"seconds: {self.calm.seconds:.0f} in peace, {self.rough.seconds:.0f} with faults",
            f"tables equal: yes, {self.rows} rows compared",
        ]
        return "\n".join(lines)


def _memory(sizes: Sequence[int]) -> str:
    start, middle, end = (sizes[at] / 2**20 for at in (0, len(sizes) // 2, -1))
    return (
        f"{start:.0f} MiB at the start, {middle:.0f} in the middle, {end:.0f} at the end"
        f" of {len(sizes)} sessions"
    )


def soak(
    home: Path, *, sessions: int, tickers: int, faults: int, seed: int, tensorflow: bool = False
) -> Report:
    """Live through the market twice; raises SoakError, and AssertionError where tables differ."""
    given = {"tickers": tickers, "count": sessions, "seed": seed}
    world = World(home / "market.csv", **given)
    held = draw_held(world.sessions, faults=faults, seed=seed)
    late = {day: [replace(one, event="forecasts: save") for one in held[day]] for day in held}
    with ExitStack() as stack:

        def live_once(name: str, planned: Planned, *, guarded: bool) -> Life:
            order = Order(
                settings=_settings(home / name),
                world=given,
                now=CALENDAR.open(world.sessions[0]),
                log=home / f"{name}.log",
                tensorflow=tensorflow,
            )
            server = embedded_server.start(home / name)
            return Soak(world, order, server).live(planned, guarded=guarded)

        calm, rough = (_database(home / name, world, stack) for name in ("calm", "rough"))
        in_peace = live_once("calm", late, guarded=False)
        draw(held, calm, tickers=tickers, faults=faults, seed=seed)
        with_faults = live_once("rough", held, guarded=True)
        return compare(calm, rough, in_peace, with_faults, world.sessions[-1])


def compare(calm: Engine, rough: Engine, in_peace: Life, with_faults: Life, last: date) -> Report:
    """Compare the two lives; raises AssertionError where their tables differ."""
    query = "SELECT * FROM stockbatch.sessions WHERE session <= :last ORDER BY calendar, session"
    assert fetch(rough, query, last=last) == fetch(calm, query, last=last)
    without = ("alerts", "alert_messages", "sessions")
    rows = alike(facts(calm, *without), facts(rough, *without), with_faults.lacking, last)
    query = (
        "SELECT condition || ' of ' || subject AS alert FROM stockbatch.alerts"
        " WHERE cleared_at IS NULL ORDER BY alert"
    )
    expected, open_alerts = ([row["alert"] for row in fetch(e, query)] for e in (calm, rough))
    assert open_alerts == expected, open_alerts
    query = (
        "SELECT (SELECT count(*) FROM stockbatch.instruments) AS tickers,"
        " count(*) AS sessions, sum(tries) AS tries,"
        " (SELECT count(*) FROM stockbatch.forecasts) AS forecasts,"
        " (SELECT count(*) FROM stockbatch.forecasts WHERE kind = 'live') AS live"
        " FROM stockbatch.runs WHERE session <= :last"
    )
    (counts,) = fetch(rough, query, last=last)
    return Report(calm=in_peace, rough=with_faults, rows=rows, open_alerts=open_alerts, **counts)


def _settings(home: Path) -> Settings:
    settings = Settings(home=home, monitoring_address="127.0.0.1:0")
    return small(settings, chunk_tickers=CHUNK, base_after_sessions=20)


def _database(home: Path, world: World, stack: ExitStack) -> Engine:
    """Make a server with the tickers of the world on its watchlist from the first session on."""
    settings = _settings(home)
    stack.callback(embedded_server.stop, home)
    server = embedded_server.start(home)
    database.migrate(settings)
    with _connect(superuser(server)) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")  # whoever starts it
        connection.execute("SELECT pg_reload_conf()")
    engine = database.engine(settings, role="owner")
    stack.callback(engine.dispose)
    app = App(settings=settings, engine=engine, trainer=None)  # type: ignore[arg-type]
    watch(app, world, CALENDAR.open(world.sessions[0]) + timedelta(hours=1), engine)
    return engine


@contextmanager
def prepared() -> Iterator[None]:
    """Let daemon processes start at once: what they import is imported once, in their parent."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.simulation"])
    try:
        first = context.Process(target=int)
        first.start()
        first.join()
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the soak and print its report; 1 where it failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--sessions", type=int, default=250)
    parser.add_argument("--tickers", type=int, default=10, choices=range(1, 11), metavar="1-10")
    parser.add_argument("--faults", type=int, help="default: a tenth more than sessions")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tensorflow", action="store_true", help="train as in production")
    parser.add_argument("--home", type=Path, help="an empty folder, kept; default: a temporary one")
    options = parser.parse_args(arguments)
    faults = options.faults or round(1.1 * options.sessions)
    with tempfile.TemporaryDirectory() as folder, prepared():
        home = options.home or Path(folder)
        home.mkdir(parents=True, exist_ok=True)
        try:
            report = soak(
                home,
                sessions=options.sessions,
                tickers=options.tickers,
                faults=faults,
                seed=options.seed,
                tensorflow=options.tensorflow,
            )
        except (SoakError, AssertionError) as error:
            print(f"the soak failed: {error!s:.2000}", file=sys.stderr)
            return 1
    print(report)
    return 0


if __name__ == "__main__":
    sys.exit(main())
