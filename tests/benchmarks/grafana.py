"""How fast Grafana's queries answer on five years of the S&P 500 with 60 sessions backtested.

    python -m tests.benchmarks.grafana [HOME]

loads ../shared/data/sp500_5yr into an embedded database of its own, backtests its last 60 sessions
and runs the daily job for the last, with the program's commands (some minutes), then runs every
query of every dashboard as the reader, as Grafana does, and prints its best time, rows fetched. It
fails where a query finds nothing. With HOME the database is kept there, and found filled by the
next call.
"""

import os
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from sqlalchemy import Connection, Engine

from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions
from tests.support import places
from tests.support.grafana import DASHBOARDS, expand, loaded, panels, rows, values_of

DATA = places.DATA / "sp500_5yr"
LAST = date(2018, 2, 7)
SESSIONS = 60
RANGES = {
    "a year that ends with the data": ("2017-02-08T00:00:00Z", "2018-02-12T00:00:00Z"),
    "this year": ("2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"),
}
REPEATS = 5
MAY_BE_EMPTY = {"Alerts, open ones first"}


def fill(home: Path) -> None:
    """Fill an empty home as a user does."""
    calendar = sessions.load("XNYS", LAST)
    first = calendar.previous(LAST, SESSIONS)
    for command in (
        ("tickers", "add", "--all", "--provider", f"csv:{DATA}"),
        ("fetch",),
        ("backtest", "--from", str(first), "--to", str(calendar.previous(LAST))),
        ("run", "--session", str(LAST)),
    ):
        started = time.perf_counter()
        environment = {**os.environ, "STOCKBATCH_HOME": str(home)}
        subprocess.run([sys.executable, "-m", "jobs", *command], env=environment, check=True)
        print(f"{time.perf_counter() - started:7.1f} s  stockbatch {' '.join(command)}", flush=True)


def measure(engine: Engine) -> None:
    """Print the time of each query."""
    with engine.connect() as reader:
        for name in DASHBOARDS:
            for variable in loaded(name)["templating"]["list"]:
                if variable["type"] == "query":
                    say(*best(reader, variable["query"]), f"{name}: variable {variable['name']}")
            values = values_of(reader, name)
            for panel in panels(name):
                for words, between in RANGES.items():
                    query = expand(panel["targets"][0]["rawSql"], values, between)
                    seconds, count = best(reader, query)
                    say(seconds, count, f"{name}: {panel['title']}, {words}")
                    assert count or panel["title"] in MAY_BE_EMPTY, query


def best(reader: Connection, query: str) -> tuple[float, int]:
    """Return the best seconds of a query, rows fetched, and their number."""
    took = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        found = rows(reader, query)[1]
        took.append(time.perf_counter() - started)
    return min(took), len(found)


def say(seconds: float, count: int, what: str) -> None:
    print(f"{1000 * seconds:9.1f} ms  {count:7} rows  {what}", flush=True)


def main() -> None:
    if len(sys.argv) > 2 or sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as own:
        home = Path(sys.argv[1] if len(sys.argv) == 2 else own)
        try:
            if not home.is_dir() or not any(home.iterdir()):
                fill(home)
            embedded_server.start(home)
            reader = database.engine(Settings(home=home), role="reader")
            measure(reader)
            reader.dispose()
        finally:
            embedded_server.stop(home)


if __name__ == "__main__":
    main()
