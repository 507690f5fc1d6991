"""What makes a move larger or smaller than usual: every term by hand, and all of them together."""

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import norm

from stockbatch.config import ModelSettings
from stockbatch.engine.scale import OF_BARS, OF_EVENTS, scale_inputs
from stockbatch.market.sessions import as_date
from stockbatch.methods import forecasts
from stockbatch.methods.base import PAST, Given, Stated
from stockbatch.methods.combined import Combined
from stockbatch.methods.har import COEFFICIENTS, DEVIATION, MEAN, HarEvents
from stockbatch.methods.rolling_quantile import RollingQuantile
from stockbatch.records import (
    COMBINED,
    HAR_EVENTS,
    LSTM,
    POINT_BASELINE,
    QUANTILE_BASELINE,
    QUANTILES,
    MoveReason,
)
from tests.stockbatch.engine.test_features import make_panel
from tests.stockbatch.engine.test_scale import prepared, reports_on

SESSIONS = 900
SETTINGS = ModelSettings(history_sessions=1000)
BEGINNINGS = {
    MoveReason.OWN_MOVES: ("own_",),
    MoveReason.LEVEL: ("level",),
    MoveReason.MARKET_MOVES: tuple(f"market_{sessions}" for sessions in (1, 5, 22, 66)),
    MoveReason.DIRECTION: ("fall", "rise", "return_", "market_fall", "market_r"),
    MoveReason.TURNOVER: ("turnover_",),
    MoveReason.REPORTS: ("report",),
}
"""How the names of the inputs of each group begin."""


def network(scale):
    """Return what an LSTM might state of two tickers, for its past and one origin."""
    stated = np.broadcast_to(scale * norm.ppf(QUANTILES), (2, PAST + 1, 11)).copy()
    return replace(Stated.of(stated[:, PAST:]), before=stated[:, :PAST])


def move(quantiles):
    return (np.exp(quantiles[7]) - np.exp(quantiles[3])) / 2


@pytest.fixture(scope="module")
def world():
    """Two tickers of which the first reports tomorrow, and what the methods state of them."""
    reports = reports_on([*range(40, SESSIONS - 1, 60), SESSIONS - 1], SESSIONS, lingering=True)
    reports.due[0, -1] = True
    material = prepared(make_panel(SESSIONS), reports)
    parameters = HarEvents().fit_calendar([material], SETTINGS)
    nothing = np.full((2, PAST, 11), np.nan)
    given = Given(
        material=material,
        settings=SETTINGS,
        parameters=dict.fromkeys(range(2), parameters),
        past={HAR_EVENTS: nothing},
    )
    raw = {LSTM: network(0.015), HAR_EVENTS: HarEvents().forecast(given)}
    raw |= {COMBINED: Combined().forecast(replace(given, others=raw))}
    raw |= {QUANTILE_BASELINE: RollingQuantile().forecast(given)}
    raw |= {POINT_BASELINE: Stated(log_return=np.zeros((2, 1)))}
    stated = forecasts.calibrated(raw, material, {})
    return SimpleNamespace(material=material, parameters=parameters, raw=raw, stated=stated)


def made(world, *, without=()):
    """Return the forecasts by method and ticker."""
    origin = as_date(world.material.panel.sessions[-1])
    targets = {origin: (date(2100, 1, 1), datetime(2100, 1, 1, tzinfo=UTC))}
    stated = {name: of_one for name, of_one in world.stated.items() if name not in without}
    found = forecasts.forecasts(world.material, stated, targets)
    return {(one.method, one.instrument_id): one for one in found}


@pytest.mark.parametrize("ticker", [0, 1])
@pytest.mark.parametrize("method", [COMBINED, HAR_EVENTS])
def test_every_term_is_what_it_is_by_hand(world, method, ticker):
    one = made(world)[method, ticker]
    known = scale_inputs(world.material, 1, events=True).inputs[ticker, -1].astype(float)
    fitted = {name: array.astype(float) for name, array in world.parameters.items()}
    by_hand = dict.fromkeys(BEGINNINGS, 0.0)
    for place, name in enumerate(OF_BARS + OF_EVENTS):
        (group,) = (
            reason for reason, beginnings in BEGINNINGS.items() if name.startswith(beginnings)
        )
        standard = (known[place] - fitted[MEAN][place]) / fitted[DEVIATION][place]
        if np.isfinite(standard):
            by_hand[group] += fitted[COEFFICIENTS][place] * standard
    har = move(world.raw[HAR_EVENTS].quantiles[ticker, 0])
    usual = move(world.raw[QUANTILE_BASELINE].quantiles[ticker, 0])
    if method == COMBINED:
        both, final = (move(s[COMBINED].quantiles[ticker, 0]) for s in (world.raw, world.stated))
        by_hand |= {
            MoveReason.LSTM: np.log(both / har),
            MoveReason.CALIBRATION: np.log(final / both),
        }
        assert abs(by_hand[MoveReason.LSTM]) > 0.01
    else:
        final = har
    by_hand[MoveReason.LAST_YEAR] = np.log(final / usual) - sum(by_hand.values())
    assert one.reasons == {name: pytest.approx(term, abs=1e-5) for name, term in by_hand.items()}
    # All of them multiply to the ratio of the forecast's move to the usual one, exactly.
    factors = np.exp(list(one.reasons.values()))
    assert one.usual_move == pytest.approx(usual, rel=1e-12)
    assert np.prod(factors) == pytest.approx(move(one.quantiles) / one.usual_move, rel=1e-9)


def test_a_report_due_is_a_reason_where_it_is_due(world):
    reporting, other = (made(world)[COMBINED, ticker].reasons for ticker in (0, 1))
    assert reporting[MoveReason.REPORTS] != 0
    assert reporting[MoveReason.REPORTS] != other[MoveReason.REPORTS]


def test_methods_that_state_none_have_none(world):
    found = made(world)
    for method in (LSTM, QUANTILE_BASELINE, POINT_BASELINE):
        assert found[method, 0].reasons is None
    naive = found[POINT_BASELINE, 0]
    assert (naive.probability_of_fall, naive.usual_move) == (None, None)
    usual = found[QUANTILE_BASELINE, 1]
    assert move(usual.quantiles) == pytest.approx(usual.usual_move, rel=1e-12)


def test_where_nothing_is_usual_nothing_is_explained(world):
    one = made(world, without=[QUANTILE_BASELINE])[COMBINED, 0]
    assert (one.reasons, one.usual_move) == (None, None)
    assert one.probability_of_rise + one.probability_of_fall == pytest.approx(1)
    assert one.probability_of_move_5 < one.probability_of_move_2
    # A share that stood still for a year has a usual move of 0, and no ratio to it.
    still = replace(
        world.stated[QUANTILE_BASELINE], quantiles=np.zeros((2, 1, 11)), log_return=np.zeros((2, 1))
    )
    one = made(
        SimpleNamespace(material=world.material, stated={**world.stated, QUANTILE_BASELINE: still})
    )[COMBINED, 0]
    assert (one.reasons, one.usual_move) == (None, 0)
