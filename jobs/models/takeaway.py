"""Take a ticker's model away: an ordinary Keras file, its card, and what it was last fed with."""

import csv
import io
import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import date
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session

from jobs import files
from jobs.app import App
from jobs.models import card
from jobs.models.card import Card, Learned, Said
from stockbatch.config import ModelSettings
from stockbatch.database.tables import QUANTILE_COLUMNS, RAW_QUANTILE_COLUMNS
from stockbatch.engine import features, lstm
from stockbatch.engine.material import Material, prepare, sessions_needed
from stockbatch.engine.network import network_of
from stockbatch.engine.weights import Singles
from stockbatch.exceptions import NoModel, UnwritableFile
from stockbatch.market import sessions
from stockbatch.market.sessions import as_date
from stockbatch.methods.networks import raw_quantiles
from stockbatch.records import COMBINED, Floats, Instrument, ModelKind, TrainedModel
from stockbatch.store import bars, forecasts, instruments, market, models

SCRIPT = "predict.py"
CLOSE_ENOUGH = 1e-5
"""Of quantiles that were computed from the same inputs, in log returns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a ticker's model in use is fed with at the origin of the last forecast."""

    model: TrainedModel
    origin: date
    inputs: Singles
    """(steps, inputs), the origin last."""
    sessions: tuple[date, ...]
    scale: Floats
    """What quantiles are multiplied by, (steps,)."""
    close: Floats
    stored: Floats | None
    """The raw quantiles in the database; None: none of this origin are."""
    computed: Floats
    """What the model makes of the inputs."""

    @property
    def is_as_stored(self) -> bool:
        """Tell whether the inputs are those that the forecast stored was made from."""
        return self.stored is not None and bool(
            np.allclose(self.stored, self.computed, rtol=0, atol=CLOSE_ENOUGH)
        )


def export(app: App, ticker: str, file: Path) -> TrainedModel:
    """Write a ticker's model in use to `file`, its card beside it, and a script that feeds it.

    A script of that name that is there already stays. Raises NoModel, UnwritableFile.
    """
    with app.transaction() as db:
        model = models.champion(db, ticker, app.settings.model.network)
        told = _card(db, app, instruments.known(db, ticker), model)
    write(model, told, file)
    return model


def write(model: TrainedModel, told: Card, file: Path) -> None:
    """Write a model to `file`, its card beside it, and a script that feeds it.

    Raises UnwritableFile.
    """
    settings = ModelSettings.model_validate(model.parameters)
    texts = {
        file.with_suffix(".json"): json.dumps(told, indent=2, ensure_ascii=False) + "\n",
        file.with_suffix(".md"): card.markdown(told, file.stem),
    }
    script = file.with_name(SCRIPT)
    if not script.exists():  # somebody may have made it their own
        texts[script] = resources.files(lstm).joinpath(SCRIPT).read_text("utf-8")
    try:
        # All or none: a model without its card is a riddle.
        with ExitStack() as stack:
            partial = stack.enter_context(files.appearing(file, replacing=True))
            network_of(model.weights).export(model.weights, settings, partial)
            for path, text in texts.items():
                beside = stack.enter_context(files.appearing(path, replacing=True))
                beside.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UnwritableFile(path=file, reason=error.strerror or error) from None


def write_inputs(app: App, ticker: str, file: Path) -> Example:
    """Write to `file` what a ticker's model in use is fed with, as CSV, and return it.

    It is the window of the last forecast, from the bars as they are known now. Raises NoModel,
    UnwritableFile.
    """
    with app.transaction() as db:
        model = models.champion(db, ticker, app.settings.model.network)
        example = _example(db, app, instruments.known(db, ticker), model)
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(("session", *features.NAMES, "scale", "close"))
    columns = zip(example.sessions, example.inputs, example.scale, example.close, strict=True)
    for session, inputs, scale, close in columns:
        # Singles in as many digits as tell them apart, so that they are read back as they were.
        lines.writerow((session, *map(str, inputs), _word(scale), _word(close)))
    try:
        with files.appearing(file, replacing=True) as partial:
            partial.write_text(text.getvalue(), encoding="utf-8")
    except OSError as error:
        raise UnwritableFile(path=file, reason=error.strerror or error) from None
    return example


def _word(number: float) -> str:
    return repr(float(number)) if np.isfinite(number) else ""


def _example(db: Session, app: App, instrument: Instrument, model: TrainedModel) -> Example:
    settings = ModelSettings.model_validate(model.parameters)
    stored = forecasts.newest(db, instrument, model.method)
    origin = stored.origin_session if stored else model.last_session
    material = _material(db, app, instrument, model, origin)
    steps = settings.lookback + 1
    computed = raw_quantiles(material, {0: model}, settings, 1)[0, 0]
    if not np.isfinite(computed).all():
        raise NoModel(ticker=instrument.ticker, when=f" with enough bars before {origin}")
    return Example(
        model=model,
        origin=origin,
        inputs=material.features.inputs[0, -steps:],
        sessions=tuple(map(as_date, material.panel.sessions[-steps:])),
        scale=material.features.scale[0, -steps:],
        close=material.panel.close[0, -steps:],
        stored=_vector(stored, RAW_QUANTILE_COLUMNS),
        computed=computed,
    )


def _material(
    db: Session, app: App, instrument: Instrument, model: TrainedModel, origin: date
) -> Material:
    """Return all that a network saw at an origin, by the settings it was trained with."""
    own = ModelSettings.model_validate(model.parameters)
    needed = sessions_needed(app.settings.model_copy(update={"model": own}))
    window = sessions.load(instrument.calendar, origin).window(origin, needed)
    panel = bars.load_panel(db, [instrument], window)
    return prepare([instrument], panel, market.load(db, instrument.calendar, window))


def _card(db: Session, app: App, instrument: Instrument, model: TrainedModel) -> Card:
    facts = models.details(db, instrument.ticker, model.method)
    said = {name: one for name in (model.method, COMBINED) if (one := _said(db, instrument, name))}
    return card_of_training(db, app, instrument, model, facts, said)


def card_of_training(
    db: Session,
    app: App,
    instrument: Instrument | None,
    model: TrainedModel,
    facts: Mapping[str, Any],
    said: Mapping[str, Said],
) -> Card:
    """Return the card of a model, in use or not; a base is that of one ticker, or of none."""
    first_bar = model.first_session
    if instrument is not None:
        material = _material(db, app, instrument, model, model.last_session)
        held = np.isfinite(material.panel.close[0])
        first_bar = as_date(material.panel.sessions[int(np.argmax(held))])
    base_id = model.id if model.kind is ModelKind.BASE else model.parent_id
    base = Learned(*models.learned_from(db, base_id)) if base_id is not None else None
    return card.card(instrument, model, facts, first_bar, base, said)


def _said(db: Session, instrument: Instrument, method: str) -> Said | None:
    stored = forecasts.newest(db, instrument, method)
    quantiles = _vector(stored, QUANTILE_COLUMNS)
    if quantiles is None:
        return None
    raw = _vector(stored, RAW_QUANTILE_COLUMNS)
    return Said(quantiles=quantiles, raw_quantiles=raw, shrinkage=stored.shrinkage)


def _vector(stored: Any, columns: tuple[str, ...]) -> Floats | None:
    """Return quantiles of a row, None where there is none or one of them was not stated."""
    values = [getattr(stored, column, None) for column in columns]
    return None if None in values else np.array(values)
