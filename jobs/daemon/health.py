"""How the daemon is doing, over HTTP: `/healthz`, `/readyz` and `/metrics`.

What concerns the data is read from the database at every scrape, so that a restart loses nothing;
the memory of the processes and the durations of steps are this process's own.
"""

import errno
import json
import logging
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from jobs import telemetry
from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Exchange
from jobs.daemon.signals import longest_silence
from stockbatch import database
from stockbatch.config import Address
from stockbatch.exceptions import ConfigurationError, StockbatchError
from stockbatch.store import alerts, health

log = logging.getLogger(__name__)

AGAIN = 10.0
"""Seconds between attempts to get an address that is in use."""


@contextmanager
def serving(app: App, beat: Callable[[], datetime]) -> Iterator[tuple[str, int] | None]:
    """Answer on the setting `monitoring_address` and yield host and port.

    None where nothing is set, and where another program has the address, perhaps the daemon that
    this one waits for: then it is taken over as soon as it is free. `beat` returns when the daemon
    last showed a sign of life. Raises ConfigurationError.
    """
    if not app.settings.monitoring_address:
        yield None
        return
    server = _server(app, beat)
    is_bound, ended = _bound(server), Event()
    if not is_bound:
        taken = app.settings.monitoring_address
        log.warning("monitoring waits for its address: %s is in use", taken)

    def serve() -> None:
        bound = is_bound
        while not (bound or ended.wait(AGAIN)):
            bound = _bound(server)
        while not ended.is_set():
            server.handle_request()

    thread = Thread(target=serve, name="monitoring", daemon=True)
    thread.start()
    try:
        yield (str(server.server_address[0]), int(server.server_address[1])) if is_bound else None
    finally:
        ended.set()
        thread.join()
        server.server_close()


def problems(app: App) -> list[str]:
    """Return what keeps the service from being ready: nothing may be past its deadline undone."""
    try:
        database.require_current(app.engine)
        now = app.clock()
        return [
            f"{exchange.calendar.code} {session}: not finished by {exchange.deadline(session)}"
            for exchange in agenda.load(app)
            if not exchange.paused
            and (session := exchange.expected(now))
            and not exchange.is_done(session)
        ]
    except (StockbatchError, SQLAlchemyError) as error:
        return [str(error).splitlines()[0]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    timeout = 0.2  # so long a request is waited for until the next look at whether to go on

    def __init__(self, address: Address, app: App, beat: Callable[[], datetime]) -> None:
        # A name may stand for an address of either family, which the socket has to share.
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        self.address_family, *_, numeric = found[0]
        super().__init__((str(numeric[0]), address.port), _Handler, bind_and_activate=False)
        self.app, self.beat, self.registry = app, beat, _registry(app, beat)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        """Answer one of the three questions."""
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, encode(self.server.registry), kind)
        elif path == "/healthz":
            idle = self.server.app.clock() - self.server.beat()
            longest = timedelta(seconds=longest_silence(self.server.app.settings))
            self._report(["the loop has stalled"] if idle > longest else [])
        elif path == "/readyz":
            self._report(problems(self.server.app))
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def _report(self, wrong: list[str]) -> None:
        status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
        body = json.dumps({"status": "failing" if wrong else "ok", "problems": wrong})
        self._answer(status, body.encode(), "application/json")

    def _answer(self, status: HTTPStatus, body: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *values: Any) -> None:  # noqa: A002 (the name is given)
        log.debug(format, *values)


def _server(app: App, beat: Callable[[], datetime]) -> _Server:
    address = Address.parse(app.settings.monitoring_address)
    try:
        return _Server(address, app, beat)
    except OSError as error:
        raise _unusable(app.settings.monitoring_address, error) from None


def _bound(server: _Server) -> bool:
    """Listen; return False where another program does. Raises ConfigurationError."""
    try:
        server.server_bind()
        server.server_activate()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        server.server_close()
        raise _unusable(server.app.settings.monitoring_address, error) from None
    host, port = server.server_address[:2]
    log.info("monitoring: http://%s/metrics", Address(str(host), int(port)))
    return True


def _unusable(address: str, error: OSError) -> ConfigurationError:
    reason = f"{address}: {error.strerror}"
    return ConfigurationError(source="settings", key="monitoring_address", reason=reason)


def _registry(app: App, beat: Callable[[], datetime]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(telemetry.STEP_SECONDS)
    registry.register(_Ledger(app, beat))
    ProcessCollector(registry=registry)
    ProcessCollector(
        "stockbatch_child", pid=lambda: str(app.trainer.pid or "none"), registry=registry
    )
    return registry


class _Ledger(Collector):
    """What the database says, at the moment it is asked."""

    def __init__(self, app: App, beat: Callable[[], datetime]) -> None:
        self._app = app
        self._beat = beat

    def describe(self) -> list[Metric]:
        """Return nothing: the database is not asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; of a database out of reach only that it is."""
        beat = "Instant at which the daemon's loop last turned."
        yield GaugeMetricFamily(
            "stockbatch_heartbeat_timestamp_seconds", beat, self._beat().timestamp()
        )
        families: list[Metric] = []
        try:
            families = list(_families(self._app))
        except (StockbatchError, SQLAlchemyError) as error:
            log.warning("no metrics from the database: %s", error)
        up = "1 if the database answered."
        yield GaugeMetricFamily("stockbatch_database_up", up, float(bool(families)))
        yield from families


def _families(app: App) -> Iterator[Metric]:
    """Yield the metrics that the database holds."""
    now = app.clock()
    exchanges = {exchange.calendar.code: exchange for exchange in agenda.load(app)}
    with app.transaction() as db:
        successes, bars = health.successes(db), health.bars(db)
        outcomes, forecasts = health.outcomes(db), health.forecasts(db)
        metrics, open_alerts = health.metrics(db), alerts.still_open(db)
    yield from _of_sessions(exchanges, now, successes, bars)
    yield _gauge(
        "outcomes",
        "Tickers by what the newest run did for them, and why.",
        ["calendar", "action", "reason"],
        [((row.calendar, row.action, row.reason), row.tickers) for row in outcomes],
    )
    yield _gauge(
        "forecasts",
        "Tickers with a forecast of the session after it.",
        ["calendar", "method", "kind"],
        [((row.calendar, row.method, row.kind), row.tickers) for row in forecasts],
    )
    yield from _of_accuracy(metrics)
    yield _gauge(
        "open_alerts",
        "Alerts that are on.",
        ["condition", "subject"],
        [((alert.condition, alert.subject), 1) for alert in open_alerts],
    )


def _of_sessions(
    exchanges: Mapping[str, Exchange], now: datetime, successes: Sequence[Any], bars: Sequence[Any]
) -> Iterator[Metric]:
    """Yield how far the exchanges are, and how old their data."""
    yield _gauge(
        "due_sessions",
        "Closed sessions that wait for a finished run.",
        ["calendar"],
        [
            ((code,), sum(not one.is_done(session) for session in one.lacks))
            for code, one in exchanges.items()
        ],
    )
    yield _gauge(
        "last_success_timestamp_seconds",
        "Instant at which a run last finished.",
        ["calendar"],
        [((row.calendar,), row.finished_at.timestamp()) for row in successes],
    )
    yield _gauge(
        "last_run_seconds",
        "Duration of that run, from its first start to its end.",
        ["calendar"],
        [((row.calendar,), row.seconds) for row in successes],
    )
    closes = {
        row.calendar: exchanges[row.calendar].calendar.close(row.newest)
        for row in bars
        if row.newest and row.calendar in exchanges
    }
    yield _gauge(
        "data_age_seconds",
        "Time since the close of the newest session with an accepted bar.",
        ["calendar"],
        [((code,), (now - close).total_seconds()) for code, close in closes.items()],
    )
    yield _gauge(
        "bars_ratio",
        "Share of tickers with an accepted bar of the newest session that was run.",
        ["calendar"],
        [((row.calendar,), row.held / row.expected) for row in bars if row.expected],
    )


def _of_accuracy(metrics: Sequence[Any]) -> Iterator[Metric]:
    """Yield how good the forecasts were."""
    labels = ["calendar", "method", "kind", "window"]
    coverages = [row for row in metrics if row.metric.startswith("coverage")]
    yield _gauge(
        "interval_coverage_ratio",
        "Share of actual returns inside the interval, over the last sessions.",
        [*labels, "interval"],
        [((*_key(row), row.metric.removeprefix("coverage_")), row.value) for row in coverages],
    )
    yield _gauge(
        "skill_ratio",
        "1 - loss / loss of the baseline, over the last sessions; above 0 is better.",
        [*labels, "metric"],
        [((*_key(row), row.metric), row.skill) for row in metrics if row.skill is not None],
    )


def _key(row: Any) -> tuple[str, str, str, str]:
    return row.calendar, row.method, row.kind, str(row.window_sessions)


def _gauge(name: str, text: str, labels: list[str], samples: list[tuple[Any, Any]]) -> Metric:
    family = GaugeMetricFamily(f"stockbatch_{name}", text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, float(number))
    return family
