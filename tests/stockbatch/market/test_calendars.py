"""Which calendar the days of bars speak for."""

from datetime import date

import numpy as np
import pytest

from stockbatch.exceptions import UnknownCalendar
from stockbatch.market.calendars import doubt
from stockbatch.market.sessions import of_years


def days(*text):
    return np.array(text, "datetime64[D]")


@pytest.mark.parametrize(
    ("code", "first", "last", "proposals"),
    [
        ("24/7", 2023, 2023, ("24/7",)),
        ("24/5", 2023, 2023, ("24/5",)),
        ("XBOM", 2023, 2023, ("XBOM",)),
        ("XLON", 2022, 2023, ("XLON",)),
        ("XTKS", 2023, 2023, ("XTKS",)),
        ("XSHG", 2023, 2023, ("XSHG",)),
        ("XTAE", 2023, 2023, ("XTAE",)),
        ("XSAU", 2023, 2023, ("XSAU",)),
        ("XTSE", 2023, 2023, ("XTSE",)),
    ],
)
def test_the_calendar_that_explains_the_days_is_proposed(code, first, last, proposals):
    found = doubt(of_years(code, first, last))
    assert found.calendar == "XNYS"
    assert found.proposals == proposals
    assert doubt(of_years(code, first, last), code) is None


def test_a_doubt_says_on_which_days_and_what_would_fit():
    found = doubt(np.arange("2024-01-01", "2024-06-29", dtype="datetime64[D]"))
    assert (found.bars, found.off, found.example) == (180, 56, date(2024, 6, 23))
    assert str(found) == (
        "56 of 180 bars are of days on which XNYS is closed, the last of 2024-06-23"
    )
    assert found.advice == "24/7"


def test_an_illiquid_share_is_known_by_the_days_it_has():
    chosen = np.random.default_rng(1)
    for code in ("XBOM", "XTKS", "24/7", "XHKG"):
        some = chosen.choice(of_years(code, 2021, 2023), 250, replace=False)
        assert doubt(some).proposals == (code,), code
    assert doubt(chosen.choice(of_years("XNYS", 2021, 2023), 100, replace=False)) is None


def test_the_usual_calendar_is_kept_where_few_bars_are_off():
    good = of_years("XNYS", 2022, 2023)
    assert doubt(good) is None
    assert doubt(np.append(good, days("2023-01-08", "2023-02-05", "2023-12-10"))) is None
    assert doubt(np.append(good[-20:], days("2023-12-10"))) is None
    assert doubt(days()) is None
    assert doubt(days("NaT", "2023-12-11", "2023-12-11")) is None
    assert doubt(days("0001-01-01", "2262-04-13", "9999-12-31")) is None


def test_bars_of_weeks_and_months_and_of_a_wrong_zone_fit_no_calendar():
    months = np.arange("2010-01", "2024-01", dtype="datetime64[M]").astype("datetime64[D]")
    for nobodys in (months, of_years("XTKS", 2021, 2023) - 1):
        found = doubt(nobodys)
        assert found.proposals == ()
        assert found.advice == "that of its exchange"


def test_a_calendar_nobody_knows_is_refused():
    with pytest.raises(UnknownCalendar):
        doubt(days("2023-12-11"), "XXXX")
