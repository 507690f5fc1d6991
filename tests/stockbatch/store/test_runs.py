"""The ledger of runs and their outcomes."""

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.exceptions import DatabaseBusy, RunInProgress, RunSuperseded
from stockbatch.records import Action, Reason
from stockbatch.store import lease, runs
from tests.support.ledger import listed, opened, outcome_of
from tests.support.market import ORIGIN, session

TRAINED = Action.TRAINED, Reason.NO_MODEL
NO_BAR = Action.NONE, Reason.NO_BAR
FETCH_FAILED = Action.NONE, Reason.FETCH_FAILED


def stored(db, table):
    query = f"SELECT * FROM stockbatch.{table} ORDER BY id"
    return [dict(row) for row in db.execute(text(query)).mappings()]


def test_an_opened_run_is_running(db):
    run = opened(db)
    (row,) = stored(db, "runs")
    assert (row["id"], row["owner"], row["attempt"]) == (run.id, run.owner, 1)
    assert (row["status"], row["trigger"], row["finished_at"]) == ("running", "manual", None)
    assert runs.is_interrupted(db, "XNYS", ORIGIN)
    assert not runs.is_interrupted(db, "XNYS", session(1))


def test_an_interrupted_run_is_resumed_and_superseded(db):
    first = opened(db)
    second = opened(db)
    assert (second.id, second.attempt) == (first.id, 1)
    assert second.owner != first.owner
    runs.lock(db, second)
    with pytest.raises(RunSuperseded, match=f"Run {first.id} was taken over"):
        runs.lock(db, first)
    with pytest.raises(RunSuperseded):
        runs.close_run(db, first)


def test_a_run_that_nobody_holds_is_told_to_have_been_interrupted(own_db, engine):
    opened(own_db)
    own_db.commit()
    with runs.exclusive(engine, "XNYS"):
        assert [row["status"] for row in runs.history(own_db, 9)] == ["running"]
    with runs.exclusive(engine, "XLON"):  # another exchange's is no sign of life
        assert [row["status"] for row in runs.history(own_db, 9)] == ["interrupted"]
    runs.close_run(own_db, opened(own_db))
    assert [row["status"] for row in runs.history(own_db, 9)] == ["finished"]


def test_a_failed_run_keeps_its_reason_until_it_is_resumed(db):
    run = opened(db)
    runs.close_run(db, run, failure="disk full")
    (row,) = stored(db, "runs")
    assert (row["status"], row["message"]) == ("failed", "disk full")
    assert row["finished_at"] is not None
    assert runs.is_interrupted(db, "XNYS", ORIGIN)
    again = opened(db)
    (row,) = stored(db, "runs")
    assert again.id == run.id
    assert (row["status"], row["message"], row["finished_at"]) == ("running", None, None)


def test_a_finished_run_takes_no_more_writes(db):
    run = opened(db)
    runs.close_run(db, run)
    assert not runs.is_interrupted(db, "XNYS", ORIGIN)
    with pytest.raises(RunSuperseded):
        runs.lock(db, run)


def test_reprocessing_a_finished_run_begins_an_attempt(db):
    first = opened(db)
    runs.close_run(db, first)
    second = opened(db, reprocess=True)
    assert second.attempt == 2
    assert second.id != first.id
    assert opened(db, reprocess=True).id == second.id


def test_a_finished_run_is_reopened_for_what_is_left(db):
    first = opened(db)
    runs.close_run(db, first)
    second = opened(db)
    assert (second.id, second.attempt) == (first.id, 1)


def test_a_lock_makes_every_other_writer_of_the_run_wait(engine):
    with Session(engine) as db, db.begin():
        run = opened(db)
    with Session(engine) as one, Session(engine) as two:
        runs.lock(one, run)
        two.execute(text("SET LOCAL lock_timeout = '50ms'"))
        with pytest.raises(DatabaseBusy):
            runs.lock(two, run)
    with Session(engine) as db:
        runs.lock(db, run)


def test_chunks_commit_side_by_side_and_no_heartbeat_waits_for_them(engine):
    with Session(engine) as db, db.begin():
        one, two = listed(db, "AAA", "BBB")
        run = opened(db)
    with Session(engine) as first, Session(engine) as second, Session(engine) as parent:
        for db in (second, parent):
            db.execute(text("SET lock_timeout = '50ms'"))
        runs.share(first, run, [one])
        runs.share(second, run, [two])
        runs.lock(parent, run)
        parent.commit()
        second.commit()
        with pytest.raises(DatabaseBusy):  # a copy of the same chunk
            runs.share(second, run, [two, one])
        second.rollback()
        first.commit()
        runs.share(second, run, [two, one])


def test_who_takes_a_run_over_waits_for_chunks_and_none_begins_anew(engine):
    with Session(engine) as db, db.begin():
        instruments = listed(db, "AAA", "BBB")
        run = opened(db)
    with Session(engine) as old, Session(engine) as new, Session(engine) as late:
        runs.share(old, run, instruments[:1])
        new.execute(text("SET lock_timeout = '50ms'"))
        taken = opened(new)
        new.commit()
        with pytest.raises(RunSuperseded):
            runs.share(late, run, instruments[1:])
        with pytest.raises(DatabaseBusy):
            runs.settle(new, taken)
        new.rollback()
        runs.add_outcomes(
            old, run, instruments, [outcome_of(instruments[0], Action.TRAINED, Reason.NO_MODEL)]
        )
        old.commit()
        runs.settle(new, taken)
        assert runs.unfinished(new, instruments, ORIGIN) == instruments[1:]


def test_what_is_done_is_told_from_what_was_done_before(db):
    instruments = listed(db, "AAA", "BBB")
    run = opened(db)
    runs.add_outcomes(
        db, run, instruments, [outcome_of(instruments[0], Action.TRAINED, Reason.NO_MODEL)]
    )
    since = runs.newest_outcome(db)
    assert runs.done_since(db, run, instruments, since) == set()
    runs.add_outcomes(
        db, run, instruments, [outcome_of(instruments[1], Action.TRAINED, Reason.NO_MODEL)]
    )
    assert runs.done_since(db, run, instruments, since) == {instruments[1].id}
    assert runs.done_since(db, run, instruments, 0) == {one.id for one in instruments}


def test_a_calendar_in_use_keeps_no_other_out(engine, monkeypatch):
    monkeypatch.setattr(lease, "RENEWAL", 0.1)
    in_use = pytest.raises(RunInProgress, match="Another process is running XNYS")
    with runs.exclusive(engine, "XNYS"), runs.exclusive(engine, "XLON"), in_use:
        runs.exclusive(engine, "XNYS").__enter__()
    with runs.exclusive(engine, "XNYS"):
        pass


def test_every_instrument_has_exactly_one_final_outcome(db):
    one, two = listed(db, "AAA", "BBB")
    run = opened(db)
    runs.add_outcomes(
        db,
        run,
        [one, two],
        [outcome_of(one, *TRAINED), outcome_of(two, *FETCH_FAILED, message="no network")],
    )
    found = runs.final_outcomes(db, [one, two], ORIGIN)
    assert {id_: (o.action, o.reason) for id_, o in found.items()} == {
        one.id: TRAINED,
        two.id: FETCH_FAILED,
    }
    assert found[two.id].message == "no network"
    assert runs.final_outcomes(db, [one, two], session(1)) == {}
    assert runs.final_outcomes(db, [two], ORIGIN).keys() == {two.id}


@pytest.mark.parametrize("reason", sorted(runs.RETRIED))
def test_a_missing_bar_is_tried_again_and_earlier_tries_are_kept(db, reason):
    one, two = listed(db, "AAA", "BBB")
    run = opened(db)
    missing = Action.NONE, reason
    runs.add_outcomes(
        db, run, [one, two], [outcome_of(one, *TRAINED), outcome_of(two, *missing, message="x")]
    )
    assert runs.unfinished(db, [one, two], ORIGIN) == [two]

    runs.add_outcomes(db, run, [two], [outcome_of(two, *missing, message="in other words")])
    assert len(stored(db, "outcomes")) == 2

    runs.add_outcomes(db, run, [two], [outcome_of(two, *TRAINED)])
    assert runs.unfinished(db, [one, two], ORIGIN) == []
    tries = [row for row in stored(db, "outcomes") if row["instrument_id"] == two.id]
    assert [(row["try_number"], row["is_final"], row["reason"]) for row in tries] == [
        (1, False, reason),
        (2, True, Reason.NO_MODEL),
    ]


def test_an_instrument_never_worked_on_is_unfinished(db):
    one, two = listed(db, "AAA", "BBB")
    runs.add_outcomes(db, opened(db), [one], [outcome_of(one, Action.NAIVE, Reason.SHORT_HISTORY)])
    assert runs.unfinished(db, [one, two], ORIGIN) == [two]
    assert runs.unfinished(db, [one, two], session(1)) == [one, two]


def test_reprocessing_replaces_an_outcome_by_its_equal(db):
    (one,) = listed(db, "AAA")
    run = opened(db)
    for _ in range(2):
        runs.add_outcomes(db, run, [one], [outcome_of(one, *TRAINED)])
    assert [row["is_final"] for row in stored(db, "outcomes")] == [False, True]


def test_a_closed_run_counts_the_final_outcomes_of_its_session(db):
    *chosen, last = listed(db, *"ABCDEF")
    run = opened(db)
    first = [NO_BAR, TRAINED, (Action.REUSED, Reason.FRESH)]
    first += [(action, Reason.SHORT_HISTORY) for action in (Action.NAIVE, Action.BASE)]
    runs.add_outcomes(
        db, run, chosen, [outcome_of(i, *o) for i, o in zip(chosen, first, strict=True)]
    )
    runs.add_outcomes(db, run, chosen, [outcome_of(chosen[0], *TRAINED)])
    other = opened(db, session(1))
    runs.add_outcomes(db, other, [last], [outcome_of(last, *NO_BAR)])
    runs.close_run(db, run)
    row = stored(db, "runs")[0]
    actions = {"trained": 2, "reused": 1, "base": 1, "naive": 1, "none": 0}
    assert {name: row[name] for name in actions} == actions
    assert row["instruments"] == 5


def test_the_last_session_is_that_of_the_newest_run_of_the_calendar(db):
    assert runs.last_session(db, "XNYS") is None
    for day in (session(2), ORIGIN):
        opened(db, day)
    assert runs.last_session(db, "XNYS") == session(2)
    assert runs.last_session(db, "XLON") is None
