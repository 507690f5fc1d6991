"""Search better engine settings on sessions before a date; nothing is stored.

Candidates are trained up to a cut and compared with the settings in use on the sessions after it.
The best is then judged on later sessions that had no say in the choice: the best of many tries
always looks better than it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import optuna

from jobs.app import App
from jobs.models.base import sample
from jobs.models.tickers import Models
from stockbatch import metrics
from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import features, learning
from stockbatch.engine.material import Material, prepare, sessions_needed
from stockbatch.exceptions import NothingToTrain
from stockbatch.market import sessions
from stockbatch.market.sessions import as_date
from stockbatch.methods.lstm import raw_quantiles
from stockbatch.metrics import Skill
from stockbatch.records import Floats, Reason, Verdict
from stockbatch.store import bars, market
from stockbatch.store import instruments as instrument_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """Settings tried, with their skill against those in use on the sessions that choose."""

    settings: ModelSettings
    loss: float
    """Mean pinball loss in units of the volatility known at the origin."""
    skill: Skill


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The best trial, judged on sessions that did not choose it."""

    best: Trial
    confirmed: Skill
    chosen_on: tuple[date, date]
    confirmed_on: tuple[date, date]

    @property
    def is_better(self) -> bool:
        """Tell whether the settings in use lose by more than a standard error."""
        return self.confirmed.value > self.confirmed.standard_error


@dataclass(frozen=True, slots=True, kw_only=True)
class _Exam:
    """What candidates learn from, and the same tickers with the sessions that judge them."""

    before: Material
    whole: Material
    judging: int
    """Sessions after the cut: the first half chooses, the second confirms."""


def tune(
    app: App,
    calendar_code: str,
    before: date,
    *,
    trials: int,
    judging: int,
    most_tickers: int,
    tickers: Sequence[str] | None = None,
    on_trial: Callable[[Trial], None],
) -> Tuned:
    """Try `trials` settings on the last 2 x `judging` sessions before a date.

    Of very many tickers a random sample of `most_tickers` is taken. Raises UnknownInstrument,
    NoInstruments, OutsideCalendar, NothingToTrain.
    """
    exam = _load(app, calendar_code, before, 2 * judging, most_tickers, tickers)
    current = app.settings.model
    in_use = _losses(app, exam, current)
    best = Trial(
        settings=current, loss=float(np.nanmean(in_use[:, :judging])), skill=Skill(0.0, 0.0)
    )
    best_losses = in_use
    on_trial(best)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=current.seed))
    for _ in range(trials):
        asked = study.ask()
        settings = propose(asked, current)
        losses = _losses(app, exam, settings)
        skill = metrics.clustered_skill(losses[:, :judging], in_use[:, :judging])
        trial = Trial(settings=settings, loss=float(np.nanmean(losses[:, :judging])), skill=skill)
        study.tell(asked, -skill.value)
        on_trial(trial)
        if skill.value > best.skill.value:
            best, best_losses = trial, losses
    days = exam.whole.panel.sessions[-2 * judging :]
    return Tuned(
        best=best,
        confirmed=metrics.clustered_skill(best_losses[:, judging:], in_use[:, judging:]),
        chosen_on=(as_date(days[0]), as_date(days[judging - 1])),
        confirmed_on=(as_date(days[judging]), as_date(days[-1])),
    )


def propose(trial: optuna.Trial, current: ModelSettings) -> ModelSettings:
    """Draw settings from the space searched, rounded to what is printed."""
    rates = {
        "base_learning_rate": trial.suggest_float("base_learning_rate", 2e-4, 5e-3, log=True),
        "learning_rate": trial.suggest_float("learning_rate", 1e-4, 2e-3, log=True),
        "anchor": trial.suggest_float("anchor", 1.0, 100.0, log=True),
        "dropout": trial.suggest_float("dropout", 0.0, 0.4, step=0.1),
    }
    sizes = {
        "units": trial.suggest_int("units", 4, 48, log=True),
        "layers": trial.suggest_int("layers", 1, 2),
        "lookback": trial.suggest_int("lookback", 20, 120, step=20),
    }
    rounded = {name: float(f"{rate:.2g}") for name, rate in rates.items()}
    return current.model_copy(update=rounded | sizes)


def _load(
    app: App,
    calendar_code: str,
    before: date,
    judging: int,
    most_tickers: int,
    tickers: Sequence[str] | None,
) -> _Exam:
    calendar = sessions.load(calendar_code, app.clock().date())
    closed = calendar.last_closed(app.clock())
    last = as_date(
        calendar.between(sessions.FIRST_DAY, min(before - timedelta(days=1), closed))[-1]
    )
    window = calendar.window(last, sessions_needed(app.settings) + judging)
    with app.transaction() as db:
        chosen = instrument_store.work_list(db, calendar.code, tickers)
        chosen = sample(chosen, most_tickers, app.settings.model.seed)
        market.update(db, calendar.code, window)
        known = market.load(db, calendar.code, window)
        panel = bars.load_panel(db, chosen, window)
    cut = len(window) - judging
    return _Exam(
        before=prepare(chosen, panel.first(cut), known.first(cut)),
        whole=prepare(chosen, panel, known),
        judging=judging,
    )


def _losses(app: App, exam: _Exam, model: ModelSettings) -> Floats:
    """Return the losses (tickers, judging sessions) of candidate settings, NaN: no forecast."""
    settings = app.settings.model_copy(update={"model": model})
    models = _train(app, exam.before, settings)
    quantiles = raw_quantiles(exam.whole, models, model, exam.judging + 1)[:, :-1]
    origins = slice(-exam.judging - 1, -1)
    scale = exam.whole.features.scale[:, origins]
    actual = features.targets(exam.whole.features)[:, origins]
    return metrics.pinball_losses(quantiles / scale[..., None], actual)


def _train(app: App, material: Material, settings: Settings) -> Models:
    """Return the model every ticker would use, by row, as a first run trains it."""
    base = learning.train_base([material], Reason.NO_MODEL, settings, app.trainer.fit_pooled)
    if base is None:
        raise NothingToTrain(bars=settings.model.minimum_history, session=material.origin)
    due = {}
    for row in np.flatnonzero(material.features.present[:, -1]).tolist():
        reason = learning.decide(material, row, None, base, settings)
        if reason in learning.TRAIN:
            due[row] = reason
    new = learning.train(material, due, {}, base, settings, app.trainer.fit)
    app.trainer.discard()  # it keeps every network it has built
    promoted = {row: model for row, model in new.items() if model.verdict is Verdict.PROMOTED}
    return dict.fromkeys(range(len(material.instruments)), base) | promoted
