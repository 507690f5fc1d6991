"""Nothing later than the origin is used, whatever is in the database and in the files already."""

from datetime import date

import numpy as np
import pytest

from stockbatch.methods import risk
from tests.support.market import (
    AFTER,
    BEFORE,
    ORIGIN,
    TICKERS,
    Market,
    assert_same,
    calendar,
    dump,
    facts,
    fetch,
    run,
    session,
)

LATER = session(20)


@pytest.fixture(scope="module", autouse=True)
def _of_a_short_history():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(risk, "FEWEST", 60)  # so that there is risk to tell
        yield


def made_at(app, day=ORIGIN):
    """Return all that was forecast and learned at an origin, ids and instants aside."""
    forecasts = fetch(
        app.engine,
        "SELECT f.*, i.ticker, m.fingerprint AS model, m.weights_sha256, m.last_session"
        " FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " LEFT JOIN stockbatch.models AS m ON m.id = model_id"
        " WHERE origin_session = :day ORDER BY ticker, method, f.fingerprint",
        day=day,
    )
    outcomes = fetch(
        app.engine,
        "SELECT instrument_id, try_number, is_final, action, reason, message"
        " FROM stockbatch.outcomes WHERE session = :day ORDER BY instrument_id, try_number",
        day=day,
    )
    told = fetch(
        app.engine,
        "SELECT kind, subject, level_pct, method, simulations, value_at_risk_pct,"
        " expected_shortfall_pct FROM bi.risk WHERE origin_session = :day"
        " ORDER BY kind, subject, level_pct",
        day=day,
    )
    assert told
    aside = {"id", "model_id", "run_id", "recorded_at"}
    made = [{k: v for k, v in row.items() if k not in aside} for row in forecasts]
    return made, outcomes, told


def test_replaying_a_finished_session_after_later_ones_adds_no_row(make_app, market):
    app = make_app(market)
    days = (session(-1), ORIGIN, session(1), LATER)
    for day in days:
        run(app, day)
    before = dump(app.engine)
    for day in days:
        assert run(app, day).done_before
    assert dump(app.engine) == before


def test_retraining_a_session_of_the_past_changes_nothing_that_came_later(make_app, market):
    app = make_app(market)
    for day in (ORIGIN, session(2), LATER):
        run(app, day)
    later = made_at(app, LATER), made_at(app, session(2))
    models = fetch(app.engine, "SELECT count(*) AS n FROM stockbatch.models")
    run(app, ORIGIN, retrain=True)
    assert fetch(app.engine, "SELECT count(*) AS n FROM stockbatch.models") == models
    forecasts, outcomes, _ = made_at(app)
    assert {row["is_final"]: row["reason"] for row in outcomes} == {
        False: "no_model",
        True: "forced",
    }
    assert len(forecasts) == len(made_at(app, LATER)[0])
    assert (made_at(app, LATER), made_at(app, session(2))) == later


def test_a_skipped_session_run_after_later_ones_is_what_it_would_have_been(
    make_app, market, tensorflow
):
    """With a real network: first in its turn, then after 20 more sessions."""
    in_turn, belated, later = (make_app(market, trainer=tensorflow) for _ in "abc")
    run(in_turn, session(-3))
    run(in_turn, ORIGIN)
    run(belated, session(-3))
    run(belated, LATER)
    run(belated, ORIGIN)
    assert made_at(belated) == made_at(in_turn)
    run(later, session(-3))
    run(later, LATER)
    assert made_at(belated, LATER) == made_at(later, LATER)


def disturb(market, rng):
    """Change what comes after ORIGIN, at random."""
    for ticker in TICKERS:
        for day in calendar().between(session(1), session(AFTER)).tolist():
            chance = rng.random()
            if chance < 0.1:
                market.drop(ticker, day)
            elif chance < 0.2:
                market.split(ticker, float(rng.choice([0.1, 0.5, 2, 4])), day)
            elif chance < 0.3:
                market.dividend(ticker, 0.5, day)
            elif chance < 0.6:
                market.multiply(ticker, float(np.exp(rng.normal(0, 0.2))), day)
            elif chance < 0.65:
                market.bars[ticker][day]["high"] = 0.001


@pytest.fixture(scope="module")
def untouched(make_lasting_app, tmp_path_factory):
    """What is forecast at ORIGIN from the market as it is."""
    app = make_lasting_app(Market(tmp_path_factory.mktemp("market") / "market.csv"))
    run(app)
    return made_at(app)


@pytest.mark.parametrize("seed", range(5))
def test_no_change_after_the_origin_changes_a_forecast(make_app, tmp_path, untouched, seed):
    other = Market(tmp_path / "disturbed.csv")
    disturb(other, np.random.default_rng(seed))
    app = make_app(other)
    if seed % 2:
        run(app, session(5 * seed), tickers=TICKERS[:2])
    run(app)
    assert made_at(app) == untouched


def test_a_change_before_the_origin_does_change_its_forecasts(make_app, market):
    app = make_app(market)
    run(app)
    rng = np.random.default_rng(0)
    for _ in range(3):
        back = int(rng.integers(0, BEFORE - 20))
        other = Market(market.file, TICKERS)
        other.multiply("AAA", 1.02, session(-back) if back else ORIGIN)
        changed = make_app(other)
        run(changed)
        same = {
            (row["ticker"], row["method"]) for row in made_at(changed)[0] if row in made_at(app)[0]
        }
        # The base model learned from AAA, and every ticker's own starts from it.
        assert "lstm" not in {method for _, method in same}
        assert {("BBB", "rolling_quantile"), ("CCC", "rolling_quantile")} <= same


def test_files_that_end_at_the_session_and_files_that_go_on_are_the_same(make_app, market):
    app = make_app(market)
    for day in (session(0), session(1)):
        run(app, day)
    growing = Market(market.file, TICKERS)
    whole = {ticker: dict(bars) for ticker, bars in growing.bars.items()}
    other = make_app(growing)
    for day in (session(0), session(1)):
        for ticker in TICKERS:
            growing.bars[ticker] = {d: bar for d, bar in whole[ticker].items() if d <= day}
        growing.write()
        run(other, day)
    assert_same(facts(other.engine), facts(app.engine))
    last = fetch(app.engine, "SELECT max(session) AS last FROM stockbatch.bars")
    assert last == [{"last": date(2024, 6, 4)}]
