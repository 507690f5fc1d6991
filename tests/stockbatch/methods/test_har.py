import numpy as np
import pytest
from scipy.stats import norm

from stockbatch.config import ModelSettings
from stockbatch.engine.scale import ALL, OF_BARS, OF_NEWS
from stockbatch.methods import har
from stockbatch.methods.base import PAST, Given
from stockbatch.methods.har import COEFFICIENTS, DEVIATION, LEARNED, MEAN, SHAPE, Har, HarEvents
from stockbatch.records import HAR_EVENTS, QUANTILES, MoveReason
from tests.stockbatch.engine.test_features import make_panel
from tests.stockbatch.engine.test_scale import news_of, prepared, reports_on

SETTINGS = ModelSettings(history_sessions=1000)
SESSIONS = 900
REPORTS = [*range(40, SESSIONS, 20)]


@pytest.fixture(scope="module")
def market():
    """Two random walks; the first moves four times as much where it reports."""
    panel = make_panel(SESSIONS)
    path = np.ones(SESSIONS)
    random = np.random.default_rng(3)
    path[REPORTS] = np.exp(random.normal(0, 0.08, len(REPORTS)))
    factor = np.cumprod(path)
    for name in ("open", "high", "low", "close"):
        getattr(panel, name)[0] *= factor
    return prepared(panel, reports_on(REPORTS, SESSIONS, lingering=False))


def given(one, parameters, origins=1, past=None):
    rows = range(len(one.instruments))
    return Given(
        material=one,
        settings=SETTINGS,
        origins=origins,
        parameters=dict.fromkeys(rows, parameters),
        past={} if past is None else {HAR_EVENTS: past},
    )


def nothing(tickers=2):
    return np.full((tickers, PAST, len(QUANTILES)), np.nan)


def test_the_gradient_is_that_of_the_loss():
    random = np.random.default_rng(1)
    inputs = random.normal(size=(300, 4)).astype(np.float32)
    targets = random.normal(size=300).astype(np.float32)
    at = np.concatenate([random.normal(0, 0.2, 4), norm.ppf(QUANTILES)])

    def smooth(point):
        return har._loss(point, inputs.astype(float), targets.astype(float), 0.01)

    _, gradient = smooth(at)
    for place in range(4):  # differences over the kinks of a hundred samples, in the mean
        step = np.zeros(len(at))
        step[place] = 0.02
        slope = (smooth(at + step)[0] - smooth(at - step)[0]) / 0.04
        assert gradient[place] == pytest.approx(slope, abs=5e-3)


def test_a_fit_finds_the_scale_that_made_the_sample():
    random = np.random.default_rng(2)
    inputs = random.normal(1, 2, size=(40_000, 3)).astype(np.float32)
    scale = np.exp(inputs @ [0.2, -0.1, 0.0])
    targets = (scale * random.normal(size=len(scale))).astype(np.float32)
    inputs[::7, 2] = np.nan  # unknown here and there
    found = har.fit(inputs, targets)
    slopes = found[COEFFICIENTS] / found[DEVIATION]
    np.testing.assert_allclose(slopes, [0.2, -0.1, 0.0], atol=0.01)
    usual = np.exp(found[MEAN] @ [0.2, -0.1, 0.0])
    np.testing.assert_allclose(found[SHAPE] / usual, norm.ppf(QUANTILES), atol=0.05)


def test_inputs_that_nobody_knows_do_no_harm():
    random = np.random.default_rng(2)
    inputs = np.full((2_000, 2), np.nan, np.float32)
    inputs[:, 0] = random.normal(size=2_000)
    found = har.fit(inputs, random.normal(size=2_000).astype(np.float32))
    assert all(np.isfinite(array).all() for array in found.values())
    assert found[COEFFICIENTS][1] == 0


def test_too_few_returns_are_no_fit():
    short = prepared(make_panel(400))
    assert Har().fit_calendar([short], SETTINGS) is None
    stated = Har().forecast(Given(material=short, settings=SETTINGS, origins=3))
    assert stated.quantiles.shape == (2, 3, 11)
    assert np.isnan(stated.quantiles).all()


def test_a_report_known_ahead_widens_and_nothing_else_does(market):
    parameters = HarEvents().fit_calendar([market], SETTINGS)
    assert len(parameters[COEFFICIENTS]) > len(OF_BARS)
    scale, events, _ = har.scales(parameters, market, 100, events=True)
    due = market.reports.due[:, -100:]
    assert (events[~due] == 1).all()
    assert np.median(events[due]) > 1.8
    assert np.nanmedian(scale[due]) > 1.8 * np.nanmedian(scale[0][~due[0]])


def test_reports_are_forecast_better_than_without(market):
    plain, knowing = (
        Har().fit_calendar([market], SETTINGS),
        HarEvents().fit_calendar([market], SETTINGS),
    )
    returns = market.features.returns[:, 1:]
    due = market.reports.due[:, :-1]
    inside = {}
    for name, method, fitted in (("plain", Har(), plain), ("knowing", HarEvents(), knowing)):
        scale, _, _ = har.scales(fitted, market, SESSIONS, events=method.knows_events)
        edge = np.abs(returns) / (scale[:, :-1] * fitted[SHAPE][7])
        inside[name] = np.mean(edge[due & np.isfinite(edge)] < 1)
    assert inside["plain"] < 0.6
    assert inside["knowing"] > 0.7


def test_the_comparison_sessions_stand_in_for_the_past(market):
    parameters = HarEvents().fit_calendar([market], SETTINGS)
    last = market.panel.sessions[-1 - SETTINGS.comparison_sessions]
    assert parameters[LEARNED][0] == last.astype(int)
    stated = HarEvents().forecast(given(market, parameters, past=nothing()))
    told = np.isfinite(stated.before).all(axis=-1)
    assert told[:, -SETTINGS.comparison_sessions + 1 :].sum() > 100
    assert not told[:, : -SETTINGS.comparison_sessions].any()
    # What was forecast in earnest stays.
    earnest = nothing()
    earnest[0, -2] = np.arange(11)
    stated = HarEvents().forecast(given(market, parameters, past=earnest))
    np.testing.assert_array_equal(stated.before[0, -2], np.arange(11))


def test_many_origins_are_like_one_after_the_other(market):
    parameters = HarEvents().fit_calendar([market], SETTINGS)
    together = HarEvents().forecast(given(market, parameters, origins=4, past=nothing()))
    alone = HarEvents().forecast(given(market, parameters, past=nothing()))
    np.testing.assert_array_equal(together.quantiles[:, -1], alone.quantiles[:, 0])
    np.testing.assert_array_equal(together.event_scale[:, -PAST - 1 :], alone.event_scale)
    assert together.reasons.keys() == alone.reasons.keys()
    for reason, terms in alone.reasons.items():
        np.testing.assert_array_equal(together.reasons[reason][:, -1:], terms)


# ---- with news


WITH_NEWS = SETTINGS.model_copy(update={"news": True})


@pytest.fixture(scope="module")
def announced():
    """Two random walks; the second moves three times as much after a session with much news."""
    panel, news = make_panel(SESSIONS), news_of(5, SESSIONS)
    random = np.random.default_rng(3)
    busy = np.flatnonzero(random.random(SESSIONS - 2) < 0.1)
    news.items[1, busy] += 8
    path = np.ones(SESSIONS)
    path[busy + 1] = np.exp(random.normal(0, 0.06, len(busy)))
    for name in ("open", "high", "low", "close"):
        getattr(panel, name)[1] *= np.cumprod(path)
    return prepared(panel, None, news), busy


def test_much_news_widens_where_it_is_asked_for(announced):
    material, busy = announced
    parameters = HarEvents().fit_calendar([material], WITH_NEWS)
    assert len(parameters[COEFFICIENTS]) == len(ALL)
    stated = HarEvents().forecast(given(material, parameters, origins=200, past=nothing()))
    later = np.zeros(SESSIONS, bool)
    later[busy] = True
    scale, usual = stated.event_scale[1, -200:], ~later[-200:]
    assert np.median(scale[~usual]) > 1.4 * np.median(scale[usual])
    assert (stated.event_scale[0] == 1).all()  # there is no news of the first
    assert np.median(stated.reasons[MoveReason.NEWS][1][~usual]) > 0.3
    # At its mean: neither wider nor narrower.
    assert (stated.reasons[MoveReason.NEWS][0] == 0).all()


def test_without_any_news_all_is_as_without_asking(market):
    asked, plain = (HarEvents().fit_calendar([market], s) for s in (WITH_NEWS, SETTINGS))
    assert (asked[COEFFICIENTS][-len(OF_NEWS) :] == 0).all()
    for name in (COEFFICIENTS, MEAN, DEVIATION):
        np.testing.assert_array_equal(asked[name][: len(ALL) - len(OF_NEWS)], plain[name])
    first, second = (
        HarEvents().forecast(given(market, fitted, origins=5)).quantiles
        for fitted in (asked, plain)
    )
    np.testing.assert_array_equal(first, second)


def test_a_fit_of_before_goes_on_without_news(announced):
    material, _ = announced
    plain = HarEvents().fit_calendar([material], SETTINGS)
    assert len(plain[COEFFICIENTS]) == len(ALL) - len(OF_NEWS)
    stated = HarEvents().forecast(given(material, plain, origins=5))
    assert MoveReason.NEWS not in stated.reasons
    assert np.isfinite(stated.quantiles).all()


def test_bars_alone_know_no_news(announced):
    material, _ = announced
    assert len(Har().fit_calendar([material], WITH_NEWS)[COEFFICIENTS]) == len(OF_BARS)
