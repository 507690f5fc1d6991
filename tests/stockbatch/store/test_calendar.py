"""The dimension of sessions."""

from datetime import UTC, date, datetime

from sqlalchemy import text

from stockbatch.store.calendar import extend
from tests.support.market import calendar

DAY_BEFORE, HALF_DAY = date(2024, 7, 2), date(2024, 7, 3)


def test_sessions_are_stored_with_the_instants_they_open_and_close(db):
    extend(db, calendar(), DAY_BEFORE, date(2024, 7, 5))
    rows = db.execute(text("SELECT * FROM stockbatch.sessions ORDER BY session")).all()
    assert [row.session for row in rows] == [DAY_BEFORE, HALF_DAY, date(2024, 7, 5)]
    assert rows[1] == (
        "XNYS",
        HALF_DAY,
        datetime(2024, 7, 3, 13, 30, tzinfo=UTC),
        datetime(2024, 7, 3, 17, 0, tzinfo=UTC),
        datetime(2024, 7, 3, 13, 30, tzinfo=UTC),
    )


def test_every_session_is_that_of_the_calendar(db):
    extend(db, calendar(), date(1990, 1, 1), date(1992, 12, 31))
    extend(db, calendar(), date(1989, 1, 1), date(2024, 12, 31))
    rows = db.execute(text("SELECT * FROM stockbatch.sessions ORDER BY session")).all()
    days = calendar().between(date(1990, 1, 1), date(2024, 12, 31)).tolist()
    expected = [
        ("XNYS", day, calendar().open(day), calendar().close(day), calendar().deadline(day))
        for day in days
    ]
    assert [tuple(row) for row in rows] == expected


def test_extending_adds_what_is_missing_and_changes_nothing(db):
    extend(db, calendar(), HALF_DAY, HALF_DAY)
    before = db.execute(text("SELECT *, xmin, ctid FROM stockbatch.sessions")).all()
    extend(db, calendar(), DAY_BEFORE, date(2024, 7, 8))
    extend(db, calendar(), DAY_BEFORE, date(2024, 7, 8))
    known = "SELECT *, xmin, ctid FROM stockbatch.sessions WHERE session = '2024-07-03'"
    assert db.execute(text(known)).all() == before
    assert db.scalar(text("SELECT count(*) FROM stockbatch.sessions")) == 4


def test_a_span_without_sessions_is_no_error(db):
    extend(db, calendar(), date(2024, 7, 6), date(2024, 7, 7))
    assert db.scalar(text("SELECT count(*) FROM stockbatch.sessions")) == 0
