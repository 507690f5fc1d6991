"""Moving averages are kept beside the bars, and true to them whatever is done."""

import numpy as np
import pytest
from sqlalchemy import text

from stockbatch.records import CorporateAction
from stockbatch.store import bars
from tests.support.ledger import bars_of, rows, store
from tests.support.market import session


def by_hand(db, size):
    """Return the mean of the last closes of each session, as price_and_forecast has them."""
    panel = rows(db, "SELECT * FROM bi.price_and_forecast WHERE close > 0 ORDER BY session")
    closes = [row["close"] for row in panel]
    means = [
        np.mean(closes[end - size : end]) if end >= size else None
        for end in range(1, len(closes) + 1)
    ]
    return [row[f"average_{size}"] for row in panel], means


def assert_averages(db):
    for size in (20, 50, 200):
        found, expected = by_hand(db, size)
        assert found == [mean and pytest.approx(mean, rel=1e-12) for mean in expected], size
    keys = "SELECT instrument_id, session FROM stockbatch.{} ORDER BY 1, 2"
    assert rows(db, keys.format("averages")) == rows(
        db, keys.format("bars WHERE state <> 'quarantined'")
    )


def test_averages_follow_whatever_is_done_to_bars_and_splits(db, one):
    days = [session(offset) for offset in range(-260, 1)]
    closes = 100 + np.cumsum(np.random.default_rng(1).normal(size=len(days)))
    store(db, one, bars_of(days[:40], closes[:40]))
    assert_averages(db)
    # The rest comes out of order, in two parts, and one bar is corrected.
    store(db, one, bars_of(days[150:], closes[150:]))
    assert_averages(db)
    store(db, one, bars_of(days[40:150], closes[40:150]))
    assert_averages(db)
    store(db, one, bars_of([days[100]], [closes[100] + 7]))
    assert_averages(db)
    for change in (
        "UPDATE stockbatch.bars SET state = 'quarantined' WHERE session = :day",
        "UPDATE stockbatch.bars SET state = 'final' WHERE session = :day",
        "DELETE FROM stockbatch.bars WHERE session = :day",
    ):
        db.execute(text(change), {"day": days[120]})
        assert_averages(db)


def test_averages_are_on_the_basis_of_today(db, one):
    days = [session(offset) for offset in range(-260, 1)]
    store(db, one, bars_of(days, np.linspace(100, 140, len(days))))
    for place, ratio in ((130, 4.0), (250, 2.0), (5, 3.0)):
        split = CorporateAction(session=days[place], kind="split", value=ratio)
        bars.add_actions(db, {one.id: [split]}, provider="csv")
        assert_averages(db)
    change = "UPDATE stockbatch.corporate_actions SET retracted_at = now() WHERE value = 4"
    db.execute(text(change))
    assert_averages(db)
    db.execute(text("DELETE FROM stockbatch.corporate_actions"))
    assert_averages(db)
