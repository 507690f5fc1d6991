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
from jobs.daily.choice import require_bars
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
from stockbatch.records import Floats, Reason, Verdict, cut
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
    """So many sessions after the cut choose, and as many after these confirm."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tried:
    """A trial with its losses (tickers, judging sessions)."""

    trial: Trial
    losses: Floats


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
    NoInstruments, NoBarsThen, NothingToTrain.
    """
    exam = _load(app, calendar_code, before, judging, most_tickers, tickers)

    current = app.settings.model
    in_use = _losses(app, exam, current)
    best = _tried(exam, current, in_use, in_use)
    on_trial(best.trial)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Seeded, so that the same search tries the same settings again.
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=current.seed))
    for _ in range(trials):
        asked = study.ask()
        settings = propose(asked, current)
        tried = _tried(exam, settings, _losses(app, exam, settings), in_use)
        study.tell(asked, -tried.trial.skill.value)  # it minimises
        on_trial(tried.trial)
        if tried.trial.skill.value > best.trial.skill.value:
            best = tried
    confirming = exam.confirming
    return Tuned(
        best=best.trial,
        confirmed=metrics.clustered_skill(best.losses[:, confirming], in_use[:, confirming]),
        chosen_on=exam.days(exam.choosing),
        confirmed_on=exam.days(exam.confirming),
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
    now = app.clock()
    calendar = sessions.load(calendar_code, now.date())
    end = min(before - timedelta(days=1), calendar.last_closed(now))
    with app.transaction() as db:
        chosen = instrument_store.work_list(db, calendar.code, tickers)
        require_bars(db, app, calendar, chosen, before, before)
        last = as_date(calendar.between(sessions.FIRST_DAY, end)[-1])
        window = calendar.window(last, sessions_needed(app.settings) + 2 * judging)
        chosen = sample(chosen, most_tickers, app.settings.model.seed)
        market.update(db, calendar, window)
        known = market.load(db, calendar.code, window)
        panel = bars.load_panel(db, chosen, window)
    before_cut = slice(len(window) - 2 * judging)
    return _Exam(
        before=prepare(chosen, cut(panel, before_cut), cut(known, before_cut)),
        whole=prepare(chosen, panel, known),
        judging=judging,
    )


def _tried(exam: _Exam, settings: ModelSettings, losses: Floats, in_use: Floats) -> _Tried:
    """Return a trial, judged by the sessions that choose; `in_use` are the losses to beat."""
    own = losses[:, exam.choosing]
    skill = metrics.clustered_skill(own, in_use[:, exam.choosing])
    trial = Trial(settings=settings, loss=float(np.nanmean(own)), skill=skill)
    return _Tried(trial=trial, losses=losses)


def _losses(app: App, exam: _Exam, model: ModelSettings) -> Floats:
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
