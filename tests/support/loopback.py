"""Servers on the loopback interface, among them a Yahoo with charts that the tests put in."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import yfinance.cache
import yfinance.data

from stockbatch.providers.pacing import TokenBucket
from stockbatch.providers.yahoo.asking import PacedSession

NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}


@dataclass
class Reply:
    body: str
    status: int = 200
    kind: str = "application/json"
    delay: float = 0.0


@dataclass
class Webhook:
    """A server that keeps what it is sent, or refuses it."""

    url: str = ""
    refuses: bool = False
    received: list[Any] = field(default_factory=list)


@contextmanager
def webhook() -> Iterator[Webhook]:
    """Serve a channel of alerts on the loopback interface."""
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if not hook.refuses:
                hook.received.append(json.loads(body))
            self.send_response(500 if hook.refuses else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        hook.url = f"json://127.0.0.1:{http.server_port}/hook-s3cr3t"
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield hook
        http.shutdown()
        thread.join()


@contextmanager
def serving(answer: Callable[[str], Reply]) -> Iterator[int]:
    """Serve on the loopback interface what `answer` replies to a path; yield the port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = answer(self.path)
            time.sleep(reply.delay)
            body = reply.body.encode()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *args: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None:
            """Say nothing when a client has hung up."""

    with Server(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield http.server_port
        http.shutdown()
        thread.join()


def forget_yahoo() -> None:
    """Leave nothing in yfinance of the servers it was sent to."""
    yfinance.data.YfData.cache_get.cache_clear()
    type(yfinance.data.YfData)._instances.clear()
    yfinance.cache._TzDBManager.close_db()
    yfinance.cache._CookieDBManager.close_db()
    yfinance.cache._TzCacheManager._tz_cache = None
    yfinance.cache._CookieCacheManager._Cookie_cache = None


Chart = dict[str, Any] | Reply


@dataclass
class YahooServer:
    """What the server knows: charts by symbol, and what it was asked for."""

    port: int = 0
    charts: dict[str, Chart | Callable[[], Chart]] = field(default_factory=dict)
    """A chart, a reply, or what makes one each time it is asked for."""
    crumb: Reply = field(default_factory=lambda: Reply("crumb", kind="text/plain"))
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def reply(self, symbol: str, body: str, status: int = 200, **more: Any) -> None:
        """Answer every question about a symbol with this text."""
        self.charts[symbol] = Reply(body, status, **{"kind": "text/html"} | more)

    def replies(self, symbol: str, *charts: Chart) -> None:
        """Answer with one after the other, for ever with the last."""
        rest = list(charts)
        self.charts[symbol] = lambda: rest.pop(0) if len(rest) > 1 else rest[0]

    def answer(self, path: str) -> Reply:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/v1/test/getcrumb":
            return self.crumb
        if not parts.path.startswith("/v8/finance/chart/"):
            return Reply("not here", 404, "text/plain")
        symbol = unquote(parts.path.rpartition("/")[2])
        self.asked.append((symbol, query))
        chart = self.charts.get(symbol)
        if callable(chart):
            chart = chart()
        if chart is None:
            return Reply(json.dumps({"chart": {"result": None, "error": NOT_FOUND}}), 404)
        if isinstance(chart, Reply):
            return chart
        return Reply(json.dumps(_within(chart, symbol, query)))

    def session(self, bucket: TokenBucket) -> PacedSession:
        """Return an HTTP session that finds this server behind every name of Yahoo's."""
        server = self

        class Loopback(PacedSession):
            def request(self, method: str, url: str, **options: Any) -> Any:
                parts = urlsplit(url)
                assert parts.hostname is not None
                assert parts.hostname.endswith("yahoo.com"), url
                cookie = "/cookie" if parts.hostname == "fc.yahoo.com" else ""
                local = f"http://127.0.0.1:{server.port}{cookie}{parts.path}"
                if parts.query:
                    local += f"?{parts.query}"
                return super().request(method, local, **options)

        return Loopback(bucket)


def _within(chart: dict[str, Any], symbol: str, query: dict[str, str]) -> dict[str, Any]:
    """Cut a chart to period1 <= t < period2, as Yahoo does, but for a live row that leaks."""
    chart = json.loads(json.dumps(chart))
    for result in chart["chart"]["result"]:
        result["meta"].setdefault("symbol", symbol)
    if "period1" not in query:
        return chart
    first, last = float(query["period1"]), float(query["period2"])
    for result in chart["chart"]["result"]:
        if "timestamp" not in result:
            continue
        live = result["meta"].get("regularMarketTime")
        keep = [first <= moment < last or moment == live for moment in result["timestamp"]]
        quote = result["indicators"]["quote"][0]
        columns = [quote, *result["indicators"].get("adjclose", [])]
        for column in columns:
            for name, values in column.items():
                column[name] = [value for value, kept in zip(values, keep, strict=True) if kept]
        result["timestamp"] = [t for t, kept in zip(result["timestamp"], keep, strict=True) if kept]
        for kind, events in result.get("events", {}).items():
            inside = {key: event for key, event in events.items() if first <= event["date"] < last}
            result["events"][kind] = inside
    return chart
