"""Scores: which forecasts await one, and that they are only added."""

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.exceptions import AccessDenied
from stockbatch.records import LSTM, BarState, CorporateAction
from stockbatch.store import bars, forecasts, models, scores
from tests.support.ledger import (
    QUANTILES,
    bars_of,
    forecast_of,
    in_time,
    listed,
    model_of,
    naive_of,
    opened,
    revised_at_will,
    store,
)
from tests.support.market import NOW, ORIGIN, session

TARGET = session(1)


def stored(db):
    query = "SELECT * FROM stockbatch.scores ORDER BY id"
    return [dict(row) for row in db.execute(text(query)).mappings()]


def made(db, *given):
    forecasts.add(db, given, opened(db), issued_at=NOW)
    return db.scalars(text("SELECT id FROM stockbatch.forecasts ORDER BY target_session")).all()


def row_of(forecast_id, revision=1, **numbers):
    plain = {"actual_close": 101.0, "error": 1.0, "absolute_error": 1.0}
    row = {"forecast_id": forecast_id, "revision": revision, "status": "scored"} | plain | numbers
    return {name: [value] for name, value in row.items()}


@pytest.fixture
def one(db):
    (instrument,) = listed(db, "AAA")
    return instrument


def test_a_forecast_awaits_its_bar(db, one):
    (forecast_id,) = made(db, forecast_of(one))
    assert len(scores.pending(db, [one], TARGET)["close"]) == 0
    store(db, one, bars_of([TARGET], [101]))
    pending = scores.pending(db, [one], TARGET)
    assert tuple(pending) == scores.PENDING
    values = {name: column.item() for name, column in pending.items()}
    assert values["forecast_id"] == forecast_id
    assert values["target_day"] == np.datetime64(TARGET, "D").astype(int)
    assert (values["revision"], values["actual_close"]) == (1, 101)
    assert (values["split"], values["dividend"]) == (1, 0)
    assert (values["origin_close"], values["probability_of_rise"]) == (100, 0.6)
    assert tuple(values[name] for name in QUANTILE_COLUMNS) == QUANTILES


def test_what_a_point_forecast_does_not_state_is_nan(db, one):
    made(db, naive_of(one))
    store(db, one, bars_of([TARGET], [101]))
    pending = scores.pending(db, [one], TARGET)
    assert np.isnan([pending[name] for name in (*QUANTILE_COLUMNS, "probability_of_rise")]).all()


def test_actions_of_the_target_session_are_known(db, one):
    made(db, forecast_of(one))
    store(db, one, bars_of([TARGET], [101]))
    actions = [
        CorporateAction(session=TARGET, kind="split", value=4.0),
        CorporateAction(session=TARGET, kind="dividend", value=0.25),
        CorporateAction(session=ORIGIN, kind="dividend", value=9.0),
        CorporateAction(session=session(2), kind="split", value=9.0),
    ]
    bars.add_actions(db, {one.id: actions}, provider="csv")
    pending = scores.pending(db, [one], TARGET)
    assert (pending["split"].item(), pending["dividend"].item()) == (4, 0.25)
    db.execute(text("UPDATE stockbatch.corporate_actions SET retracted_at = now()"))
    pending = scores.pending(db, [one], TARGET)
    assert (pending["split"].item(), pending["dividend"].item()) == (1, 0)


def test_nothing_later_nothing_doubtful_and_nobody_else_is_pending(db, one):
    (other,) = listed(db, "BBB")
    late = {"target_session": session(2), "origin_session": session(1)}
    made(db, forecast_of(one), forecast_of(one, **late), forecast_of(other))
    store(db, one, bars_of([TARGET], [101]), state=BarState.QUARANTINED)
    store(db, one, bars_of([session(2)], [101]))
    store(db, other, bars_of([TARGET], [101]))
    assert len(scores.pending(db, [one], TARGET)["close"]) == 0
    assert len(scores.pending(db, [one], session(2))["close"]) == 1
    assert len(scores.pending(db, [], session(2))["close"]) == 0


def test_a_scored_forecast_awaits_only_a_restated_bar(db, one):
    (forecast_id,) = made(db, forecast_of(one))
    store(db, one, bars_of([TARGET], [101]))
    run = opened(db)
    assert scores.add(db, row_of(forecast_id), run) == 1
    assert len(scores.pending(db, [one], TARGET)["close"]) == 0

    store(db, one, bars_of([TARGET], [102]))
    pending = scores.pending(db, [one], TARGET)
    assert (pending["revision"].item(), pending["actual_close"].item()) == (2, 102)
    assert scores.add(db, row_of(forecast_id, 2, actual_close=102.0), run) == 1
    assert [(row["revision"], row["actual_close"]) for row in stored(db)] == [(1, 101), (2, 102)]
    assert len(scores.pending(db, [one], TARGET)["close"]) == 0


def test_notes_go_with_what_is_scored_and_come_with_a_bar(db, one):
    waiting = {"origin_session": session(1), "target_session": session(2)}
    forecast_id, later_id = made(db, forecast_of(one), forecast_of(one, **waiting))
    which = {forecast_id: 0, later_id: 1}
    run = opened(db)

    def settle():
        scores.settle(db, scores.noted(db, [one], session(2)))
        noted = db.scalars(text("SELECT forecast_id FROM stockbatch.unscored"))
        return sorted(which[forecast_id] for forecast_id in noted)

    assert settle() == [0, 1]
    store(db, one, bars_of([TARGET], [101]))
    assert settle() == [0, 0, 1]  # noted by the bar as well, and not scored yet
    scores.add(db, row_of(forecast_id), run)
    assert settle() == [1]
    store(db, one, bars_of([TARGET], [102]))
    assert settle() == [0, 1]
    scores.add(db, row_of(forecast_id, 2), run)
    assert settle() == [1]


def test_a_bar_that_changes_while_its_forecast_is_scored_is_noted_for_the_next_time(db, one):
    (forecast_id,) = made(db, forecast_of(one))
    store(db, one, bars_of([TARGET], [101]))
    read = scores.noted(db, [one], TARGET)
    store(db, one, bars_of([TARGET], [102]))
    scores.add(db, row_of(forecast_id), opened(db))
    scores.settle(db, read)
    (revision,) = scores.pending(db, [one], TARGET)["revision"]
    assert revision == 2


def test_a_score_is_added_once(db, one):
    (forecast_id,) = made(db, forecast_of(one))
    run = opened(db)
    assert scores.add(db, row_of(forecast_id), run) == 1
    before = stored(db)
    assert scores.add(db, row_of(forecast_id, error=2.0), run) == 0
    assert stored(db) == before


def test_what_is_unknown_is_null_and_hits_are_booleans(db, one):
    (forecast_id,) = made(db, forecast_of(one))
    run = opened(db)
    numbers = {"pinball": np.nan, "direction_hit": np.nan, "inside_50": 0.0, "inside_80": 1.0}
    scores.add(db, row_of(forecast_id, **numbers), run)
    (row,) = stored(db)
    assert (row["pinball"], row["winkler_80"], row["direction_hit"]) == (None, None, None)
    assert (row["inside_50"], row["inside_80"], row["inside_95"]) == (False, True, None)
    assert (row["run_id"], row["status"]) == (run.id, "scored")


@pytest.mark.parametrize(
    "numbers",
    [
        {"error": None},
        {"status": "masked"},
        {"status": "no_session"},
        {"error": float("inf")},
        {"actual_close": float("-inf")},
    ],
)
def test_the_table_refuses_what_is_no_score(db, one, numbers):
    (forecast_id,) = made(db, forecast_of(one))
    with pytest.raises(IntegrityError, match=r"scores_[a-z]+_check"):
        scores.add(db, row_of(forecast_id, **numbers), opened(db))


def test_the_table_knows_every_status_there_is(db, one):
    (forecast_id,) = made(db, forecast_of(one))
    scores.add(db, row_of(forecast_id), opened(db))
    with pytest.raises(IntegrityError, match=r"scores_[a-z]+_check"):
        db.execute(text("UPDATE stockbatch.scores SET status = 'guessed'"))


def test_a_forecast_that_never_got_a_bar_is_told_until_it_has_a_score(db, one):
    never, _, scored = made(
        db,
        forecast_of(one),
        forecast_of(one, target_session=session(2)),
        forecast_of(one, target_session=session(3)),
    )
    store(db, one, bars_of([session(2)], [101]), state=BarState.QUARANTINED)
    scores.add(db, row_of(scored), opened(db))
    assert scores.without_session(db, [one], ORIGIN) == []
    assert scores.without_session(db, [one], session(3)) == [(never, TARGET)]
    rows = {"forecast_id": [never], "revision": [0], "status": ["no_session"]}
    scores.add(db, rows, opened(db))
    assert scores.without_session(db, [one], session(3)) == []

    store(db, one, bars_of([TARGET], [101]))
    assert scores.pending(db, [one], TARGET)["forecast_id"].tolist() == [never]


def test_the_writer_cannot_change_a_score(own_db, writer):
    (one,) = listed(own_db, "AAA")
    (forecast_id,) = made(own_db, forecast_of(one))
    scores.add(own_db, row_of(forecast_id), opened(own_db))
    own_db.commit()
    for statement in (
        "UPDATE stockbatch.scores SET error = 0",
        "UPDATE stockbatch.scores SET scored_at = '2000-01-01'",
        "DELETE FROM stockbatch.scores",
        "TRUNCATE stockbatch.scores",
    ):
        with pytest.raises(AccessDenied), writer.begin() as connection:
            connection.execute(text(statement))


# ---- drift

PROMISED = 0.3
"""The validation loss of `model_of`."""
LAST = session(scores.DRIFT_FORECASTS)


@pytest.fixture
def trained(db, one):
    """The id of a model of AAA trained at ORIGIN."""
    return models.add(db, {one.id: model_of("AAA")}, opened(db), demo=False)[one.id]


def realise(db, instrument, model_id, losses, first=0, **changes):
    """Store forecasts from successive origins and scores of these losses, by volatility."""
    for number, loss in enumerate(losses, start=first):
        common = {"method": LSTM, "model_id": model_id, "volatility": 0.02}
        days = {"origin_session": session(number), "target_session": session(number + 1)}
        made(db, forecast_of(instrument, **common | days | changes))
        newest = db.scalar(text("SELECT max(id) FROM stockbatch.forecasts"))
        scores.add(db, row_of(newest, pinball=0.02 * loss), opened(db))


def around(mean, spread=0.1, count=scores.DRIFT_FORECASTS):
    return [mean + spread * (-1) ** n for n in range(count)]


@pytest.mark.parametrize(
    ("losses", "drifted"),
    [
        (around(PROMISED), False),
        (around(1.4 * PROMISED, 0.001), False),
        (around(1.6 * PROMISED, 0.1), True),
        (around(1.6 * PROMISED, 0.4), False),
        (around(3 * PROMISED, 0.1)[1:], False),
        ([*around(3 * PROMISED, count=4), *around(PROMISED)], False),
    ],
    ids=["as promised", "a little worse", "worse", "noise", "too few", "long ago"],
)
def test_a_loss_far_above_what_validation_promised_is_drift(db, one, trained, losses, drifted):
    realise(db, one, trained, losses)
    (other,) = listed(db, "BBB")
    assert scores.drifted(db, [one, other], LSTM, session(len(losses))) == (
        {one.id} if drifted else set()
    )
    assert scores.drifted(db, [other], LSTM, session(len(losses))) == set()


def test_only_forecasts_since_the_last_training_count_even_if_it_was_in_vain(db, one, trained):
    realise(db, one, trained, around(3 * PROMISED))
    assert scores.drifted(db, [one], LSTM, LAST) == {one.id}
    models.add(db, {one.id: model_of("AAA", session(3))}, opened(db), demo=False)
    assert scores.drifted(db, [one], LSTM, LAST) == set()


def test_nothing_after_the_origin_counts(db, one, trained):
    realise(db, one, trained, around(3 * PROMISED))
    assert scores.drifted(db, [one], LSTM, session(9)) == set()


def test_every_session_counts_once(db, one, trained):
    half = scores.DRIFT_FORECASTS // 2
    realise(db, one, trained, around(3 * PROMISED, count=half))
    realise(db, one, trained, around(3 * PROMISED, count=half), fingerprint="b")
    with in_time(db):
        realise(db, one, trained, around(3 * PROMISED, count=half), fingerprint="c")
    assert scores.drifted(db, [one], LSTM, LAST) == set()


def test_of_several_scores_and_forecasts_of_a_session_the_best_known_counts(db, one, trained):
    realise(db, one, trained, around(3 * PROMISED))
    assert scores.drifted(db, [one], LSTM, LAST) == {one.id}
    first = db.scalar(text("SELECT min(id) FROM stockbatch.forecasts"))
    revised_at_will(db)
    masked = {name: [None] for name in ("actual_close", "error", "absolute_error")}
    scores.add(db, row_of(first, revision=2) | masked | {"status": ["masked"]}, opened(db))
    assert scores.drifted(db, [one], LSTM, LAST) == set()
    with in_time(db):
        realise(db, one, trained, around(PROMISED), fingerprint="live")
    realise(db, one, trained, around(3 * PROMISED), fingerprint="late again")
    assert scores.drifted(db, [one], LSTM, LAST) == set()
