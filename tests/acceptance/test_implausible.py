"""One ticker's absurd forecast stops nobody, at the first try, and is told."""

import numpy as np
import pytest

from stockbatch.methods import registry
from stockbatch.methods.base import Given, Method, Stated
from stockbatch.records import Check
from tests.support.market import fetch, run

WILD = {"AAA": -3696.0, "BBB": np.inf, "CCC": 0.01}
"""What the method says of each ticker's next log return."""


class Wild(Method):
    """States what no ticker could do."""

    name = "wild"
    title = "Wild"
    sentence = "Anything."

    def forecast(self, given: Given) -> Stated:
        returns = [WILD[instrument.ticker] for instrument in given.material.instruments]
        return Stated(log_return=np.tile(np.array(returns)[:, None], given.origins))


@pytest.fixture
def wild(monkeypatch):
    monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, Wild))
    registry.methods.cache_clear()
    yield
    registry.methods.cache_clear()


def test_an_absurd_forecast_is_left_out_with_a_reason_and_the_run_finishes_at_once(app, wild):
    run(app)
    (made,) = fetch(app.engine, "SELECT status, tries FROM stockbatch.runs")
    assert made == {"status": "finished", "tries": 1}
    by_method = fetch(
        app.engine,
        "SELECT method, count(*) AS n FROM stockbatch.forecasts GROUP BY method ORDER BY method",
    )
    counts = {row["method"]: row["n"] for row in by_method}
    assert counts["wild"] == 1
    assert counts["lstm"] == counts["naive"] == counts["rolling_quantile"] == 3
    found = fetch(
        app.engine,
        "SELECT ticker, message, observed FROM stockbatch.data_issues"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " WHERE check_name = :check ORDER BY ticker",
        check=Check.IMPLAUSIBLE_FORECAST,
    )
    assert [(row["ticker"], row["observed"]) for row in found] == [("AAA", 3696.0), ("BBB", None)]
    assert "left out: wild, with a log return of 3.7e+03" in found[0]["message"]
