"""Train or reuse: why a model must be trained anew, if it must."""

import hashlib

import numpy as np

from stockbatch.config import Settings
from stockbatch.engine.features import FEATURE_VERSION
from stockbatch.engine.material import Material, fingerprint
from stockbatch.records import QUANTILES, Reason, TrainedModel

TRAIN = frozenset(
    {
        Reason.NO_MODEL,
        Reason.FORCED,
        Reason.CONFIGURATION_CHANGED,
        Reason.HISTORY_RESTATED,
        Reason.BASE_CHANGED,
        Reason.EXPIRED,
        Reason.DRIFT,
    }
)
"""Answers of `decide` that ask for training."""
MORE_TICKERS = 1.5
"""So many times the tickers a base was trained on call for another one."""


def configuration(settings: Settings) -> str:
    """Return the SHA-256 of all that, when it changes, makes a model unusable."""
    depends_on = f"{settings.engine_hash()} {FEATURE_VERSION} {QUANTILES}"
    return hashlib.sha256(depends_on.encode()).hexdigest()


def decide_base(base: TrainedModel | None, age: int, tickers: int, settings: Settings) -> Reason:
    """Return why a base model must be trained for so many `tickers`, FRESH if it need not."""
    if base is None:
        return Reason.NO_MODEL
    if base.configuration != configuration(settings):
        return Reason.CONFIGURATION_CHANGED
    if min(tickers, settings.model.base_tickers) > MORE_TICKERS * base.tickers:
        return Reason.UNIVERSE_CHANGED
    return Reason.EXPIRED if age >= settings.base_after_sessions else Reason.FRESH


def decide(
    material: Material,
    row: int,
    last: TrainedModel | None,
    base: TrainedModel | None,
    settings: Settings,
    *,
    drifted: bool = False,
    force: bool = False,
) -> Reason:
    """Return why the ticker in `row` must be trained, FRESH if it need not, or SHORT_HISTORY.

    `last` is the model trained last, whether it came into use or not: were the age counted from
    the one in use, a challenger that is rejected would be trained again every night.
    """
    known = int(material.features.present[row, -settings.model.history_sessions :].sum())
    back_too_short = not np.isfinite(material.features.scale[row, -1])  # after a long suspension
    if known < settings.model.minimum_history or back_too_short:
        return Reason.SHORT_HISTORY
    if last is None:
        return Reason.NO_MODEL
    if last.configuration != configuration(settings):
        return Reason.CONFIGURATION_CHANGED
    if force:
        return Reason.FORCED
    # A ticker is anchored to its base and was compared with it: of another base, neither says much.
    if base is not None and last.parent_id != base.id:
        return Reason.BASE_CHANGED
    if last.age(material.panel.sessions) >= settings.retrain_after_sessions:
        return Reason.EXPIRED
    # Asked last, because it hashes years of bars; a split or a correction has changed what was
    # learned.
    if last.fingerprint != fingerprint(material.panel, row, last.first_session, last.last_session):
        return Reason.HISTORY_RESTATED
    return Reason.DRIFT if drifted else Reason.FRESH
