"""What workers gain, and what sharing out costs.

    python -m tests.benchmarks.workers efficiency HOME

trains and forecasts all tickers of a home once more by one worker and by two, a thread each, and
prints the seconds of the phase of chunks and of the whole run, twice each, with the efficiency of
two: half the seconds of one worker over those of two.

    python -m tests.benchmarks.workers waiting HOME [WORKERS]

lets so many workers (by default 16) wait for as long as the chunks of the first session of that
home took, instead of computing, and write as many rows: what is left is the scheduler, locks and
commits.

HOME is one that `python -m tests.benchmarks.daily --synthetic N --home HOME` has left behind.
"""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from jobs.app import App, running
from jobs.daily import chunk, forecast
from jobs.daily.run import run_session
from stockbatch import config
from stockbatch.config import Settings
from stockbatch.exceptions import RunStopped
from stockbatch.records import Reason, TrainedModel
from tests.benchmarks import made_up

SECONDS = "SECONDS_A_TICKER"
"""The variable that tells workers for how long a ticker is waited for."""


def main() -> None:
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("efficiency", "waiting"):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    os.environ["STOCKBATCH_HOME"] = sys.argv[2]
    if sys.argv[1] == "efficiency":
        efficiency()
    else:
        waiting(int(sys.argv[3]) if len(sys.argv) > 3 else 16)


def efficiency() -> None:
    """Print what two workers gain."""
    took: dict[int, list[float]] = {1: [], 2: []}
    for workers in (1, 2, 1, 2):
        phase, whole = _run(workers)
        took[workers].append(phase)
        print(f"{workers} workers: chunks {phase:6.1f} s, whole run {whole:6.1f} s", flush=True)
    one, two = min(took[1]), min(took[2])
    print(f"efficiency of the phase of chunks: {100 * one / 2 / two:.0f} %")


def _run(workers: int, *, retrain: bool = True, **changes: Any) -> tuple[float, float]:
    """Train all tickers of the newest session once more, or forecast them once more.

    Return the seconds of the phase of chunks, and of all.
    """
    phase: list[float] = []
    share_out = forecast.share_out

    def timed(app: App, run: Any, pool: Any, work: Any, chunks: Any, **options: Any) -> Any:
        if not retrain:  # what workers import, and what they are to save, they have from here on
            first, *others = chunks
            known, chunks = first[:workers], [first[workers:], *others]
            share_out(app, run, pool, work, [[one] for one in known], **options)
        started = time.perf_counter()
        made = share_out(app, run, pool, work, chunks, **options)
        phase.append(time.perf_counter() - started)
        if not retrain:  # all that was to be seen
            raise RunStopped(reason="measured")
        return made

    forecast.share_out = timed
    settings = config.load(workers=workers, threads=changes.pop("threads", workers))
    started = time.perf_counter()
    with running(settings) as app:
        for name, value in changes.items():
            setattr(app, name, value)
        with app.transaction() as db:
            session = db.scalar(text("SELECT max(session) FROM stockbatch.runs"))
        with suppress(RunStopped):
            run_session(app, made_up.CODE, session, retrain=retrain, reprocess=True)
    forecast.share_out = share_out
    return phase[0], time.perf_counter() - started


def waiting(workers: int) -> None:
    """Print what sharing out costs."""
    about = "SELECT avg(seconds), count(*) FROM stockbatch.outcomes WHERE session = :first"
    with running(config.load()) as app, app.transaction() as db:
        seconds, tickers = db.execute(text(about), {"first": made_up.FIRST}).one()
    os.environ[SECONDS] = f"{seconds}"
    phase, _ = _run(workers, retrain=False, open_worker=open_waiting, threads=1)
    least = seconds * tickers / workers
    print(f"{tickers} tickers waited for {seconds:.3f} s each, by {workers} workers")
    print(f"chunks {phase:.1f} s, of which waiting {least:.1f} s")
    print(
        f"scheduler, locks, commits and idle ends: {100 * (1 - least / phase):.1f} % of the phase"
    )


@contextmanager
def open_waiting(settings: Settings) -> Iterator[App]:
    """Be a worker that computes one ticker, and has the same to save of all others."""
    with running(settings) as app:
        compute, seconds = chunk._compute, float(os.environ[SECONDS])
        known: list[chunk._Made] = []

        def wait(app: App, run: Any, work: Any, tickers: Sequence[Any], failure: Any) -> Any:
            started = time.perf_counter()
            if not known:
                known.append(compute(app, run, work, tickers[:1], failure))
            made = _of_all(known[0], tickers)
            time.sleep(max(0, seconds * len(tickers) - (time.perf_counter() - started)))
            return made

        chunk._compute = wait
        yield app


def _of_all(made: chunk._Made, tickers: Sequence[Any]) -> chunk._Made:
    """Return what was made of one ticker as if it was of all of these."""
    rows, trained = range(len(tickers)), made.trained
    today = made.forecasts[0].origin_session

    def new(model: TrainedModel) -> dict[int, TrainedModel]:
        fresh = replace(model, id=None, last_session=today, reason=Reason.EXPIRED)
        return {row: replace(fresh, ticker=tickers[row].ticker) for row in rows}

    models = new(made.chunk.newest[0])
    return replace(
        made,
        chunk=replace(made.chunk, champions={}),
        trained=replace(
            trained,
            reasons=dict.fromkeys(rows, Reason.EXPIRED),
            new=models,
            used=models,
            fitted={name: new(known[0]) for name, known in made.chunk.fitted.items() if known},
        ),
        forecasts=[replace(f, instrument_id=one.id) for one in tickers for f in made.forecasts],
        outcomes=[replace(made.outcomes[0], instrument_id=one.id) for one in tickers],
        findings={one.id: () for one in tickers},
    )


if __name__ == "__main__":
    main()
