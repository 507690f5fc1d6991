"""How many stored forecasts a second the REST service answers, and how fast.

    python -m tests.benchmarks.api 500 [HOME]

fills five years of bars and 250 sessions of forecasts for so many tickers (as
tests.benchmarks.views does; with HOME the database is kept there, and found filled by the next
call), serves it by `stockbatch api`, and asks over a few connections: for ten seconds at each of
two rates, 500 and 250 requests a second, come what may (open loop: a request's time begins when it
was due, not when a connection was free), then as fast as answers come. Server, database and
questioner share the machine. Prints the processor time of the service per answer, too, which
depends less on what else runs there. Ends with status 1 where an answer is wrong and where, while
nothing is written to the database, fewer than 500 a second are answered or one in a hundred takes
longer than 50 ms at half that.
"""

import asyncio
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
from sqlalchemy import Engine, text

from stockbatch import config
from tests.benchmarks.views import filled

SECONDS, CONNECTIONS = 10, 32
RATE, P99 = 500, 0.050
STOCKBATCH = [sys.executable, "-m", "jobs"]


class Question:
    """Connections to the service on which one request after another is made."""

    def __init__(self, url: str, token: str, paths: list[str]) -> None:
        self.host, self.port = urlsplit(url).hostname, urlsplit(url).port
        self.paths = itertools.cycle(paths)
        self.answers = 0
        self.rest = f" HTTP/1.1\r\nHost: {self.host}\r\nAuthorization: Bearer {token}\r\n\r\n"

    async def ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Make one request and read its answer; anything but a 200 is an error."""
        writer.write(f"GET {next(self.paths)}{self.rest}".encode())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        length = int(head.split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        self.answers += 1

    async def at_rate(self, rate: float) -> np.ndarray:
        """Return how long each answer took, from the moment its question was due."""
        due = time.perf_counter() + 0.1 + np.arange(int(rate * SECONDS)) / rate
        waiting, took = iter(due), []

        async def work() -> None:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            for moment in waiting:
                await asyncio.sleep(moment - time.perf_counter())
                await self.ask(reader, writer)
                took.append(time.perf_counter() - moment)
            writer.close()

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        return np.array(took)

    async def flat_out(self) -> float:
        """Return the answers a second when every answer is followed by a question."""
        before, end = self.answers, time.perf_counter() + SECONDS

        async def work() -> None:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            while time.perf_counter() < end:
                await self.ask(reader, writer)
            writer.close()

        await asyncio.gather(*(work() for _ in range(CONNECTIONS)))
        return (self.answers - before) / SECONDS


@contextmanager
def service(home: Path) -> Iterator[tuple[str, str, int]]:
    """Serve a database; yield URL, token and the number of the process."""
    variables = config.environment({"STOCKBATCH_HOME": str(home)})
    name = f"benchmark {time.time()}"
    add = [*STOCKBATCH, "tokens", "add", name, "--per-minute", "10000000"]
    token = subprocess.run(add, env=variables, check=True, stdout=subprocess.PIPE, text=True).stdout
    serve = [*STOCKBATCH, "api", "--address", "127.0.0.1:0"]
    with subprocess.Popen(serve, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().split()[1], token.strip(), process.pid
        finally:
            process.terminate()


async def committing(owner: Engine, until: Callable[[], bool]) -> None:
    """Change something every half second, as a run does, so that nothing kept is current."""
    while not until():
        with owner.begin() as connection:
            connection.execute(text("UPDATE stockbatch.instruments SET name = name WHERE id = 1"))
        await asyncio.sleep(0.5)


async def measure(question: Question, owner: Engine | None = None) -> tuple[bool, str]:
    """Return whether the service is fast enough, and the figures."""
    measured = False
    writing = asyncio.create_task(committing(owner, lambda: measured)) if owner else None
    full = await question.at_rate(RATE)
    half = await question.at_rate(RATE / 2)
    most = await question.flat_out()
    measured = True
    if writing:
        await writing
    behind = full[-RATE:].max()  # a service too slow falls ever further behind
    slowest = np.quantile(half, 0.99)
    figures = (
        f"{RATE}/s: {_percentiles(full)}; {RATE / 2:.0f}/s: {_percentiles(half)};"
        f" at most {most:.0f}/s"
    )
    return bool(behind < 1 and most >= RATE and slowest < P99), figures


def _processor_time(pid: int) -> float:
    """Return the seconds that a process has computed, threads included."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _percentiles(took: np.ndarray) -> str:
    p50, p99 = 1000 * np.quantile(took, [0.5, 0.99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms"


def main() -> None:
    fast = True
    with filled(__doc__) as (settings, owner), service(settings.home) as (url, token, pid):
        one = [f"/v1/forecasts/T{n:05}" for n in range(1, int(sys.argv[1]) + 1)]
        for name, paths, writes in (
            ("one ticker", one, None),
            ("one ticker, during a run", one, owner),
            ("pages of 100 tickers", ["/v1/forecasts"], None),
        ):
            question, before = Question(url, token, paths), _processor_time(pid)
            is_fast, figures = asyncio.run(measure(question, writes))
            fast &= is_fast or writes is not None
            each = 1000 * (_processor_time(pid) - before) / question.answers
            print(f"{name}: {figures}; {each:.2f} ms of processor each", flush=True)
    sys.exit(0 if fast else 1)


if __name__ == "__main__":
    main()
