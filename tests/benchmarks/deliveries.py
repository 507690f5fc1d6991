"""How a folder that a vendor puts one file a morning into is fetched, morning by morning.

    python -m tests.benchmarks.deliveries daily_deliveries

takes the folder's files in the order of their names (YYYYMMDD.csv.gz, the bars of about 6,000
symbols for that session and the one before), and prints of each morning how long putting new
symbols on the watchlist and fetching took, and at the end what was stored and what was found.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from jobs import watchlist
from jobs.app import App, running
from jobs.daily.fetch_only import fetch_session
from stockbatch.config import Settings
from stockbatch.database import embedded_server
from stockbatch.market import sessions

STORED = """
SELECT count(*) AS bars, count(DISTINCT instrument_id) AS symbols,
    count(*) FILTER (WHERE revision > 1) AS corrected,
    count(*) FILTER (WHERE state = 'quarantined') AS quarantined,
    (SELECT count(*) FROM stockbatch.corporate_actions WHERE kind = 'split') AS splits
FROM stockbatch.bars
"""
FOUND = "SELECT check_name, count(*) AS n FROM stockbatch.data_issues GROUP BY 1 ORDER BY 2 DESC, 1"


def mornings(app: App, deliveries: Path, folder: Path) -> Iterator[tuple[date, float, str]]:
    """Copy file after file into `folder`; yield its session, seconds taken and what was said."""
    calendar = sessions.load("XNYS", date(2015, 12, 31))
    specification = f"csv:{folder}"
    for file in sorted(deliveries.glob("*.csv.gz")):
        shutil.copy(file, folder)
        session = datetime.strptime(file.name[:8], "%Y%m%d").date()  # noqa: DTZ007
        if not calendar.is_session(session):
            session = calendar.previous(session)
        as_of = calendar.close(session) + timedelta(hours=12)
        app.clock = lambda as_of=as_of: as_of
        started = time.perf_counter()
        added = watchlist.add_all(app, specification)
        fetched = fetch_session(app, "XNYS", session)
        seconds = time.perf_counter() - started
        failures = "".join(f"; {failure}" for failure in added.failures)
        said = str(fetched).partition("\n")[0]
        yield session, seconds, f"{len(added.listings)} added, {said}{failures}"


@contextmanager
def _made(home: Path) -> Iterator[App]:
    try:
        with running(Settings(home=home)) as app:
            app.clock = lambda: datetime(2015, 6, 1, tzinfo=UTC)
            yield app
    finally:
        with suppress(FileNotFoundError):
            embedded_server.stop(home)


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as place, _made(Path(place, "home")) as app:
        folder = Path(place, "bars")
        folder.mkdir()
        for session, seconds, said in mornings(app, Path(sys.argv[1]), folder):
            print(f"{session}: {seconds:.1f} s: {said}", flush=True)
        with app.transaction() as db:
            print(dict(db.execute(text(STORED)).mappings().one()))
            for row in db.execute(text(FOUND)):
                print(f"{row.check_name}: {row.n}")


if __name__ == "__main__":
    main()
