"""Metrics: what is read to compute them, and which rows they become."""

from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from stockbatch.records import POINT_BASELINE, QUANTILE_BASELINE, Kind
from stockbatch.store import forecasts, metrics, scores
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
        "SELECT instrument_id, window_sessions, metric, n, value, baseline, skill, through_session"
        " FROM stockbatch.metrics ORDER BY instrument_id NULLS LAST, through_session, metric"
    )
    return [tuple(row) for row in db.execute(text(query))]


def row_of(instrument_id, value, metric="mae"):
    return instrument_id, "lstm", "late", 20, metric, 5, value, 2.0, None


def test_a_ticker_keeps_its_current_row_and_all_keeps_one_per_session(db):
    (one,) = listed(db, "AAA")
    for day, value in ((DAYS[0], 1.0), (DAYS[1], 1.5)):
        metrics.save(db, "XNYS", day, [row_of(one.id, value), row_of(None, 10 * value)])
    assert stored(db) == [
        (one.id, 20, "mae", 5, 1.5, 2.0, None, DAYS[1]),
        (None, 20, "mae", 5, 10.0, 2.0, None, DAYS[0]),
        (None, 20, "mae", 5, 15.0, 2.0, None, DAYS[1]),
    ]


def test_an_older_session_never_replaces_the_row_of_a_ticker(db):
    (one,) = listed(db, "AAA")
    metrics.save(db, "XNYS", DAYS[1], [row_of(one.id, 1.0), row_of(None, 1.0)])
    metrics.save(db, "XNYS", DAYS[0], [row_of(one.id, 9.0), row_of(None, 9.0)])
    assert [(row[0], row[4], row[7]) for row in stored(db)] == [
        (one.id, 1.0, DAYS[1]),
        (None, 9.0, DAYS[0]),
        (None, 1.0, DAYS[1]),
    ]


def test_the_same_metrics_again_touch_no_row(db):
    (one,) = listed(db, "AAA")
    rows = [row_of(one.id, 1.0), row_of(None, 1.0), row_of(one.id, None, "mase")]
    query = text("SELECT *, xmin, ctid FROM stockbatch.metrics ORDER BY id")
    metrics.save(db, "XNYS", DAYS[0], rows)
    before = db.execute(query).all()
    metrics.save(db, "XNYS", DAYS[0], rows)
    assert db.execute(query).all() == before
    metrics.save(db, "XNYS", DAYS[0], [])
    assert db.execute(query).all() == before


def test_the_same_session_of_another_calendar_has_rows_of_its_own(db):
    for code in ("XNYS", "XLON"):
        metrics.save(db, code, DAYS[0], [row_of(None, 1.0)])
    assert len(stored(db)) == 2


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_metric_is_a_number_or_unknown(db, value):
    with pytest.raises(IntegrityError, match="metrics_finite_check"):
        metrics.save(db, "XNYS", DAYS[0], [row_of(None, value)])
