"""How fast the provider parquet reads: `python -m tests.benchmarks.lake 5000`, made-up tickers.

Five years of bars of so many tickers in a file for each month, as `stockbatch export` has them:
all tickers listed, all bars read, and the last ten sessions.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stockbatch.market import sessions
from stockbatch.providers.parquet.provider import ParquetFiles
from stockbatch.records import BarRequest, FetchedBars, Listing

LAST = date(2024, 6, 28)
SESSIONS, RECENT = 1260, 10


def main() -> None:
    days = sessions.load("XNYS", LAST).window(LAST, SESSIONS).tolist()
    with tempfile.TemporaryDirectory() as folder:
        for month, table in months(int(sys.argv[1]), days):
            file = Path(folder) / f"year={month.year}" / f"month={month.month}" / "bars.parquet"
            file.parent.mkdir(parents=True)
            pq.write_table(table, file, row_group_size=50_000)
        source = ParquetFiles(folder)
        started = time.perf_counter()
        tickers = [one.ticker for one in source.listings() if isinstance(one, Listing)]
        say(f"{len(tickers):,} tickers listed", started)
        for first in (None, days[-RECENT]):
            started = time.perf_counter()
            asked = [BarRequest(symbol=t, first=first, last=LAST, calendar="XNYS") for t in tickers]
            answers = source.fetch(asked)
            bars = sum(len(one.bars) for one in answers if isinstance(one, FetchedBars))
            say(f"{bars:,} bars read from {first or 'the beginning'} on", started)


def months(count: int, days: list[date]) -> Iterator[tuple[date, pa.Table]]:
    tickers = [f"T{number:05}" for number in range(count)]
    draws = np.random.default_rng(1)
    for _, some in groupby(days, lambda day: (day.year, day.month)):
        month = list(some)
        rows = count * len(month)
        close = np.round(100 * np.exp(draws.normal(0, 0.1, rows)), 2)
        unknown = pa.nulls(rows, pa.float64())
        columns = {
            "session": pa.array(month * count),
            "ticker": np.repeat(tickers, len(month)),
            "open": close,
            "high": close + 1,
            "low": close - 1,
            "close": close,
            "volume": np.full(rows, 1e6),
            "split": unknown,
            "dividend": unknown,
            "price_basis": ["as_traded"] * rows,
        }
        yield month[0], pa.table(columns)


def say(what: str, started: float) -> None:
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {time.perf_counter() - started:.1f} s, peak {memory:.2f} GiB")


if __name__ == "__main__":
    main()
