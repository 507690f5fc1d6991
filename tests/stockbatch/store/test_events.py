"""What sources state of events is kept with its versions, and shown as the one thing it is."""

from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import text

from stockbatch.records import LSTM, Event, Timing
from stockbatch.store import bi, events, forecasts
from tests.support.ledger import bars_of, forecast_of, opened, rows, store
from tests.support.market import NOW, ORIGIN, calendar, session

TARGET = session(1)
SEEN = datetime(2024, 6, 3, 20, 30, tzinfo=UTC)
"""After the close of ORIGIN, long before the open of TARGET."""
LATER = SEEN + timedelta(days=1)


def of(day, ticker="AAA", **changes):
    return Event(symbol=ticker, date=day, **changes)


def kept(db, columns="date, timing, session, known_at, assumed, withdrawn_at"):
    found = rows(db, f"SELECT {columns} FROM stockbatch.events ORDER BY id")
    return [tuple(row.values()) for row in found]


class TestRecord:
    def record(self, db, one, *stated, source="import", seen_at=SEEN, **options):
        return events.record(db, [one], stated, source, seen_at, **options)

    def test_what_is_stated_again_is_no_row(self, db, one):
        assert self.record(db, one, of(session(9)), of(session(-60))) == (2, 0, 0, 0)
        assert self.record(db, one, of(session(9)), of(session(-60)), seen_at=LATER) == (0, 0, 0, 2)
        assert kept(db) == [
            (session(9), "unknown", session(9), SEEN, False, None),
            (session(-60), "unknown", session(-60), SEEN, True, None),
        ]

    def test_a_date_that_moves_keeps_its_versions(self, db, one):
        self.record(db, one, of(session(30)), of(session(-33)))
        moved = of(session(40), timing=Timing.BEFORE_OPEN)
        assert self.record(db, one, moved, seen_at=LATER) == (0, 1, 0, 0)
        last = datetime(2024, 6, 6, tzinfo=UTC)
        exact = of(session(40), timing=Timing.AFTER_CLOSE)
        assert self.record(db, one, exact, seen_at=last) == (0, 1, 0, 0)
        assert kept(db) == [
            (session(30), "unknown", session(30), SEEN, False, LATER),
            (session(-33), "unknown", session(-33), SEEN, True, None),
            (session(40), "before_open", session(40), LATER, False, last),
            (session(40), "after_close", session(41), last, False, None),
        ]

    def test_who_does_not_know_the_hour_does_not_deny_it(self, db, one):
        self.record(db, one, of(session(9), timing=Timing.DURING))
        assert self.record(db, one, of(session(9)), seen_at=LATER) == (0, 0, 0, 1)

    def test_only_what_is_ahead_and_would_be_stated_is_withdrawn(self, db, one):
        days = [session(n) for n in (-60, 1, 10, 75)]
        self.record(db, one, *map(of, days))
        assert self.record(db, one, seen_at=LATER) == (0, 0, 0, 0)
        counts = self.record(db, one, seen_at=LATER, through=session(60))
        assert counts == (0, 0, 1, 0)
        assert [row[1] for row in kept(db, "date, withdrawn_at")] == [None, None, LATER, None]
        assert self.record(db, one, of(session(10)), seen_at=LATER + timedelta(days=1)).new == 1

    def test_the_past_is_put_right_by_days_only(self, db, one):
        self.record(db, one, of(session(-60)))
        assert self.record(db, one, of(session(-58)), seen_at=LATER) == (0, 1, 0, 0)
        assert self.record(db, one, of(session(-40)), seen_at=LATER) == (1, 0, 0, 0)

    def test_a_source_that_says_since_when_is_believed_up_to_now(self, db, one):
        early = datetime(2024, 5, 1, tzinfo=UTC)
        self.record(db, one, of(session(-5)), of(session(-70)), of(session(5)))
        stated = of(session(-5), known_at=early), of(session(5), known_at=NOW)
        assert self.record(db, one, *stated, seen_at=LATER) == (0, 1, 0, 1)
        assert kept(db, "date, known_at, assumed")[-1] == (session(-5), early, False)

    def test_what_a_watched_source_states_late_was_not_known(self, db, one):
        self.record(db, one, of(session(-30)), source="feed", watched=True)
        week = SEEN + timedelta(days=7)
        late = of(session(2)), of(session(-90))
        self.record(db, one, *late, source="feed", seen_at=week, watched=True)
        self.record(db, one, *late, source="import", seen_at=week)
        assert kept(db, "source, date, assumed") == [
            ("feed", session(-30), True),
            ("feed", session(2), False),
            ("feed", session(-90), True),
            ("import", session(2), True),
            ("import", session(-90), True),
        ]

    def test_sources_and_kinds_are_apart_and_calendars_have_events(self, db, one):
        self.record(db, one, of(session(9)), source="a")
        bank = of(session(8), "XNYS", kind="central_bank")
        meeting = of(session(8), kind="annual_meeting")
        unknown = of(session(8), "ZZZ"), of(date(1890, 1, 1)), of(date(9999, 1, 1))
        assert self.record(db, one, bank, meeting, *unknown, source="b") == (2, 0, 0, 0)
        found = kept(db, "instrument_id, calendar, kind, date")
        assert sorted(found, key=str) == [
            (one.id, None, "annual_meeting", session(8)),
            (one.id, None, "earnings", session(9)),
            (None, "XNYS", "central_bank", session(8)),
        ]


def test_the_database_says_when_a_row_came(db, one):
    before = db.scalar(text("SELECT clock_timestamp()"))
    db.execute(
        text(
            "INSERT INTO stockbatch.events (instrument_id, kind, date, timing, session, source,"
            " known_at, assumed, projected, recorded_at) VALUES (:id, 'earnings', '2024-06-03',"
            " 'unknown', '2024-06-03', 'x', '2020-01-01', false, false, '2020-01-01')"
        ),
        {"id": one.id},
    )
    assert kept(db, "recorded_at")[0][0] >= before


# ---- seen by people


def shown(db, view, day=TARGET):
    found = rows(db, f"SELECT event FROM bi.{view} WHERE session = :day", day=day)
    return [row["event"] for row in found]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (of(ORIGIN, timing=Timing.AFTER_CLOSE), "reports after the close"),
        (of(TARGET, timing=Timing.BEFORE_OPEN), "reports before the open"),
        (of(TARGET, timing=Timing.DURING), "reports during the session"),
        (of(TARGET), "reports, hour unknown"),
        (of(TARGET, projected=True), "may report by the rhythm of past years"),
        (of(TARGET, kind="investor_day"), "investor day, hour unknown"),
    ],
)
def test_a_forecast_tells_the_event_of_its_session(db, one, event, words):
    store(db, one, bars_of([ORIGIN], [100.0]))
    forecasts.add(db, [forecast_of(one, method=LSTM)], opened(db), issued_at=NOW)
    assert shown(db, "next_session_forecast") == shown(db, "price_and_forecast") == [None]
    before = rows(db, "SELECT updated_at FROM bi.price_and_forecast ORDER BY session")
    events.record(db, [one], [event], "import", SEEN)
    assert shown(db, "next_session_forecast") == shown(db, "price_and_forecast") == [words]
    after = rows(db, "SELECT updated_at FROM bi.price_and_forecast ORDER BY session")
    assert [a > b for a, b in zip(after_of(after), after_of(before), strict=True)] == [False, True]
    events.record(db, [one], [], "import", SEEN, through=session(60))
    assert shown(db, "price_and_forecast") == [None]


def after_of(found):
    return [row["updated_at"] for row in found]


def test_what_came_at_no_hour_the_session_before_may_move_this_one(db, one):
    store(db, one, bars_of([ORIGIN], [100.0]))
    forecasts.add(db, [forecast_of(one)], opened(db), issued_at=NOW)
    events.record(db, [one], [of(ORIGIN)], "import", SEEN)
    words = "reported the session before, hour unknown"
    assert shown(db, "next_session_forecast") == [words]
    assert shown(db, "price_and_forecast", ORIGIN) == ["reports, hour unknown"]
    events.record(db, [one], [of(ORIGIN, timing=Timing.BEFORE_OPEN)], "import", SEEN)
    assert shown(db, "next_session_forecast") == [None]


def test_of_several_sources_one_counts(db, one):
    day = session(10)
    for source, event in (
        ("guess", of(day, projected=True)),
        ("history", of(session(-60))),
        ("feed", of(session(11))),
        ("exact", of(day, timing=Timing.AFTER_CLOSE)),
        ("newer", of(session(12))),
        ("other quarter", of(session(75))),
    ):
        events.record(db, [one], [event], source, SEEN)
    query = "SELECT source FROM bi.events WHERE is_current ORDER BY source"
    counting = [row["source"] for row in rows(db, query)]
    assert counting == ["exact", "history", "other quarter"]
    events.record(db, [one], [], "exact", LATER, through=session(100))
    counting = [row["source"] for row in rows(db, query)]
    assert counting == ["history", "newer", "other quarter"]


def test_the_view_has_every_version_with_its_session(db, one):
    events.record(db, [one], [of(session(10))], "import", SEEN)
    events.record(db, [one], [of(session(11))], "import", LATER)
    former, present = rows(db, "SELECT * FROM bi.events ORDER BY event_id")
    expected = {"session": session(10), "session_close_at": calendar().close(session(10))}
    expected |= {"ticker": "AAA", "calendar": "XNYS", "known_at": SEEN, "withdrawn_at": LATER}
    expected |= {"is_current": False, "is_assumed": False, "is_projected": False, "is_demo": False}
    assert former | expected == former
    assert present["is_current"]
    assert present["session"] == session(11)
    assert [row["event_date"] for row in bi.events.ahead(db, ORIGIN).rows()] == [session(11)]
    assert len(bi.events.of_ticker(db, "AAA").values) == 2
