"""The search for settings: it finds what is better, admits chance, and looks at nothing later."""

import tomllib
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from optuna.trial import FixedTrial
from typer.testing import CliRunner

from jobs.commands.tune import _conclusion
from jobs.replay import tune as job
from stockbatch.exceptions import NoBarsThen, NothingToTrain
from tests.support.market import CODE, MODEL, PlainTrainer, dump, session

BEFORE = session(21)
OPTIONS = {"trials": 6, "judging": 20, "most_tickers": 10}


class Normal(PlainTrainer):
    """States standard normal quantiles, twice too wide unless `knows` the settings."""

    def __init__(self, knows):
        self.knows = knows

    def _weights(self, network, inputs, targets, seed, settings):
        weights = network.draw(np.random.default_rng(int(seed)), inputs.shape[-1], settings)
        if not self.knows(settings):
            weights["dense.bias"] = weights["dense.bias"] + np.float32(2)
        return weights


def tune(app, before=BEFORE, **options):
    trials = []
    tuned = job.tune(app, CODE, before, **OPTIONS | options, on_trial=trials.append)
    return tuned, trials


@pytest.fixture
def fetched(app):
    """An app with all bars of its market stored and nothing else."""
    from jobs.daily.run import run_session

    run_session(app, CODE, session(25))
    return app


def test_it_finds_what_is_better_and_confirms_it_elsewhere(fetched):
    fetched.trainer = Normal(knows=lambda settings: settings.layers == 2)
    tuned, trials = tune(fetched)
    assert len(trials) == 1 + OPTIONS["trials"]
    assert trials[0].settings == MODEL
    assert tuned.best.settings.layers == 2
    assert tuned.best.loss == min(trial.loss for trial in trials)
    assert tuned.is_better
    assert tuned.confirmed.value == pytest.approx(tuned.best.skill.value, abs=0.2)
    assert tuned.chosen_on[1] < tuned.confirmed_on[0] <= tuned.confirmed_on[1] < BEFORE


def test_what_chance_gives_is_not_recommended(fetched):
    tuned, _ = tune(fetched)
    doubtful = replace(tuned, confirmed=tuned.confirmed._replace(value=0.001, standard_error=0.002))
    assert not doubtful.is_better
    assert "keep the settings in use" in _conclusion(doubtful, {"units": 8})
    assert "[model]" not in _conclusion(doubtful, {"units": 8})


def test_settings_nothing_beats_stay(fetched):
    fetched.trainer = Normal(knows=lambda settings: settings == MODEL)
    tuned, trials = tune(fetched)
    assert tuned.best.settings == MODEL
    assert all(trial.skill.value < 0 for trial in trials[1:])
    assert "nothing to change" in _conclusion(tuned, {})


def test_nothing_from_the_date_on_is_looked_at_and_nothing_is_stored(fetched, make_app, market):
    fetched.trainer = PlainTrainer()
    before = dump(fetched.engine)
    _, expected = tune(fetched)
    after = dump(fetched.engine)
    assert {name: rows for name, rows in after.items() if name != "market_inputs"} == {
        name: rows for name, rows in before.items() if name != "market_inputs"
    }
    market.multiply("AAA", 1.1, BEFORE, session(25))
    other = make_app(market)
    from jobs.daily.run import run_session

    run_session(other, CODE, session(25))
    _, found = tune(other)
    assert found == expected


def test_too_little_history_is_said(fetched):
    with pytest.raises(NothingToTrain, match="No ticker has 60 bars up to"):
        tune(fetched, before=session(-80))


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (date(1980, 1, 1), "1980-01-01 is not after the first of the bars of XNYS: they are from"),
        (
            date(2200, 1, 1),
            "2200-01-01 is in the future, and after the bars of XNYS",
        ),
    ],
)
def test_a_date_that_no_bars_lead_up_to_is_said(fetched, before, words):
    with pytest.raises(NoBarsThen, match=words):
        tune(fetched, before=before)


def test_settings_tried_are_settings_allowed():
    kinds = (("adam", "smoothed_pinball"), ("rmsprop", "pinball"))
    sizes = ((4, 1, 20), (48, 2, 120))
    for (units, layers, lookback), (optimizer, loss) in zip(sizes, kinds, strict=True):
        drawn = FixedTrial(
            {"units": units, "layers": layers, "lookback": lookback, "dropout": 0.3}
            | {"base_learning_rate": 0.00123456, "learning_rate": 2e-3, "anchor": 99.9}
            | {"optimizer": optimizer, "loss": loss}
        )
        proposed = job.propose(drawn, MODEL)
        assert type(proposed).model_validate(proposed.model_dump()) == proposed
        assert (proposed.optimizer, proposed.loss) == (optimizer, loss)
        assert (proposed.base_learning_rate, proposed.anchor) == (0.0012, 100.0)


def test_what_is_printed_is_a_settings_file(fetched):
    tuned, _ = tune(fetched)
    sure = replace(tuned, confirmed=tuned.confirmed._replace(value=0.01, standard_error=0.001))
    changes = {"units": 8, "anchor": 2.5, "optimizer": "rmsprop"}
    told = _conclusion(sure, changes)
    assert tomllib.loads(told[told.index("[model]") :]) == {"model": changes}


def test_the_command_asks_for_a_date():
    from jobs.cli import app as command

    answer = CliRunner().invoke(command, ["tune"])
    assert answer.exit_code == 2
    assert "--before" in answer.output
