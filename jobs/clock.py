"""What time it is, and whether the database agrees."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, text

from stockbatch.database import redacted
from stockbatch.exceptions import ClocksApart

log = logging.getLogger(__name__)

APART = timedelta(minutes=5)
"""Clocks that differ by no more are taken to be one."""


def _now() -> datetime:
    return datetime.now(UTC)


class Clock:
    """The machine's clock; the database's, where the two were far apart when last compared.

    The database tells live from late, so that its word counts for what is due as well.
    """

    def __init__(self, machine: Callable[[], datetime] = _now) -> None:
        self._machine = machine
        self.behind = timedelta(0)
        """How far this machine's clock is behind the database's; 0 up to APART."""

    def __call__(self) -> datetime:
        """Return the aware instant in UTC."""
        return self._machine() + self.behind

    def compare(self, engine: Engine) -> None:
        """Ask the database what time it is, and go by that where this machine is far from it."""
        with engine.connect() as connection:
            theirs: datetime = connection.scalars(text("SELECT clock_timestamp()")).one()
        behind = theirs - self._machine()
        before, self.behind = self.behind, behind if abs(behind) > APART else timedelta(0)
        if self.behind and not before:
            words = "the database's clock is %s %s this machine's, and counts: nothing is skipped"
            ahead = self.behind > timedelta(0)
            log.warning(words, abs(self.behind), "ahead of" if ahead else "behind")
        elif before and not self.behind:
            log.warning("this machine's clock agrees with the database's again")

    def require_agreement(self, engine: Engine) -> None:
        """Raise ClocksApart where the database's clock is far from this machine's."""
        self.compare(engine)
        if self.behind:
            minutes = round(abs(self.behind) / timedelta(minutes=1))
            raise ClocksApart(url=redacted(engine.url), minutes=minutes)
