"""The card of a model that is taken away: what it eats, what it says, and where it comes from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import numpy as np

from stockbatch import metrics
from stockbatch.config import ModelSettings
from stockbatch.engine.lstm import inputs
from stockbatch.records import COMBINED, QUANTILES, Floats, Instrument, TrainedModel
from stockbatch.text import counted

Card = dict[str, Any]

LOSSES = {
    "training_loss": "of the epoch that was kept, on the sessions fitted",
    "validation_loss": "of the same epoch, on the sessions that stopped the training",
    "initial_loss": "on these, before the first epoch: of the base, if it started from one",
    "comparison_loss": "on the newest sessions, which neither taught nor stopped it",
    "base_loss": "of the base on the newest sessions",
    "gain": "base_loss - comparison_loss",
    "gain_error": "standard error of the gain",
}
CALIBRATION = (
    "In the database the distance of each quantile from the median is multiplied by a factor of its"
    " own, learned from what past intervals of the ticker, and of all tickers of its exchange, have"
    " missed. `raw_q…` are the quantiles of this file, `q…` the calibrated ones."
)
SHRINKAGE = (
    "The point forecast is the calibrated median times a share between 0 and 1 that past medians"
    " have earned; it is usually near 0, because the next return can hardly be told."
)
COMBINATION = (
    "Method `combined`, the usual headline, averages the raw quantiles with those of `har_events`,"
    " level by level, with weights that follow what each has lost on the ticker, and calibrates the"
    " average once. What is known of reports has a say there alone: this network knows of none."
)


class Learned(NamedTuple):
    """What a base learned from."""

    first_bar: date
    """The first bar that anything in it can depend on."""
    last_bar: date
    tickers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What a method said last of the ticker, as quantiles of the log return."""

    quantiles: Floats
    raw_quantiles: Floats | None
    shrinkage: float | None


def card(
    instrument: Instrument | None,
    model: TrainedModel,
    facts: Mapping[str, Any],
    own_first_bar: date,
    base: Learned | None,
    said: Mapping[str, Said],
) -> Card:
    """Return the card of a model, as it is written to JSON.

    `facts` are the stored row of the model, `base` what its base learned from, if it has one, and
    `said` the last forecasts of the method of its network and of `combined`. Without an instrument
    it is that of a base, as all tickers use it.
    """
    settings = ModelSettings.model_validate(model.parameters)
    return {
        "model": {
            "ticker": instrument and instrument.ticker,
            "calendar": facts["calendar"],
            "currency": instrument and instrument.currency,
            "id": model.id,
            "kind": model.kind.value,
            "network": model.method,
            "in_use_from": facts["in_use_from"] and str(facts["in_use_from"]),
        },
        "inputs": [{"name": name, "formula": text} for name, text in inputs.FORMULAS.items()],
        "symbols": list(inputs.SYMBOLS),
        "scaling": inputs.SCALING,
        "lookback": settings.lookback,
        "shape": [1, settings.lookback + 1, len(inputs.FORMULAS)],
        "levels": list(QUANTILES),
        "output": "quantiles of r(t+1) / s(t) at the levels, t being the last step; never crossing",
        "to_prices": "close(t) * exp(s(t) * output): quantiles of the close of t+1, a split or"
        " dividend of that session undone",
        "training": _training(model, own_first_bar, base),
        "losses": {
            name: {"value": facts[name], "meaning": meaning} for name, meaning in LOSSES.items()
        },
        "afterwards": {
            "calibration": CALIBRATION,
            "shrinkage": SHRINKAGE,
            "combination": COMBINATION,
            "last_forecast": dict(_last(said, model.method)),
        },
        "origin": {
            "fingerprint": model.fingerprint,
            "weights_sha256": facts["weights_sha256"],
            "seed": model.seed,
            "settings": dict(model.parameters),
            "libraries": dict(model.libraries),
        },
    }


def _training(model: TrainedModel, own_first_bar: date, base: Learned | None) -> Card:
    """Return what was learned from; a base's bars begin before those of a younger ticker."""
    told: Card = {
        "first_bar": str(max(own_first_bar, model.first_session)),
        "last_bar": str(model.last_session),
        "epochs": model.best_epoch,
        "reason": model.reason.value,
    }
    if base is not None:
        told["base"] = {
            "first_bar": str(base.first_bar),
            "last_bar": str(base.last_bar),
            "tickers": base.tickers,
        }
    return told


def _last(said: Mapping[str, Said], network: str) -> Iterator[tuple[str, float]]:
    """Yield half the 80 % interval, in log returns, as it grows from one step to the next."""
    if (own := said.get(network)) is not None:
        if own.raw_quantiles is not None:
            yield "half_80_raw", _half_80(own.raw_quantiles)
        yield "half_80_calibrated", _half_80(own.quantiles)
        if own.shrinkage is not None:
            yield "share_of_median_kept", own.shrinkage
    if (combined := said.get(COMBINED)) is not None:
        yield "half_80_combined", _half_80(combined.quantiles)


def _half_80(quantiles: Floats) -> float:
    low, high = metrics.interval(np.asarray(quantiles), 80)
    return float(high - low) / 2


def markdown(told: Card, name: str) -> str:
    """Return a card as a page to read; the model's files begin with `name`."""
    about, training = told["model"], told["training"]
    since = about["in_use_from"]
    used = f"In use from {since}" if since else "Not put into use for any one ticker"
    lines = [
        f"# Model {about['id']} of {_cell(about['ticker'] or about['calendar'])}",
        "",
        f"A network of kind {about['network']} that states quantiles of the next session's return,"
        f" as an ordinary Keras file:"
        f" `python predict.py {name}.keras {name}.csv` feeds it with the example that `stockbatch"
        f" models inputs` writes. {used}. Not investment advice.",
        "",
        f"## Inputs, shape {tuple(told['shape'])}",
        "",
        f"{told['lookback']} sessions of lookback and the session t that is forecast from, oldest"
        f" first. {told['scaling']}",
        "",
        *(f"- {line}" for line in told["symbols"]),
        "",
        *_table(("input", "formula"), ((one["name"], one["formula"]) for one in told["inputs"])),
        "",
        "## Output",
        "",
        f"Levels {', '.join(map(str, told['levels']))}: {told['output']}.",
        f"Prices: {told['to_prices']}.",
        "",
        "## Training",
        "",
        f"Bars of {training['first_bar']} to {training['last_bar']}{_of_base(about, training)}.",
        "",
        *_table(
            ("pinball loss of the scaled return", "value", "what it is"),
            ((n, _number(one["value"]), one["meaning"]) for n, one in told["losses"].items()),
        ),
        "",
        "## What the database adds",
        "",
        *(f"- {told['afterwards'][step]}" for step in ("calibration", "shrinkage", "combination")),
    ]
    if last := told["afterwards"]["last_forecast"]:
        rows = ((n.replace("_", " "), _number(value)) for n, value in last.items())
        lines += ["", *_table(("of the last forecast, log returns", "value"), rows)]
    return "\n".join(lines) + "\n"


def _of_base(about: Card, training: Card) -> str:
    base = training.get("base")
    if base is None:
        return ""
    tickers = counted(base["tickers"], "ticker")
    whose = f"bars of {tickers} from {base['first_bar']} to {base['last_bar']}"
    if about["ticker"] is None:
        return f" of {tickers}; it is the base of all"
    if about["kind"] == "base":
        return f" of this ticker; it is the base of all tickers, made of {whose}"
    return f"; it started from a base made of {whose}"


def _table(headings: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield "|" + "---|" * len(headings)
    for row in rows:
        yield f"| {' | '.join(map(_cell, row))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.5f}"
