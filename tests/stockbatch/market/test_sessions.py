import logging
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import exchange_calendars
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockbatch.exceptions import NotASession, OutsideCalendar, UnknownCalendar
from stockbatch.market import sessions
from stockbatch.market.sessions import TradingCalendar, as_date, load

TODAY = date(2025, 11, 21)


def day(text: str) -> date:
    return date.fromisoformat(text)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@given(st.sets(st.integers(0, 30)), st.lists(st.integers(-5, 35)))
def test_columns_are_those_of_a_search_one_by_one(held, wanted):
    axis = sorted(held)
    at, known = sessions.columns(np.array(axis, "datetime64[D]"), np.array(wanted, "datetime64[D]"))
    assert known.tolist() == [one in axis for one in wanted]
    assert at[known].tolist() == [axis.index(one) for one in wanted if one in axis]


@pytest.mark.parametrize(
    ("code", "last", "following"),
    [
        ("XNYS", "2018-01-12", "2018-01-16"),  # weekend, Martin Luther King
        ("XNYS", "2018-03-29", "2018-04-02"),  # Good Friday
        ("XNYS", "2018-07-03", "2018-07-05"),  # Independence Day
        ("XNYS", "2018-12-04", "2018-12-06"),  # mourning for George H. W. Bush
        ("XNYS", "2001-09-10", "2001-09-17"),  # closed after the attacks
        ("XNYS", "2012-10-26", "2012-10-31"),  # hurricane Sandy
        ("XNYS", "2018-02-06", "2018-02-07"),
        ("XLON", "2018-05-04", "2018-05-08"),  # early May bank holiday
        ("XLON", "2018-12-24", "2018-12-27"),  # Christmas, Boxing Day
        ("XLON", "2022-06-01", "2022-06-06"),  # platinum jubilee
        ("XTKS", "2019-04-26", "2019-05-07"),  # ten days of Golden Week
        ("XSAU", "2025-11-20", "2025-11-23"),  # Thursday to Sunday
        ("24/7", "2018-02-10", "2018-02-11"),
        ("24/5", "2018-02-09", "2018-02-12"),
    ],
)
def test_next_and_previous_skip_what_the_exchange_skips(code, last, following):
    calendar = load(code, TODAY)
    assert calendar.next(day(last)) == day(following)
    assert calendar.previous(day(following)) == day(last)
    between = calendar.between(day(last) + timedelta(days=1), day(following) - timedelta(days=1))
    assert len(between) == 0


@pytest.mark.parametrize(
    ("code", "session", "opens", "closes"),
    [
        ("XNYS", "2018-02-06", "2018-02-06 14:30", "2018-02-06 21:00"),
        ("XNYS", "2018-07-03", "2018-07-03 13:30", "2018-07-03 17:00"),  # early close
        ("XNYS", "2018-11-23", "2018-11-23 14:30", "2018-11-23 18:00"),  # early close
        ("XNYS", "2018-03-09", "2018-03-09 14:30", "2018-03-09 21:00"),  # before summer time
        ("XNYS", "2018-03-12", "2018-03-12 13:30", "2018-03-12 20:00"),
        ("XNYS", "2018-11-02", "2018-11-02 13:30", "2018-11-02 20:00"),  # before winter time
        ("XNYS", "2018-11-05", "2018-11-05 14:30", "2018-11-05 21:00"),
        ("XLON", "2018-03-23", "2018-03-23 08:00", "2018-03-23 16:30"),  # before summer time
        ("XLON", "2018-03-26", "2018-03-26 07:00", "2018-03-26 15:30"),
        ("XLON", "2018-10-26", "2018-10-26 07:00", "2018-10-26 15:30"),  # before winter time
        ("XLON", "2018-10-29", "2018-10-29 08:00", "2018-10-29 16:30"),
        ("XLON", "2018-12-24", "2018-12-24 08:00", "2018-12-24 12:30"),  # early close
        ("24/7", "2018-02-10", "2018-02-10 00:00", "2018-02-11 00:00"),
        ("CMES", "2018-02-12", "2018-02-11 23:00", "2018-02-12 23:00"),  # opens the day before
    ],
)
def test_open_and_close_are_instants(code, session, opens, closes):
    calendar = load(code, TODAY)
    assert calendar.open(day(session)) == utc(opens)
    assert calendar.close(day(session)) == utc(closes)
    assert calendar.open(day(session)).tzinfo is UTC


@pytest.mark.parametrize(
    ("code", "target", "deadline"),
    [
        ("XNYS", "2018-02-07", "2018-02-07 14:30"),
        ("XNYS", "2018-07-05", "2018-07-05 13:30"),
        ("XLON", "2018-03-26", "2018-03-26 07:00"),
        ("24/7", "2018-02-11", "2018-02-11 02:00"),
        ("24/5", "2018-02-12", "2018-02-10 02:00"),
        ("CMES", "2018-02-13", "2018-02-13 01:00"),
    ],
)
def test_deadline_is_the_open_or_two_hours_after_a_close_without_a_break(code, target, deadline):
    assert load(code, TODAY).deadline(day(target)) == utc(deadline)


def test_deadline_takes_another_grace():
    target = day("2018-02-11")
    assert load("24/7", TODAY).deadline(target, timedelta(hours=5)) == utc("2018-02-11 05:00")


@pytest.mark.parametrize(
    ("as_of", "delay", "expected"),
    [
        ("2018-02-06 20:59:59", 0, "2018-02-05"),
        ("2018-02-06 21:00:00", 0, "2018-02-06"),
        ("2018-02-06 21:44:59.999999", 45, "2018-02-05"),
        ("2018-02-06 21:45:00", 45, "2018-02-06"),
        ("2018-02-11 12:00:00", 45, "2018-02-09"),  # a Sunday
        ("2018-07-03 17:00:00", 0, "2018-07-03"),  # an early close
    ],
)
def test_last_closed_waits_for_the_close_and_the_delay(as_of, delay, expected):
    closed = load("XNYS", TODAY).last_closed(utc(as_of), timedelta(minutes=delay))
    assert closed == day(expected)


def test_last_closed_takes_any_zone_but_no_naive_time():
    calendar = load("XNYS", TODAY)
    new_york = datetime.fromisoformat("2018-02-06T16:00:00-05:00")
    assert calendar.last_closed(new_york) == day("2018-02-06")
    with pytest.raises(TypeError, match="naive"):
        calendar.last_closed(datetime(2018, 2, 6, 21))  # noqa: DTZ001


def test_requiring_a_session_names_the_nearest():
    calendar = load("XNYS", TODAY)
    calendar.require(day("2018-02-06"))
    assert calendar.is_session(day("2018-02-06"))
    assert not calendar.is_session(day("2018-02-10"))
    with pytest.raises(NotASession, match=r"2018-02-10 is not a .* are 2018-02-09 and 2018-02-12"):
        calendar.require(day("2018-02-10"))
    for asked in (calendar.open, calendar.close, calendar.deadline):
        with pytest.raises(NotASession):
            asked(day("2018-02-10"))


@pytest.mark.parametrize("outside", ["1989-06-01", "1990-01-01", "2031-06-02"])
def test_days_beyond_the_array_are_told(outside):
    calendar = load("XNYS", TODAY)
    assert not calendar.is_session(day(outside))
    with pytest.raises(OutsideCalendar, match=rf"{outside}.*XNYS.*1990-01-02 to 2026-12-31"):
        calendar.require(day(outside))
    with pytest.raises(OutsideCalendar):
        calendar.next(TODAY, 10_000)
    with pytest.raises(OutsideCalendar):
        calendar.previous(TODAY, 10_000)
    with pytest.raises(OutsideCalendar):
        calendar.last_closed(utc("1990-01-01 00:00"))


def test_an_unknown_code_gets_a_hint():
    with pytest.raises(UnknownCalendar, match=r"XNY is not the code.*did you mean XNYS"):
        load("XNY", TODAY)
    assert load("xlon", TODAY) is load("XLON", TODAY)
    with pytest.raises(UnknownCalendar, match=r"calendar$"):
        load("???", TODAY)


def test_an_alias_is_the_exchange_behind_it():
    assert load("NYSE", TODAY) is load("XNYS", TODAY)
    assert load("NASDAQ", TODAY).code == "XNYS"


@pytest.mark.parametrize("through", [day("2018-02-06"), day("2018-12-25"), TODAY])
def test_a_calendar_reaches_a_year_past_through_and_is_built_once_a_year(through):
    calendar = load("XNYS", through)
    assert as_date(calendar.sessions[-1]) >= through + timedelta(days=369)
    assert as_date(calendar.sessions[0]) == day("1990-01-02")
    assert load("XNYS", through + timedelta(days=1)) is calendar


def test_arrays_are_what_they_say_and_cannot_be_written():
    calendar = load("XNYS", TODAY)
    assert calendar.sessions.dtype == np.dtype("datetime64[D]")
    for instants in (calendar.opens, calendar.closes):
        assert instants.dtype == np.dtype("datetime64[s]")
    for array in (calendar.sessions, calendar.opens, calendar.closes):
        assert len(array) == len(calendar.sessions)
        assert (np.diff(array).astype(int) > 0).all()
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    assert (calendar.opens < calendar.closes).all()


def test_sessions_are_those_of_the_exchange():
    theirs = exchange_calendars.get_calendar("XNYS", start="2000-01-01", end="2020-12-31")
    ours = load("XNYS", TODAY).between(day("2000-01-01"), day("2020-12-31"))
    assert list(ours) == list(theirs.sessions.to_numpy().astype("datetime64[D]"))


class TestArithmetic:
    """Against plain Python over a list of the sessions."""

    calendar = load("XNYS", TODAY)
    days = tuple(as_date(session) for session in calendar.sessions)
    any_day = st.dates(day("1990-01-03"), day("2026-12-31"))

    @given(index=st.integers(0, len(days) - 1), count=st.integers(1, 300))
    def test_next_and_previous_are_inverse(self, index, count):
        session = self.days[index]
        if index + count < len(self.days):
            assert self.calendar.previous(self.calendar.next(session, count), count) == session
        if index - count >= 0:
            assert self.calendar.next(self.calendar.previous(session, count), count) == session

    @given(any_day)
    def test_neighbours_of_any_day(self, asked):
        assert self.calendar.previous(asked) == max(d for d in self.days if d < asked)
        if asked < self.days[-1]:
            assert self.calendar.next(asked) == min(d for d in self.days if d > asked)
        assert self.calendar.is_session(asked) == (asked in self.days)

    @given(first=any_day, last=any_day)
    def test_between(self, first, last):
        found = [as_date(session) for session in self.calendar.between(first, last)]
        assert found == [d for d in self.days if first <= d <= last]

    @given(index=st.integers(0, len(days) - 1), count=st.integers(1, 10_000))
    def test_window(self, index, count):
        found = [as_date(s) for s in self.calendar.window(self.days[index], count)]
        assert found == list(self.days[: index + 1][-count:])

    @given(
        st.datetimes(datetime(2000, 1, 1), datetime(2026, 1, 1)),  # noqa: DTZ001
        st.timedeltas(timedelta(0), timedelta(days=3)),
    )
    def test_last_closed(self, naive, delay):
        as_of = naive.replace(tzinfo=UTC)
        found = self.calendar.last_closed(as_of, delay)
        assert self.calendar.close(found) + delay <= as_of
        assert self.calendar.close(self.calendar.next(found)) + delay > as_of


class TestBeyondTheBounds:
    """Where exchange_calendars knows no holidays."""

    @pytest.fixture(autouse=True)
    def _built_anew(self):
        load.cache_clear()
        sessions._build.cache_clear()
        yield
        load.cache_clear()
        sessions._build.cache_clear()

    def test_weekdays_continue_with_one_warning(self, caplog):
        with caplog.at_level(logging.WARNING):
            calendars = [load("XSES", day("2026-06-01") + timedelta(days=n)) for n in range(30)]
        assert len(caplog.records) == 1
        assert "XSES: holidays after 2026-12-31 are unknown" in caplog.text
        assert all(calendar is calendars[0] for calendar in calendars)
        after = calendars[0].between(day("2027-01-01"), day("2027-12-31"))
        assert list(after) == [
            session for session in np.arange("2027", "2028", dtype="M8[D]") if np.is_busday(session)
        ]
        assert calendars[0].next(day("2026-12-31")) == day("2027-01-01")
        assert calendars[0].open(day("2027-01-04")) == utc("2027-01-04 01:00")
        assert calendars[0].close(day("2027-01-04")) == utc("2027-01-04 09:00")

    def test_no_warning_inside_the_bounds(self, caplog):
        load("XSES", day("2025-06-01"))
        assert not caplog.records

    def test_the_week_of_the_exchange_is_kept(self):
        calendar = load("XSAU", TODAY)  # begins 2021
        week = calendar.between(day("2015-03-01"), day("2015-03-07"))  # Sunday to Saturday
        assert [session.item().isoweekday() for session in week] == [7, 1, 2, 3, 4]

    @pytest.mark.parametrize(("code", "offset"), [("XNYS", 0), ("XLON", 0), ("CMES", -1)])
    def test_usual_times_follow_daylight_saving(self, code, offset, monkeypatch):
        """A calendar cut short agrees with the whole one on every ordinary day."""
        whole = load(code, TODAY)
        load.cache_clear()
        sessions._build.cache_clear()
        kind = type(exchange_calendars.get_calendar(code))
        monkeypatch.setattr(kind, "bound_max", classmethod(lambda cls: pd.Timestamp("2022-06-30")))
        short = load(code, TODAY)
        assert isinstance(short, TradingCalendar)
        known = np.isin(short.sessions, whole.sessions)
        same_open = short.opens[known] == whole.opens
        same_close = short.closes[known] == whole.closes
        known_only = whole.sessions <= np.datetime64("2022-06-30")
        assert same_open[known_only].all()
        assert same_close[known_only].all()
        assert same_open.all()
        assert same_close.mean() > 0.99  # early closes are not foreseen
        assert (~known).sum() < 11 * 5  # holidays are not foreseen


def test_importing_sessions_imports_neither_pandas_nor_calendars():
    code = (
        "import sys, stockbatch.market.sessions;"
        " print({'pandas', 'exchange_calendars'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
