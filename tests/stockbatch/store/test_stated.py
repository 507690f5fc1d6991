"""What is kept of the ledger is what it says, however it grew."""

import numpy as np
import pytest

from stockbatch import metrics
from stockbatch.records import COMBINED, LSTM, Sessions
from stockbatch.store import forecasts, stated
from stockbatch.store.stated import Measure
from tests.support.ledger import FUTURE, PAST, QUANTILES, forecast_of, in_time, listed, opened
from tests.support.market import CODE, NOW, session

DAYS: Sessions = np.array([session(n) for n in range(1, 7)], dtype="datetime64[D]")


def update(db, method=LSTM):
    for measure in Measure:
        stated.update(db, CODE, method, measure)


def assert_as_in_the_ledger(db, instruments, method=LSTM, days=DAYS):
    expected = forecasts.past_quantiles(db, instruments, days, method)
    np.testing.assert_array_equal(stated.quantiles(db, instruments, days, method), expected)
    low, high = metrics.interval(expected, 80)
    found = stated.half_widths(db, instruments, days, method)
    np.testing.assert_allclose(found, (high - low) / 2, rtol=1e-12)
    return expected


def drawn(random, instrument, number):
    """Draw a forecast: of any session and method, raw quantiles known or not, or none at all."""
    factor = float(random.uniform(0.5, 2))
    quantiles = tuple(factor * quantile for quantile in QUANTILES)
    return forecast_of(
        instrument,
        method=(LSTM, COMBINED)[random.integers(2)],
        fingerprint=f"{number}",
        target_session=session(int(random.integers(1, 7))),
        quantiles=quantiles if random.random() < 0.9 else None,
        raw_quantiles=quantiles[::-1] if random.random() < 0.5 else None,
    )


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("part", [1, 3, 64])
def test_it_follows_whatever_is_added(db, monkeypatch, seed, part):
    monkeypatch.setattr(stated, "PART", dict.fromkeys(Measure, part))
    random = np.random.default_rng(seed)
    instruments = listed(db, *"FCABDEG")
    run = opened(db)
    for step in range(8):
        made = [
            drawn(random, one, f"{step} {again}")
            for one in random.permutation(instruments)[: random.integers(1, 7)]
            for again in range(random.integers(1, 4))
        ]
        with in_time(db, (FUTURE, PAST)[random.integers(2)]):
            backtest = bool(random.random() < 0.4)
            forecasts.add(db, made, run, issued_at=NOW, backtest=backtest)
        if random.random() < 0.7:
            update(db)
            update(db, COMBINED)
            asked = list(random.permutation(instruments)[: random.integers(1, 8)])
            assert_as_in_the_ledger(db, asked, days=DAYS[random.integers(3) :])
    update(db)
    update(db, COMBINED)
    assert np.isfinite(assert_as_in_the_ledger(db, instruments)).any()
    assert np.isfinite(assert_as_in_the_ledger(db, instruments, COMBINED)).any()


def test_of_nobody_nothing_is_known(db):
    assert stated.quantiles(db, [], DAYS, LSTM).shape == (0, 6, 11)
    (one,) = listed(db, "AAA")
    update(db)
    assert np.isnan(stated.half_widths(db, [one], DAYS, LSTM)).all()


def test_only_parts_that_something_was_added_of_are_written_anew(db, monkeypatch):
    monkeypatch.setattr(stated, "PART", dict.fromkeys(Measure, 1))
    one, two = listed(db, "AAA", "BBB")
    run = opened(db)
    forecasts.add(db, [forecast_of(x, method=LSTM) for x in (one, two)], run, issued_at=NOW)
    update(db)
    query = "SELECT part, xmin::text FROM stockbatch.stated ORDER BY measure, part"
    with db.connection().begin_nested():
        before = db.connection().exec_driver_sql(query).all()
        made = forecast_of(two, method=LSTM, fingerprint="other")
        forecasts.add(db, [made], run, issued_at=NOW)
        update(db)
    after = db.connection().exec_driver_sql(query).all()
    changed = [now.part for was, now in zip(before, after, strict=True) if was != now]
    assert changed == [two.id - 1, two.id - 1]
