"""Networks as methods: their quantiles, and what stands in for their past on day one.

Training is not here but in `engine`: networks take part of a run's time, and are promoted.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date

import numpy as np

from stockbatch.config import ModelSettings
from stockbatch.engine import inference, trust
from stockbatch.engine.material import Material
from stockbatch.engine.network import is_known
from stockbatch.methods.base import PAST, Given, Method, Stated
from stockbatch.records import ATTENTION, GRU, LSTM, QUANTILES, Floats, TrainedModel


class _OfNetwork(Method):
    """States what the ticker's own network says, or the base where that is better.

    Only the kind of network that is set is trained: the others rest, and state nothing.
    """

    is_calibrated = True

    def forecast(self, given: Given) -> Stated:
        """Forecast with the networks in use; a row without one has no forecast.

        The past of the first day is made of the sessions that a model was chosen by.
        """
        material, origins = given.material, given.origins
        if given.settings.network != self.name:
            return Stated(log_return=np.full((len(material.instruments), origins), np.nan))
        # A base of a release that stated other levels has nothing to say, nor have its tickers.
        if given.base is None or not is_known(given.base.weights):
            return Stated.of(raw_quantiles(material, {}, given.settings, origins))
        raw = raw_quantiles(material, given.models, given.settings, origins)
        past = given.past[self.name]
        stand_ins = _validated(material, given.models, given.settings, origins)
        return replace(
            Stated.of(raw),
            before=np.where(np.isnan(past), stand_ins, past),
            models=given.models,
            dissimilarity=trust.dissimilarity(
                given.base.weights, material.features.inputs[:, -origins:]
            ),
        )


class Lstm(_OfNetwork):
    """The LSTM, whichever network is set."""

    name = LSTM
    title = "LSTM"
    sentence = (
        "A recurrent network trained on all tickers together, then on each by itself, whose"
        " intervals are stretched by what its past ones missed."
    )
    needs_past = (LSTM,)
    is_rival = True


class Gru(_OfNetwork):
    """The GRU, where it is set."""

    name = GRU
    title = "GRU"
    sentence = "A recurrent network with fewer gates than the LSTM, trained and stretched likewise."
    needs_past = (GRU,)


class Attention(_OfNetwork):
    """Self-attention, where it is set."""

    name = ATTENTION
    title = "Attention"
    sentence = (
        "A network that weighs all sessions of its window at once, by what they hold and how long"
        " ago they were; trained and stretched as the LSTM is."
    )
    needs_past = (ATTENTION,)


def raw_quantiles(
    material: Material, models: Mapping[int, TrainedModel], settings: ModelSettings, origins: int
) -> Floats:
    """Return the networks' quantiles of the log return after each of the last origins."""
    answer = np.full((len(material.instruments), origins, len(QUANTILES)), np.nan)
    if not models:
        return answer
    rows = np.array(list(models))
    weights = inference.stack([model.weights for model in models.values()])
    steps = settings.lookback + 1
    inputs = material.features.inputs[rows, -(steps + origins - 1) :]
    windows = np.lib.stride_tricks.sliding_window_view(inputs, steps, axis=1)
    # A window per origin: the network sees `lookback` sessions and the origin itself, as in
    # training.
    scaled = inference.quantiles(weights, np.moveaxis(windows, -1, 2))
    answer[rows] = scaled * material.features.scale[rows, -origins:, None]
    answer[~material.features.present[:, -origins:]] = np.nan
    # A volatility that is unknown makes NaN of all levels; a forecast states every level or none.
    answer[~np.isfinite(answer).all(axis=-1)] = np.nan
    return answer


def _validated(
    material: Material, models: Mapping[int, TrainedModel], settings: ModelSettings, origins: int
) -> Floats:
    """Return what the models say of sessions they were not fitted on, laid out like `past`.

    Those are the sessions that chose a model; the windows end at the last session it
    learned from, whatever the origin, so that every origin sees the same.
    """
    count = settings.comparison_sessions
    sessions = len(material.panel.sessions)
    answer = np.full((len(material.instruments), PAST + sessions + 1, len(QUANTILES)), np.nan)
    by_end: dict[date, list[int]] = {}
    for row, model in models.items():
        by_end.setdefault(model.last_session, []).append(row)
    for end, rows in by_end.items():
        last = material.column(end)
        if last == 0:
            continue  # trained before the first session of the panel
        first = max(last - count, 0)
        weights = inference.stack([models[row].weights for row in rows])
        inputs = material.features.inputs[rows, max(first - settings.lookback, 0) : last]
        scaled = inference.all_quantiles(weights, inputs[:, None])[:, 0, first - last :]
        targets = slice(PAST + first + 1, PAST + last + 1)
        answer[rows, targets] = scaled * material.features.scale[rows, first:last, None]
    # Cut to the PAST targets that end with the first origin's own, as `past` is.
    return answer[:, sessions - origins + 1 : PAST + sessions - origins + 1]
