"""What is said of every ticker after a run: what was done for it, and why."""

from collections.abc import Mapping, Sequence

import numpy as np

from jobs.models.tickers import Trained
from stockbatch.engine import learning
from stockbatch.engine.material import Material
from stockbatch.engine.network import NETWORKS
from stockbatch.methods.base import Stated
from stockbatch.records import (
    Action,
    Check,
    Finding,
    Forecast,
    ModelKind,
    Outcome,
    Reason,
    Severity,
    TrainedModel,
)
from stockbatch.text import counted

NO_BAR = "the provider has no bar of this session"
UNTRAINED = {
    Reason.DEADLINE: "training was due but not done in time",
    Reason.FAILED: "the base model could not be trained",
}
"""What is said of tickers that should have been trained, by reason."""


def outcomes(
    material: Material,
    trained: Trained,
    made: Sequence[Forecast],
    problems: Mapping[int, Outcome],
    failures: Mapping[int, str],
    lacking: Sequence[Sequence[str]],
    seconds: float,
    failure: str | None,
) -> list[Outcome]:
    """Return one outcome per instrument.

    By instrument id, `problems` are why there is no bar, and `failures` what has failed before; by
    row, `lacking` is why a method has no forecast; `failure` is why nothing could be trained.
    """
    by_network = {f.instrument_id for f in made if f.method in NETWORKS}
    found = []
    for row, instrument in enumerate(material.instruments):
        if row not in trained.reasons:
            missing = Outcome(
                instrument_id=instrument.id,
                action=Action.NONE,
                reason=Reason.NO_BAR,
                message=NO_BAR,
            )
            found.append(problems.get(instrument.id, missing))
            continue
        action, reason, message = _what_was_done(material, trained, trained.used.get(row), row)
        if reason is Reason.FAILED and failure:
            message = failure
        if instrument.id in failures:
            reason, message = Reason.FAILED, _joined(failures[instrument.id], message)
        message = _joined(message, *lacking[row])
        found.append(
            Outcome(
                instrument_id=instrument.id,
                action=action if instrument.id in by_network else Action.NAIVE,
                reason=reason,
                message=message,
                seconds=seconds,
            )
        )
    return found


def without_forecast(
    trained: Trained, stated: Mapping[str, Stated], rows: int
) -> list[tuple[str, ...]]:
    """Return by row why methods have no forecast, though there was enough to forecast from."""
    found: list[list[str]] = [[] for _ in range(rows)]
    for method, reasons in trained.unfit.items():
        for row, reason in reasons.items():
            found[row].append(f"{method}: {reason}")
    for method, of_all in stated.items():
        if of_all.failure:
            found[0].append(f"{method}: {of_all.failure}")  # a method fails with a chunk of one
    for row, model in trained.used.items():
        said = stated.get(model.method)
        if said is not None and np.isnan(said.log_return[row, -1]) and not _finite(model):
            found[row].append(f"{model.method}: the weights of its model are no numbers")
    return [tuple(reasons) for reasons in found]


def no_forecast(reasons: Sequence[str]) -> tuple[Finding, ...]:
    """Return the finding that a ticker lacks forecasts: one of the series, made but once."""
    if not reasons:
        return ()
    message = _joined(*reasons)
    return (Finding(check=Check.NO_FORECAST, severity=Severity.WARNING, message=message),)


def _finite(model: TrainedModel) -> bool:
    return all(np.isfinite(weights).all() for weights in model.weights.values())


def _joined(*texts: str) -> str:
    return "; ".join(text for text in texts if text)


def _what_was_done(
    material: Material, trained: Trained, used: TrainedModel | None, row: int
) -> tuple[Action, Reason, str]:
    """Return action, reason and message of a ticker that a network could forecast."""
    reason = trained.reasons[row]
    its_own = used is not None and used.kind is ModelKind.TICKER
    instead = Action.REUSED if its_own else Action.BASE
    if row in trained.new:
        return Action.TRAINED, reason, _what_came_of(trained.new[row])
    if reason is Reason.SHORT_HISTORY:
        if not np.isfinite(material.features.scale[row, -1]):
            return instead, reason, "too few returns of the last year to know its volatility"
        known = int(material.features.present[row].sum())
        return instead, reason, f"{counted(known, 'bar')}: too few for a model of its own"
    if reason in UNTRAINED:
        return instead, reason, UNTRAINED[reason]
    if reason in learning.TRAIN:
        return instead, Reason.DIVERGED, f"training ({reason}) found no finite loss"
    return Action.REUSED, reason, ""


def _what_came_of(model: TrainedModel) -> str:
    """Say why training stopped where it did, and why the model is used or not."""
    ran, best = len(model.validation_loss), model.best_epoch
    since = f"none better since epoch {best}" if best else "none better than the base"
    stopped = f"stopped after epoch {ran} of at most {model.parameters['epochs']}, {since}"
    if best == ran:
        stopped = f"all {ran} epochs run, the last was best"
    verdict = model.verdict.replace("_", " ")
    if model.comparison is None:
        return f"{stopped}; too few sessions to compare it with the base: {verdict}"
    gain = 100 * model.comparison.gain / model.comparison.base_loss
    error = 100 * model.comparison.gain_error / model.comparison.base_loss
    word = "better" if gain >= 0 else "worse"
    return f"{stopped}; {abs(gain):.2f} ± {error:.2f} % {word} than the base: {verdict}"
