"""The dates a company is likely to report on, from those of the past."""

from collections.abc import Sequence
from datetime import date, timedelta

YEAR = timedelta(days=364)
"""After so long the weekday is the same, which companies keep to more than to the day."""
QUARTER = timedelta(days=45)
"""Half a quarter: dates no farther apart are those of the same report."""
OLDEST = timedelta(days=400)
"""Who has not reported for so long has no rhythm any more."""


def projected(past: Sequence[date]) -> date | None:
    """Return the date of the next report after the last of `past`, ascending; None: no rhythm.

    It is the first date of a year ago, moved by a year, that is a quarter after the last one: what
    a company does in its first quarter tells nothing of its second.
    """
    for day in past:
        if day + YEAR > past[-1] + QUARTER:
            return day + YEAR
    return None
