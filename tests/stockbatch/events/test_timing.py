"""Instants by the hours of exchanges: closed days, early closes, dates written as midnight."""

from datetime import UTC, date, datetime

import pytest

from stockbatch.events.timing import placed
from stockbatch.records import Timing

TODAY = date(2024, 6, 14)


@pytest.mark.parametrize(
    ("instant", "calendar", "day", "timing"),
    [
        ((2024, 5, 2, 20, 30), "XNYS", date(2024, 5, 2), Timing.AFTER_CLOSE),
        ((2024, 5, 2, 20, 0), "XNYS", date(2024, 5, 2), Timing.AFTER_CLOSE),  # as it closes
        ((2024, 5, 2, 19, 59), "XNYS", date(2024, 5, 2), Timing.DURING),
        ((2024, 5, 2, 13, 30), "XNYS", date(2024, 5, 2), Timing.DURING),  # as it opens
        ((2024, 5, 2, 11, 0), "XNYS", date(2024, 5, 2), Timing.BEFORE_OPEN),
        ((2024, 5, 3, 2, 0), "XNYS", date(2024, 5, 2), Timing.AFTER_CLOSE),  # 22:00 in New York
        ((2024, 5, 3, 0, 0), "XNYS", date(2024, 5, 3), Timing.UNKNOWN),  # a date, by UTC
        ((2024, 5, 3, 4, 0), "XNYS", date(2024, 5, 3), Timing.UNKNOWN),  # and by New York
        ((2023, 11, 24, 18, 30), "XNYS", date(2023, 11, 24), Timing.AFTER_CLOSE),  # closed at 13:00
        ((2024, 5, 4, 15, 0), "XNYS", date(2024, 5, 4), Timing.UNKNOWN),  # a Saturday
        ((2024, 5, 2, 6, 0), "XLON", date(2024, 5, 2), Timing.BEFORE_OPEN),  # 7:00 in London
        ((2024, 5, 9, 0, 0), "XTKS", date(2024, 5, 9), Timing.UNKNOWN),
        ((2024, 5, 8, 23, 0), "XTKS", date(2024, 5, 9), Timing.BEFORE_OPEN),
        ((2024, 5, 9, 6, 30), "XTKS", date(2024, 5, 9), Timing.AFTER_CLOSE),
    ],
)
def test_an_instant_has_a_day_and_a_timing(instant, calendar, day, timing):
    assert placed(datetime(*instant, tzinfo=UTC), calendar, TODAY) == (day, timing)
