import numpy as np
import pytest

from stockbatch.engine.learning.comparison import compare, judge
from stockbatch.records import Comparison, Verdict


def test_a_comparison_is_paired_by_session():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 2, 60)
    gain = rng.normal(0.01, 0.02, 60)
    loss = base - gain
    loss[5] = base[7] = np.nan
    found = compare(loss, base, 0.3)
    known = np.delete(gain, [5, 7])
    assert found.gain == pytest.approx(known.mean())
    assert found.gain_error == pytest.approx(known.std(ddof=1) / np.sqrt(58))
    assert found.champion_loss == 0.3
    assert compare(np.full(60, np.nan), base, None) is None


@pytest.mark.parametrize(
    ("loss", "champion", "error", "verdict"),
    [
        (0.90, None, 0.05, Verdict.PROMOTED),
        (0.96, None, 0.05, Verdict.BASE_KEPT),
        (1.20, None, 0.05, Verdict.BASE_KEPT),
        (0.90, 0.95, 0.05, Verdict.PROMOTED),
        (0.90, 0.85, 0.05, Verdict.CHAMPION_KEPT),
        (0.99, 0.97, 0.05, Verdict.CHAMPION_KEPT),
        (0.99, 1.10, 0.05, Verdict.BASE_KEPT),
        (1.00, None, 0.00, Verdict.BASE_KEPT),
    ],
)
def test_a_ticker_leaves_its_base_only_for_something_better(loss, champion, error, verdict):
    found = Comparison(loss=loss, base_loss=1.0, champion_loss=champion, gain_error=error)
    assert judge(found) is verdict


def test_without_a_comparison_the_base_is_kept():
    assert judge(None) is Verdict.BASE_KEPT
