"""Choose between a model just trained, its base and the one in use."""

import numpy as np

from stockbatch import metrics
from stockbatch.config import ModelSettings
from stockbatch.engine import inference
from stockbatch.engine.learning.splits import Bools
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Comparison, Floats, Verdict


def losses(
    weights: Weights, inputs: Singles, targets: Floats, wanted: Bools, settings: ModelSettings
) -> Floats:
    """Return the pinball losses (T, comparison sessions) of the newest steps, NaN unless wanted.

    `weights` (T, …) are run over `inputs` (T, sessions, features) once, from a lookback before the
    first session compared: every later step has at least as much history as it has in use.
    """
    count = settings.comparison_sessions
    steps = inputs[:, None, -count - settings.lookback :]
    quantiles = inference.all_quantiles(weights, steps)[:, 0, -count:]
    return np.where(
        wanted[:, -count:], metrics.pinball_losses(quantiles, targets[:, -count:]), np.nan
    )


def compare(loss: Floats, base_loss: Floats, champion_loss: float | None) -> Comparison | None:
    """Compare losses of the same sessions, of shape (S,), NaN where unknown; None if all are.

    The standard error is that of the differences by session: most of a session's loss is the
    market's doing, and both models have it in common.
    """
    known = np.isfinite(base_loss - loss)
    gain = (base_loss - loss)[known]
    if len(gain) < 2:
        return None
    return Comparison(
        loss=float(loss[known].mean()),
        base_loss=float(base_loss[known].mean()),
        champion_loss=champion_loss,
        gain_error=float(gain.std(ddof=1) / np.sqrt(len(gain))),
    )


def judge(comparison: Comparison | None) -> Verdict:
    """Let a ticker leave its base, and its champion, only for something better.

    A base has learned from hundreds of tickers: to leave it takes a gain beyond its standard error,
    as in the one-standard-error rule (Breiman, Friedman, Olshen & Stone, "Classification and
    regression trees", 1984).
    """
    if comparison is None or not comparison.gain > comparison.gain_error:
        best, verdict = comparison.base_loss if comparison else 0.0, Verdict.BASE_KEPT
    else:
        best, verdict = comparison.loss, Verdict.PROMOTED
    # The champion has to be beaten too, by whatever of the two is to take its place.
    if comparison and comparison.champion_loss is not None and comparison.champion_loss < best:
        return Verdict.CHAMPION_KEPT
    return verdict
