"""How long the daily job takes, from nothing, in an embedded database of its own.

    python -m tests.benchmarks.daily all_stocks_5yr.csv.gz 2018-02-06
    python -m tests.benchmarks.daily --synthetic 10000 [--workers 2] [--home HOME] [--no-history]

prints wall time and the largest process of: adding all tickers, the first session (bars loaded,
every model trained), the same again (nothing to do), and the next session (models reused). Of a
made-up market also two sessions after a year of forecasts has been filled in by SQL, the first of
which sums all of it up, and the next goes on from that. Its five years are in files of 500 tickers;
the bars of a night come in a file with the ten newest sessions.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

import psutil

from stockbatch import config, database
from stockbatch.market import sessions
from tests.benchmarks import made_up

LOOK = 0.1
"""Seconds between looks at how large processes are."""


class Steps:
    """Commands in one home, each told with its seconds and its largest process."""

    def __init__(self, home: str, settings: dict[str, str]) -> None:
        variables = {f"STOCKBATCH_{name.upper()}": value for name, value in settings.items()}
        self.environment = {**os.environ, "STOCKBATCH_HOME": home, **variables}

    def run(self, name: str, *arguments: str) -> None:
        """Run a command and print what it took."""
        started, peak, over = time.perf_counter(), [0], threading.Event()
        process = subprocess.Popen(
            [sys.executable, "-m", "jobs", "-q", *arguments], env=self.environment
        )
        watcher = threading.Thread(target=_watch, args=(process.pid, peak, over))
        watcher.start()
        status = process.wait()
        over.set()
        watcher.join()
        seconds = time.perf_counter() - started
        print(f"== {name}: {seconds:.1f} s, largest process {peak[0] / 2**30:.2f} GiB", flush=True)
        if status:
            sys.exit(status)


def _watch(pid: int, peak: list[int], over: threading.Event) -> None:
    """Note the resident memory of the largest process that a command has, PostgreSQL's aside."""
    while not over.wait(LOOK):
        with suppress(psutil.Error):
            parent = psutil.Process(pid)
            for one in (parent, *parent.children(recursive=True)):
                with suppress(psutil.Error):
                    if one.name() != "postgres":
                        peak[0] = max(peak[0], one.memory_info().rss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("session", nargs="?", type=date.fromisoformat)
    parser.add_argument("--synthetic", type=int, metavar="TICKERS")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--home")
    parser.add_argument("--no-history", action="store_true", help="without the year filled in")
    given = parser.parse_args()
    if (given.synthetic is None) == (given.file is None or given.session is None):
        parser.error("name a file and a session, or --synthetic and how many tickers")
    settings = {"workers": str(given.workers)}
    with _home(given.home) as home, _stopped(Steps(home, settings)) as steps:
        if given.synthetic is None:
            of_file(steps, given.file.absolute(), given.session)
        else:
            of_made_up(steps, Path(home), given.synthetic, history=not given.no_history)


@contextmanager
def _home(kept: str | None) -> Iterator[str]:
    if kept:
        yield kept
        return
    with tempfile.TemporaryDirectory() as home:
        yield home


@contextmanager
def _stopped(steps: Steps) -> Iterator[Steps]:
    try:
        yield steps
    finally:
        command = [sys.executable, "-m", "jobs", "db", "stop"]
        subprocess.run(command, env=steps.environment, check=False)


def of_file(steps: Steps, file: Path, first: date) -> None:
    """Measure on the bars of a file."""
    following = sessions.load("XNYS", first).next(first)
    steps.run("add all tickers", "tickers", "add", "--all", "--provider", f"csv:{file}")
    steps.run("first session", "run", "--session", f"{first}")
    steps.run("the same again", "run", "--session", f"{first}")
    steps.run("next session", "run", "--session", f"{following}")
    steps.run("status", "status")


def of_made_up(steps: Steps, home: Path, tickers: int, *, history: bool) -> None:
    """Measure on so many made-up tickers."""
    started = time.perf_counter()
    made = made_up.MadeUp(home / "market", tickers)
    made.deliver(made_up.FIRST)
    print(f"bars of {tickers} tickers made up: {time.perf_counter() - started:.1f} s", flush=True)
    first, calendar = made_up.FIRST, made_up.calendar()
    steps.run("add all tickers", "tickers", "add", "--all", "--provider", f"csv:{made.nightly}")
    run = ("run", "--session")
    steps.run("first session", *run, f"{first}", "--provider", f"csv:{made.history}")
    steps.run("the same again", *run, f"{first}")
    names = (
        "next session",
        "the one after a year was filled in",
        "the next after a year of history",
    )
    for offset, name in enumerate(names, 1):
        if offset == 2:
            if not history:
                break
            _remember(steps)
        made.deliver(calendar.next(first, offset))
        steps.run(name, *run, f"{calendar.next(first, offset)}")
    steps.run("status", "status")


def _remember(steps: Steps) -> None:
    started = time.perf_counter()
    settings = config.load(home=steps.environment["STOCKBATCH_HOME"])
    owner = database.engine(settings, role="owner")
    forecasts = made_up.add_history(owner)
    owner.dispose()
    seconds = time.perf_counter() - started
    print(f"{forecasts:,} forecasts filled in by SQL: {seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
