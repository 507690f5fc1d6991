"""What somebody with the writer's login may try so that the ledger says what is not true."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from stockbatch.exceptions import AccessDenied, DeadlinePassed
from stockbatch.records import Action, Reason
from stockbatch.store import commits, forecasts, models, runs
from tests.support.ledger import (
    bars_of,
    forecast_of,
    listed,
    model_of,
    opened,
    outcome_of,
    rows,
    store,
)
from tests.support.market import NOW, ORIGIN, session

SOON = timedelta(seconds=1)
"""Until the deadline of a session that is about to open."""
OPENS = """
INSERT INTO stockbatch.sessions (calendar, session, open_at, close_at, deadline_at)
VALUES ('XNYS', cast(:at AS timestamptz) AT TIME ZONE 'UTC', :at, cast(:at AS timestamptz)
    + interval '6 hours', :at)
"""
ALL_NOW = "SET CONSTRAINTS ALL IMMEDIATE"


@pytest.fixture
def given(own_db):
    """A ticker and a run, committed."""
    (one,), run = listed(own_db, "AAA"), opened(own_db)
    own_db.commit()
    return one, run


def opening(db, left=SOON):
    """Let a session open after a while, and return it with that instant."""
    at = datetime.now(UTC) + left
    with db.begin_nested():
        db.execute(text(OPENS), {"at": at})
    db.commit()
    return at.date(), at


def kinds(db):
    db.rollback()
    return [row["kind"] for row in rows(db, "SELECT kind FROM stockbatch.forecasts ORDER BY id")]


def wait_for(at):
    time.sleep(max(0, (at - datetime.now(UTC)).total_seconds()) + 0.01)


def test_a_commit_held_over_the_deadline_is_refused_and_late_when_tried_again(
    own_db, writer, given
):
    one, run = given
    target, at = opening(own_db)
    made = forecast_of(one, target_session=target)
    with Session(writer) as db:
        forecasts.add(db, [made], run, issued_at=NOW)
        wait_for(at)
        with pytest.raises(DeadlinePassed, match="the deadline"):
            db.commit()
    assert kinds(own_db) == []
    with Session(writer) as db, db.begin():
        forecasts.add(db, [made], run, issued_at=NOW)
    assert kinds(own_db) == ["late"]


def test_a_commit_in_time_is_live(own_db, writer, given):
    one, run = given
    target, _ = opening(own_db, timedelta(hours=1))
    with Session(writer) as db, db.begin():
        forecasts.add(db, [forecast_of(one, target_session=target)], run, issued_at=NOW)
    assert kinds(own_db) == ["live"]
    assert commits.after_deadline(own_db) == []


@pytest.fixture
def at_once(monkeypatch):
    """Let no time pass between the trigger's last look and what counts as late."""
    late = text(str(commits._LATE).replace("interval '1 minute'", "interval '0'"))
    monkeypatch.setattr(commits, "_LATE", late)


def test_who_lets_the_trigger_look_early_and_commits_late_is_found(own_db, writer, given, at_once):
    one, run = given
    target, at = opening(own_db)
    with Session(writer) as db, db.begin():
        db.execute(text(ALL_NOW))
        forecasts.add(db, [forecast_of(one, target_session=target)], run, issued_at=NOW)
        wait_for(at)
    assert kinds(own_db) == ["live"]
    (found,) = commits.after_deadline(own_db)
    assert (found.calendar, found.target_session, found.forecasts) == ("XNYS", target, 1)
    assert found.deadline_at == at < found.committed_at
    assert str(target) in str(found)


def test_what_was_restored_is_not_called_forged(own_db, writer, given, at_once):
    """A backup is restored before its triggers, and all of it is committed later than it was."""
    test_who_lets_the_trigger_look_early_and_commits_late_is_found(own_db, writer, given, None)
    (definition,) = own_db.scalars(
        text("SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgname = 'judge_commit'")
    )
    own_db.execute(text("DROP TRIGGER judge_commit ON stockbatch.forecasts"))
    own_db.execute(text(definition))
    own_db.commit()
    assert commits.after_deadline(own_db) == []


@pytest.mark.parametrize(
    ("column", "value"),
    [
        *(("deadline_at", value) for value in ("infinity", "-infinity", "2024-06-07")),
        *(("close_at", value) for value in ("infinity", "2024-06-07", "2000-01-01")),
        *(("open_at", value) for value in ("-infinity", "2024-06-01")),
    ],
)
def test_the_instants_of_a_session_stay_within_two_days_of_it(own_db, writer, given, column, value):
    move = text(f"UPDATE stockbatch.sessions SET {column} = '{value}' WHERE session = :day")
    with writer.connect() as connection:
        connection.exec_driver_sql("SET LOCAL timezone = 'Pacific/Kiritimati'")
        with pytest.raises(IntegrityError, match="instants_check"):
            connection.execute(move, {"day": session(1)})


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE stockbatch.sessions SET deadline_at = deadline_at + interval '1 hour'",
        "UPDATE stockbatch.sessions SET close_at = close_at + interval '1 hour'",
        "UPDATE stockbatch.sessions SET session = session - 9000",
        "UPDATE stockbatch.sessions SET calendar = 'XLON'",
        "DELETE FROM stockbatch.sessions",
    ],
)
def test_a_session_that_a_forecast_names_stays_as_it_is(own_db, writer, given, attack):
    one, run = given
    with Session(writer) as db, db.begin():
        forecasts.add(db, [forecast_of(one)], run, issued_at=NOW)
    for day, refused in ((session(1), True), (session(2), False)):
        with writer.connect() as connection:
            statement = text(f"{attack} WHERE session = :day")
            if refused:
                with pytest.raises(AccessDenied, match="its instants are final"):
                    connection.execute(statement, {"day": day})
            elif "9000" not in attack:
                connection.execute(statement, {"day": day})
            connection.rollback()


def test_a_session_that_nobody_knows_has_no_forecast(own_db, given):
    one, run = given
    with pytest.raises(IntegrityError, match="no deadline can be told"):
        forecasts.add(own_db, [forecast_of(one, target_session=session(200))], run, issued_at=NOW)


# ---- outcomes


OUTCOMES = "SELECT try_number, is_final, reason FROM stockbatch.outcomes ORDER BY id"
FORGED_OUTCOME = """
INSERT INTO stockbatch.outcomes (instrument_id, session, try_number, is_final, action, reason,
    recorded_at)
VALUES (:id, :day, 2147483647, :final, 'none', 'failed', '2000-01-01')
"""


@pytest.mark.parametrize("final", [True, False])
def test_the_newest_outcome_is_final_whatever_the_writer_says(own_db, writer, given, final):
    one, run = given
    with Session(writer) as db, db.begin():
        runs.add_outcomes(db, run, [one], [outcome_of(one, Action.NONE, Reason.NO_BAR)])
    with writer.begin() as connection:
        connection.execute(text(FORGED_OUTCOME), {"id": one.id, "day": ORIGIN, "final": final})
    with Session(writer) as db, db.begin():
        runs.add_outcomes(db, run, [one], [outcome_of(one, Action.REUSED, Reason.FRESH)])
    assert [tuple(row.values()) for row in rows(own_db, OUTCOMES)] == [
        (1, False, "no_bar"),
        (2, False, "failed"),
        (3, True, "fresh"),
    ]
    query = "SELECT min(recorded_at) AS first FROM stockbatch.outcomes"
    assert rows(own_db, query)[0]["first"] > NOW


def test_the_function_that_demotes_cannot_be_borrowed(own_db, writer, given):
    one, run = given
    with Session(writer) as db, db.begin():
        runs.add_outcomes(db, run, [one], [outcome_of(one, Action.NONE, Reason.NO_BAR)])
    own = "CREATE TEMPORARY TABLE mine (LIKE stockbatch.outcomes)"
    hung = (
        "CREATE TRIGGER t BEFORE INSERT ON mine"
        " FOR EACH ROW EXECUTE FUNCTION stockbatch.number_outcome()"
    )
    with writer.connect() as connection:
        for statement in ("SELECT stockbatch.number_outcome()", f"{own}; {hung}"):
            with pytest.raises((AccessDenied, DBAPIError)):
                connection.exec_driver_sql(statement)
            connection.rollback()
    assert [row["is_final"] for row in rows(own_db, OUTCOMES)] == [True]


# ---- models


def test_weights_come_back_as_they_were_or_not_at_all(own_db, writer, given):
    one, run = given
    with Session(writer) as db, db.begin():
        (number,) = models.add(db, {one.id: model_of("AAA")}, run, demo=False).values()
    kept = rows(own_db, "SELECT weights, weights_sha256 FROM stockbatch.models")
    own_db.rollback()
    fill = text("UPDATE stockbatch.models SET weights = :weights")
    for weights in (b"", b"other", bytes(kept[0]["weights"])[:-1]):
        with pytest.raises(IntegrityError, match="models_weights_check"), writer.begin() as other:
            other.execute(fill, {"weights": weights})
    with writer.begin() as other:
        other.execute(fill, {"weights": None})
        other.execute(fill, {"weights": kept[0]["weights"]})
        other.execute(fill, {"weights": None})
    with Session(writer) as db, db.begin():
        assert models.add(db, {one.id: model_of("AAA")}, run, demo=False) == {one.id: number}
    assert rows(own_db, "SELECT weights, weights_sha256 FROM stockbatch.models") == kept


def test_what_is_trained_again_to_other_weights_is_another_model(own_db, given):
    one, run = given
    first = models.add(own_db, {one.id: model_of("AAA")}, run, demo=False)
    other = model_of("AAA", weights={"dense.bias": model_of("AAA").weights["dense.bias"] + 1})
    # As long as the first one has its weights, it is the model of these data.
    assert models.add(own_db, {one.id: other}, run, demo=False) == first
    own_db.execute(text("UPDATE stockbatch.models SET weights = NULL"))
    second = models.add(own_db, {one.id: other}, run, demo=False)
    assert second != first
    assert models.add(own_db, {one.id: model_of("AAA")}, run, demo=False) == second
    found = rows(own_db, "SELECT id, weights IS NULL AS pruned FROM stockbatch.models ORDER BY id")
    assert [(row["id"], row["pruned"]) for row in found] == [
        (first[one.id], True),
        (second[one.id], False),
    ]


# ---- revisions


SCORE = "INSERT INTO stockbatch.scores (forecast_id, revision, status) VALUES (:id, :n, 'masked')"


@pytest.mark.parametrize("number", [2**31 - 1, 4, -1, -(2**31)])
def test_a_score_is_of_a_revision_that_its_bar_has(own_db, writer, given, number):
    one, run = given
    for close in (100.0, 101.0):
        store(own_db, one, bars_of([session(1)], [close]))
    forecasts.add(own_db, [forecast_of(one)], run, issued_at=NOW)
    own_db.commit()
    score = {"id": own_db.scalar(text("SELECT id FROM stockbatch.forecasts"))}
    with pytest.raises(AccessDenied, match="is not that of the bar"), writer.begin() as connection:
        connection.execute(text(SCORE), {**score, "n": number})
    with writer.begin() as connection:
        connection.execute(text(SCORE), {**score, "n": 2})
    skipped = "UPDATE stockbatch.bars SET revision = :n"
    with pytest.raises(AccessDenied, match="does not follow"), writer.begin() as connection:
        connection.execute(text(skipped), {"n": number})
    again = """
        INSERT INTO stockbatch.bars (instrument_id, session, open, high, low, close, price_basis,
            state, source_id, revision)
        SELECT instrument_id, session + 1, open, high, low, close, price_basis, state, source_id, :n
        FROM stockbatch.bars
    """
    with pytest.raises(AccessDenied, match="does not follow"), writer.begin() as connection:
        connection.execute(text(again), {"n": number})


# ---- instants


FORGERIES = {
    ("scores", "scored_at"): "(forecast_id, revision, status, {c}) SELECT id, 1, 'masked', {v}"
    " FROM stockbatch.forecasts",
    ("promotions", "recorded_at"): "(instrument_id, model_id, from_session, reason, {c})"
    " SELECT instrument_id, id, last_session, 'manual', {v} FROM stockbatch.models",
    ("headlines", "set_at"): "(from_session, method, {c}) SELECT '2030-01-02', 'combined', {v}",
    ("methods", "added_at"): "(name, title, sentence, {c}) SELECT 'x', 'x', 'x', {v}",
    ("renames", "renamed_at"): "(instrument_id, old_ticker, old_symbol, new_ticker, {c})"
    " SELECT id, 'x', 'x', 'y', {v} FROM stockbatch.instruments",
    ("api_tokens", "created_at"): "(name, sha256, requests_per_minute, {c})"
    " SELECT 'x', 'x', 1, {v}",
}


@pytest.mark.parametrize(("table", "column"), FORGERIES)
@pytest.mark.parametrize(
    "value", ["timestamptz '2000-01-01'", "timestamptz 'infinity'", "now() + interval '1 hour'"]
)
def test_when_a_row_was_added_says_the_database(own_db, writer, given, table, column, value):
    one, run = given
    forecasts.add(own_db, [forecast_of(one)], run, issued_at=NOW)
    models.add(own_db, {one.id: model_of("AAA")}, run, demo=False)
    own_db.commit()
    begun = datetime.now(UTC)
    given_columns = FORGERIES[table, column].format(c=column, v=value)
    with writer.begin() as connection:
        connection.exec_driver_sql(f"INSERT INTO stockbatch.{table} {given_columns}")
    found = own_db.scalar(text(f"SELECT max({column}) FROM stockbatch.{table}"))
    assert begun - timedelta(seconds=1) < found < datetime.now(UTC) + timedelta(seconds=1)


def test_every_table_that_is_only_added_to_is_stamped(engine):
    with Session(engine) as db:
        stamped = rows(
            db,
            "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = 'stamp'",
        )
    assert {row["name"].removeprefix("stockbatch.") for row in stamped} == {
        *("api_tokens", "bar_revisions", "decisions", "events", "headlines", "holdings"),
        *("methods", "models", "news", "outcomes", "promotions", "renames", "risk_scores"),
        "scores",
    }
