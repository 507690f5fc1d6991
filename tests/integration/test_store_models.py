"""Trained models and which of them is in use."""

import hashlib

import numpy as np
import pytest
from ledger import listed, model_of, opened
from market import ORIGIN, session
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from stockbatch.exceptions import AccessDenied, NoModel
from stockbatch.records import Reason
from stockbatch.store import models


def stored(db, table):
    return [dict(row) for row in db.execute(text(f"SELECT * FROM stockbatch.{table}")).mappings()]


def trained(db, instrument, day, **changes):
    """Train at `day` and promote; return the model's id."""
    model = model_of(instrument.ticker, day, **changes)
    return models.add(db, {instrument.id: model}, opened(db, day))[instrument.id]


def test_a_stored_model_comes_back_whole(db):
    (one,) = listed(db, "AAA")
    model = model_of("AAA", reason=Reason.EXPIRED)
    ids = models.add(db, {one.id: model}, opened(db))
    found = models.champions(db, [one], ORIGIN)[one.id]
    assert found.id == ids[one.id]
    for name in ("ticker", "first_session", "last_session", "fingerprint", "configuration"):
        assert getattr(found, name) == getattr(model, name)
    assert (found.parameters, found.libraries) == ({"units": 3}, {"numpy": "2"})
    assert (found.seed, found.best_epoch, found.reason) == (1, 2, Reason.EXPIRED)
    assert found.weights.keys() == model.weights.keys()
    np.testing.assert_array_equal(found.weights["dense.bias"], model.weights["dense.bias"])


def test_losses_weights_and_curves_are_stored(db):
    (one,) = listed(db, "AAA")
    model_id = trained(db, one, ORIGIN)
    (row,) = stored(db, "models")
    assert (row["training_loss"], row["validation_loss"]) == (0.2, 0.3)
    assert row["weights_sha256"] == hashlib.sha256(row["weights"]).hexdigest()
    assert stored(db, "training_curves") == [
        {
            "model_id": model_id,
            "training_loss": [0.3, 0.2, 0.1],
            "validation_loss": [0.4, 0.3, 0.35],
        }
    ]


def test_a_model_that_never_improved_has_no_loss_of_its_epoch(db):
    (one,) = listed(db, "AAA")
    trained(db, one, ORIGIN, best_epoch=0)
    (row,) = stored(db, "models")
    assert (row["best_epoch"], row["training_loss"], row["validation_loss"]) == (0, None, None)


def test_the_same_model_is_stored_and_promoted_once(db):
    (one,) = listed(db, "AAA")
    first = trained(db, one, ORIGIN)
    assert trained(db, one, ORIGIN) == first
    assert [len(stored(db, t)) for t in ("models", "promotions", "training_curves")] == [1, 1, 1]


def test_the_champion_is_a_function_of_the_origin(db):
    one, two = listed(db, "AAA", "BBB")
    early, late = trained(db, one, session(0)), trained(db, one, session(5))
    other = trained(db, two, session(3))

    def champions(day):
        return {id_: model.id for id_, model in models.champions(db, [one, two], day).items()}

    assert champions(session(-1)) == {}
    assert champions(session(0)) == champions(session(2)) == {one.id: early}
    assert champions(session(4)) == {one.id: early, two.id: other}
    assert champions(session(5)) == champions(session(50)) == {one.id: late, two.id: other}

    between = trained(db, one, session(2))
    assert champions(session(1)) == {one.id: early}
    assert champions(session(4)) == {one.id: between, two.id: other}
    assert champions(session(5))[one.id] == late

    forced = trained(db, one, session(5), fingerprint="other data")
    assert champions(session(4))[one.id] == between
    assert champions(session(5))[one.id] == forced


def test_a_pruned_model_is_no_champion_and_keeps_its_row(db):
    (one,) = listed(db, "AAA")
    kept, pruned = trained(db, one, session(0)), trained(db, one, session(1))
    db.execute(text("UPDATE stockbatch.models SET weights = NULL WHERE id = :id"), {"id": pruned})
    assert models.champions(db, [one], session(2))[one.id].id == kept
    assert len(stored(db, "models")) == 2


def test_the_models_in_use_are_listed_by_ticker(db):
    two, one, gone = listed(db, "BBB", "AAA", "CCC")
    trained(db, two, session(0))
    trained(db, gone, session(0))
    newest = trained(db, two, session(1)), trained(db, one, session(0))
    db.execute(text("UPDATE stockbatch.instruments SET active = false WHERE ticker = 'CCC'"))
    assert [(row.ticker, row.id) for row in models.summaries(db)] == [
        ("AAA", newest[1]),
        ("BBB", newest[0]),
    ]


def test_details_describe_the_model_in_use_without_its_weights(db):
    (one,) = listed(db, "AAA")
    trained(db, one, session(0))
    newest = trained(db, one, session(1))
    facts = models.details(db, "AAA")
    assert facts["id"] == newest
    assert facts["last_session"] == session(1)
    assert facts["weights"].endswith(" bytes")
    assert facts["inputs"].startswith("return, overnight_gap")


@pytest.mark.parametrize("ask", [models.champion, models.details])
def test_a_ticker_without_a_model_says_so(db, ask):
    listed(db, "AAA")
    with pytest.raises(NoModel, match="AAA has no trained model: 'stockbatch run' trains one"):
        ask(db, "AAA")


def test_the_writer_adds_and_prunes_models_and_changes_nothing_else(own_db, writer):
    (one,) = listed(own_db, "AAA")
    trained(own_db, one, ORIGIN)
    own_db.commit()
    with writer.begin() as connection:
        connection.execute(text("UPDATE stockbatch.models SET weights = NULL"))
    for statement in (
        "UPDATE stockbatch.models SET fingerprint = 'x'",
        "DELETE FROM stockbatch.models",
        "UPDATE stockbatch.promotions SET from_session = '1999-01-04'",
        "DELETE FROM stockbatch.promotions",
    ):
        with pytest.raises((AccessDenied, ProgrammingError)), writer.begin() as connection:
            connection.execute(text(statement))
