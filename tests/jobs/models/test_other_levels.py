"""Networks and fits of a version that stated nine levels: they serve no more, and stop nothing."""

import hashlib
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import text

from jobs.replay.backtest import backtest
from stockbatch import database
from stockbatch.engine.weights import from_bytes, to_bytes
from stockbatch.exceptions import NoModel, TrainingFailed
from stockbatch.methods import crowd, har
from stockbatch.records import LSTM, Action, Reason
from stockbatch.store import forecasts, instruments, models
from tests.support.market import (
    CODE,
    NOW,
    TICKERS,
    Market,
    PlainTrainer,
    calendar,
    fetch,
    outcomes,
    run,
    session,
)

LEVELS = "dense.kernel", "dense.bias", har.SHAPE
"""Weights whose last axis are the levels stated."""
OF_THEN = text(
    "UPDATE stockbatch.models SET configuration = 'of then', weights = :weights,"
    " weights_sha256 = :sha256 WHERE id = :id"
)
UNSTATED = "q01 = NULL, q99 = NULL, raw_q01 = NULL, raw_q99 = NULL"
AFTER = session(3)
TRAINED = {"lstm", "har", "har_events", "combined"}
"""Methods that models of now are needed for; the others state all levels at once."""


class Failing(PlainTrainer):
    """Finds no base."""

    def fit_pooled(self, *_, **__):
        raise TrainingFailed(reason="it was killed")


@pytest.fixture(scope="module")
def of_then(make_lasting_app, tmp_path_factory):
    """An App whose database has three sessions of a version that stated nine levels, to copy."""
    app = make_lasting_app(Market(tmp_path_factory.mktemp("market") / "market.csv"))
    with pytest.MonkeyPatch.context() as patch:
        need_few(patch)
        for offset in range(3):
            run(app, session(offset))
    owner = database.engine(app.settings, role="owner")
    with owner.begin() as connection:
        for row in fetch(app.engine, "SELECT id, weights FROM stockbatch.models"):
            arrays = from_bytes(row["weights"])
            inner = {n: a[..., 1:-1] if n in LEVELS else a for n, a in arrays.items()}
            weights = to_bytes(inner)
            values = {"sha256": hashlib.sha256(weights).hexdigest(), "weights": weights}
            connection.execute(OF_THEN, {"id": row["id"], **values})
        connection.execute(text(f"UPDATE stockbatch.forecasts SET {UNSTATED}"))
        connection.execute(text("UPDATE stockbatch.scores SET inside_98 = NULL"))
        connection.execute(text("UPDATE stockbatch.crowds SET logs = logs[5:36]"))
    owner.dispose()
    return app


def need_few(patch):
    """Let three tickers be enough for every method."""
    patch.setattr(har, "FEWEST_SAMPLES", 100)
    patch.setattr(crowd, "FEWEST", 3)


@pytest.fixture
def older(make_app, of_then, monkeypatch):
    need_few(monkeypatch)
    return make_app(None, like=of_then)


def stated(app, day=AFTER):
    """Return the forecasts from an origin by method: how many, and how many state all levels."""
    rows = fetch(
        app.engine,
        "SELECT method, count(*) AS n, count(q01 + q99) AS whole FROM stockbatch.forecasts"
        " WHERE origin_session = :day GROUP BY method",
        day=day,
    )
    return {row["method"]: (row["n"], row["whole"]) for row in rows}


def test_the_next_run_trains_all_anew(older):
    run(older, AFTER)
    expected = dict.fromkeys(TICKERS, (Action.TRAINED, Reason.CONFIGURATION_CHANGED))
    assert outcomes(older.engine, AFTER) == expected
    made = stated(older)
    assert made.keys() > TRAINED | {"rolling_quantile"}
    assert set(made.values()) == {(3, 3), (3, 0)}
    assert [method for method, (_, whole) in made.items() if not whole] == ["naive"]
    pooled = (
        "SELECT method, reason FROM stockbatch.models WHERE kind = 'base' AND last_session = :d"
    )
    assert {row["method"]: row["reason"] for row in fetch(older.engine, pooled, d=AFTER)} == (
        dict.fromkeys(("lstm", "har", "har_events"), "configuration_changed")
    )
    scored = "SELECT DISTINCT inside_98 IS NULL AS unknown, pinball IS NULL AS without FROM"
    of_then = fetch(
        older.engine,
        f"{scored} stockbatch.scores AS s JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " WHERE method = 'lstm'",
    )
    assert of_then == [{"unknown": True, "without": False}]


def test_what_they_stated_goes_on_teaching(older):
    targets = calendar().window(session(3), 3)
    with older.transaction() as db:
        chosen = instruments.active(db, CODE)
        past = forecasts.past_quantiles(db, chosen, targets, "lstm")
    assert np.isfinite(past).all()
    assert (np.diff(past, axis=-1) > 0).all()


def test_where_there_is_no_time_to_train_the_others_forecast(older):
    deadline = calendar().deadline(session(4))
    older.clock = lambda: deadline - timedelta(minutes=1)
    run(older, AFTER)
    made = stated(older)
    assert made.keys() >= {"naive", "rolling_quantile", "ewma"}
    assert not made.keys() & TRAINED
    assert {action for action, _ in outcomes(older.engine, AFTER).values()} == {Action.NAIVE}
    older.clock = lambda: NOW
    run(older, session(4))
    assert stated(older, session(4)).keys() > TRAINED


def test_where_training_fails_the_others_forecast(older):
    older.trainer = Failing()
    for _ in range(2):
        with pytest.raises(TrainingFailed):
            run(older, AFTER)
    run(older, AFTER)  # the last try does without
    made = stated(older)
    assert made["rolling_quantile"] == made["har"] == made["combined"] == (3, 3)
    assert "lstm" not in made
    assert set(outcomes(older.engine, AFTER).values()) == {(Action.NAIVE, Reason.FAILED)}
    assert fetch(
        older.engine,
        "SELECT DISTINCT model_id FROM stockbatch.forecasts WHERE origin_session = :day",
        day=AFTER,
    ) == [{"model_id": None}]


def test_a_backtest_trains_its_own(older):
    assert sum(block.added for block in backtest(older, CODE, session(3), session(4)))
    assert stated(older, session(4))["lstm"] == (3, 3)


def test_none_is_taken_away(older):
    with older.transaction() as db, pytest.raises(NoModel, match="of this version of the program"):
        models.champion(db, "AAA", LSTM)
