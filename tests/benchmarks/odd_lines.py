"""How much longer a large file takes to be listed and stored for ten lines that are no bars.

    python -m tests.benchmarks.odd_lines [ROWS]

makes up a long file of 3,000,000 rows (or so many) and the same with ten odd lines, puts the
tickers of each on the watchlist of an embedded database of its own and fetches them, in turns, and
prints the seconds of both steps and the ratio of the fastest turns.
"""

import sys
import tempfile
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
from sqlalchemy import text

from jobs import watchlist
from jobs.app import App, running
from jobs.daily.fetch_only import fetch_session
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions

ROWS, SESSIONS, TURNS = 3_000_000, 3_000, 2
LAST = date(2018, 2, 7)
HEADER = "date,open,high,low,close,volume,Name"
ODD = (
    HEADER,
    "",
    "Total",
    "2018-01-02,1,2,0.5,1,7,T0,8,9",
    "someday,1,2,0.5,1,7,T0",
    HEADER,
    "2018-13-45,1,2,0.5,1,7,T0",
    "2018-01-02,1",
    '"not investment advice"',
    "2018-01-02,one,2,0.5,1,7,T0",
)


def made_up(rows: int) -> list[str]:
    """Return the lines of random walks, ticker by ticker, without a header."""
    calendar = sessions.load("XNYS", LAST)
    days = calendar.between(calendar.previous(LAST, SESSIONS - 1), LAST).astype(str).tolist()
    lines: list[str] = []
    for number in range(-(-rows // SESSIONS)):
        rng = np.random.default_rng(number)
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, SESSIONS)))
        lines += [
            f"{day},{at:.4f},{1.01 * at:.4f},{0.99 * at:.4f},{at:.4f},{1000 + number},T{number}"
            for day, at in zip(days, close.tolist(), strict=True)
        ]
    return lines[:rows]


def write(folder: Path, rows: int) -> dict[str, Path]:
    """Write the clean file and the odd one; return them by what they are."""
    lines = made_up(rows)
    files = {"clean": folder / "clean.csv", "odd": folder / "odd.csv"}
    files["clean"].write_text("\n".join([HEADER, *lines, ""]))
    for number, line in enumerate(ODD, start=1):
        lines.insert(number * len(lines) // (len(ODD) + 1), line)
    files["odd"].write_text("\n".join([HEADER, *lines, ""]))
    return files


def taken(file: Path) -> tuple[float, float, int, int]:
    """List and store a file; return the seconds of each, and how many bars and findings came."""
    with tempfile.TemporaryDirectory() as home:
        try:
            with running(Settings(home=Path(home))) as app:
                app.clock = lambda: datetime(2018, 3, 1, tzinfo=UTC)
                return _taken(app, file)
        finally:
            with suppress(FileNotFoundError):
                embedded_server.stop(Path(home))


def _taken(app: App, file: Path) -> tuple[float, float, int, int]:
    started = time.perf_counter()
    watchlist.add_all(app, f"csv:{file}")
    listed = time.perf_counter()
    fetch_session(app, "XNYS", LAST)
    stored = time.perf_counter()
    with app.transaction() as db:
        bars, found = (
            db.execute(text(f"SELECT count(*) FROM stockbatch.{table}")).scalar_one()
            for table in ("bars", "data_issues")
        )
    return listed - started, stored - listed, bars, found


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else ROWS
    fastest: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), rows)
        for _ in range(TURNS):
            for name, file in files.items():
                listing, storing, bars, found = taken(file)
                print(
                    f"{name}: listed in {listing:.1f} s, stored in {storing:.1f} s:"
                    f" {bars:,} bars, {found} findings",
                    flush=True,
                )
                before = fastest.get(name, [listing, storing])
                fastest[name] = [min(before[0], listing), min(before[1], storing)]
    clean, odd = fastest["clean"], fastest["odd"]
    print(f"odd / clean: listing {odd[0] / clean[0]:.2f}, storing {odd[1] / clean[1]:.2f},"
          f" both {sum(odd) / sum(clean):.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
