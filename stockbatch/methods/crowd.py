"""What the past intervals of all tickers of a calendar teach the next ones of each of them.

One ticker learns slowly whether its intervals are too narrow; hundreds that were missed on one day
tell it at once. Their learners follow the gradient of the pinball loss as those of one ticker do,
see `methods.calibration`, but its mean over all tickers. Each ticker's calibration is drawn halfway
to theirs, as estimates of many means are better drawn to their common mean (Efron & Morris, "Data
analysis using Stein's estimator and its generalizations", JASA 70, 1975).

Learned session by session, and stored: see `jobs.models.crowd`.
"""

from collections.abc import Sequence

import numpy as np

from stockbatch.methods.calibration import (
    LARGEST_LOG,
    LOSS_FORGETTING,
    SIDES,
    Learner,
    Say,
    believed,
    slopes,
    surprises,
)
from stockbatch.records import Crowd, Floats

LEARNERS = (
    Learner(together=0.0, alone=0.0, forgetting=0.0),
    Learner(together=2.0, alone=0.0, forgetting=0.2),
    Learner(together=0.3, alone=0.0, forgetting=0.02),
    Learner(together=0.1, alone=0.01, forgetting=0.0),
)
"""As those of one ticker, but for the fast one: a mean over many tickers may be trusted at once."""
TRUST = 25.0
"""Likewise more than one ticker's."""
SHARE = 0.5
"""The crowd's of what a calibration says, the ticker's own is the rest."""
HEARD_AFTER = 20
"""Sessions until the crowd has its full share."""
FEWEST = 5
"""Tickers whose returns are known that a session needs to teach: fewer are no crowd."""
_TOGETHER, _ALONE, _FORGETTING = np.array(LEARNERS).T
_SHAPE = (len(SIDES), len(LEARNERS))


def learn(crowd: Crowd | None, quantiles: Floats, actual: Floats) -> Crowd | None:
    """Return what a crowd knows after a session; None: nothing yet.

    `quantiles` are those it stated for the session, uncalibrated, (T, 11), `actual` the log returns
    that came, (T,), NaN where there was none. A session of which too few are known teaches nothing.
    """
    if np.isfinite(actual).sum() < FEWEST:  # most sessions of a young database
        return crowd
    needed, share, known = surprises(quantiles[:, None], actual[:, None], 1)
    some = known[:, 0] > 0
    if some.sum() < FEWEST:
        return crowd
    if crowd is None or crowd.logs.shape != _SHAPE:  # of other levels or learners: it starts anew
        crowd = Crowd(logs=np.zeros(_SHAPE), losses=np.zeros(len(LEARNERS)), sessions=0, tickers=0)
    needed, share = needed[..., some, 0], share[..., some, 0]
    # The axes are levels, learners, tickers: the last one is what a crowd has more.
    of_each = slopes(np.exp(crowd.logs)[..., None], needed, share)
    together, alone, loss = (slope.mean(axis=-1) for slope in of_each)
    logs = crowd.logs + _TOGETHER * together + _ALONE * alone - _FORGETTING * crowd.logs
    return Crowd(
        logs=np.clip(logs, -LARGEST_LOG, LARGEST_LOG),
        losses=(1 - LOSS_FORGETTING) * crowd.losses + loss,
        sessions=crowd.sessions + 1,
        tickers=int(some.sum()),
    )


def learn_by_session(crowd: Crowd | None, quantiles: Floats, actual: Floats) -> list[Crowd | None]:
    """Return what `learn` makes of a crowd after each session, of (T, S, 11) and (T, S)."""
    after: list[Crowd | None] = []
    for session in range(actual.shape[1]):
        crowd = learn(crowd, quantiles[:, session], actual[:, session])
        after.append(crowd)
    return after


def say(crowds: Sequence[Crowd | None]) -> Say:
    """Return what crowds say, one for each origin; where there is none, it has no share."""
    shares, factors = np.zeros(len(crowds)), np.ones((len(crowds), len(SIDES)))
    for origin, crowd in enumerate(crowds):
        if crowd is not None and crowd.logs.shape == _SHAPE:
            shares[origin] = SHARE * min(crowd.sessions / HEARD_AFTER, 1.0)
            factors[origin] = believed(np.exp(crowd.logs), crowd.losses, TRUST)
    return Say(share=shares, factors=factors)
