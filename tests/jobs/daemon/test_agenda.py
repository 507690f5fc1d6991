"""What is due, planned from what the database says."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.daemon.agenda import Exchange, plan, wait
from stockbatch.config import Settings
from stockbatch.market import sessions
from stockbatch.store.runs import Lack, LastTry

SETTINGS = Settings(catch_up_sessions=3)
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
LAST = date(2024, 6, 6)
"""A Thursday: the last session closed at NOW."""
NOW = datetime(2024, 6, 6, 21, tzinfo=UTC)
DELAY = timedelta(minutes=45)


def exchange(code="XNYS", *, done=(), since=LONG_AGO, paused=False, now=NOW, **states):
    """Return an exchange of one ticker whose sessions `done` are finished, as loaded at `now`."""
    calendar = sessions.load(code, now.date())
    last = calendar.last_closed(now, DELAY)
    window = calendar.window(last, SETTINGS.catch_up_sessions + 1).tolist()
    done = [day for day in done if calendar.is_session(day)]
    tries = {day: LastTry("finished", 1, calendar.close(day) + DELAY) for day in done}
    tries |= states.get("tries", {})
    known = [d for d in window if calendar.deadline(calendar.next(d)) > since]
    return Exchange(
        calendar=calendar,
        delay=DELAY,
        active_since=since,
        paused=paused,
        last_tries=tries,
        lacks={d: Lack(int(d not in done), 0) for d in known} | states.get("lacks", {}),
    )


def days(first, last):
    calendar = sessions.load("XNYS", last)
    return calendar.between(first, last).tolist()


def before(count=1):
    return sessions.load("XNYS", LAST).previous(LAST, count)


def planned(*exchanges, now=NOW):
    made = plan(exchanges, now, SETTINGS)
    return [(d.calendar, d.session, d.live) for d in made.due]


DONE = days(date(2023, 12, 28), before())


def test_a_session_is_due_once_its_bars_had_time_to_appear():
    assert planned(exchange(done=DONE)) == [("XNYS", LAST, True)]
    early = datetime(2024, 6, 6, 20, 44, 59, tzinfo=UTC)
    assert planned(exchange(done=DONE, now=early), now=early) == []
    assert planned(exchange(done=[*DONE, LAST])) == []


def test_what_can_still_be_live_comes_first_and_nearest_deadlines_before_all():
    london = exchange("XLON", done=DONE[:-2])
    paris = exchange("XPAR", done=DONE)
    found = planned(exchange(done=DONE[:-1]), london, paris)
    assert [(code, live) for code, _, live in found] == [
        ("XLON", True),
        ("XPAR", True),
        ("XNYS", True),
        ("XLON", False),
        ("XLON", False),
        ("XNYS", False),
    ]
    missed = [session for _, session, live in found if not live]
    assert missed == sorted(missed)


def test_missed_sessions_are_bounded_and_older_ones_skipped():
    made = plan([exchange(done=DONE[:-6])], NOW, SETTINGS)
    assert [d.session for d in made.due] == [LAST, *DONE[-3:]]
    assert made.skipped == tuple(("XNYS", day) for day in DONE[-6:-3])
    late = datetime(2024, 6, 7, 14, tzinfo=UTC)  # nothing can be live any more
    made = plan([exchange(done=DONE[:-6], now=late)], late, SETTINGS)
    assert [(d.session, d.live) for d in made.due] == [(day, False) for day in [*DONE[-2:], LAST]]
    assert made.skipped[-1] == ("XNYS", DONE[-3])


def test_an_old_run_that_never_ended_is_skipped_and_a_skipped_one_forgotten():
    old = DONE[-10]
    for status in ("failed", "running", "stopped"):
        tries = {old: LastTry(status, 2, NOW - timedelta(days=20))}
        made = plan([exchange(done=DONE, tries=tries)], NOW, SETTINGS)
        assert made.skipped == (("XNYS", old),)
    tries = {old: LastTry("skipped", 1, NOW)}
    assert plan([exchange(done=DONE, tries=tries)], NOW, SETTINGS).skipped == ()


def test_nothing_is_due_from_before_a_ticker_could_be_forecast():
    evening = datetime(2024, 6, 5, 22, tzinfo=UTC)  # after Wednesday's close
    found = planned(exchange(since=evening))
    assert found == [("XNYS", LAST, True), ("XNYS", date(2024, 6, 5), False)]
    noon = datetime(2024, 6, 6, 17, tzinfo=UTC)  # Wednesday's forecasts would have been late
    made = plan([exchange(since=noon)], NOW, SETTINGS)
    assert [d.session for d in made.due] == [LAST]
    assert made.skipped == ()


def test_a_paused_exchange_is_left_alone():
    made = plan([exchange(done=DONE[:-9], paused=True)], NOW, SETTINGS)
    assert (made.due, made.waiting, made.skipped) == ((), (), ())


@pytest.mark.parametrize(
    ("status", "tries", "minutes"),
    [
        *(("failed", 1, 5), ("failed", 3, 20), ("failed", 9, 60), ("finished", 2, 10)),
        *(("running", 1, 0), ("running", 2, 5), ("stopped", 5, 0)),
    ],
)
def test_a_failure_is_tried_again_ever_later(status, tries, minutes):
    lacks = {LAST: Lack(0, 1)}
    for more, is_due in ((-1, False), (0, True)):
        now = NOW + timedelta(minutes=minutes + more, seconds=1)
        state = {LAST: LastTry(status, tries, NOW)}
        made = plan([exchange(done=DONE, tries=state, lacks=lacks)], now, SETTINGS)
        assert bool(made.due) == (is_due or minutes == 0)
        assert bool(made.waiting) != bool(made.due)


def test_a_new_ticker_does_not_wait():
    state = {LAST: LastTry("finished", 5, NOW)}
    assert planned(exchange(done=DONE, tries=state, lacks={LAST: Lack(1, 1)}))


def test_a_live_forecast_has_a_last_chance():
    deadline = datetime(2024, 6, 7, 13, 30, tzinfo=UTC)
    tried = {LAST: LastTry("failed", 9, deadline - timedelta(minutes=35))}
    for minutes, is_due in ((31, False), (30, True)):
        now = deadline - timedelta(minutes=minutes)
        assert bool(planned(exchange(done=DONE, tries=tried), now=now)) == is_due


def test_a_clock_set_back_keeps_nothing_waiting():
    state = {LAST: LastTry("failed", 9, NOW + timedelta(days=3))}
    assert planned(exchange(done=DONE, tries=state))
    earlier = NOW - timedelta(days=4)
    assert planned(exchange(done=[*DONE, LAST], now=earlier), now=earlier) == []


def test_a_skip_by_a_clock_that_was_ahead_is_no_final_word():
    waiting = Lack(0, 1)
    for session, tried, is_due in (
        (LAST, NOW - timedelta(hours=12), True),  # the current session is never too old
        (before(), NOW - timedelta(hours=12), False),
        (before(), NOW + timedelta(days=65), True),  # nobody can have tried it tomorrow
    ):
        done = [day for day in [*DONE, LAST] if day != session]
        state = {session: LastTry("skipped", 1, tried)}
        skipped = exchange(done=done, tries=state, lacks={session: waiting})
        assert [due for _, due, _ in planned(skipped)] == [session] * is_due
        assert plan([skipped], NOW, SETTINGS).skipped == ()


@given(tries=st.integers(0, 10_000))
def test_waits_grow_to_their_limit(tries):
    hour = timedelta(hours=1)
    assert timedelta(0) <= wait(tries, hour) <= wait(tries + 1, hour) <= hour


@given(
    done=st.sets(st.sampled_from(DONE[-12:])),
    hours=st.integers(0, 90),
    since=st.integers(0, 15),
)
def test_every_session_is_done_due_or_skipped_once(done, hours, since):
    now = NOW + timedelta(hours=hours)
    active = datetime(2024, 6, 6, 15, tzinfo=UTC) - timedelta(days=since)
    calendar = sessions.load("XNYS", LAST)
    made = plan([exchange(done=[*DONE[:-12], *done], since=active, now=now)], now, SETTINGS)
    due = [d.session for d in made.due]
    skipped = [session for _, session in made.skipped]
    owed = [
        day
        for day in days(DONE[-12], calendar.last_closed(now, DELAY))
        if day not in done and calendar.deadline(calendar.next(day)) > active
    ]
    assert sorted(due + skipped) == owed
    assert len([d for d in made.due if not d.live]) <= SETTINGS.catch_up_sessions
    assert not due or not skipped or max(skipped) < min(due)
    assert all((not a.live, a.deadline) <= (not b.live, b.deadline) for a, b in pairwise(made.due))
