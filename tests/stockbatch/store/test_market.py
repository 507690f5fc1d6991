"""What all tickers of a calendar did together."""

import numpy as np
from sqlalchemy import text

from stockbatch.records import BarState, CorporateAction
from stockbatch.store import bars, market
from tests.support.ledger import bars_of, listed, store
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
