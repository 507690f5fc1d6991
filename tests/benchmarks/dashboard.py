"""How fast the dashboard's pages are drawn, in headless Chromium, on a database filled in SQL.

    python -m tests.benchmarks.dashboard 500 [HOME]

fills five years of bars and 250 sessions of forecasts for so many tickers (as
tests.benchmarks.views does; with HOME the database is kept there, and found filled by the next
call), serves the dashboard as a user does, and prints the seconds from a visit to the last plot:
of the very first visit of a browser, of a visit after the answers have aged, and of one right
after.
"""

import sys
import tempfile
from pathlib import Path

from sqlalchemy import text

from stockbatch import database, embedded_server
from stockbatch.config import Settings
from tests.benchmarks.views import fill
from tests.browser import DESKTOP, chromium, dashboard, resize, visit

PAGES = ("", "ticker?ticker=T00005", "accuracy", "operations")


def main() -> None:
    if not 2 <= len(sys.argv) <= 3 or not sys.argv[1].isdigit():
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    with tempfile.TemporaryDirectory() as own:
        home = Path(sys.argv[2] if len(sys.argv) == 3 else own)
        settings = Settings(home=home)
        try:
            embedded_server.start(home)
            database.migrate(settings)
            owner = database.engine(settings, role="owner")
            with owner.connect() as connection:
                empty = connection.scalar(text("SELECT count(*) FROM stockbatch.instruments")) == 0
            if empty:
                fill(owner, int(sys.argv[1]))
            owner.dispose()
            measure(home, Path(own) / "log")
        finally:
            embedded_server.stop(home)


def measure(home: Path, log: Path) -> None:
    """Print the seconds of each page."""
    for page in PAGES:
        with dashboard({"STOCKBATCH_HOME": str(home)}, log) as url, chromium() as browser:
            resize(browser, DESKTOP)
            seconds = [visit(browser, f"{url}/{page}") for _ in range(4)]
            print(
                f"{seconds[0]:6.2f} s first, {min(seconds[1:]):6.2f} s again  /{page}", flush=True
            )


if __name__ == "__main__":
    main()
