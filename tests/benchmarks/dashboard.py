"""How fast the dashboard's pages are drawn, in headless Chromium, on a database filled in SQL.

    python -m tests.benchmarks.dashboard 500 [HOME]

fills five years of bars and 250 sessions of forecasts for so many tickers (as
tests.benchmarks.views does; with HOME the database is kept there, and found filled by the next
call), serves the dashboard as a user does, and prints the seconds from a visit to the last plot:
of the very first visit of a browser, of a visit after the answers have aged, and of one right
after.
"""

import tempfile
from pathlib import Path

from tests.benchmarks.views import filled
from tests.support.browser import DESKTOP, chromium, dashboard, resize, visit

PAGES = ("how-to-read", "", "ticker?ticker=T00005", "accuracy", "operations")
"""The first reads nothing of the database: what it takes is the browser's and Streamlit's."""


def main() -> None:
    with filled(__doc__) as (settings, _), tempfile.TemporaryDirectory() as folder:
        measure(settings.home, Path(folder) / "log")


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
