"""A Yahoo on the loopback interface that answers yfinance with charts the tests put in."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from curl_cffi import requests

NOT_FOUND = {"code": "Not Found", "description": "No data found, symbol may be delisted"}


@dataclass
class Reply:
    body: str
    status: int = 200
    kind: str = "application/json"


@dataclass
class YahooServer:
    """What the server knows: charts by symbol, and what it was asked for."""

    port: int = 0
    charts: dict[str, dict[str, Any] | Reply] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def reply(self, symbol: str, body: str, status: int = 200, kind: str = "text/html") -> None:
        """Answer every question about a symbol with this text."""
        self.charts[symbol] = Reply(body, status, kind)

    def answer(self, path: str) -> Reply:
        parts = urlsplit(path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/v1/test/getcrumb":
            return Reply("crumb", kind="text/plain")
        if not parts.path.startswith("/v8/finance/chart/"):
            return Reply("not here", 404, "text/plain")
        symbol = unquote(parts.path.rpartition("/")[2])
        self.asked.append((symbol, query))
        chart = self.charts.get(symbol)
        if chart is None:
            return Reply(json.dumps({"chart": {"result": None, "error": NOT_FOUND}}), 404)
        return chart if isinstance(chart, Reply) else Reply(json.dumps(_within(chart, query)))

    def session(self) -> requests.Session[Any]:
        """Return an HTTP session that finds this server behind every name of Yahoo's."""
        port = self.port

        class Loopback(requests.Session):
            def request(self, method: str, url: str, **options: Any) -> Any:
                parts = urlsplit(url)
                assert parts.hostname is not None
                assert parts.hostname.endswith("yahoo.com"), url
                cookie = "/cookie" if parts.hostname == "fc.yahoo.com" else ""
                local = f"http://127.0.0.1:{port}{cookie}{parts.path}"
                if parts.query:
                    local += f"?{parts.query}"
                return super().request(method, local, **options)

        return Loopback()


def _within(chart: dict[str, Any], query: dict[str, str]) -> dict[str, Any]:
    """Cut a chart to period1 <= t < period2, as Yahoo does."""
    chart = json.loads(json.dumps(chart))
    if "period1" not in query:
        return chart
    first, last = float(query["period1"]), float(query["period2"])
    for result in chart["chart"]["result"]:
        if "timestamp" not in result:
            continue
        keep = [first <= moment < last for moment in result["timestamp"]]
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


@pytest.fixture
def yahoo_server() -> Iterator[YahooServer]:
    server = YahooServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = server.answer(self.path)
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

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.port = http.server_port
        thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        http.shutdown()
        thread.join()
