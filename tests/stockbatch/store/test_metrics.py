"""Metrics: what is read to compute them, and which rows they become."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from stockbatch.records import POINT_BASELINE, QUANTILE_BASELINE, Kind
from stockbatch.store import forecasts, metrics, scores, sums, ticker_metrics
from tests.support.ledger import (
    QUANTILES,
    forecast_of,
    in_time,
    listed,
    naive_of,
    opened,
    revised_at_will,
)
from tests.support.market import NOW, calendar, session

DAYS = [session(offset) for offset in range(1, 4)]
WINDOW = calendar().between(DAYS[0], DAYS[-1])
ROLLING, NAIVE = QUANTILE_BASELINE, POINT_BASELINE


def forecast(db, made, **options):
    """Store a forecast and return its id."""
    forecasts.add(db, [made], opened(db), **{"issued_at": NOW} | options)
    return db.scalar(text("SELECT max(id) FROM stockbatch.forecasts"))


def score(db, forecast_id, actual=None, revision=1, status="scored"):
    revised_at_will(db)
    rows = {"forecast_id": [forecast_id], "revision": [revision], "status": [status]}
    if status == "scored":
        logarithm = float(np.log(actual / 100))
        rows |= {"actual_close": [actual], "actual_log_return": [logarithm], "error": [0.0]}
    scores.add(db, rows, opened(db))


def test_scored_forecasts_are_laid_out_by_method_kind_ticker_and_session(db):
    one, two = listed(db, "AAA", "BBB")
    score(db, forecast(db, forecast_of(one, target_session=DAYS[0])), 101.0)
    score(db, forecast(db, forecast_of(two, target_session=DAYS[2])), 99.0)
    score(db, forecast(db, naive_of(two, target_session=DAYS[2])), 99.0)
    with in_time(db):
        score(db, forecast(db, forecast_of(two, target_session=DAYS[1])), 98.0)
    forecast(db, forecast_of(one, target_session=DAYS[1]))

    found = metrics.scored(db, [two, one], WINDOW)

    assert found.keys() == {(ROLLING, Kind.LATE), (NAIVE, Kind.LATE), (ROLLING, Kind.LIVE)}
    late = found[ROLLING, Kind.LATE]
    assert tuple(late) == metrics.FIELDS
    nan = np.nan
    np.testing.assert_array_equal(late["actual_close"], [[nan, nan, 99], [101, nan, nan]])
    np.testing.assert_array_equal(late["q01"], np.where(late["close"] > 0, QUANTILES[0], nan))
    np.testing.assert_array_equal(
        found[ROLLING, Kind.LIVE]["actual_close"], [[nan, 98, nan], [nan, nan, nan]]
    )
    assert np.isnan(found[NAIVE, Kind.LATE]["q50"]).all()


def test_only_the_sessions_and_instruments_asked_for_are_read(db):
    one, two = listed(db, "AAA", "BBB")
    for instrument in (one, two):
        for day in (session(0), *DAYS, session(4)):
            made = forecast_of(instrument, origin_session=session(-1), target_session=day)
            score(db, forecast(db, made), 101.0)
    ((found),) = metrics.scored(db, [one], WINDOW).values()
    np.testing.assert_array_equal(found["actual_close"], [[101, 101, 101]])
    assert metrics.scored(db, [], WINDOW) == {}


def test_of_several_forecasts_and_scores_of_a_session_the_newest_counts(db):
    (one,) = listed(db, "AAA")
    day = {"target_session": DAYS[0]}
    first = forecast(db, forecast_of(one, close=103.0, fingerprint="first", **day))
    second = forecast(db, forecast_of(one, close=104.0, fingerprint="second", **day))
    score(db, second, 101.0)
    score(db, second, 102.0, revision=2)
    score(db, first, 101.0)
    ((found),) = metrics.scored(db, [one], WINDOW).values()
    assert (found["close"][0, 0], found["actual_close"][0, 0]) == (104, 102)

    score(db, second, revision=3, status="masked")
    ((found),) = metrics.scored(db, [one], WINDOW).values()
    assert np.isnan(found["actual_close"]).all()


def test_a_session_never_held_is_no_observation(db):
    (one,) = listed(db, "AAA")
    sunday = DAYS[-1] + timedelta(days=2)  # once thought to be one
    thought = "INSERT INTO stockbatch.sessions VALUES ('XNYS', :d, :d, cast(:d AS date) + 1, :d)"
    db.execute(text(thought), {"d": sunday})
    made = forecast(db, forecast_of(one, target_session=sunday))
    score(db, made, revision=0, status="no_session")
    assert metrics.scored(db, [one], calendar().between(DAYS[0], sunday)) == {}


def stored(db):
    query = (
        "SELECT calendar, window_sessions, metric, n, value, baseline, skill, through_session"
        " FROM stockbatch.metrics ORDER BY calendar, through_session, metric"
    )
    return [tuple(row) for row in db.execute(text(query))]


def row_of(value, metric="mae"):
    return "lstm", "late", 20, metric, 5, value, 2.0, None


def columns_of(**values):
    """Return what is stored of tickers, some values of it."""
    size = len(next(iter(values.values())))
    known = {name: np.array(numbers, float) for name, numbers in values.items()}
    return ticker_metrics.nothing(size) | {"n": np.full(size, 5.0)} | known


def of_tickers(db):
    query = "SELECT instrument_id, n, mae, mae_baseline, mase, through_session"
    query += " FROM stockbatch.ticker_metrics ORDER BY instrument_id"
    return [tuple(row) for row in db.execute(text(query))]


KEY = ("lstm", Kind.LATE, 20)


def test_a_calendar_keeps_one_row_per_session(db):
    for day, value in ((DAYS[1], 1.5), (DAYS[0], 1.0)):
        metrics.save(db, "XNYS", day, [row_of(value)])
    assert stored(db) == [
        ("XNYS", 20, "mae", 5, 1.0, 2.0, None, DAYS[0]),
        ("XNYS", 20, "mae", 5, 1.5, 2.0, None, DAYS[1]),
    ]


def test_a_ticker_keeps_its_newest_row(db):
    one, two = listed(db, "AAA", "BBB")
    given = columns_of(mae=[1.0, 2.0], mae_baseline=[np.nan, 3.0])
    given["n"][1] = 0  # of which nothing is stored
    ticker_metrics.save(db, "XNYS", DAYS[0], [one, two], {KEY: given})
    assert of_tickers(db) == [(one.id, 5, 1.0, None, None, DAYS[0])]
    later = columns_of(mae=[1.5, 2.5], mase=[0.9, np.nan])
    ticker_metrics.save(db, "XNYS", DAYS[1], [two, one], {KEY: later})
    newest = [
        (one.id, 5, 2.5, None, None, DAYS[1]),
        (two.id, 5, 1.5, None, 0.9, DAYS[1]),
    ]
    assert of_tickers(db) == newest
    ticker_metrics.save(db, "XNYS", DAYS[0], [one, two], {KEY: columns_of(mae=[9.0, 9.0])})
    assert of_tickers(db) == newest


def test_what_is_stored_of_tickers_is_loaded_as_it_was(db):
    one, two, three = listed(db, "AAA", "BBB", "CCC")
    rng = np.random.default_rng(1)
    columns = {name: rng.normal(size=2) for name in ticker_metrics.NUMBERS}
    columns |= {name: rng.integers(1, 9, 2).astype(float) for name in ticker_metrics.COUNTS}
    columns["mase"][0] = np.nan
    ticker_metrics.save(db, "XNYS", DAYS[1], [two, one], {KEY: columns})
    ticker_metrics.save(db, "XNYS", DAYS[0], [one], {("naive", Kind.LATE, 20): columns_of(mae=[1])})
    known = ticker_metrics.load(db, [one, two, three])
    np.testing.assert_array_equal(known.through, np.array([DAYS[1], DAYS[1], "NaT"], "M8[D]"))
    assert known.table.keys() == {KEY}  # what is older than a ticker's newest is none of its own
    for name, values in columns.items():
        unknown = 0 if name in ticker_metrics.COUNTS else np.nan
        np.testing.assert_array_equal(known.table[KEY][name], [*values[::-1], unknown])


def test_the_same_metrics_again_touch_no_row(db):
    (one,) = listed(db, "AAA")
    rows = [row_of(1.0), row_of(None, "mase")]
    of_one = {KEY: columns_of(mae=[1.0])}
    query = "SELECT *, xmin, ctid FROM stockbatch.{} ORDER BY 1, 2"

    def kept():
        tables = ("metrics", "ticker_metrics")
        return [db.execute(text(query.format(table))).all() for table in tables]

    metrics.save(db, "XNYS", DAYS[0], rows)
    ticker_metrics.save(db, "XNYS", DAYS[0], [one], of_one)
    before = kept()
    assert [len(rows) for rows in before] == [2, 1]
    metrics.save(db, "XNYS", DAYS[0], rows)
    ticker_metrics.save(db, "XNYS", DAYS[0], [one], of_one)
    assert kept() == before
    metrics.save(db, "XNYS", DAYS[0], [])
    ticker_metrics.save(db, "XNYS", DAYS[0], [one], {})
    assert kept() == before


def test_the_same_session_of_another_calendar_has_rows_of_its_own(db):
    for code in ("XNYS", "XLON"):
        metrics.save(db, code, DAYS[0], [row_of(1.0)])
    assert len(stored(db)) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_is_a_number_or_unknown(db, value):
    with pytest.raises(IntegrityError, match="metrics_finite_check"):
        metrics.save(db, "XNYS", DAYS[0], [row_of(value)])


def test_a_metric_of_a_ticker_is_finite(db):
    (one,) = listed(db, "AAA")
    with pytest.raises(IntegrityError, match="ticker_metrics_finite_check"):
        ticker_metrics.save(db, "XNYS", DAYS[0], [one], {KEY: columns_of(mae=[np.inf])})


def test_scores_that_come_and_go_are_noted_by_ticker_and_session(db):
    one, two = listed(db, "AAA", "BBB")
    first = forecast(db, forecast_of(one, target_session=DAYS[0]))
    score(db, first, 101.0)
    score(db, forecast(db, forecast_of(two, target_session=DAYS[1])), 99.0)
    notes = sums.noted(db, [two, one])
    assert list(zip(notes.ticker.tolist(), notes.sessions.tolist(), strict=True)) == [
        (1, DAYS[0]),
        (0, DAYS[1]),
    ]
    sums.settle(db, notes.ids.tolist())
    assert len(sums.noted(db, [two, one]).ids) == 0
    score(db, first, 102.0, revision=2)
    assert sums.sessions_noted(db, "XNYS", WINDOW) == {DAYS[0]}
    assert sums.sessions_noted(db, "XNYS", WINDOW[1:]) == set()


def test_sums_are_kept_once_and_never_replaced_by_older_ones(db):
    arrays = {"a": np.arange(6.0).reshape(2, 1, 3)}
    assert sums.load(db, "XNYS") is None
    sums.save(db, "XNYS", DAYS[1], {"all": [1, 2]}, arrays)
    sums.save(db, "XNYS", DAYS[0], {"all": []}, {})
    kept = sums.load(db, "XNYS")
    assert (kept.through, kept.members) == (DAYS[1], {"all": [1, 2]})
    np.testing.assert_array_equal(kept.arrays["a"], arrays["a"])
    sums.forget(db, "XNYS")
    assert sums.load(db, "XNYS") is None
