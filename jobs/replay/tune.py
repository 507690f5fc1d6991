"""Search better engine settings on sessions before a date; nothing is stored.

Candidates are trained up to a cut and compared with the settings in use on the sessions after it.
The best is then judged on later sessions that had no say in the choice: the best of many tries
always looks better than it is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import get_args

import numpy as np
import optuna

from jobs import workers
from jobs.app import App
from jobs.daily.choice import require_bars
from jobs.models.base import sample
from jobs.replay.exam import Exam
from jobs.replay.trials import attempt_all
from stockbatch import metrics
from stockbatch.config import ModelSettings
from stockbatch.engine.material import sessions_needed
from stockbatch.market import sessions
from stockbatch.market.sessions import as_date
from stockbatch.metrics import Skill
from stockbatch.records import Floats, Instrument
from stockbatch.store import instruments as instrument_store
from stockbatch.store import market


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
    exam, chosen = _load(app, calendar_code, before, judging, most_tickers, tickers)
    current = app.settings.model
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    # Seeded, so that the same search tries the same settings again.
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=current.seed))
    with workers.opened(app, any_settings=True) as shared:
        (in_use,) = attempt_all(app, None, exam, chosen, [current])
        best = _tried(exam, current, in_use, in_use)
        on_trial(best.trial)
        # As many at a time as there are workers: none of these knows what comes of the others.
        at_once = shared.number() if shared else 1
        for start in range(0, trials, at_once):
            asked = [study.ask() for _ in range(min(at_once, trials - start))]
            candidates = [propose(one, current) for one in asked]
            tries = attempt_all(app, shared, exam, chosen, candidates)
            for one, candidate, lost in zip(asked, candidates, tries, strict=True):
                tried = _tried(exam, candidate, lost, in_use)
                study.tell(one, -tried.trial.skill.value)  # it minimises
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
    kinds = {
        name: trial.suggest_categorical(name, get_args(ModelSettings.model_fields[name].annotation))
        for name in ("optimizer", "loss")
    }
    rounded = {name: float(f"{rate:.2g}") for name, rate in rates.items()}
    return current.model_copy(update=rounded | sizes | kinds)


def _load(
    app: App,
    calendar_code: str,
    before: date,
    judging: int,
    most_tickers: int,
    tickers: Sequence[str] | None,
) -> tuple[Exam, list[Instrument]]:
    now = app.clock()
    calendar = sessions.load(calendar_code, now.date())
    end = min(before - timedelta(days=1), calendar.last_closed(now))
    with app.transaction() as db:
        chosen = instrument_store.work_list(db, calendar.code, tickers)
        require_bars(db, app, calendar, chosen, before, before)
        last = as_date(calendar.between(sessions.FIRST_DAY, end)[-1])
        chosen = sample(chosen, most_tickers, app.settings.model.seed)
        window = calendar.window(last, sessions_needed(app.settings) + 2 * judging)
        market.update(db, calendar, window)
        return Exam.load(app, db, calendar.code, last, judging, chosen), chosen


def _tried(exam: Exam, settings: ModelSettings, losses: Floats, in_use: Floats) -> _Tried:
    """Return a trial, judged by the sessions that choose; `in_use` are the losses to beat."""
    own = losses[:, exam.choosing]
    skill = metrics.clustered_skill(own, in_use[:, exam.choosing])
    trial = Trial(settings=settings, loss=float(np.nanmean(own)), skill=skill)
    return _Tried(trial=trial, losses=losses)
