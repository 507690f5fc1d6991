"""How fast a long CSV of bars is parsed, and in how much memory.

    python -m tests.benchmarks.csv_parsing all_stocks_5yr.csv.gz 2500000

prints the CPU time of parsing the file alone, then that of a file with so many rows made of it
(its tickers again and again under other names), and that of the same with ten odd lines in it, with
the peak memory of the process after each.
"""

import gzip
import resource
import sys
import tempfile
import time
from pathlib import Path

from stockbatch.providers.csv.parser import read


def main() -> None:
    if len(sys.argv) != 3 or not Path(sys.argv[1]).exists():
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    file, rows = Path(sys.argv[1]), int(sys.argv[2])
    print(f"== imported: {_peak():.0f} MiB")
    _measure(file)
    with tempfile.TemporaryDirectory() as folder:
        large = Path(folder) / "large.csv"
        _repeat(file, large, rows)
        _measure(large)
        _spoil(large, rows)
        _measure(large)


def _spoil(large: Path, rows: int) -> None:
    """Put a line that is no bar into a file at ten places."""
    odd = large.with_name("odd.csv")
    with large.open() as lines, odd.open("w") as out:
        header = next(lines)
        out.write(header)
        for at, line in enumerate(lines):
            if at % (rows // 10) == rows // 20:
                out.write(header)
            out.write(line)
    odd.replace(large)


def _repeat(file: Path, large: Path, rows: int) -> None:
    """Write `rows` rows of a plain or packed file, a number behind the last cell of each."""
    written = 0
    with large.open("w") as out:
        while written < rows:
            with (gzip.open if file.suffix == ".gz" else open)(file, "rt") as lines:
                header = next(lines)
                if not written:
                    out.write(header)
                copy = written
                for line in lines:
                    out.write(f"{line.rstrip()}.{copy}\n")
                    written += 1
                    if written == rows:
                        break


def _measure(file: Path) -> None:
    begun = time.process_time()
    table = read(file)
    seconds = time.process_time() - begun
    print(
        f"== {len(table.sessions):,} bars of {len(table.tickers):,} tickers in {seconds:.2f} s,"
        f" peak {_peak():.0f} MiB"
    )


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
