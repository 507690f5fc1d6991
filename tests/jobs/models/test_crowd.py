"""What all tickers of a calendar teach each of them, from run to run."""

import hashlib

import numpy as np
import pytest

from stockbatch.methods import crowd
from stockbatch.methods.crowd import HEARD_AFTER, SHARE
from tests.support.market import ORIGIN, fetch, run, session

COLUMNS = "session, method, is_demo, instruments, sessions, logs, losses, digest"
CALIBRATED = ("combined", "lstm")


@pytest.fixture(autouse=True)
def _anybody_is_a_crowd(monkeypatch):
    monkeypatch.setattr(crowd, "FEWEST", 1)


def crowds(app):
    query = f"SELECT {COLUMNS} FROM stockbatch.crowds ORDER BY session, method"
    return fetch(app.engine, query)


def factors(app, ticker, origin):
    """Return by how much the outermost quantile of the LSTM was stretched."""
    (row,) = fetch(
        app.engine,
        "SELECT f.* FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = :ticker AND origin_session = :origin"
        " AND method = 'lstm' ORDER BY f.id DESC LIMIT 1",
        ticker=ticker,
        origin=origin,
    )
    return (row["q025"] - row["q50"]) / (row["raw_q025"] - row["raw_q50"])


def test_every_run_learns_from_the_session_it_is_of(app):
    for offset in range(4):
        run(app, session(offset))
    rows = crowds(app)
    # Of the first session nothing was forecast.
    assert [(row["session"], row["method"]) for row in rows] == [
        (session(offset), method) for offset in (1, 2, 3) for method in CALIBRATED
    ]
    assert [row["sessions"] for row in rows] == [1, 1, 2, 2, 3, 3]
    assert {(row["instruments"], row["is_demo"]) for row in rows} == {(3, False)}
    for row in rows:
        held = np.array(row["logs"]).tobytes() + np.array(row["losses"]).tobytes()
        assert row["digest"] == hashlib.sha256(held).hexdigest()


def test_it_is_learned_once_and_heard_by_every_forecast_made_of_the_session(app, change):
    run(app, ORIGIN)
    run(app, session(1))
    plain = factors(app, "BBB", session(1))
    before = crowds(app)
    run(app, session(1), reprocess=True)
    assert crowds(app) == before
    # All learners of a crowd that has its full share say four times as wide.
    change(
        "UPDATE stockbatch.crowds SET sessions = :many, losses = array_fill(0, ARRAY[4]),"
        " logs = array_fill(ln(4.0)::float8, ARRAY[40]) WHERE method = 'lstm'",
        many=HEARD_AFTER,
    )
    run(app, session(1), reprocess=True)
    # A crowd of one session had hardly a say.
    assert factors(app, "BBB", session(1)) == pytest.approx(
        plain ** (1 - SHARE) * 4**SHARE, rel=0.05
    )


def test_a_few_tickers_are_no_crowd(app, make_app, market):
    other = make_app(market)
    for one in (app, other):
        run(one, ORIGIN)
    run(app, session(1), tickers=["AAA"])
    assert crowds(app) == []
    run(app, session(1))
    run(other, session(1))
    assert crowds(app) == crowds(other)


def test_a_session_that_was_skipped_is_learned_from_with_the_next(app, market, make_app):
    other = make_app(market)
    market.drop("AAA", session(2))
    market.drop("BBB", session(2))
    for one in (app, other):
        run(one, ORIGIN)
        run(one, session(1))
    run(app, session(2))
    # One of three has its bar: the session says nothing of the crowd.
    assert {row["session"] for row in crowds(app)} == {session(1)}
    run(app, session(3))
    assert {(row["session"], row["sessions"]) for row in crowds(app)} == {
        (session(1), 1),
        (session(3), 2),
    }
