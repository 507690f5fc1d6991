"""A share of a tick or two is forecast and scored as any other, with what it really does."""

import numpy as np
import pytest

from stockbatch.records import Action
from tests.support.market import AFTER, BEFORE, calendar, fetch, outcomes, run, session

LOW, HIGH = 0.0001, 0.0002


@pytest.fixture
def penny(market):
    """BBB trades at a hundredth of a cent, or at two, and nowhere between."""
    random = np.random.default_rng(12)
    days = calendar().window(session(AFTER), BEFORE + 1 + AFTER).tolist()
    for day, close in zip(days, random.choice([LOW, HIGH], len(days)).tolist(), strict=True):
        opened = float(random.choice([LOW, HIGH]))
        prices = (opened, max(opened, close), min(opened, close), close)
        market.bars["BBB"][day] |= dict(zip(("open", "high", "low", "close"), prices, strict=True))
    market.write()
    return market


def test_a_share_of_one_tick_is_scored_and_its_intervals_hold_what_it_does(app, penny):
    for offset in range(4):
        run(app, session(offset))
    assert outcomes(app.engine)["BBB"][0] is Action.TRAINED
    found = fetch(
        app.engine,
        "SELECT d.session FROM stockbatch.data_issues AS d JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = 'BBB' AND check_name LIKE 'jump%'"
        " AND d.session > :early",
        early=session(20 - BEFORE),
    )
    assert found == [], "after twenty bars the grid of its prices is known"
    rows = fetch(
        app.engine,
        "SELECT f.method, s.status, f.origin_close, f.q025, f.q975 FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id WHERE ticker = 'BBB'",
    )
    assert {row["status"] for row in rows} == {"scored"}
    assert {"lstm", "rolling_quantile", "ewma"} <= {row["method"] for row in rows}
    for row in rows:
        if row["method"] in ("lstm", "rolling_quantile", "ewma"):
            reached = row["q975"] if row["origin_close"] < HIGH else -row["q025"]
            assert reached >= 0.999 * np.log(2), row
