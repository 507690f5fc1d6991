"""Trained models: what is stored of them and how they are found again."""

import hashlib

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from stockbatch.exceptions import AccessDenied, NoModel
from stockbatch.records import LSTM, Comparison, ModelKind, Reason, Verdict
from stockbatch.store import models, promotions
from tests.support.ledger import listed, model_of, opened
from tests.support.market import ORIGIN, session


def stored(db, table):
    return [dict(row) for row in db.execute(text(f"SELECT * FROM stockbatch.{table}")).mappings()]


def trained(db, instrument, day, **changes):
    """Train at `day` and promote; return the model's id."""
    model = model_of(instrument.ticker, day, **changes)
    ids = models.add(db, {instrument.id: model}, opened(db, day), demo=False)
    promotions.put_into_use(db, ids, day, {instrument.id: model.reason})
    return ids[instrument.id]


def based(db, day=ORIGIN, demo=False, **changes):
    """Train a base at `day`; return its id."""
    return models.add_base(db, model_of(None, day, **changes), opened(db, day), demo=demo).id


COMPARISON = Comparison(loss=0.19, base_loss=0.2, champion_loss=0.195, gain_error=0.004)


def test_a_stored_model_comes_back_whole(db):
    (one,) = listed(db, "AAA")
    changes = {"reason": Reason.EXPIRED, "verdict": Verdict.PROMOTED, "parent_id": based(db)}
    model = model_of("AAA", **changes)
    model_id = trained(db, one, ORIGIN, **changes)
    found = models.champions(db, [one], LSTM, ORIGIN)[one.id]
    assert found.id == model_id
    for name in ("ticker", "first_session", "last_session", "fingerprint", "configuration"):
        assert getattr(found, name) == getattr(model, name)
    for name in ("kind", "reason", "verdict", "parent_id", "seed", "best_epoch", "tickers"):
        assert getattr(found, name) == getattr(model, name)
    assert (found.parameters, found.libraries) == ({"units": 3}, {"numpy": "2"})
    assert found.weights.keys() == model.weights.keys()
    np.testing.assert_array_equal(found.weights["dense.bias"], model.weights["dense.bias"])


def test_losses_weights_and_curves_are_stored(db):
    (one,) = listed(db, "AAA")
    model_id = trained(db, one, ORIGIN)
    (row,) = stored(db, "models")
    assert (row["training_loss"], row["validation_loss"], row["initial_loss"]) == (0.2, 0.3, 0.5)
    assert (row["kind"], row["calendar"], row["demo"]) == ("ticker", "XNYS", False)
    assert {row[name] for name in ("comparison_loss", "base_loss", "gain", "parent_id")} == {None}
    assert row["weights_sha256"] == hashlib.sha256(row["weights"]).hexdigest()
    assert stored(db, "training_curves") == [
        {
            "model_id": model_id,
            "training_loss": [0.3, 0.2, 0.1],
            "validation_loss": [0.4, 0.3, 0.35],
        }
    ]


def test_a_model_that_never_improved_has_the_loss_it_started_with(db):
    (one,) = listed(db, "AAA")
    trained(db, one, ORIGIN, best_epoch=0)
    (row,) = stored(db, "models")
    assert (row["best_epoch"], row["training_loss"], row["validation_loss"]) == (0, None, 0.5)


def test_both_results_of_a_comparison_are_stored(db):
    (one,) = listed(db, "AAA")
    trained(db, one, ORIGIN, comparison=COMPARISON, verdict=Verdict.CHAMPION_KEPT)
    (row,) = stored(db, "models")
    assert (row["comparison_loss"], row["base_loss"], row["champion_loss"]) == (0.19, 0.2, 0.195)
    assert row["gain"] == pytest.approx(0.01)
    assert (row["gain_error"], row["verdict"]) == (0.004, "champion_kept")


def test_a_base_belongs_to_its_calendar_and_serves_from_its_last_session_on(db):
    early, late = based(db, session(0)), based(db, session(5))
    demo = based(db, session(1), demo=True)

    def base(day, **options):
        found = models.newest_of_calendar(db, LSTM, "XNYS", day, **{"demo": False} | options)
        return found and found.id

    assert [base(session(n)) for n in (-1, 0, 4, 5, 50)] == [None, early, early, late, late]
    assert [base(session(n), demo=True) for n in (0, 1)] == [None, demo]
    assert models.newest_of_calendar(db, LSTM, "XLON", session(50), demo=False) is None
    found = models.newest_of_calendar(db, LSTM, "XNYS", session(5), demo=False)
    assert (found.kind, found.ticker, found.parent_id) == (ModelKind.BASE, None, None)
    assert {row["instrument_id"] for row in stored(db, "models")} == {None}
    assert based(db, session(5)) == late


def test_the_newest_of_a_kind_need_not_be_in_use(db):
    one, two = listed(db, "AAA", "BBB")
    in_use = trained(db, one, session(0))
    rejected = models.add(
        db, {one.id: model_of("AAA", session(3), verdict=Verdict.BASE_KEPT)}, opened(db), demo=False
    )[one.id]
    garch = models.add(
        db, {one.id: model_of("AAA", session(4), method="garch")}, opened(db), demo=False
    )[one.id]

    def newest(method, day):
        found = models.newest(db, [one, two], method, ModelKind.TICKER, day)
        return {key: model.id for key, model in found.items()}

    assert newest(LSTM, session(2)) == {one.id: in_use}
    assert newest(LSTM, session(9)) == {one.id: rejected}
    assert newest("garch", session(3)) == {}
    assert newest("garch", session(9)) == {one.id: garch}
    assert models.champions(db, [one], LSTM, session(9))[one.id].id == in_use


def test_a_base_in_use_is_the_champion_of_its_ticker(db):
    (one,) = listed(db, "AAA")
    base = based(db)
    promotions.put_into_use(db, {one.id: base}, ORIGIN, {one.id: Reason.NO_MODEL})
    found = models.champions(db, [one], LSTM, ORIGIN)[one.id]
    assert (found.id, found.kind) == (base, ModelKind.BASE)


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
        return {id_: model.id for id_, model in models.champions(db, [one, two], LSTM, day).items()}

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
    assert models.champions(db, [one], LSTM, session(2))[one.id].id == kept
    assert len(stored(db, "models")) == 2


def test_the_models_in_use_are_listed_by_ticker(db):
    two, one, gone = listed(db, "BBB", "AAA", "CCC")
    trained(db, two, session(0))
    trained(db, gone, session(0))
    newest = trained(db, two, session(1)), trained(db, one, session(0))
    db.execute(text("UPDATE stockbatch.instruments SET active = false WHERE ticker = 'CCC'"))
    assert [(row.ticker, row.id, row.in_use_from) for row in models.summaries(db, LSTM)] == [
        ("AAA", newest[1], session(0)),
        ("BBB", newest[0], session(1)),
    ]


def test_all_models_a_ticker_has_had_are_listed_newest_first(db):
    one, two = listed(db, "AAA", "BBB")
    base, unused = based(db, session(0)), based(db, session(1))
    promotions.put_into_use(db, {one.id: base}, session(0), {one.id: Reason.NO_MODEL})
    ticker = trained(db, one, session(2), parent_id=base, comparison=COMPARISON)
    for method in ("garch", LSTM):
        rejected = model_of("AAA", session(3), method=method, verdict=Verdict.BASE_KEPT)
        ids = models.add(db, {one.id: rejected}, opened(db), demo=False)
    trained(db, two, session(2))
    rows = models.of_ticker(db, "AAA", LSTM)
    assert [(row.id, row.kind, row.in_use_from) for row in rows] == [
        (ids[one.id], "ticker", None),
        (ticker, "ticker", session(2)),
        (base, "base", session(0)),
    ]
    assert unused not in [row.id for row in rows]
    assert (rows[1].parent_id, rows[1].verdict, rows[1].champion_loss) == (base, "promoted", 0.195)
    assert models.of_ticker(db, "CCC", LSTM) == []


def test_details_describe_the_model_in_use_without_its_weights(db):
    (one,) = listed(db, "AAA")
    trained(db, one, session(0))
    newest = trained(db, one, session(1))
    facts = models.details(db, "AAA", LSTM)
    assert facts["id"] == newest
    assert facts["last_session"] == session(1)
    assert facts["weights"].endswith(" bytes")
    assert facts["inputs"].startswith("return, overnight_gap")
    assert facts.keys() >= {"kind", "parent_id", "verdict", "comparison_loss", "base_loss", "gain"}
    assert (facts["in_use_from"], facts["in_use_because"]) == (session(1), "no_model")


@pytest.mark.parametrize("ask", [models.champion, models.details])
def test_a_ticker_without_a_model_says_so(db, ask):
    listed(db, "AAA")
    with pytest.raises(NoModel, match="AAA has no trained model: 'stockbatch run' trains one"):
        ask(db, "AAA", LSTM)


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
