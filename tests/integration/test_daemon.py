"""The daemon on the real server: what it does, in which order, and when it stops."""

from market import CODE, Market, PlainTrainer, assert_same, facts, fetch, outcomes, session
import pytest
from evenings import Daemons, evening, since, work


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return Market(tmp_path_factory.mktemp("market") / "market.csv")


@pytest.fixture(scope="module")
def new(make_lasting_app, market):
    app = make_lasting_app(market, trainer=PlainTrainer())
    since(app, evening(-1))
    return app


@pytest.fixture
def app(make_app, market, new):
    return make_app(market, like=new, trainer=PlainTrainer())


@pytest.fixture(scope="module")
def daemons():
    made = Daemons()
    yield made
    made.close()


def test_a(app):
    work(app, evening(0), evening(1))
    print(fetch(app.engine, "SELECT * FROM stockbatch.runs"))
    print(outcomes(app.engine, session(1)))

def test_b(app, daemons):
    assert daemons.run(app, evening(0)) == 0
    assert daemons.run(app, evening(1), faults=[("forecasts: load", 1, ["SIGTERM", "SIGTERM"])]) == 143
    assert daemons.run(app, evening(1), faults=[("forecasts: load", 1, ["SIGSTOP"])]) == -19
