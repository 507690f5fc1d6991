"""Every kind of network has models of its own: base, champions, age and promotions."""

import pytest

from jobs.models import promote
from jobs.replay.backtest import backtest
from stockbatch.engine.network import NETWORKS
from stockbatch.exceptions import NothingToRollBack, UnsuitableModel
from stockbatch.records import COMBINED, HAR_EVENTS, Action, ModelKind, Reason
from stockbatch.store import bi, models
from tests.support.market import (
    CODE,
    ORIGIN,
    RETRAIN_AFTER,
    TICKERS,
    Market,
    fetch,
    in_chunks,
    outcomes,
    run,
    session,
)

BEFORE = 320
"""Sessions of bars, enough for GARCH."""
FOLLOWING = range(4, RETRAIN_AFTER + 2)
OTHERS = [name for name in NETWORKS if name != "lstm"]
TRAINED = Action.TRAINED, Reason.NO_MODEL
REUSED = Action.REUSED, Reason.FRESH
MODELS = "SELECT * FROM stockbatch.models WHERE method <> :network ORDER BY id"
PROMOTIONS = """
    SELECT p.instrument_id, m.method, m.kind, m.last_session, m.fingerprint, m.weights_sha256,
        p.from_session, p.reason
    FROM stockbatch.promotions AS p JOIN stockbatch.models AS m ON m.id = p.model_id
    WHERE m.method <> :network ORDER BY p.id"""
FORECASTS = """
    SELECT f.*, i.ticker, m.method AS network
    FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = instrument_id
    LEFT JOIN stockbatch.models AS m ON m.id = f.model_id
    WHERE f.origin_session = :day AND f.kind = :kind"""


def long(make, folder, patch):
    """Return an App with bars enough for every method."""
    patch.setattr("tests.support.market.BEFORE", BEFORE)
    patch.setattr("stockbatch.methods.har.FEWEST_SAMPLES", 100)
    market = Market(folder / "long.csv", ())
    for ticker in TICKERS:
        market.list(ticker, BEFORE)
    app = in_chunks(make(market))
    model = app.settings.model.model_copy(update={"history_sessions": 300})
    app.settings = app.settings.model_copy(update={"model": model})
    return app


@pytest.fixture
def long_app(make_app, tmp_path, monkeypatch):
    return long(make_app, tmp_path, monkeypatch)


@pytest.fixture(scope="module")
def production(make_lasting_app, tmp_path_factory):
    """An App after four sessions, for tests to copy, and one after the FOLLOWING as well."""
    with pytest.MonkeyPatch.context() as patch:
        before = long(make_lasting_app, tmp_path_factory.mktemp("long"), patch)
        for offset in range(4):
            run(before, session(offset))
        after = make_lasting_app(None, like=before)
        for offset in FOLLOWING:
            run(after, session(offset))
    return before, after


def with_network(app, network):
    """Let an App work with a kind of network."""
    model = app.settings.model.model_copy(update={"network": network})
    app.settings = app.settings.model_copy(update={"model": model})
    return app


def forecasts(app, day, kind="late"):
    found = fetch(app.engine, FORECASTS, day=day, kind=kind)
    return {(row["ticker"], row["method"]): row for row in found}


def in_use(app, network):
    with app.transaction() as db:
        return {row.ticker: (row.id, row.kind) for row in models.summaries(db, network)}


@pytest.mark.parametrize("network", OTHERS)
def test_a_run_with_another_network_forecasts_by_its_method_and_combines_it(long_app, network):
    app = with_network(long_app, network)
    run(app)
    assert outcomes(app.engine) == dict.fromkeys(TICKERS, TRAINED)
    made = forecasts(app, ORIGIN)
    assert {method for _, method in made} & set(NETWORKS) == {network}
    for ticker in TICKERS:
        for method in (network, COMBINED):
            assert made[ticker, method]["network"] == network
        assert made[ticker, COMBINED]["q90"] != made[ticker, HAR_EVENTS]["q90"]
    of_network = fetch(app.engine, "SELECT DISTINCT method FROM stockbatch.models")
    assert {row["method"] for row in of_network} & set(NETWORKS) == {network}


@pytest.mark.parametrize("first", [-3, 0])
@pytest.mark.parametrize("network", OTHERS)
def test_a_backtest_of_another_network_leaves_production_as_it_was(
    production, make_app, monkeypatch, network, first
):
    """It trains for sessions after the base of production, too, and ends at its last one."""
    monkeypatch.setattr("stockbatch.methods.har.FEWEST_SAMPLES", 100)
    before, app = production
    disturbed = make_app(None, like=before)
    left = [
        fetch(before.engine, MODELS, network=network),
        fetch(before.engine, PROMOTIONS, network=""),
    ]
    list(backtest(with_network(disturbed, network), CODE, session(first), session(3)))
    made = forecasts(disturbed, session(3), "backtest")
    assert {method for _, method in made} & set(NETWORKS) == {network}
    assert len(in_use(disturbed, network)) == len(TICKERS)
    with_network(disturbed, "lstm")
    assert in_use(disturbed, "lstm") == in_use(before, "lstm")
    for offset in FOLLOWING:
        run(disturbed, session(offset))
        assert outcomes(disturbed.engine, session(offset)) == outcomes(app.engine, session(offset))
        found, expected = (forecasts(one, session(offset)) for one in (disturbed, app))
        assert found.keys() == expected.keys()
        assert {HAR_EVENTS, COMBINED, "garch"} < {method for _, method in expected}
        for key, row in expected.items():
            # Combined weighs HAR by all that is recorded of it, before the first run by backtests.
            if first == 0 or key[1] != COMBINED:
                assert found[key]["fingerprint"] == row["fingerprint"], key
    found = fetch(disturbed.engine, PROMOTIONS, network=network)
    assert found[: len(left[1])] == left[1]
    assert found == fetch(app.engine, PROMOTIONS, network="")
    assert fetch(disturbed.engine, MODELS, network=network)[: len(left[0])] == left[0]


def test_backtests_of_several_networks_stand_side_by_side(app):
    for network in NETWORKS:
        done = list(backtest(with_network(app, network), CODE, session(-3), session(-1)))
        assert done[0].added > 0
        again = list(backtest(app, CODE, session(-3), session(-1)))
        assert [block.added for block in again] == [0]
    with app.transaction() as db:
        board = {row["method"]: row for row in bi.accuracy.leaderboard(db).rows()}
    assert board.keys() > set(NETWORKS)
    for network in OTHERS:
        assert board[network]["n"] == board["lstm"]["n"] > 0
        assert board[network]["skill_vs_lstm_pct"] is not None


def test_a_network_that_is_set_again_goes_on_with_its_own_models(app):
    (other, *_) = OTHERS
    run(app, session(0))
    first = in_use(app, "lstm")
    run(with_network(app, other), session(1))
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, TRAINED)
    second = in_use(app, other)
    assert not set(first.values()) & set(second.values())
    for day, network, used in ((2, "lstm", first), (3, other, second)):
        run(with_network(app, network), session(day))
        assert set(outcomes(app.engine, session(day)).values()) == {REUSED}
        assert in_use(app, network) == used
        made = forecasts(app, session(day))
        assert {made[ticker, network]["model_id"] for ticker in TICKERS} <= {
            number for number, _ in used.values()
        }
    ages = fetch(app.engine, "SELECT method, count(*) AS n FROM stockbatch.models GROUP BY method")
    counts = {row["method"]: row["n"] for row in ages}
    assert counts["lstm"] == counts[other] == len(TICKERS) + 1


def test_models_are_chosen_among_those_of_the_network_in_use(app):
    (other, *_) = OTHERS
    run(app, session(0))
    run(with_network(app, other), session(1))
    (old, kind), (new, _) = in_use(app, "lstm")["AAA"], in_use(app, other)["AAA"]
    with pytest.raises(UnsuitableModel, match=f"it is of lstm, and {other} is in use"):
        promote.promote(app, "AAA", old)
    with pytest.raises(NothingToRollBack):
        promote.roll_back(app, "AAA")
    with_network(app, "lstm")
    with pytest.raises(UnsuitableModel, match=f"it is of {other}, and lstm is in use"):
        promote.promote(app, "AAA", new)
    if kind == ModelKind.TICKER:
        promote.promote(app, "AAA", old)
    assert in_use(app, "lstm")["AAA"][0] == old
