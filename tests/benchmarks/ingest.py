"""How long storing bars takes, checks and upsert included, in an embedded database of its own.

    python -m tests.benchmarks.ingest all_stocks_5yr.csv.gz

prints wall time and peak memory of: all bars of the file; the same again when nothing is new; one
day's delta of 10,000 instruments, whose answers are made up in memory; and 2.5 million rows.
"""

import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np

from jobs.app import App, running
from jobs.daily.fetch_only import fetch_session
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar
from stockbatch.records import BarRequest, Bars, FetchedBars, Listing, PriceBasis
from stockbatch.store import instruments

LAST = date(2018, 2, 7)
INSTRUMENTS, DELTA, LONG = 10_000, 30, 5_000


class MadeUp:
    """Random walks of as many tickers as are asked for: a seed each."""

    price_basis = PriceBasis.AS_TRADED
    corrects_overnight = True

    def __init__(self, name: str, calendar: TradingCalendar, first: date) -> None:
        self.name = self.specification = name
        self._days = calendar.between(first, sessions.as_date(calendar.sessions[-1]))

    def fetch(self, requests: Iterable[BarRequest]) -> Iterator[FetchedBars]:
        for request in requests:
            last = np.searchsorted(self._days, np.datetime64(request.last), side="right")
            rng = np.random.default_rng(int(request.symbol[1:]))
            close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, len(self._days))))
            start = 0
            if request.first is not None:
                start = np.searchsorted(self._days, np.datetime64(request.first))
            kept = slice(start, last)
            bars = Bars(
                sessions=self._days[kept],
                open=close[kept],
                high=close[kept] * 1.01,
                low=close[kept] * 0.99,
                close=close[kept],
                volume=np.full(last - start, 1e6),
            )
            yield FetchedBars(symbol=request.symbol, bars=bars)

    def close(self) -> None:
        """Do nothing: there is nothing to let go of."""


def watch(app: App, source: MadeUp, code: str, count: int) -> None:
    app.providers[source.name] = source
    names = [f"{source.name[0]}{number}" for number in range(count)]
    listings = [Listing(ticker=name, symbol=name, calendar=code) for name in names]
    with app.transaction() as db:
        instruments.add(db, listings, provider=source.name)


def timed(what: str, step: Callable[[], object]) -> None:
    started = time.perf_counter()
    said = str(step()).splitlines()[0]
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{what}: {seconds:.1f} s, peak {peak:.2f} GiB ({said})", flush=True)


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as home:
        try:
            with running(Settings(home=Path(home))) as app:
                app.clock = lambda: datetime(2018, 3, 1, tzinfo=UTC)
                _measure(app, Path(sys.argv[1]))
        finally:
            with suppress(FileNotFoundError):
                embedded_server.stop(Path(home))


def _measure(app: App, file: Path) -> None:
    def all_of_file() -> object:
        source = app.provider(f"csv:{file}")
        with app.transaction() as db:
            instruments.add(db, source.listings(), provider=source.specification)
        return fetch_session(app, "XNYS", LAST)

    timed("505 tickers from CSV, reading included", all_of_file)
    timed("the same again", lambda: fetch_session(app, "XNYS", LAST))
    london = sessions.load("XLON", LAST)
    before = london.previous(LAST)
    delta = MadeUp("delta", london, london.previous(LAST, DELTA))
    watch(app, delta, "XLON", INSTRUMENTS)
    timed(f"{DELTA} sessions of {INSTRUMENTS} new", lambda: fetch_session(app, "XLON", before))
    timed(f"a day's delta of {INSTRUMENTS}", lambda: fetch_session(app, "XLON", LAST))
    tokyo = sessions.load("XTKS", LAST)
    watch(app, MadeUp("long", tokyo, tokyo.previous(LAST, LONG - 1)), "XTKS", 500)
    timed(f"{500 * LONG:,} rows", lambda: fetch_session(app, "XTKS", LAST))


if __name__ == "__main__":
    main()
