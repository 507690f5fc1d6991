import numpy as np
import pytest
from scipy.stats import norm

from stockbatch import metrics
from stockbatch.config import ModelSettings
from stockbatch.methods import combined
from stockbatch.methods.base import PAST, Given, Stated
from stockbatch.methods.combined import Combined, average, weights
from stockbatch.records import HAR_EVENTS, LSTM, QUANTILES
from tests.stockbatch.engine.test_features import make_panel
from tests.stockbatch.engine.test_scale import prepared

SHAPE = norm.ppf(QUANTILES)


def quantiles(scale, tickers=2, sessions=300):
    return np.broadcast_to(scale * SHAPE, (tickers, sessions, 11)).copy()


def slow_weights(first, second, actual):
    lead = level = count = 0.0
    answer = []
    for a, b, came in zip(first, second, actual, strict=True):
        usual = level / count if level > 0 else np.inf
        answer.append(1 / (1 + np.exp(-combined.LEARNING * lead / usual)))
        losses = [metrics.pinball_losses(one, np.array(came)) for one in (a, b)]
        if np.isfinite(losses).all():
            kept = 1 - combined.FORGETTING
            lead = kept * lead + losses[1] - losses[0]
            level, count = kept * level + sum(losses) / 2, kept * count + 1
    return answer


def test_weights_follow_the_losses_before():
    random = np.random.default_rng(1)
    actual = random.normal(0, 0.02, (2, 300))
    actual[1, 50:80] = np.nan
    first, second = quantiles(0.02), quantiles(0.03)
    second[0, :100] = np.nan
    got = weights(np.stack([first, second]), actual)
    for row in range(2):
        np.testing.assert_allclose(got[row], slow_weights(first[row], second[row], actual[row]))
    assert (got[0, :101] == 0.5).all()
    assert (got[:, -1] > 0.8).all()


def test_a_member_that_is_much_worse_loses_its_say():
    random = np.random.default_rng(2)
    actual = random.normal(0, 0.02, (50, 313))
    good, bad = quantiles(0.02, 50, 313), quantiles(0.006, 50, 313)
    for members, sign in (((good, bad), 1), ((bad, good), -1)):
        weight = weights(np.stack(members), actual)[:, 63:]
        mine = average(np.stack(members)[:, :, 63:], weight)
        loss, best = (
            metrics.pinball_losses(q, actual[:, 63:]).mean() for q in (mine, good[:, 63:])
        )
        assert loss < 1.005 * best
        assert np.median(weight[:, -1]) > 0.99 if sign > 0 else np.median(weight[:, -1]) < 0.01


def test_an_average_is_made_level_by_level():
    members = np.stack([quantiles(1.0, 1, 3), quantiles(2.0, 1, 3)])
    members[0, 0, 1] = np.nan
    members[1, 0, 2] = np.nan
    mean = average(members, np.full((1, 3), 0.25))
    np.testing.assert_allclose(mean[0, 0], 1.75 * SHAPE)
    np.testing.assert_allclose(mean[0, 1], 2.0 * SHAPE)
    np.testing.assert_allclose(mean[0, 2], 1.0 * SHAPE)


@pytest.fixture(scope="module")
def one():
    return prepared(make_panel(400))


def others(one, scale=0.02, event_scale=None):
    quantiles_ = quantiles(scale, 2, PAST + 1)
    return Stated(
        log_return=np.zeros((2, 1)),
        quantiles=quantiles_[:, PAST:],
        before=quantiles_[:, :PAST],
        event_scale=event_scale,
    )


def test_reports_widen_the_network_too(one):
    event_scale = np.ones((2, PAST + 1))
    event_scale[0, -1] = 3.0
    plain, knowing = (
        Combined().forecast(
            Given(
                material=one,
                settings=ModelSettings(),
                others={LSTM: others(one), HAR_EVENTS: others(one, event_scale=factor)},
            )
        )
        for factor in (None, event_scale)
    )
    # Of equal members each has half of the say: one with three times the width doubles it.
    lowest = knowing.quantiles[:, 0, 0] / plain.quantiles[:, 0, 0]
    np.testing.assert_allclose(lowest, [2, 1])


def test_one_member_alone_is_the_forecast(one):
    nothing = Stated.of(np.full((2, 1, 11), np.nan))
    for members in ((others(one), nothing), (nothing, others(one))):
        stated = Combined().forecast(
            Given(
                material=one,
                settings=ModelSettings(),
                others=dict(zip((LSTM, HAR_EVENTS), members, strict=True)),
            )
        )
        np.testing.assert_allclose(stated.quantiles[:, 0], quantiles(0.02, 2, 1)[:, 0])
        np.testing.assert_allclose(stated.before, quantiles(0.02, 2, PAST))
