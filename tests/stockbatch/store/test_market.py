"""What all tickers of a calendar did together."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text

from stockbatch.records import BarState, CorporateAction
from stockbatch.store import bars, instruments, market
from tests.support.ledger import bars_of, listed, opened, store
from tests.support.market import calendar, session

DAYS = [session(offset) for offset in range(4)]
WINDOW = np.array(DAYS, dtype="datetime64[D]")
CLOSES = [100.0, 102.0, 101.0, 104.0]


def five(db):
    """Five tickers that close at multiples of CLOSES, the first moving twice as much."""
    instruments = listed(db, *"ABCDE")
    for number, instrument in enumerate(instruments, start=1):
        store(db, instrument, bars_of(DAYS, number * np.array(CLOSES) ** (2 - (number > 1))))
    return instruments


def summed_up(db, days=WINDOW):
    market.update(db, calendar(), days)
    return market.load(db, "XNYS", days).absolute_return


def stored(db):
    query = "SELECT session, instruments, ctid FROM stockbatch.market_inputs ORDER BY session"
    return [tuple(row) for row in db.execute(text(query))]


MOVES = np.abs(np.diff(np.log(CLOSES)))


def test_the_median_move_of_a_session_is_known_from_the_second_on(db):
    five(db)
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES])
    before = stored(db)
    assert [row[:2] for row in before] == [(day, 5) for day in DAYS[1:]]
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES])
    assert stored(db) == before, "what is known is left alone"


def test_what_was_summed_up_is_stored_by_saving_it(db):
    five(db)
    found = market.summed_up(db, calendar(), WINDOW)
    assert not stored(db)
    market.save(db, calendar(), found)
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES])


@pytest.mark.parametrize("sessions", [1, 2, 100])
def test_so_many_sessions_at_a_time_change_no_number(db, monkeypatch, sessions):
    monkeypatch.setattr(market, "AT_ONCE", sessions)
    five(db)
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES])


def test_splits_and_dividends_are_no_moves(db):
    instruments = five(db)
    for one in instruments:
        halved = bars_of(DAYS[2:3], [50.0 * instruments.index(one) + 50.0 - 0.5])
        store(db, one, halved)
        store(db, one, bars_of(DAYS[1:2], [100.0 * (instruments.index(one) + 1)]))
    actions = [
        CorporateAction(session=DAYS[2], kind="split", value=2.0),
        CorporateAction(session=DAYS[2], kind="dividend", value=0.5),
    ]
    bars.add_actions(db, {one.id: actions for one in instruments}, provider="csv")
    assert summed_up(db)[2] == 0


def test_too_few_tickers_are_no_market(db):
    *_, last = five(db)
    db.execute(
        text("DELETE FROM stockbatch.bars WHERE instrument_id = :id AND session = :day"),
        {"id": last.id, "day": DAYS[2]},
    )
    np.testing.assert_allclose(summed_up(db), [np.nan, MOVES[0], np.nan, np.nan])
    assert [row[:2] for row in stored(db)] == [(DAYS[1], 5), (DAYS[2], 4), (DAYS[3], 5)]


def test_only_accepted_bars_of_the_active_tickers_of_the_calendar_count(db):
    *_, last = five(db)
    extra = [*listed(db, "DEMO", demo=True), *listed(db, "GONE", "LON")]
    for one in extra:
        store(db, one, bars_of(DAYS, [1.0, 2.0, 4.0, 8.0]))
    db.execute(text("UPDATE stockbatch.instruments SET active = false WHERE ticker = 'GONE'"))
    db.execute(text("UPDATE stockbatch.instruments SET calendar = 'XLON' WHERE ticker = 'LON'"))
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES])
    store(db, last, bars_of(DAYS[3:], [1.0]), state=BarState.QUARANTINED)
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES[:2], np.nan])


def test_a_session_is_summed_up_again_when_its_tickers_change(db):
    five(db)
    summed_up(db)
    for number, one in enumerate(listed(db, "X", "Y", "Z", "W"), start=1):
        store(db, one, bars_of(DAYS[1:], number * np.array([1.0, 2.0, 4.0])))
    moves = np.sort(np.vstack([[MOVES[1:]] * 4, [2 * MOVES[1:]], np.full((4, 2), np.log(2))]), 0)
    np.testing.assert_allclose(summed_up(db), [np.nan, MOVES[0], *moves[4]])


def computed(db):
    """Return when each session was summed up last."""
    query = "SELECT session, updated_at FROM stockbatch.market_inputs ORDER BY session"
    return dict(map(tuple, db.execute(text(query))))


def again(db, before):
    return [day for day, at in computed(db).items() if at != before[day]]


def test_a_corrected_close_sums_its_session_and_the_next_up_again(db):
    *_, last = five(db)
    summed_up(db)
    before = computed(db)
    # Three of five move by another amount: the median is one of theirs.
    for number, one in enumerate(listed_as(db, "C", "D", "E"), start=3):
        store(db, one, bars_of([DAYS[1]], [100.0 * number]))
    np.testing.assert_allclose(
        summed_up(db)[1:], np.abs(np.log(expected_of({"C", "D", "E"}))), rtol=1e-12
    )
    assert again(db, before) == DAYS[1:3]
    store(db, last, bars_of([DAYS[3]], [5 * CLOSES[3]], volume=[9.0]))
    before = computed(db)
    summed_up(db)
    assert again(db, before) == [], "volumes make no return"


def test_sessions_far_apart_are_summed_up_without_those_between(db):
    many = np.array([session(offset) for offset in range(12)], dtype="datetime64[D]")
    for number, one in enumerate(listed(db, *"ABCDE"), start=1):
        store(db, one, bars_of(many.tolist(), number * 1.01 ** np.arange(12.0)))
    summed_up(db, many)
    before = computed(db)
    (first,) = listed_as(db, "A")
    store(db, first, bars_of([many[3].item(), many[9].item()], [7.0, 8.0]))
    moves = summed_up(db, many)
    assert again(db, before) == many[[3, 4, 9, 10]].tolist()
    np.testing.assert_allclose(moves[1:], np.log(1.01))


def test_a_split_that_comes_late_or_is_withdrawn_counts(db):
    for number, one in enumerate(five(db)):
        store(db, one, bars_of(DAYS[2:], (number + 1) * np.array(CLOSES[2:]) / 2))
    assert summed_up(db)[2] > 0.6
    split = [CorporateAction(session=DAYS[2], kind="split", value=2.0)]
    ids = [one.id for one in listed_as(db, *"ABCDE")]
    bars.add_actions(db, dict.fromkeys(ids, split), provider="csv")
    restated = summed_up(db)
    assert restated[2] < 0.1
    bars.retract_actions(db, {}, dict.fromkeys(ids, (DAYS[0], DAYS[3])), provider="csv")
    assert summed_up(db)[2] > 0.6


def test_bars_that_all_go_leave_nothing_known(db):
    five(db)
    summed_up(db)
    db.execute(text("UPDATE stockbatch.bars SET state = 'quarantined' WHERE session > :day"),
        {"day": DAYS[1]})  # fmt: skip
    np.testing.assert_array_equal(np.isnan(summed_up(db)), [True, False, True, True])


def test_a_database_of_before_is_summed_up_once(db):
    five(db)
    summed_up(db)
    db.execute(text("UPDATE stockbatch.market_inputs SET absolute_return = 9, digest = NULL"))
    np.testing.assert_allclose(summed_up(db), [np.nan, *MOVES])


def listed_as(db, *tickers):
    return instruments.find(db, tickers)


def expected_of(changed):
    """The median ratio of each session where the tickers of `changed` closed at 100 on DAYS[1]."""
    closes = np.array([np.array(CLOSES) ** (2 - (number > 1)) for number in range(1, 6)])
    for row, ticker in enumerate("ABCDE"):
        if ticker in changed:
            closes[row, 1] = 100.0
    return np.exp(np.median(np.abs(np.diff(np.log(closes))), axis=0))


# ---- whose moves count


def close_of(offset, hours=0.0):
    return calendar().close(session(offset)) + timedelta(hours=hours)


@pytest.fixture
def watched(db):
    """Seven tickers of which the last four move ten times as much, and since when they are watched.

    The first run was an hour after the close of DAYS[1].
    """
    calm, wild = 1.01 ** np.arange(4.0), 1.1 ** np.arange(4.0)
    for number, one in enumerate(listed(db, *"ABCDEFG")):
        store(db, one, bars_of(DAYS, calm if number < 3 else wild))
    opened(db, DAYS[1])
    db.execute(text("UPDATE stockbatch.runs SET started_at = :at"), {"at": close_of(1, 1)})
    stay(db, "ABCDEFG", close_of(1, -1))
    return np.log(1.1), np.log(1.01)


def stay(db, tickers, since, until=None):
    db.execute(
        text("UPDATE stockbatch.memberships AS m SET added_at = :since, removed_at = :until"
             " FROM stockbatch.instruments AS i WHERE i.id = m.instrument_id"
             " AND i.ticker = ANY(:tickers)"),
        {"since": since, "until": until, "tickers": list(tickers)},
    )  # fmt: skip


def test_a_session_keeps_the_tickers_that_were_watched_when_it_closed(db, watched):
    wild, calm = watched
    assert summed_up(db)[1:] == pytest.approx([wild] * 3)
    before = computed(db)
    instruments.remove(db, ["D", "E"])
    stay(db, "DE", close_of(1, -1), close_of(2, 1))  # an hour after the close of DAYS[2]
    # Three calm ones and two wild ones are left, today as in sessions before the first run.
    assert summed_up(db)[1:] == pytest.approx([calm, wild, calm])
    assert again(db, before) == [DAYS[1], DAYS[3]], "what was watched that day is left alone"


def test_a_ticker_that_is_new_or_comes_back_counts_from_then_on(db, watched):
    wild, calm = watched
    instruments.remove(db, ["D", "E"])
    stay(db, "DE", close_of(1, -1), close_of(1, 1))
    assert summed_up(db)[1:] == pytest.approx([calm] * 3)
    before = computed(db)
    listed(db, "D", "E")
    db.execute(
        text("UPDATE stockbatch.memberships SET added_at = :at WHERE removed_at IS NULL"
             " AND added_at > now() - interval '1 hour'"),
        {"at": close_of(2, 2)},
    )  # fmt: skip
    assert summed_up(db)[1:] == pytest.approx([wild, calm, wild])
    assert again(db, before) == [DAYS[1], DAYS[3]]


def test_later_sessions_and_days_that_are_none_change_nothing(db):
    instruments = five(db)
    known = summed_up(db, WINDOW[:3])
    np.testing.assert_allclose(known, [np.nan, *MOVES[:2]])
    sunday = calendar().next(DAYS[-1]).replace(day=9)
    for one in instruments:
        store(db, one, bars_of([sunday], [1.0]))
    whole = np.array([*DAYS, session(6)], dtype="datetime64[D]")
    np.testing.assert_allclose(summed_up(db, whole), [np.nan, *MOVES, np.nan])


def test_nothing_is_known_of_nothing(db):
    assert np.isnan(summed_up(db)).all()
