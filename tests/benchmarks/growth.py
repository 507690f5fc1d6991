"""How much a database grows in a year, extrapolated from a small one that the jobs have filled.

    python -m tests.benchmarks.growth

runs 22 sessions of 40 made-up tickers, every model retrained once, and measures per
table the rows that a session adds and the bytes of a row, indexes and TOAST included. The result
at 500 and 10,000 tickers is arithmetic: it takes every ticker to trade on one exchange every
session, nothing to be restated, no backtests, and a vacuum that keeps up. Networks have the size of
the default settings; their weights are made up, because only their size counts.
"""

import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import text

from jobs.app import App, running
from jobs.care import prune
from jobs.daily.run import run_session
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions
from tests.benchmarks.ingest import LAST, MadeUp, watch
from tests.support.market import PlainTrainer

CODE, TICKERS, HISTORY = "XNYS", 40, 1300
SIZES, YEAR = (500, 10_000), 252
PER_SESSION = {"runs", "market_inputs", "sessions", "metrics"}
"""Tables that grow with the sessions of an exchange, however many tickers it has."""


class Size(NamedTuple):
    """Rows of a table, and the bytes of all but the weights of models."""

    rows: int
    size: int


def main() -> None:
    if len(sys.argv) > 1:
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as home:
        try:
            settings = Settings(home=Path(home))
            with running(settings) as app:
                app.trainer = PlainTrainer()
                app.clock = lambda: datetime(2018, 3, 1, tzinfo=UTC)
                _measure(app)
        finally:
            with suppress(FileNotFoundError):
                embedded_server.stop(Path(home))


def _measure(app: App) -> None:
    calendar = sessions.load(CODE, LAST)
    span = app.settings.retrain_after_sessions  # in which every ticker is retrained once
    days = [sessions.as_date(day) for day in calendar.window(LAST, span + 2)]
    watch(app, MadeUp("made-up", calendar, calendar.previous(LAST, HISTORY)), CODE, TICKERS)
    for day in days[:2]:
        run_session(app, CODE, day)
    before = _sizes(app)
    for day in days[2:]:
        run_session(app, CODE, day)
    prune.vacuum(app)
    after = _sizes(app)
    print(f"{TICKERS} tickers, {span} sessions: rows a session adds, bytes of a row, GB a year")
    print(f"{'':20}{'rows':>10}{'bytes':>10}" + "".join(f"{n:>10,}" for n in SIZES))
    totals = dict.fromkeys(SIZES, 0.0)
    for table, (rows, size) in sorted(after.items()):
        added = (rows - before[table].rows) / span
        if not added:
            continue
        per_row = size / rows
        scale = 1 if table in PER_SESSION else 1 / TICKERS
        grown = {
            n: added * scale * (1 if table in PER_SESSION else n) * per_row * YEAR / 1e9
            for n in SIZES
        }
        totals = {n: totals[n] + grown[n] for n in SIZES}
        unit = "" if table in PER_SESSION else " per ticker"
        line = f"{table:20}{added * scale:10.2f}{per_row:10.0f}"
        print(line + "".join(f"{grown[n]:10.3f}" for n in SIZES) + unit)
    print(f"{'GB a year':40}" + "".join(f"{totals[n]:10.2f}" for n in SIZES))
    _print_constant(app, after)


def _print_constant(app: App, sizes: dict[str, Size]) -> None:
    """Print what is there from the beginning and does not grow."""
    bars = sizes["bars"].size / sizes["bars"].rows * app.settings.model.history_sessions
    kept = app.settings.keep_retired_models + 1
    with app.transaction() as db:
        weights = db.scalar(
            text("SELECT avg(length(weights)) FROM stockbatch.models WHERE kind = 'ticker'")
        )
    first = {n: n * (bars + kept * float(weights)) / 1e9 for n in SIZES}
    what = f"once: {app.settings.model.history_sessions} bars, {kept} weights"
    print(f"{what:40}" + "".join(f"{first[n]:10.2f}" for n in SIZES))


def _sizes(app: App) -> dict[str, Size]:
    """Return rows and bytes of every table; weights are not counted, for they do not pile up."""
    with app.transaction() as db:
        names = db.scalars(
            text("SELECT relname FROM pg_class WHERE relkind = 'r'"
                 " AND relnamespace = 'stockbatch'::regnamespace")
        ).all()  # fmt: skip
        sizes = {}
        for name in names:
            whole = "pg_table_size" if name != "models" else "pg_relation_size"
            rows, size = db.execute(
                text(f"SELECT count(*), {whole}('stockbatch.{name}')"
                     f" + pg_indexes_size('stockbatch.{name}') FROM stockbatch.{name}")
            ).one()  # fmt: skip
            sizes[name] = Size(rows, size)
        return sizes


if __name__ == "__main__":
    main()
