"""What settings are tried on: they learn up to a cut, and are judged by the sessions after it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Self

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.models.tickers import Models
from stockbatch import metrics
from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import features, learning
from stockbatch.engine.material import Material, prepare, sessions_needed
from stockbatch.exceptions import NothingToTrain
from stockbatch.market import sessions
from stockbatch.market.sessions import as_date
from stockbatch.methods.networks import raw_quantiles
from stockbatch.records import Floats, Instrument, Reason, Verdict, cut
from stockbatch.store import bars, market


@dataclass(frozen=True, slots=True, kw_only=True)
class Exam:
    """What candidates learn from, and the same tickers with the sessions that judge them."""

    before: Material
    whole: Material
    judging: int
    """So many sessions after the cut choose, and as many after these confirm."""
    calendar: str
    last: date

    @classmethod
    def load(
        cls,
        app: App,
        db: Session,
        calendar: str,
        last: date,
        judging: int,
        tickers: Sequence[Instrument],
    ) -> Self:
        """Load what was known of tickers up to a session, of whose market all is summed up."""
        window = sessions.load(calendar, last).window(
            last, sessions_needed(app.settings) + 2 * judging
        )
        known = market.load(db, calendar, window)
        panel = bars.load_panel(db, tickers, window)
        before = slice(len(window) - 2 * judging)
        return cls(
            before=prepare(tickers, cut(panel, before), cut(known, before)),
            whole=prepare(tickers, panel, known),
            judging=judging,
            calendar=calendar,
            last=last,
        )

    @property
    def choosing(self) -> slice:
        """Return the judging sessions that choose."""
        return slice(self.judging)

    @property
    def confirming(self) -> slice:
        """Return the judging sessions that had no say in the choice."""
        return slice(self.judging, None)

    def days(self, half: slice) -> tuple[date, date]:
        """Return the first and the last of some of the judging sessions."""
        days = self.whole.panel.sessions[-2 * self.judging :][half]
        return as_date(days[0]), as_date(days[-1])


def losses(app: App, exam: Exam, model: ModelSettings) -> Floats:
    """Return the losses (tickers, judging sessions) of candidate settings, NaN: no forecast.

    Models learn up to the cut and forecast from each session after it without another training;
    in units of the volatility known at the origin, so that no ticker counts for more than others.
    """
    settings = app.settings.model_copy(update={"model": model})
    models = _train(app, exam.before, settings)
    # The last origin is the last session: what it forecasts has yet to come.
    origins = slice(-2 * exam.judging - 1, -1)
    quantiles = raw_quantiles(exam.whole, models, model, 2 * exam.judging + 1)[:, :-1]
    scale = exam.whole.features.scale[:, origins]
    actual = features.targets(exam.whole.features)[:, origins]
    return metrics.pinball_losses(quantiles / scale[..., None], actual)


def _train(app: App, material: Material, settings: Settings) -> Models:
    """Return the model every ticker would use, by row, as a first run trains it."""
    base = learning.train_base([material], Reason.NO_MODEL, settings, app.trainer)
    if base is None:
        raise NothingToTrain(bars=settings.model.minimum_history, session=material.origin)
    due = {}
    for row in np.flatnonzero(material.features.present[:, -1]).tolist():
        reason = learning.decide(material, row, None, base, settings)
        if reason in learning.TRAIN:
            due[row] = reason
    new = learning.train(material, due, {}, base, settings, app.trainer)
    app.trainer.discard()  # it keeps every network it has built
    used = dict.fromkeys(range(len(material.instruments)), base)
    for row, model in new.items():
        if model.verdict is Verdict.PROMOTED:
            used[row] = model
    return used
