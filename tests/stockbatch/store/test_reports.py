"""What each session knew of reports: nothing that came later, and a replay what its run knew."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from stockbatch.market import reports
from stockbatch.records import Event, Timing
from stockbatch.store import events
from tests.support.ledger import listed, opened
from tests.support.market import ORIGIN, calendar, session

FIRST, LAST = -20, 20
DAYS = np.array([session(n) for n in range(FIRST, LAST + 1)], dtype="datetime64[D]")
EARLY = datetime(2024, 4, 1, tzinfo=UTC)
ASSUMED = 5


def of(day, ticker="AAA", **changes):
    return Event(symbol=ticker, date=day, **changes)


def seen_after(offset):
    """Return an instant after the close of a session and before the next one opens."""
    return calendar().close(session(offset)) + timedelta(hours=1)


def load(db, instruments, days=DAYS, **options):
    return events.load_reports(db, instruments, days, calendar(), ASSUMED, **options)


def at(matrix, row=0):
    """Return the offsets of the sessions for which a row is true."""
    return (np.flatnonzero(matrix[row]) + FIRST).tolist()


@pytest.fixture
def state(db, one):
    def make(*stated, source="import", seen_at=EARLY, **options):
        events.record(db, [one], stated, source, seen_at, **options)

    return make


@pytest.mark.parametrize(
    ("timing", "moves", "lingers"),
    [
        (Timing.BEFORE_OPEN, 0, []),
        (Timing.DURING, 0, []),
        (Timing.UNKNOWN, 0, [0]),
        (Timing.AFTER_CLOSE, 1, []),
    ],
)
def test_a_report_is_due_the_session_before_the_one_it_moves(
    db, one, state, timing, moves, lingers
):
    state(of(ORIGIN, timing=timing))
    known = load(db, [one])
    assert at(known.due) == [moves - 1]
    assert at(known.came) == [moves]
    assert at(known.lingering) == lingers
    assert known.covered.all()
    assert not known.expected.any()


JUNETEENTH = date(2024, 6, 19)
"""A Wednesday on which the exchange is closed."""


@pytest.mark.parametrize("timing", list(Timing))
def test_what_comes_on_a_closed_day_moves_the_next_session(db, one, state, timing):
    state(of(JUNETEENTH, timing=timing))
    known = load(db, [one])
    day = calendar().next(JUNETEENTH)
    assert DAYS[known.came[0]].tolist() == [day]
    assert DAYS[known.due[0]].tolist() == [calendar().previous(day)]
    assert not known.lingering.any()


def test_the_session_before_a_long_weekend_is_the_one_before(db, one, state):
    friday = date(2024, 5, 24)  # Memorial Day follows
    state(of(friday, timing=Timing.AFTER_CLOSE))
    known = load(db, [one])
    assert DAYS[known.due[0]].tolist() == [friday]
    assert DAYS[known.came[0]].tolist() == [date(2024, 5, 28)]


def test_nothing_is_known_before_it_was_seen(db, one, state):
    state(of(session(5)), seen_at=seen_after(2))
    known = load(db, [one])
    assert at(known.covered) == list(range(2, LAST + 1))
    assert at(known.due) == [4]
    feed = {"source": "b", "watched": True}
    state(of(session(9), timing=Timing.AFTER_CLOSE), seen_at=seen_after(9), **feed)
    state(of(session(15)), seen_at=calendar().open(session(15)), **feed)
    known = load(db, [one])
    assert at(known.due) == [4, 9]
    assert at(known.came) == [5, 10, 15]  # that of the 15th was seen at its open: too late for 14


def test_a_date_that_moved_was_the_former_one_until_then(db, one, state):
    state(of(session(5)))
    state(of(session(12)), seen_at=seen_after(4))
    known = load(db, [one])
    assert (at(known.due), at(known.came)) == ([11], [12])
    state(of(session(16)), seen_at=seen_after(11))
    known = load(db, [one])
    assert (at(known.due), at(known.came)) == ([15], [16])
    state(of(session(19)), seen_at=calendar().open(session(16)))  # too late for the session before
    known = load(db, [one])
    assert (at(known.due), at(known.came)) == ([15, 18], [19])


def test_history_is_known_some_sessions_ahead(db, one, state):
    state(of(session(0)), seen_at=seen_after(40))
    known = load(db, [one])
    assert (at(known.due), at(known.came)) == ([-1], [0])
    assert at(known.covered) == list(range(-ASSUMED, LAST + 1))
    assert at(events.load_reports(db, [one], DAYS, calendar(), 0).due) == []
    state(of(session(2)), seen_at=seen_after(41))  # put right: that of before never was
    assert at(load(db, [one]).came) == [2]


def test_what_was_seen_ahead_is_better_than_what_is_told_afterwards(db, one, state):
    state(of(session(5)), source="feed")
    before = load(db, [one])
    exact = of(session(6), timing=Timing.AFTER_CLOSE)
    state(exact, source="history", seen_at=seen_after(40))
    after = load(db, [one])
    for name in ("due", "came", "lingering", "covered"):
        assert np.array_equal(getattr(before, name), getattr(after, name)), name


def test_two_sources_count_once(db, one, state):
    state(of(session(6)), source="a")
    state(of(session(5), timing=Timing.BEFORE_OPEN), source="b")
    state(of(session(7)), source="c", seen_at=seen_after(1))
    known = load(db, [one])
    assert (at(known.due), at(known.came), at(known.lingering)) == ([4], [5], [])
    state(source="b", seen_at=seen_after(2), through=session(60))
    known = load(db, [one])
    assert (at(known.due), at(known.came)) == ([6], [7])


def test_what_is_known_ends_two_quarters_after_the_last_report(db, one, state):
    state(of(session(-150)))
    known = load(db, [one])
    assert at(known.covered) == list(range(FIRST, reports.COVERED - 150 + 1))


def test_nothing_known_is_nothing_due(db):
    known = load(db, listed(db, "AAA", "BBB"))
    for name in ("due", "came", "lingering", "covered", "expected"):
        assert getattr(known, name).shape == (2, len(DAYS))
        assert not getattr(known, name).any()


def test_each_ticker_in_its_row(db):
    instruments = listed(db, "CCC", "AAA", "BBB")
    stated = [of(session(3), "AAA"), of(session(7), "BBB"), of(session(3), "AAA", kind="other")]
    events.record(db, instruments, stated, "import", EARLY)
    rows = {i.ticker: n for n, i in enumerate(instruments)}
    known = load(db, instruments)
    assert [at(known.came, rows[t]) for t in ("AAA", "BBB", "CCC")] == [[3], [7], []]


class TestExpected:
    def test_the_date_of_a_year_ago_is_expected_where_none_is_stated(self, db, one, state):
        day = session(5)
        year_ago = day - timedelta(days=364)
        state(of(year_ago))
        known = load(db, [one])
        assert (at(known.expected), at(known.due)) == ([4], [])

    @pytest.mark.parametrize(
        ("stated", "seen", "expected"),
        [(8, 4, []), (8, 6, [4]), (5, 3, []), (-10, -11, []), (60, 0, [4])],
    )
    def test_what_is_stated_of_the_quarter_replaces_it(
        self, db, one, state, stated, seen, expected
    ):
        state(of(session(5) - timedelta(days=364)))
        state(of(session(stated)), source="b", seen_at=seen_after(seen))
        assert at(load(db, [one]).expected) == expected


class TestReplays:
    def test_a_replay_sees_what_its_run_saw(self, db, one, state):
        state(of(session(12)))
        days = DAYS[: 0 - FIRST + 1]
        opened(db, ORIGIN)
        before = load(db, [one], days)
        state(of(session(1)), source="late", seen_at=seen_after(0))
        state(of(session(-5)), of(session(-1)), source="history", seen_at=seen_after(40))
        again = load(db, [one], days)
        for name in ("due", "came", "lingering", "covered", "expected"):
            assert np.array_equal(getattr(before, name), getattr(again, name)), name
        assert at(load(db, [one], days, as_run=False).came) == [-5, -1]
        # The next session's run is another one: it knows the history that came meanwhile.
        assert at(load(db, [one], DAYS[: 1 - FIRST + 1]).came) == [-5, -1, 1]

    def test_what_came_between_run_and_deadline_is_for_the_next(self, db, one, state):
        run = opened(db, ORIGIN)
        begun = calendar().close(ORIGIN) + timedelta(minutes=45)
        db.execute(
            text("UPDATE stockbatch.runs SET started_at = :at WHERE id = :id"),
            {"at": begun, "id": run.id},
        )
        state(of(session(1)), seen_at=begun + timedelta(minutes=1))
        state(of(session(10)), source="b", seen_at=begun - timedelta(minutes=1))
        known = load(db, [one])
        assert (at(known.due), at(known.came)) == ([9], [1, 10])
        assert at(known.covered)[0] == 0


# ---- no look-ahead


def statements(drawn):
    """Return what the store reads of (ticker, date, hour known, assumed, seen, ended) as arrays."""
    order = sorted(drawn, key=lambda one: (one[0], one[1]))
    column = [np.array(values) for values in zip(*order, strict=True)]
    dates = np.array([session(n) for n in column[1]], dtype="datetime64[D]")
    instant = np.vectorize(lambda n: seen_after(int(n)).timestamp(), otypes=[float])
    return reports.Statements(
        row=column[0],
        date=dates,
        session=dates,
        vague=~column[2].astype(bool),
        assumed=column[3].astype(bool),
        known_at=instant(column[4]),
        ended_at=np.where(column[5] > 0, instant(column[4] + column[5]), np.inf),
    )


def known_to(drawn):
    none = np.zeros(0)
    place, cuts = reports.cuts(calendar(), DAYS, none.astype("datetime64[D]"), none)
    knowledge = reports.Knowledge(
        stated=statements(drawn), calendar=calendar(), place=place, cuts=cuts, reach=ASSUMED
    )
    return knowledge.reports(2)


OFFSETS = st.integers(FIRST - 5, LAST + 20)
ANY = st.tuples(
    st.integers(0, 1), OFFSETS, st.booleans(), st.booleans(), OFFSETS, st.sampled_from([0, 0, 3])
)


@given(
    st.lists(ANY, min_size=1, max_size=12),
    st.lists(ANY, min_size=1, max_size=6),
    st.integers(FIRST, LAST),
)
def test_what_comes_later_changes_no_earlier_session(early, late, cut):
    """Of history, which is told afterwards, that holds by the instant it came: see replays."""
    late = [(*one[:3], False, max(one[4], cut), one[5]) for one in late]
    before, after = known_to(early), known_to(early + late)
    columns = slice(0, cut - FIRST)
    for name in ("due", "came", "lingering", "covered", "expected"):
        assert np.array_equal(
            getattr(before, name)[:, columns], getattr(after, name)[:, columns]
        ), name


def plain(drawn):
    """Return due and came of two tickers, found for each session from all that it knew."""
    due, came = np.zeros((2, 2, len(DAYS)), bool)
    for column, offset in enumerate(range(FIRST, LAST + 1)):
        cut = calendar().deadline(session(offset + 1))
        known = [
            one
            for one in drawn
            if (
                one[5] == 0 and one[1] - offset <= ASSUMED
                if one[3]
                else seen_after(one[4]) < cut
                and (one[5] == 0 or seen_after(one[4] + one[5]) >= cut)
            )
        ]
        for one in known:
            rank = (one[3], not one[2], -one[4])
            rivals = [
                (o[3], not o[2], -o[4])
                for o in known
                if o[0] == one[0] and abs(session(o[1]) - session(one[1])) <= timedelta(days=5)
            ]
            if rank == min(rivals):
                due[one[0], column] |= one[1] == offset + 1
                came[one[0], column] |= one[1] == offset
    return due, came


@given(st.lists(ANY, min_size=1, max_size=10, unique_by=lambda one: (one[0], *one[2:5])))
def test_it_is_what_a_plain_loop_finds(drawn):
    due, came = plain(drawn)
    known = known_to(drawn)
    assert np.array_equal(known.due, due)
    assert np.array_equal(known.came, came)
