"""Which session an event moves, and the rhythm of reports."""

import csv
from collections import defaultdict
from datetime import date, time, timedelta

import numpy as np
import pytest

from stockbatch.exceptions import OutsideCalendar
from stockbatch.market import rhythm, sessions
from stockbatch.market.events import moved_session, timing_at
from stockbatch.records import Timing
from tests.support.market import calendar
from tests.support.places import DATA

HALF_DAY = date(2024, 7, 3)
"""The exchange closes at 13:00, and stays closed on the 4th."""


@pytest.mark.parametrize(
    ("day", "timing", "moves"),
    [
        (date(2024, 6, 6), Timing.BEFORE_OPEN, date(2024, 6, 6)),
        (date(2024, 6, 6), Timing.AFTER_CLOSE, date(2024, 6, 7)),
        (date(2024, 6, 7), Timing.UNKNOWN, date(2024, 6, 7)),
        (date(2024, 6, 7), Timing.AFTER_CLOSE, date(2024, 6, 10)),
        (date(2024, 6, 8), Timing.BEFORE_OPEN, date(2024, 6, 10)),
        (date(2024, 6, 9), Timing.UNKNOWN, date(2024, 6, 10)),
        (HALF_DAY, Timing.AFTER_CLOSE, date(2024, 7, 5)),
        (date(2024, 7, 4), Timing.DURING, date(2024, 7, 5)),
    ],
)
def test_what_a_day_moves(day, timing, moves):
    assert moved_session(calendar(), day, timing) == moves


def test_beyond_the_calendar_nothing_moves():
    with pytest.raises(OutsideCalendar):
        moved_session(calendar(), date(2099, 1, 1), Timing.UNKNOWN)


@pytest.mark.parametrize(
    ("day", "clock", "timing"),
    [
        (date(2024, 6, 6), time(9, 29), Timing.BEFORE_OPEN),
        (date(2024, 6, 6), time(9, 30), Timing.DURING),
        (date(2024, 6, 6), time(16), Timing.AFTER_CLOSE),
        (date(2024, 12, 5), time(15, 59), Timing.DURING),  # in winter as in summer
        (HALF_DAY, time(13, 5), Timing.AFTER_CLOSE),
        (date(2024, 6, 6), time(0), Timing.UNKNOWN),
        (date(2024, 6, 8), time(12), Timing.UNKNOWN),
    ],
)
def test_a_time_is_by_the_exchanges_clock(day, clock, timing):
    assert timing_at(calendar(), day, clock) is timing


def test_a_time_of_an_exchange_elsewhere():
    london = sessions.load("XLON", date(2024, 6, 6))
    assert timing_at(london, date(2024, 6, 6), time(7)) is Timing.BEFORE_OPEN
    assert timing_at(london, date(2024, 6, 6), time(12)) is Timing.DURING


# ---- rhythm


def test_the_next_report_is_a_year_after_the_one_that_followed_a_year_ago():
    days = [date(2023, 2, 2), date(2023, 5, 4), date(2023, 8, 3), date(2023, 11, 2)]
    assert rhythm.projected(days) == date(2024, 2, 1)
    assert rhythm.projected([*days, date(2024, 2, 9)]) == date(2024, 5, 2)
    assert rhythm.projected(days[1:]) == date(2024, 5, 2)
    assert rhythm.projected([]) is None


def test_twice_a_year_is_a_rhythm_too():
    days = [date(2022, 8, 11), date(2023, 2, 16), date(2023, 8, 10)]
    assert rhythm.projected(days) == date(2024, 2, 15)


def test_how_often_real_reports_keep_the_rhythm():
    """The figures of the guide: a projection is no date that a forecast may rely on."""
    file = DATA / "earnings_dates" / "sp500_2013_2018.csv"
    if not file.exists():
        pytest.skip("the real report dates are not here")
    dates = defaultdict(list)
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            dates[row["symbol"]].append(date.fromisoformat(row["date"]))
    pairs = [
        (rhythm.projected(days[:count]), days[count])
        for days in map(sorted, dates.values())
        for count in range(5, len(days))
    ]
    held = sessions.load("XNYS", date(2018, 3, 1)).sessions
    projected, actual = np.searchsorted(held, np.array(pairs, dtype="datetime64[D]")).T
    apart = np.abs(projected - actual)
    shares = {within: round(float((apart <= within).mean()), 2) for within in (0, 1, 5)}
    print(f"{len(pairs)} reports within so many sessions of the projection: {shares}")
    assert shares == {0: 0.44, 1: 0.6, 5: 0.91}
    assert timedelta(0) < rhythm.QUARTER < rhythm.YEAR < rhythm.OLDEST
