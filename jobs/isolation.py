"""One bad ticker, or one exchange in use, keeps no other out.

Whose rows break a piece of work is found by halving, so that all others have theirs at once.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TypeVar

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, SQLAlchemyError, StatementError
from structlog.contextvars import bound_contextvars

from stockbatch.exceptions import DatabaseError, RunInProgress, StockbatchError, TrainingOverdue
from stockbatch.records import Instrument

log = logging.getLogger(__name__)

Fit = TypeVar("Fit")

MOST = 8
"""What fails with more tickers than so many, each alone, fails because of something else."""


@contextmanager
def one_by_one() -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Let an exchange that another process runs keep no other out.

    Yield what surrounds the work for each. Raises RunInProgress when all others are done.
    """
    busy: list[RunInProgress] = []

    @contextmanager
    def each() -> Iterator[None]:
        try:
            yield
        except RunInProgress as error:
            busy.append(error)

    yield each
    for error in busy[:-1]:
        log.warning("%s", error)
    if busy:
        raise busy[-1]


def isolate(
    name: str,
    work: Callable[[Sequence[Instrument]], object],
    chunks: Iterable[Sequence[Instrument]],
    *,
    most: int | None = None,
) -> dict[int, Exception]:
    """Do `work` with every chunk; return by instrument id what it raises for those left out.

    Of a chunk that fails both halves are tried, and so on: one bad ticker of 64 is found in six
    steps. The work must leave nothing behind where it fails. What no ticker can be blamed for, see
    `is_of_a_ticker`, is raised at once; and so is what fails with more than `most` of them.
    """
    left_out: dict[int, Exception] = {}

    def attempt(tickers: Sequence[Instrument]) -> None:
        try:
            work(tickers)
        except Exception as error:
            if not is_of_a_ticker(error):
                raise
            if len(tickers) == 1:
                if most is not None and len(left_out) >= most:
                    raise
                left_out[tickers[0].id] = error
                with bound_contextvars(ticker=tickers[0].ticker):
                    log.warning("%s: %s is left out: %s", name, tickers[0].ticker, told(error))
                return
            log.warning("%s: %s; trying %d tickers by halves", name, told(error), len(tickers))
        else:
            return
        middle = len(tickers) // 2
        attempt(tickers[:middle])
        attempt(tickers[middle:])

    for chunk in chunks:
        if chunk:
            attempt(chunk)
    return left_out


def together(
    name: str, fit: Callable[[Sequence[Instrument]], Fit], tickers: Sequence[Instrument]
) -> Fit:
    """Return what is fitted to all `tickers`, but for those that the fit fails with.

    Raises what it raises where more than MOST are to blame, or all.
    """
    try:
        return fit(tickers)
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        log.warning("%s: %s; looking for who is to blame", name, told(error))
        to_blame = isolate(name, fit, [tickers], most=MOST)
        rest = [instrument for instrument in tickers if instrument.id not in to_blame]
        if not rest:
            raise
    return fit(rest)


def is_of_a_ticker(error: Exception) -> bool:
    """Tell whether a ticker's rows can be to blame: not for the database, or for lack of memory."""
    if isinstance(error, SQLAlchemyError):
        # A value that a table refuses, or that cannot even be sent.
        return isinstance(error, DataError | IntegrityError) or type(error) is StatementError
    return not isinstance(error, DatabaseError | TrainingOverdue | MemoryError)


def told(error: Exception) -> str:
    """Return what users are told of an exception: of the database's, what it says, in one line."""
    if isinstance(error, DBAPIError):
        return str(error.orig).partition("\n")[0]
    return str(error) if isinstance(error, StockbatchError) else repr(error)
