"""Fixtures of the commands about the daemon's work."""

from contextlib import nullcontext

import pytest
from typer.testing import CliRunner

from jobs import cli
from tests.support.evenings import evening, since


@pytest.fixture
def app(app):
    """An App whose watchlist was filled on the evening before ORIGIN."""
    since(app, evening(-1))
    return app


@pytest.fixture
def stockbatch(app, monkeypatch):
    """Call the command in this process and in the world of the App."""
    monkeypatch.setattr("jobs.app.running", lambda settings, create=True: nullcontext(app))

    def call(*arguments):
        return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])

    return call
