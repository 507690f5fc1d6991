"""The ledger of forecasts."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from scipy import stats
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from stockbatch import records
from stockbatch.database.tables import QUANTILE_COLUMNS, RAW_QUANTILE_COLUMNS
from stockbatch.exceptions import AccessDenied
from stockbatch.records import LSTM
from stockbatch.store import forecasts, models, promotions
from tests.support.ledger import (
    FUTURE,
    PAST,
    QUANTILES,
    forecast_of,
    in_time,
    listed,
    model_of,
    naive_of,
    opened,
)
from tests.support.market import NOW, ORIGIN, session


def stored(db):
    query = "SELECT * FROM stockbatch.forecasts ORDER BY id"
    return [dict(row) for row in db.execute(text(query)).mappings()]


@pytest.fixture
def one(db):
    (instrument,) = listed(db, "AAA")
    return instrument


@pytest.fixture
def given(db, one):
    return opened(db)


def test_a_forecast_is_stored_as_it_was_made(db, one, given):
    model_id = models.add(db, {one.id: model_of("AAA")}, given, demo=False)[one.id]
    raw = tuple(1.5 * quantile for quantile in QUANTILES)
    more = {"raw_quantiles": raw, "volatility": 0.02, "shrinkage": 0.4, "dissimilarity": 0.7}
    made = forecast_of(one, method=LSTM, model_id=model_id, **more)
    assert forecasts.add(db, [made], given, issued_at=NOW) == 1
    (row,) = stored(db)
    assert tuple(row[name] for name in QUANTILE_COLUMNS) == QUANTILES
    for name in ("instrument_id", "origin_session", "target_session", "horizon", "method"):
        assert row[name] == getattr(made, name)
    for name in ("origin_close", "close", "log_return", "probability_of_rise", "fingerprint"):
        assert row[name] == getattr(made, name)
    assert tuple(row[name] for name in RAW_QUANTILE_COLUMNS) == raw
    assert (row["volatility"], row["shrinkage"], row["dissimilarity"]) == (0.02, 0.4, 0.7)
    assert (row["model_id"], row["run_id"]) == (model_id, given.id)
    assert (row["issued_at"], row["deadline_at"]) == (NOW, PAST)


def test_a_point_forecast_states_no_distribution(db, one, given):
    forecasts.add(db, [naive_of(one)], given, issued_at=NOW)
    (row,) = stored(db)
    silent = (*QUANTILE_COLUMNS, *RAW_QUANTILE_COLUMNS, "probability_of_rise", "model_id")
    assert {row[name] for name in (*silent, "shrinkage", "dissimilarity", "trusted")} == {None}


@pytest.mark.parametrize(("dissimilarity", "trusted"), [(0.2, True), (1.0, True), (1.01, False)])
def test_inputs_unlike_those_trained_on_are_not_trusted(db, one, given, dissimilarity, trusted):
    forecasts.add(db, [forecast_of(one, dissimilarity=dissimilarity)], given, issued_at=NOW)
    assert [row["trusted"] for row in stored(db)] == [trusted]


@pytest.mark.parametrize(
    ("issued_at", "until", "kind"),
    [
        (NOW, FUTURE, "live"),
        (NOW, PAST, "late"),
        (PAST - timedelta(days=1), PAST, "late"),  # recorded too late, whatever the program says
        (FUTURE, FUTURE, "late"),
    ],
)
def test_the_clock_of_the_database_tells_live_from_late(db, one, given, issued_at, until, kind):
    with in_time(db, until):  # whatever the program says
        forecasts.add(db, [forecast_of(one, deadline_at=FUTURE)], given, issued_at=issued_at)
    (row,) = stored(db)
    assert row["kind"] == kind
    assert abs(row["recorded_at"] - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_simulation_is_neither_live_nor_late(db, one, given):
    made = forecast_of(one)
    with in_time(db):
        forecasts.add(db, [made], given, issued_at=NOW, backtest=True)
        assert [row["kind"] for row in stored(db)] == ["backtest"]
        assert forecasts.add(db, [made], given, issued_at=NOW) == 1
    assert [row["kind"] for row in stored(db)] == ["backtest", "live"]
    assert forecasts.add(db, [made], given, issued_at=NOW, backtest=True) == 0


def test_equal_inputs_add_no_row(db, one, given):
    made = [forecast_of(one), naive_of(one)]
    assert forecasts.add(db, made, given, issued_at=NOW) == 2
    assert forecasts.add(db, made, given, issued_at=NOW) == 0
    assert forecasts.add(db, [forecast_of(one, fingerprint="b")], given, issued_at=NOW) == 1
    assert forecasts.add(db, [], given, issued_at=NOW) == 0


def test_equal_inputs_add_no_row_also_when_late(db, one, given):
    with in_time(db):
        forecasts.add(db, [forecast_of(one)], given, issued_at=NOW)
    assert forecasts.add(db, [forecast_of(one)], given, issued_at=NOW) == 0
    assert [row["kind"] for row in stored(db)] == ["live"]


def past(db, *instruments):
    days = np.array([session(n) for n in range(1, 4)], dtype="datetime64[D]")
    return forecasts.past_quantiles(db, instruments, days, LSTM)


def lstm_of(instrument, fingerprint, factor, **changes):
    raw = tuple(factor * quantile for quantile in QUANTILES)
    values = {"method": LSTM, "raw_quantiles": raw, "fingerprint": fingerprint}
    return forecast_of(instrument, **values | changes)


def test_past_quantiles_are_the_raw_ones_of_the_lstm_by_ticker_and_session(db, one, given):
    (two,) = listed(db, "BBB")
    second = {"target_session": session(2)}
    made = [lstm_of(one, "a", 1), lstm_of(two, "a", 2, **second), forecast_of(two)]
    forecasts.add(
        db, [*made, lstm_of(two, "b", 3, target_session=session(4))], given, issued_at=NOW
    )
    found = past(db, two, one)
    assert found.shape == (2, 3, 11)
    np.testing.assert_allclose(found[1, 0], QUANTILES)
    np.testing.assert_allclose(found[0, 1], 2 * np.array(QUANTILES))
    assert np.isfinite(found).all(axis=-1).sum() == 2
    assert np.isnan(past(db, *listed(db, "CCC"))).all()


def test_of_several_past_forecasts_of_a_session_the_live_one_counts(db, one, given):
    forecasts.add(db, [lstm_of(one, "a", 1)], given, issued_at=NOW, backtest=True)
    np.testing.assert_allclose(past(db, one)[0, 0], QUANTILES)
    for name, number, until, factor in (("c", 3, PAST, 3), ("b", 2, FUTURE, 2), ("d", 4, PAST, 2)):
        with in_time(db, until):
            forecasts.add(db, [lstm_of(one, name, number)], given, issued_at=NOW)
        np.testing.assert_allclose(past(db, one)[0, 0], factor * np.array(QUANTILES))


def test_outermost_levels_that_were_not_stated_are_made_up_for(db, one, given):
    """As of Student's t: what 250 sessions have taught is not lost with an upgrade."""
    t = stats.t(5)
    raw = [0.01 * quantile for quantile in t.ppf(records.QUANTILES)]
    forecasts.add(db, [lstm_of(one, "a", 1, raw_quantiles=tuple(raw))], given, issued_at=NOW)
    silent = {"quantiles": None, "target_session": session(2)}
    forecasts.add(db, [forecast_of(one, method=LSTM, **silent)], given, issued_at=NOW)
    older = "q01 = NULL, q99 = NULL, raw_q01 = NULL, raw_q99 = NULL"
    db.execute(text(f"UPDATE stockbatch.forecasts SET {older}"))
    found = past(db, one)[0]
    np.testing.assert_allclose(found[0], raw)
    assert np.isnan(found[1:]).all()


def test_only_a_backtest_of_these_origins_is_done(db, one, given):
    (other,) = listed(db, "BBB")
    forecasts.add(db, [naive_of(one)], given, issued_at=NOW)
    forecasts.add(db, [naive_of(other)], given, issued_at=NOW, backtest=True)
    for days, done in (((0, 1), {other.id}), ((-3, 0), {other.id}), ((1, 2), set())):
        origins = np.array([session(n) for n in days], dtype="datetime64[D]")
        assert forecasts.backtested(db, [one, other], LSTM, origins) == done
        assert forecasts.backtested(db, [one], LSTM, origins) == set()


@pytest.mark.parametrize(
    "change",
    [
        {"origin_close": float("nan")},
        {"close": float("nan")},
        {"close": float("inf")},
        {"close": 0.0},
        {"log_return": float("nan")},
        {"log_return": float("-inf")},
        {"quantiles": (float("nan"),) * 11},
        {"quantiles": (*QUANTILES[:10], float("inf"))},
        {"quantiles": (*QUANTILES[:5], float("nan"), *QUANTILES[6:])},
        {"quantiles": QUANTILES[::-1]},
        {"probability_of_rise": 1.1},
        {"probability_of_rise": float("nan")},
        {"target_session": ORIGIN},
        {"horizon": 0},
    ],
)
def test_what_is_no_forecast_is_refused(db, one, given, change):
    with pytest.raises(IntegrityError, match=r"forecasts_[a-z_]+_check"):
        forecasts.add(db, [forecast_of(one, **change)], given, issued_at=NOW)


def test_the_writer_adds_forecasts_and_can_change_none(own_db, writer):
    (one,), given = listed(own_db, "AAA"), opened(own_db)
    own_db.commit()
    with Session(writer) as mine, mine.begin():
        assert forecasts.add(mine, [forecast_of(one)], given, issued_at=NOW) == 1
    before = stored(own_db)
    for statement in (
        "UPDATE stockbatch.forecasts SET close = 1",
        "UPDATE stockbatch.forecasts SET kind = 'live'",
        "UPDATE stockbatch.forecasts SET recorded_at = '2000-01-01'",
        "DELETE FROM stockbatch.forecasts",
        "TRUNCATE stockbatch.forecasts CASCADE",
        "ALTER TABLE stockbatch.forecasts DISABLE TRIGGER judge_kind",
    ):
        with pytest.raises(AccessDenied), writer.begin() as connection:
            connection.execute(text(statement))
    own_db.rollback()
    assert stored(own_db) == before


COPY_OF_THE_FIRST = """
INSERT INTO stockbatch.forecasts
    (instrument_id, origin_session, target_session, horizon, method, kind, fingerprint,
     origin_close, close, log_return, issued_at{column})
SELECT instrument_id, origin_session, :target, horizon, method, 'live', 'b',
     origin_close, close, log_return, :issued_at{value} FROM stockbatch.forecasts
"""


def test_the_writer_cannot_say_when_a_forecast_was_recorded(own_db, writer):
    (one,), given = listed(own_db, "AAA"), opened(own_db)
    forecasts.add(own_db, [forecast_of(one)], given, issued_at=NOW)
    own_db.commit()
    values = {"target": session(2), "issued_at": PAST}
    for column, value in (("recorded_at", "2000-01-01"), ("deadline_at", "infinity")):
        forged = COPY_OF_THE_FIRST.format(column=f", {column}", value=f", '{value}'")
        with pytest.raises(AccessDenied), writer.begin() as connection:
            connection.execute(text(forged), values)
    with writer.begin() as connection:
        connection.execute(text(COPY_OF_THE_FIRST.format(column="", value="")), values)
    first, second = stored(own_db)
    assert second["kind"] == "late"
    assert second["recorded_at"] > first["recorded_at"]


def test_what_a_forecast_rests_on_cannot_be_deleted(db, one, given):
    model_id = models.add(db, {one.id: model_of("AAA")}, given, demo=False)[one.id]
    promotions.put_into_use(db, {one.id: model_id}, ORIGIN, {one.id: "no_model"})
    forecasts.add(db, [forecast_of(one, model_id=model_id)], given, issued_at=NOW)
    db.execute(text("DELETE FROM stockbatch.promotions"))
    db.execute(text("DELETE FROM stockbatch.training_curves"))
    for table in ("instruments", "models", "runs"):
        with pytest.raises(IntegrityError), db.begin_nested():
            db.execute(text(f"DELETE FROM stockbatch.{table}"))
