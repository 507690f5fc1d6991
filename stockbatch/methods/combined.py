"""Combined: the quantiles of the network and of HAR with reports averaged, level by level.

The network knows nothing of reports: what they make of HAR's scale, they make of its quantiles.

Averages of quantiles are sharper than averages of probabilities (Lichtendahl, Grushka-Cockayne &
Winkler, "Is it better to average probabilities or quantiles?", Management Science 59, 2013).
Weights start at half and follow what each member has lost on the ticker's last forecasts,
exponentially (Vovk, "Aggregating strategies", COLT 1990): one that is worse has no say after some
weeks.
"""

from dataclasses import replace

import numpy as np

from stockbatch import metrics
from stockbatch.engine.network import NETWORKS
from stockbatch.methods import calibration, distribution
from stockbatch.methods.base import PAST, Given, Method, Stated
from stockbatch.records import COMBINED, HAR_EVENTS, Floats, MoveReason

LEARNING = 0.5
"""How much a weight follows the losses, which are in units of both members' mean loss."""
FORGETTING = 0.01
"""Share of the past losses that is forgotten per forecast."""


class Combined(Method):
    """States the average of a network and of a model of the scale, which is calibrated once."""

    name = COMBINED
    title = "Combined"
    sentence = (
        "The average of the LSTM and of HAR with reports, weighted by how well each has done on the"
        " ticker, and stretched by what past intervals missed."
    )
    needs = (*NETWORKS, HAR_EVENTS)
    is_calibrated = True

    def forecast(self, given: Given) -> Stated:
        """Return the average known at each origin; where one member has no forecast, the other."""
        network, har = given.others[given.settings.network], given.others[HAR_EVENTS]
        widened = network.by_target()
        if har.event_scale is not None:
            widened *= har.event_scale[..., None]
        members = np.stack([widened, har.by_target()])
        actual = calibration.actual_by_target(given.material.features.returns, given.origins)
        both = average(members, weights(members, actual))
        return replace(
            Stated.of(both[:, PAST:]),
            before=both[:, :PAST],
            models=network.models,
            dissimilarity=network.dissimilarity,
            reasons=_reasons(har, both[:, PAST:]),
        )


def _reasons(har: Stated, both: Floats) -> dict[MoveReason, Floats]:
    """Return the terms of HAR, and what the network makes of its width."""
    if har.quantiles is None or not har.reasons:
        return {}
    added = distribution.widening(har.quantiles, both)
    return {**har.reasons, MoveReason.LSTM: added}


def average(members: Floats, weight: Floats) -> Floats:
    """Return the average of two members' quantiles (2, T, S, 11), `weight` (T, S) the first one's.

    The other's where one has none.
    """
    first, second = members
    mean = weight[..., None] * first + (1 - weight[..., None]) * second
    either: Floats = np.where(np.isnan(first), second, np.where(np.isnan(second), first, mean))
    return either


def weights(members: Floats, actual: Floats) -> Floats:
    """Return the weight of the first of two members at each target, (T, S), by those before it.

    `members` are quantiles (2, T, S, 11), `actual` log returns (T, S), NaN where unknown: such a
    session teaches nothing.
    """
    first, second = (metrics.pinball_losses(one, actual) for one in members)
    known = np.isfinite(first) & np.isfinite(second)
    gain = np.where(known, second - first, 0.0)
    both = np.where(known, second + first, 0.0) / 2
    lead, level, count = np.zeros((3, len(actual)))
    weight = np.full(actual.shape, 0.5)
    for step in range(actual.shape[1]):
        usual = np.divide(level, count, out=np.full_like(level, np.inf), where=level > 0)
        weight[:, step] = 1 / (1 + np.exp(-LEARNING * np.clip(lead / usual, -30, 30)))
        kept = 1 - FORGETTING * known[:, step]
        lead = kept * lead + gain[:, step]
        level = kept * level + both[:, step]
        count = kept * count + known[:, step]
    return weight
