"""HAR: tomorrow's size from the sizes of the last day, week, month and quarter, own and market's.

The logarithm of the scale is linear in the inputs, and the quantiles of the return are the scale
times a shape that all tickers of a calendar share; both are fitted together, by the pinball loss
(Koenker & Bassett, "Regression quantiles", Econometrica 46, 1978). The terms are Corsi's (see
`engine.scale`), on returns and ranges.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine.material import Material
from stockbatch.engine.scale import ALL, LARGEST, NEARBY, by_reason, scale_inputs
from stockbatch.engine.weights import Singles
from stockbatch.methods.base import PAST, Given, Method, Parameters, Scope, Stated
from stockbatch.records import HAR, HAR_EVENTS, QUANTILES, Floats

MOST_SAMPLES = 120_000
"""A random sample of so many returns tells as much about two dozen coefficients as all of them."""
FEWEST_SAMPLES = 1_000
"""Returns a fit needs."""
PENALTY, PENALTY_OF_FEW = 1e-4, 5.0
"""On squared coefficients of standardised inputs; the second divided by the number of samples."""
STEPS = 150
"""Of the search; it ends long before."""
COEFFICIENTS, MEAN, DEVIATION, SHAPE, LEARNED = (
    "coefficients",
    "mean",
    "deviation",
    "shape",
    "learned_until",
)
"""Names of what is stored: SHAPE are quantiles in units of the scale, LEARNED is the last session
whose return was learned from, in days since 1970."""


class Har(Method):
    """States the quantiles of a pooled log-linear model of the scale, from bars only."""

    name = HAR
    title = "HAR"
    sentence = (
        "A scale that follows the sizes of the moves of the last day, week, month and quarter, the"
        " ticker's own and the market's; fitted to all tickers together."
    )
    fits = Scope.CALENDAR
    is_baseline = True
    is_rival = True
    libraries = ("scipy",)
    knows_events = False

    def fit_calendar(
        self, materials: Sequence[Material], settings: ModelSettings
    ) -> Parameters | None:
        """Fit all sessions but the newest, which stand in for past forecasts on the first day."""
        samples = [_samples(one, settings, events=self.knows_events) for one in materials]
        total = sum(len(of_one.targets) for of_one in samples)
        if total < FEWEST_SAMPLES:
            return None
        inputs = np.concatenate([of_one.inputs for of_one in samples])
        targets = np.concatenate([of_one.targets for of_one in samples])
        if total > MOST_SAMPLES:
            chosen = np.random.default_rng(settings.seed).choice(total, MOST_SAMPLES, replace=False)
            inputs, targets = inputs[chosen], targets[chosen]
        return fit(inputs, targets) | {LEARNED: np.array([samples[0].until], np.float32)}

    def forecast(self, given: Given) -> Stated:
        """Return the quantiles known at each origin; the past of the first days is made up for."""
        tickers, origins = len(given.material.instruments), given.origins
        parameters = next(iter(given.parameters.values()), None)  # a calendar's: every row has them
        # Those of a release that stated other levels serve no more.
        if parameters is None or len(parameters[SHAPE]) != len(QUANTILES):
            return Stated.of(np.full((tickers, origins, len(QUANTILES)), np.nan))
        past = given.past.get(self.name)
        steps = origins if past is None else PAST + origins
        known = scales(parameters, given.material, steps, events=self.knows_events)
        quantiles = known.scale[..., None] * parameters[SHAPE].astype(np.float64)
        stated = replace(
            Stated.of(quantiles[:, -origins:]), reasons=by_reason(known.terms[:, -origins:])
        )
        if past is None:
            return stated
        # What was learned from is no forecast.
        new = _targets(given.material, steps)[:PAST] > parameters[LEARNED][0]
        stand_ins = np.where(new[:, None], quantiles[:, :PAST], np.nan)
        before = np.where(np.isnan(past), stand_ins, past)
        return replace(stated, before=before, event_scale=known.event_scale)


class HarEvents(Har):
    """States the same model with the reports that are known ahead."""

    name = HAR_EVENTS
    title = "HAR with reports"
    sentence = (
        "HAR that knows when companies report, and how much their own reports have moved them; and"
        " what news there is, where that is asked for."
    )
    needs_past = (HAR_EVENTS,)
    is_baseline = False
    is_rival = False
    knows_events = True


class Samples(NamedTuple):
    """What a fit learns from: inputs (N, K), and the returns after them in units of the level."""

    inputs: Singles
    targets: Singles
    until: int
    """Last session whose return is among them, in days since 1970."""


def _samples(material: Material, settings: ModelSettings, *, events: bool) -> Samples:
    """Return the sessions a network would be trained on; the comparison sessions are left out."""
    count = len(material.panel.sessions)
    end = max(count - 1 - settings.comparison_sessions, 1)
    begin = max(end - settings.history_sessions, 0)
    known = scale_inputs(material, count - begin, events=events, news=settings.news)
    origins = slice(0, end - begin)
    returns = material.features.returns[:, begin + 1 : end + 1]
    targets = returns / known.level[:, origins]
    usable = np.isfinite(targets) & material.features.present[:, begin:end]
    return Samples(
        inputs=known.inputs[:, origins][usable],
        targets=targets[usable].astype(np.float32),
        until=int(material.panel.sessions[end].astype("datetime64[D]").astype(np.int64)),
    )


def _targets(material: Material, origins: int) -> NDArray[np.int64]:
    """Return the sessions after the last origins in days since 1970; of the last, only "later"."""
    days = material.panel.sessions.astype("datetime64[D]").astype(np.int64)
    days = np.concatenate([days[1:], [days[-1] + 1]])[-origins:]
    return np.pad(days, (origins - len(days), 0))


def fit(inputs: Singles, targets: Singles) -> dict[str, Singles]:
    """Return the parameters with the least pinball loss of `targets` (N,), given `inputs` (N, K).

    Inputs are standardised; what is unknown counts as their mean, and one that nobody knows is none
    of them.
    """
    from scipy.optimize import minimize  # slow to import, and forecasts need none

    unknown = np.isnan(inputs)
    held = np.ma.masked_array(inputs, unknown)
    mean = held.mean(axis=0, dtype=np.float64).filled(0.0)
    deviation = held.std(axis=0, dtype=np.float64).filled(0.0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    known = ~unknown.all(axis=0)
    standard = np.where(unknown, 0, (inputs - mean) / deviation).astype(np.float32)[:, known]
    start = np.concatenate([np.zeros(standard.shape[1]), np.quantile(targets, QUANTILES)])
    penalty = PENALTY + PENALTY_OF_FEW / len(targets)
    found = minimize(
        _loss,
        start,
        args=(standard, targets, penalty),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": STEPS},
    )
    slopes, shape = np.split(found.x, [standard.shape[1]])
    coefficients = np.zeros(inputs.shape[1], np.float32)
    coefficients[known] = slopes
    return {
        COEFFICIENTS: coefficients,
        MEAN: mean.astype(np.float32),
        DEVIATION: deviation.astype(np.float32),
        # Two levels may have crossed where samples are few.
        SHAPE: np.sort(shape).astype(np.float32),
    }


def _loss(
    parameters: Floats, inputs: Singles, targets: Singles, penalty: float
) -> tuple[float, Floats]:
    """Return the mean pinball loss and its gradient; `parameters` are coefficients, then shape."""
    coefficients, shape = np.split(parameters.astype(np.float32), [inputs.shape[1]])
    # Sums by einsum: they do not depend on how many threads there are.
    scale = np.exp(np.clip(np.einsum("nk,k->n", inputs, coefficients), -LARGEST, LARGEST))
    loss, of_scale, of_shape = 0.0, np.zeros_like(scale), np.zeros(len(shape))
    for place, level in enumerate(QUANTILES):
        error = targets - scale * shape[place]
        slope = np.float32(level) - (error < 0)
        loss += float(np.einsum("n,n->", error, slope, dtype=np.float64))
        of_scale -= slope * shape[place]
        of_shape[place] = -np.einsum("n,n->", slope, scale, dtype=np.float64)
    count = len(targets) * len(shape)
    of_coefficients = np.einsum("nk,n->k", inputs, of_scale * scale, dtype=np.float64) / count
    of_coefficients += 2 * penalty * coefficients
    loss = loss / count + penalty * float(np.sum(coefficients.astype(np.float64) ** 2))
    return loss, np.concatenate([of_coefficients, of_shape / count])


class Scales(NamedTuple):
    """What a fit says of the return after each of the last origins, arrays (T, origins, …)."""

    scale: Floats
    """NaN where there is no bar, or no level."""
    event_scale: Floats
    """The factor in it that events and news make; 1 where none is near."""
    terms: Floats
    """The logarithm of the scale over the level, input by input; 0: the input is at its mean."""


def scales(parameters: Parameters, material: Material, origins: int, *, events: bool) -> Scales:
    """Return the scales of the last origins; in front NaN where the material has fewer sessions."""
    # Fitted before news was asked for, it goes without.
    news = len(parameters[COEFFICIENTS]) == len(ALL)
    known = scale_inputs(material, origins, events=events, news=news)
    unknown = np.isnan(known.inputs)
    standard = np.where(unknown, 0, (known.inputs - parameters[MEAN]) / parameters[DEVIATION])
    logarithm = np.einsum("tsk,k->ts", standard, parameters[COEFFICIENTS])
    slope = parameters[COEFFICIENTS] / parameters[DEVIATION]
    nearby = [place for place in NEARBY if place < len(slope)]
    near = np.einsum("tsk,k->ts", np.nan_to_num(known.inputs[..., nearby]), slope[nearby])
    scale = known.level * np.exp(np.clip(logarithm, -LARGEST, LARGEST))
    scale[~material.features.present[:, -origins:]] = np.nan
    terms = standard.astype(np.float64) * parameters[COEFFICIENTS]
    front = [(0, 0), (origins - scale.shape[1], 0)]
    return Scales(
        np.pad(scale, front, constant_values=np.nan),
        np.pad(np.exp(near.astype(np.float64)), front, constant_values=1.0),
        np.pad(terms, [*front, (0, 0)], constant_values=np.nan),
    )
