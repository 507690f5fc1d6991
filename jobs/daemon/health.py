"""How the daemon is doing, over HTTP: `/healthz`, `/readyz` and `/metrics`.

The first tells whether the loop turns, the second whether anything is past its deadline undone, the
third what there is to watch over time.
"""

import errno
import json
import logging
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from typing import Any

from prometheus_client.exposition import choose_encoder
from sqlalchemy.exc import SQLAlchemyError

from jobs.app import App
from jobs.daemon import agenda, gauges
from jobs.daemon.signals import Beat
from stockbatch import database
from stockbatch.config import Address
from stockbatch.exceptions import ConfigurationError, StockbatchError
from stockbatch.store import bi
from stockbatch.text import counted

log = logging.getLogger(__name__)

AGAIN = 10.0
"""Seconds between attempts to get an address that is in use."""
MOST = 32
"""Connections open at once, each of which has a thread."""
HEAD_SECONDS = 10.0
"""For a request, however many pieces it comes in."""


@contextmanager
def serving(app: App, beat: Beat) -> Iterator[tuple[str, int] | None]:
    """Answer on the setting `monitoring_address` and yield host and port.

    None where nothing is set, and where another program has the address, perhaps the daemon that
    this one waits for: then it is taken over as soon as it is free. Raises ConfigurationError.
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
            server.end_late()

    thread = Thread(target=serve, name="monitoring", daemon=True)
    thread.start()
    try:
        yield (str(server.server_address[0]), int(server.server_address[1])) if is_bound else None
    finally:
        ended.set()
        thread.join()
        server.server_close()


def problems(app: App) -> list[str]:
    """Return what keeps the service from being ready.

    Nothing may be past its deadline undone, and what was run must have had its bars.
    """
    try:
        database.require_current(app.engine)
        now = app.clock()
        awake = {one.calendar.code: one for one in agenda.load(app) if not one.paused}
        undone = [
            f"{code} {session}: not finished by {exchange.deadline(session)}"
            for code, exchange in awake.items()
            if (session := exchange.expected(now)) and not exchange.is_done(session)
        ]
        with app.transaction() as db:
            short = [one for one in bi.completeness.shortfalls(db) if one.calendar in awake]
        return [*undone, *(f"{one.calendar}: {one}" for one in short)]
    except (StockbatchError, SQLAlchemyError) as error:
        return [str(error).splitlines()[0]]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    timeout = 0.2  # so long a request is waited for until the next look at whether to go on
    request_queue_size = 128  # what does not fit is tried again by its sender a second later

    def __init__(self, address: Address, app: App, beat: Beat) -> None:
        # A name may stand for an address of either family, which the socket has to share.
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        self.address_family, *_, numeric = found[0]
        super().__init__((str(numeric[0]), address.port), _Handler, bind_and_activate=False)
        self.app, self.beat, self.registry = app, beat, gauges.registry(app, beat.last)
        self._change, self._open = Condition(), 0
        self._unasked: dict[socket.socket, float] = {}
        """Connections without a whole request, the oldest first, and since when."""

    def process_request(self, request: Any, client_address: Any) -> None:
        """Make room for a connection: the one goes that has been without a request for longest."""
        with self._change:
            self._open += 1
            self._unasked[request] = time.monotonic()
            if self._open > MOST:
                self._end(next(iter(self._unasked)))
                # Its thread is on its way out: until then there is no room for another.
                self._change.wait_for(lambda: self._open <= MOST, timeout=1)
        super().process_request(request, client_address)

    def asked(self, connection: socket.socket) -> None:
        """Let a connection with a whole request be."""
        with self._change:
            self._unasked.pop(connection, None)

    def shutdown_request(self, request: Any) -> None:
        """Forget a connection that ends."""
        with self._change:
            self._open -= 1
            self._unasked.pop(request, None)
            self._change.notify_all()
        super().shutdown_request(request)

    def end_late(self) -> None:
        """End connections that take too long to say what they want."""
        with self._change:
            latest = time.monotonic() - HEAD_SECONDS
            for request in [one for one, since in self._unasked.items() if since < latest]:
                self._end(request)

    def _end(self, request: socket.socket) -> None:
        """Let the thread of a connection find that it has ended."""
        del self._unasked[request]
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)

    def handle_error(self, *_request: object) -> None:
        """Say nothing of a client that hung up or fell silent; log all else."""
        hung_up = isinstance(sys.exception(), OSError)
        log.log(logging.DEBUG if hung_up else logging.ERROR, "no answer", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10.0

    def do_GET(self) -> None:
        """Answer one of the three questions."""
        self.server.asked(self.connection)
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, kind = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, encode(self.server.registry), kind)
        elif path == "/healthz":
            beat = self.server.beat
            minutes = beat.age / 60
            said = beat.trouble or "the loop has stalled"
            self._report(
                [f"{said} (for {counted(round(minutes), 'minute')})"] if beat.is_overdue else []
            )
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


def _server(app: App, beat: Beat) -> _Server:
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
