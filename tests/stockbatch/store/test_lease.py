"""Locks that let one process at a time do something."""

import pytest
from sqlalchemy import Engine, text

from stockbatch.exceptions import LockLost
from stockbatch.store import lease, runs


def end_connections(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )


def test_a_lost_lock_is_told_however_often_it_is_asked_for(engine, writer):
    with lease.only_daemon(writer) as require:
        require()
        end_connections(engine)
        for _ in range(2):
            with pytest.raises(LockLost):
                require()


def test_what_ended_the_work_is_not_hidden_by_the_loss_of_its_lock(engine, writer):
    def work():
        with runs.exclusive(writer, "XNYS") as require:
            end_connections(engine)
            require()

    with pytest.raises(LockLost):
        work()


def test_a_lost_lock_can_be_taken_again(engine, writer):
    with lease.only_daemon(writer):
        end_connections(engine)
    with lease.only_daemon(writer) as require, lease.only_daemon(writer) as other:
        require()
        assert other is None
