"""A market of six tickers, and Apps that share it out."""

import pytest

from stockbatch.methods import risk
from tests.support.later import Later
from tests.support.market import (
    Market,
    facts,
    in_chunks,
    run,
    session,
)

support = Later("tests.support.workers")
"""Not imported here: pytest would give its handler to the loggers of Dask, which hushes them."""


@pytest.fixture(autouse=True)
def _of_a_short_history(monkeypatch):
    """Let there be risk to tell."""
    monkeypatch.setattr(risk, "FEWEST", 60)


@pytest.fixture
def wide(tmp_path):
    return Market(tmp_path / "wide.csv", support.MORE)


@pytest.fixture
def undisturbed(make_app, wide):
    """What two sessions leave behind without workers."""
    app = in_chunks(make_app(wide))
    for day in (session(0), session(1)):
        run(app, day)
    left = facts(app.engine)
    assert left["risk_forecasts"]
    return left


@pytest.fixture
def shared(make_app, wide):
    """An App whose chunks two workers make."""
    app = in_chunks(make_app(wide))
    app.settings = app.settings.model_copy(update={"workers": 2})
    app.open_worker = support.open_plain
    return app
