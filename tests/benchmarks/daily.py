"""How long the daily job takes on a CSV of bars, from nothing, in an embedded database of its own.

    python -m tests.benchmarks.daily all_stocks_5yr.csv.gz 2018-02-06

prints wall time and peak memory of: adding all tickers, the first session (bars loaded, every model
trained), the same again (nothing to do), and the next session (models reused).
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

from stockbatch.market import sessions


def main() -> None:
    if len(sys.argv) != 3 or not Path(sys.argv[1]).exists():
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    file, first = Path(sys.argv[1]).absolute(), date.fromisoformat(sys.argv[2])
    following = sessions.load("XNYS", first).next(first)
    steps = (
        ("add all tickers", ["tickers", "add", "--all", "--provider", f"csv:{file}"]),
        ("first session", ["run", "--session", f"{first}"]),
        ("the same again", ["run", "--session", f"{first}"]),
        ("next session", ["run", "--session", f"{following}"]),
        ("accuracy", ["status"]),
    )
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "STOCKBATCH_HOME": home}
        command = [sys.executable, "-m", "jobs"]
        try:
            for name, arguments in steps:
                started = time.perf_counter()
                subprocess.run([*command, *arguments], env=environment, check=True)
                print(f"== {name}: {time.perf_counter() - started:.1f} s", flush=True)
        finally:
            subprocess.run([*command, "db", "stop"], env=environment, check=False)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"== largest process: {peak:.2f} GiB")


if __name__ == "__main__":
    main()
