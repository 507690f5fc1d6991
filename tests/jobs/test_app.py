"""What a job is given."""

import logging
from io import StringIO

import pytest
from rich.console import Console

from jobs.app import App, ProgressLines
from jobs.logs import PROGRESS
from stockbatch.config import Settings
from stockbatch.providers.demo import Demo


def test_a_provider_handed_in_is_used_and_others_are_made_once(tmp_path):
    own = Demo()
    app = App(settings=Settings(home=tmp_path), engine=None, trainer=None, providers={"own": own})
    assert app.provider("own") is own
    made = app.provider("demo")
    assert isinstance(made, Demo)
    assert made is not own
    assert app.provider("demo") is made


def test_progress_without_a_terminal_is_a_line_now_and_then(caplog):
    caplog.set_level(logging.INFO, PROGRESS)
    now = [0.0]
    progress = ProgressLines(get_time=lambda: now[0], disable=True)
    task = progress.add_task("bars", total=400)
    for second in range(400):
        now[0] = float(second)
        progress.advance(task)
    assert caplog.messages == [f"bars: {done} of 400" for done in range(40, 401, 40)]
    caplog.clear()
    endless = progress.add_task("base model", total=None)
    for second in range(400, 521):
        now[0] = float(second)
        progress.update(endless, description=f"base model, epoch {second}")
    assert caplog.messages == ["base model, epoch 459", "base model, epoch 519"]
    caplog.clear()
    soon = progress.add_task("metrics", total=10)
    for _ in range(10):
        progress.advance(soon)
    assert caplog.messages == []


@pytest.mark.parametrize(("level", "shows"), [(logging.INFO, True), (logging.WARNING, False)])
def test_progress_on_a_terminal_is_a_bar_unless_told_to_be_quiet(tmp_path, caplog, level, shows):
    caplog.set_level(level, PROGRESS)
    screen = Console(file=StringIO(), force_terminal=True)
    app = App(settings=Settings(home=tmp_path), engine=None, trainer=None, console=screen)
    assert app.progress().disable is not shows
