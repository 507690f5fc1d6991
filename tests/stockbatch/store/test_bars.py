"""Bars, corporate actions and findings."""

from datetime import date

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from stockbatch.records import (
    BarState,
    CorporateAction,
    Finding,
    PriceBasis,
    Severity,
)
from stockbatch.store import bars, sources
from tests.support.ledger import bars_of, listed, opened, store
from tests.support.market import calendar, session

DAYS = [session(offset) for offset in range(4)]


def rows(db, query):
    return [dict(row) for row in db.execute(text(query)).mappings()]


@pytest.fixture
def one(db):
    (instrument,) = listed(db, "AAA")
    return instrument


def test_bars_are_stored_as_they_came(db, one):
    given = bars_of(
        DAYS[:2],
        [10.1, 1 / 3],
        open=[10.0, 0.3],
        high=[10.5, 0.4],
        low=[9.5, 0.2],
        volume=[1e12, np.nan],
    )
    assert store(db, one, given) == 2
    stored = rows(db, "SELECT * FROM stockbatch.bars ORDER BY session")
    assert [row["session"] for row in stored] == DAYS[:2]
    for price in bars.PRICES:
        assert [row[price] for row in stored] == getattr(given, price).tolist()
    assert [row["volume"] for row in stored] == [1e12, None]
    for row in stored:
        assert (row["state"], row["revision"]) == ("final", 1)
        assert row["source_id"] == sources.number(db, "csv")
        assert row["price_basis"] == "as_traded"


def test_the_same_bars_again_touch_no_row(db, one):
    store(db, one, bars_of(DAYS, [1, 2, 3, 4], volume=[np.nan, 0, 5, 6]))
    query = "SELECT *, xmin, ctid FROM stockbatch.bars"
    before = rows(db, query)
    assert store(db, one, bars_of(DAYS, [1, 2, 3, 4], volume=[np.nan, 0, 5, 6])) == 0
    assert rows(db, query) == before
    assert rows(db, "SELECT * FROM stockbatch.bar_revisions") == []


def test_a_bar_that_changed_keeps_what_it_was(db, one):
    store(db, one, bars_of(DAYS, [1, 2, 3, 4]))
    (before,) = rows(db, f"SELECT * FROM stockbatch.bars WHERE session = '{DAYS[1]}'")
    restated = bars_of(DAYS, [1, 2.5, 3, 4])
    assert store(db, one, restated, provider="yfinance") == 1
    assert store(db, one, bars_of(DAYS[1:2], [2.75])) == 1
    changed = rows(db, "SELECT * FROM stockbatch.bars WHERE revision > 1")
    assert [(row["session"], row["close"], row["revision"]) for row in changed] == [
        (DAYS[1], 2.75, 3)
    ]
    first, second = rows(db, "SELECT * FROM stockbatch.bar_revisions ORDER BY revision")
    assert {name: first[name] for name in before} == before
    assert (second["revision"], second["close"]) == (2, 2.5)
    assert second["source_id"] == sources.number(db, "yfinance")
    assert changed[0]["fetched_at"] > second["fetched_at"] > before["fetched_at"]


def test_confirming_a_provisional_bar_is_no_revision(db, one):
    store(db, one, bars_of(DAYS[:1], [1], volume=[5]), state=BarState.PROVISIONAL)
    assert store(db, one, bars_of(DAYS[:1], [1], volume=[6])) == 1
    (row,) = rows(db, "SELECT * FROM stockbatch.bars")
    assert (row["state"], row["revision"], row["volume"]) == ("final", 1, 6)
    assert rows(db, "SELECT * FROM stockbatch.bar_revisions") == []


@pytest.mark.parametrize(
    "prices",
    [
        {"open": 0.0},
        {"low": -1.0},
        {"high": np.inf},
        {"close": np.nan},
        {"high": 9.9},
        {"low": 10.1},
        {"volume": -1.0},
        {"volume": np.inf},
    ],
)
def test_the_table_itself_refuses_impossible_bars(db, one, prices):
    columns = {name: [value] for name, value in prices.items()}
    close = columns.pop("close", [10.0])
    with pytest.raises(IntegrityError, match=r"bars_(prices|volume)_check"):
        store(db, one, bars_of(DAYS[:1], close, **columns))


def test_the_last_session_is_that_of_a_final_bar_up_to_a_day(db):
    one, two, three = listed(db, "AAA", "BBB", "CCC")
    store(db, one, bars_of(DAYS, [1, 2, 3, 4]))
    store(db, two, bars_of(DAYS[:1], [1]))
    store(db, two, bars_of(DAYS[1:2], [1]), state=BarState.PROVISIONAL)
    store(db, two, bars_of(DAYS[2:3], [1]), state=BarState.QUARANTINED)
    ids = [one.id, two.id, three.id]
    assert bars.last_sessions(db, ids, DAYS[2]) == {one.id: DAYS[2], two.id: DAYS[0]}
    assert bars.last_sessions(db, ids, date(2000, 1, 1)) == {}
    assert bars.with_bar(db, ids, DAYS[1]) == {one.id, two.id}
    assert bars.with_bar(db, ids, DAYS[2]) == {one.id}


def test_a_panel_holds_what_plain_selects_return(db):
    rng = np.random.default_rng(0)
    chosen = listed(db, *"DBCA")
    (other,) = listed(db, "ZZZ")
    days = calendar().between(session(-5), session(6)).tolist()
    for instrument in (*chosen, other):
        for state in BarState:
            some = [day for day in days if rng.random() < 0.4]
            close = rng.uniform(10, 20, len(some))
            spread = rng.uniform(0, 1, len(some))
            of_one = bars_of(some, close, open=close + spread, high=close + 2 * spread)
            store(db, instrument, of_one, state=state)
        for kind, day in (("split", days[3]), ("dividend", days[3]), ("split", days[8])):
            action = CorporateAction(session=day, kind=kind, value=float(rng.uniform(0.1, 3)))
            bars.add_actions(db, {instrument.id: [action]}, provider="csv")
    sunday = CorporateAction(session=date(2024, 6, 2), kind="dividend", value=1.0)
    bars.add_actions(db, {chosen[0].id: [sunday]}, provider="csv")
    db.execute(
        text("UPDATE stockbatch.corporate_actions SET retracted_at = now() WHERE session = :day"),
        {"day": days[8]},
    )
    window = calendar().between(session(-3), session(4))

    panel = bars.load_panel(db, chosen, window)

    assert panel.tickers == tuple("DBCA")
    expected = plain_panel(db, chosen, window.tolist())
    for name, values in expected.items():
        np.testing.assert_array_equal(getattr(panel, name), values, err_msg=name)
    assert np.isfinite(panel.close).any()
    assert np.isnan(panel.close).any()
    assert (panel.split != 1).sum() == len(chosen)


def plain_panel(db, instruments, days):
    shape = (len(instruments), len(days))
    panel = {name: np.full(shape, np.nan) for name in bars.PRICES}
    panel |= {"split": np.ones(shape), "dividend": np.zeros(shape)}
    for row, instrument in enumerate(instruments):
        for column, day in enumerate(days):
            key = {"id": instrument.id, "day": day}
            bar = db.execute(
                text(
                    "SELECT * FROM stockbatch.bars WHERE instrument_id = :id AND session = :day"
                    " AND state IN ('final', 'provisional')"
                ),
                key,
            ).one_or_none()
            for name in bars.PRICES if bar else ():
                panel[name][row, column] = getattr(bar, name)
            for action in db.execute(
                text(
                    "SELECT * FROM stockbatch.corporate_actions WHERE instrument_id = :id"
                    " AND session = :day AND retracted_at IS NULL"
                ),
                key,
            ):
                panel[action.kind][row, column] = action.value
    return panel


def test_a_panel_of_nobody_or_of_nothing_is_empty(db, one):
    window = calendar().between(DAYS[0], DAYS[3])
    assert np.isnan(bars.load_panel(db, [one], window).close).all()
    assert bars.load_panel(db, [], window).close.shape == (0, 4)


def test_a_known_action_keeps_its_first_sighting_and_takes_the_new_value(db, one):
    def add(value):
        action = CorporateAction(session=DAYS[0], kind="dividend", value=value)
        bars.add_actions(db, {one.id: [action]}, provider="csv")

    add(0.5)
    (before,) = rows(db, "SELECT * FROM stockbatch.corporate_actions")
    db.execute(text("UPDATE stockbatch.corporate_actions SET retracted_at = now()"))
    add(0.6)
    assert rows(db, "SELECT * FROM stockbatch.corporate_actions") == [before | {"value": 0.6}]


def test_a_finding_is_stored_once(db, one):
    run = opened(db)
    found = Finding(
        check="zero_volume",
        severity=Severity.WARNING,
        message="nothing was traded",
        session=DAYS[0],
        observed=0.0,
        threshold=None,
    )
    whole_series = Finding(check="undated", severity=Severity.REJECTED, message="1 bar(s)")
    for run_id in (run.id, None):
        bars.add_findings(db, {one.id: [found, whole_series]}, run_id=run_id)
    stored = rows(db, "SELECT * FROM stockbatch.data_issues ORDER BY check_name")
    assert [(row["check_name"], row["session"]) for row in stored] == [
        ("undated", None),
        ("zero_volume", DAYS[0]),
    ]
    assert {row["run_id"] for row in stored} == {run.id}


def test_the_price_basis_is_recorded(db, one):
    store(db, one, bars_of(DAYS[:1], [1]), price_basis=PriceBasis.SPLIT_ADJUSTED)
    assert rows(db, "SELECT price_basis FROM stockbatch.bars") == [
        {"price_basis": "split_adjusted"}
    ]
