"""Triggers that follow the calendar of an exchange."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from hypothesis import given
from hypothesis import strategies as st

from jobs.daemon.triggers import SessionTrigger, crontab, firings, last_firing
from stockbatch.config import Settings
from stockbatch.exceptions import ConfigurationError, UnknownCalendar
from stockbatch.market import sessions
from stockbatch.records import Chore
from tests.support.market import CODE, announced_until

DELAY = timedelta(minutes=45)
NEW_YORK = ZoneInfo("America/New_York")
instants = st.datetimes(datetime(2021, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001


def fires(calendar, start, count, delay=DELAY):
    """Return the first firings that a scheduler started at `start` would see."""
    trigger, found = SessionTrigger(calendar, delay), []
    for _ in range(count):
        previous = found[-1] if found else None
        found.append(trigger.get_next_fire_time(previous, found[-1] if found else start))
    return found


def test_early_closes_holidays_and_week_ends_are_followed():
    found = fires("XNYS", datetime(2024, 11, 27, 22, tzinfo=UTC), 3)
    assert [at.astimezone(NEW_YORK).replace(tzinfo=None).isoformat() for at in found] == [
        "2024-11-29T13:45:00",  # after Thanksgiving, an early close
        "2024-12-02T16:45:00",
        "2024-12-03T16:45:00",
    ]


def test_summer_time_moves_the_firing():
    found = fires("XNYS", datetime(2024, 3, 8, 12, tzinfo=UTC), 2)
    assert [at.hour for at in found] == [21, 20]
    assert {at.astimezone(NEW_YORK).hour for at in found} == {16}


@pytest.mark.parametrize("code", ["XNYS", "XLON", "XTKS", "XHKG", "24/7", "CMES"])
def test_every_session_of_years_is_fired_for_once(code):
    calendar = sessions.load(code, date(2024, 1, 1))
    days = calendar.between(date(2022, 1, 3), date(2024, 12, 31)).tolist()
    expected = [calendar.close(day) + DELAY for day in days]
    assert fires(code, expected[0], len(expected)) == expected


@given(instant=instants, delay=st.integers(0, 600).map(lambda m: timedelta(minutes=m)))
def test_the_next_firing_is_the_first_close_that_is_not_over(instant, delay):
    trigger = SessionTrigger("XLON", delay)
    found = trigger.get_next_fire_time(None, instant)
    calendar = sessions.load("XLON", instant.date())
    plain = min(close for close in closes_around(calendar, instant) if close + delay >= instant)
    assert found == plain + delay
    assert trigger.get_next_fire_time(found, instant) > found


def closes_around(calendar, instant):
    days = calendar.between(instant.date() - timedelta(20), instant.date() + timedelta(20))
    return [calendar.close(day) for day in days.tolist()]


def test_the_end_of_a_calendar_is_never_reached(caplog):
    with announced_until(date(2024, 1, 5)):
        (found,) = fires(CODE, datetime(2024, 5, 27, 12, tzinfo=UTC), 1)
    assert found.date() == date(2024, 5, 27), "Memorial Day, had anybody told"
    assert "holidays after 2024-01-05 are unknown" in caplog.text


def test_a_scheduler_takes_it():
    scheduler = BackgroundScheduler(timezone="UTC")
    job = scheduler.add_job(print, SessionTrigger("XNYS", DELAY))
    scheduler.start(paused=True)
    at = job.next_run_time
    scheduler.shutdown()
    calendar = sessions.load("XNYS", at.date())
    assert calendar.close(calendar.last_closed(at)) + DELAY == at


def test_unknown_calendars_and_crontabs_are_refused():
    with pytest.raises(UnknownCalendar):
        fires("NOWHERE", datetime(2024, 3, 8, 12, tzinfo=UTC), 1)
    with pytest.raises(ConfigurationError, match="settings: maintenance: "):
        crontab(Settings(maintenance="whenever"), "maintenance")


def test_firings_are_listed_in_order():
    settings = Settings(exchanges={"XLON": {"close_delay_minutes": 60}})
    friday = datetime(2024, 5, 31, 12, tzinfo=UTC)
    found = firings(["XNYS", "XLON"], settings, friday, 2)
    assert [(f"{firing.at:%d %H:%M}", firing.what) for firing in found] == [
        ("31 16:30", "XLON: daily run"),
        ("31 20:45", "XNYS: daily run"),
        ("01 06:00", "all: base models about to expire"),
        ("01 08:00", "all: maintenance"),
        ("02 07:00", "all: dates of reports"),
        ("03 16:30", "XLON: daily run"),
        ("03 20:45", "XNYS: daily run"),
        ("08 06:00", "all: base models about to expire"),
        ("09 07:00", "all: dates of reports"),
        ("01 08:00", "all: maintenance"),
    ]
    silent = settings.model_copy(update={"event_sources": ()})
    assert not any("reports" in firing.what for firing in firings(["XNYS"], silent, friday, 2))


@pytest.mark.parametrize(
    ("crontab", "last"),
    [
        ("0 7 * * sun", datetime(2024, 5, 26, 7, tzinfo=UTC)),
        ("*/20 * * * *", datetime(2024, 5, 31, 12, 20, tzinfo=UTC)),
        ("30 12 * * *", datetime(2024, 5, 31, 12, 30, tzinfo=UTC)),  # this very instant
        ("0 0 1 * *", datetime(2024, 5, 1, tzinfo=UTC)),
        ("0 0 29 2 *", datetime(2024, 2, 29, tzinfo=UTC)),
        ("0 0 30 2 *", datetime(2023, 4, 27, 12, 30, tzinfo=UTC)),  # never
    ],
)
def test_the_last_firing_is_the_newest_that_is_over(crontab, last):
    friday = datetime(2024, 5, 31, 12, 30, tzinfo=UTC)
    assert last_firing(Settings(event_refresh=crontab), Chore.EVENT_REFRESH, friday) == last
