"""Models put into use by hand, and back."""

from uuid import uuid4

import numpy as np
import pytest
from sqlalchemy import text

from jobs.app import App
from jobs.models import promote as promote_models
from stockbatch.engine import learning
from stockbatch.exceptions import (
    NotASession,
    NothingToRollBack,
    RunInProgress,
    UnknownInstrument,
    UnknownModel,
    UnsuitableModel,
)
from stockbatch.records import LSTM, Action, ModelKind, Reason, Run
from stockbatch.store import models, promotions, runs
from tests.support.ledger import listed, model_of, opened
from tests.support.market import (
    CODE,
    NOW,
    ORIGIN,
    TICKERS,
    PlainTrainer,
    calendar,
    fetch,
    outcomes,
    run,
    session,
    small,
)

NEXT = session(1)
"""The origin of the run after the last one."""


class Ledger:
    """Models of AAA and BBB, as runs until ORIGIN have left them."""

    def __init__(self, app: App) -> None:
        self.app = app
        with app.transaction() as db:
            self.one, self.other = listed(db, "AAA", "BBB")

    def train(self, day, instrument=None, run=None, **changes):
        """Store a model of AAA trained at `day`, or for `ticker=None` a base; return its id."""
        instrument = instrument or self.one
        demo = changes.pop("demo", False)
        settings = {"configuration": learning.configuration(self.app.settings)}
        model = model_of(**{"ticker": instrument.ticker, "last": day} | settings | changes)
        with self.app.transaction() as db:
            run = run or opened(db)
            if model.kind is ModelKind.BASE:
                return models.add_base(db, model, run, demo=demo).id
            return models.add(db, {instrument.id: model}, run, demo=demo)[instrument.id]

    def use(self, model_id, day):
        """Put a model of AAA into use as a run does; return its id."""
        with self.app.transaction() as db:
            promotions.put_into_use(db, {self.one.id: model_id}, day, {self.one.id: Reason.EXPIRED})
        return model_id

    def in_use(self, day):
        with self.app.transaction() as db:
            return models.champions(db, [self.one], LSTM, day)[self.one.id].id

    def promote(self, model_id, first=None):
        return promote_models.promote(self.app, "AAA", model_id, first)

    def roll_back(self):
        return promote_models.roll_back(self.app, "AAA")

    @property
    def rows(self):
        query = "SELECT model_id, from_session, reason FROM stockbatch.promotions ORDER BY id"
        return [tuple(row.values()) for row in fetch(self.app.engine, query)]


@pytest.fixture
def ledger(settings, writer):
    app = App(settings=small(settings), engine=writer, trainer=PlainTrainer(), clock=lambda: NOW)
    return Ledger(app)


@pytest.fixture
def two(ledger):
    """A ledger in which AAA has had two models, the second from the session before ORIGIN on."""
    first = ledger.use(ledger.train(session(-5)), session(-5))
    second = ledger.use(ledger.train(session(-1)), session(-1))
    return ledger, first, second


def test_a_chosen_model_serves_from_the_next_run_on(two):
    ledger, first, second = two
    assert ledger.promote(first) == NEXT
    assert ledger.rows[-1] == (first, NEXT, "manual")
    assert [ledger.in_use(session(n)) for n in (-5, -1, 0)] == [first, second, second]
    assert ledger.in_use(NEXT) == ledger.in_use(session(50)) == first


def test_a_chosen_model_serves_from_the_session_named_on(two):
    ledger, first, second = two
    assert ledger.promote(first, session(7)) == session(7)
    assert [ledger.in_use(session(n)) for n in (6, 7)] == [second, first]
    with pytest.raises(NotASession, match="2024-06-01 is not a trading session of XNYS"):
        ledger.promote(first, ORIGIN.replace(day=1))


def test_the_same_choice_again_is_no_new_row(two):
    ledger, first, second = two
    ledger.promote(second)
    assert len(ledger.rows) == 2
    for model_id in (first, first, second, first):
        ledger.promote(model_id)
    assert [row[0] for row in ledger.rows[2:]] == [first, second, first]
    assert ledger.in_use(NEXT) == first


def test_a_later_promotion_of_a_run_goes_before_a_choice(two):
    ledger, first, _ = two
    ledger.promote(first)
    third = ledger.use(ledger.train(session(1)), session(1))
    assert ledger.in_use(NEXT) == third


def test_where_nothing_ever_ran_the_last_session_closed_is_next(ledger):
    backtest = Run(id=None, calendar=CODE, session=ORIGIN, attempt=0, owner=uuid4())
    model_id = ledger.train(ORIGIN, run=backtest)
    assert ledger.promote(model_id) == calendar().last_closed(NOW)


UNSUITABLE = {
    "other ticker": ("it belongs to BBB", {"ticker": "BBB"}),
    "garch": ("it is of garch, and lstm is in use", {"method": "garch"}),
    "other settings": ("it was trained with other settings", {"configuration": "old"}),
    "later data": (
        f"it learned from sessions up to {session(2)}, and {NEXT} is before that",
        {"last": session(2)},
    ),
    "old base": ("the base in use is model ", {"ticker": None, "last": session(-2)}),
    "demo base": ("the base in use is model ", {"ticker": None, "demo": True}),
}


@pytest.mark.parametrize(("reason", "changes"), UNSUITABLE.values(), ids=UNSUITABLE)
def test_a_model_that_cannot_serve_is_refused(ledger, reason, changes):
    ledger.train(session(-1), ticker=None)
    instrument = ledger.other if changes.get("ticker") else ledger.one
    model_id = ledger.train(**{"day": ORIGIN, "instrument": instrument} | changes)
    with pytest.raises(UnsuitableModel, match=f"Model {model_id} cannot serve AAA: {reason}"):
        ledger.promote(model_id)
    assert ledger.rows == []


def test_a_model_that_is_gone_is_refused(two):
    ledger, first, _ = two
    prune(ledger, first)
    with pytest.raises(UnsuitableModel, match=f"Model {first} cannot .* have been pruned"):
        ledger.promote(first)
    with pytest.raises(UnsuitableModel, match="have been pruned"):
        ledger.roll_back()
    with pytest.raises(UnknownModel, match="no model 999: 'stockbatch models list AAA' shows"):
        ledger.promote(999)
    with pytest.raises(UnknownInstrument):
        promote_models.promote(ledger.app, "ZZZ", first)


def prune(ledger, model_id):
    with ledger.app.transaction() as db:
        query = "UPDATE stockbatch.models SET weights = NULL WHERE id = :id"
        db.execute(text(query), {"id": model_id})


def test_nothing_is_chosen_while_a_run_is_going_on(two):
    ledger, first, _ = two
    with runs.exclusive(ledger.app.engine, "XNYS"):
        for choose in (lambda: ledger.promote(first), ledger.roll_back):
            with pytest.raises(RunInProgress):
                choose()
    assert len(ledger.rows) == 2


# ---- back


def test_back_is_the_model_before_and_twice_the_one_before_that(two):
    ledger, first, second = two
    third = ledger.use(ledger.train(ORIGIN), ORIGIN)
    assert ledger.roll_back() == (second, NEXT)
    assert ledger.rows[-1] == (second, NEXT, "rollback")
    assert [ledger.in_use(day) for day in (ORIGIN, NEXT)] == [third, second]
    assert ledger.roll_back() == (first, NEXT)
    with pytest.raises(NothingToRollBack, match="AAA had no other model in use before"):
        ledger.roll_back()
    assert ledger.in_use(NEXT) == first
    ledger.promote(third)
    assert ledger.roll_back() == (first, NEXT)


def test_a_choice_for_later_is_taken_back_when_it_would_begin(two):
    ledger, first, second = two
    ledger.promote(first, session(9))
    assert ledger.roll_back() == (second, session(9))
    assert ledger.in_use(session(9)) == second


def test_without_a_model_before_there_is_nothing_to_go_back_to(ledger):
    with pytest.raises(NothingToRollBack):
        ledger.roll_back()
    ledger.use(ledger.train(ORIGIN), ORIGIN)
    with pytest.raises(NothingToRollBack):
        ledger.roll_back()


def test_back_to_the_base_is_back_to_the_base_in_use(ledger):
    ledger.use(ledger.train(session(-9), ticker=None), session(-9))
    ledger.use(ledger.train(session(-5), ticker=None), session(-5))
    with pytest.raises(NothingToRollBack):
        ledger.roll_back()
    own = ledger.use(ledger.train(session(-1)), session(-1))
    base = ledger.train(ORIGIN, ticker=None)
    assert ledger.roll_back() == (base, NEXT)
    with pytest.raises(NothingToRollBack):
        ledger.roll_back()
    ledger.promote(own)
    ledger.promote(base)
    assert ledger.roll_back() == (own, NEXT)


# ---- what the runs make of it


def served(app, day, ticker="AAA"):
    """Return the model that a ticker was forecast with from a session."""
    (row,) = fetch(
        app.engine,
        "SELECT model_id FROM stockbatch.forecasts JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = :ticker AND method = 'lstm'"
        " AND origin_session = :day",
        ticker=ticker,
        day=day,
    )
    return row["model_id"]


def test_runs_use_a_chosen_model_until_one_of_them_promotes_another(make_app, market):
    app = make_app(market)
    for day in range(6):
        run(app, session(day))
    assert outcomes(app.engine, session(5))["AAA"] == (Action.TRAINED, Reason.EXPIRED)
    known = [served(app, session(day)) for day in range(6)]
    own = fetch(
        app.engine,
        "SELECT m.id FROM stockbatch.models AS m JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = 'AAA' AND m.kind = 'ticker' ORDER BY m.id",
    )
    chosen = next(row["id"] for row in own if row["id"] != known[-1])
    assert promote_models.promote(app, "AAA", chosen) == session(6)
    for day in range(6, 10):
        run(app, session(day))
        assert outcomes(app.engine, session(day))["AAA"] == (Action.REUSED, Reason.FRESH)
        assert served(app, session(day)) == chosen
    run(app, session(10))
    assert outcomes(app.engine, session(10))["AAA"] == (Action.TRAINED, Reason.EXPIRED)
    ((verdict, new),) = [
        (row["verdict"], row["id"])
        for row in fetch(
            app.engine,
            "SELECT verdict, m.id FROM stockbatch.models AS m JOIN stockbatch.instruments AS i"
            " ON i.id = instrument_id WHERE ticker = 'AAA' AND m.kind = 'ticker'"
            " AND last_session = :day",
            day=session(10),
        )
    ]
    expected = {"promoted": new, "champion_kept": chosen}
    assert served(app, session(10)) == expected.get(verdict, served(app, ORIGIN)), verdict


class DivergingTrainer(PlainTrainer):
    """Makes up base models only."""

    def fit(self, *arguments, **options):
        fitted = super().fit(*arguments, **options)
        fitted.validation_loss[:] = np.nan
        return fitted


def test_a_model_of_other_settings_is_never_used(make_app, market):
    app = make_app(market)
    run(app)
    own = fetch(
        app.engine,
        "SELECT m.id, ticker FROM stockbatch.models AS m JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE m.kind = 'ticker' AND method = 'lstm'",
    )
    assert {row["ticker"] for row in own} == set(TICKERS)
    for row in own:
        assert promote_models.promote(app, row["ticker"], row["id"]) == session(1)

    model = app.settings.model.model_copy(update={"units": 4})
    app.settings = app.settings.model_copy(update={"model": model})
    app.trainer = DivergingTrainer()
    run(app, session(1))
    assert set(outcomes(app.engine, session(1)).values()) == {(Action.BASE, Reason.DIVERGED)}
    (base,) = {served(app, session(1), ticker) for ticker in TICKERS}
    assert base not in {row["id"] for row in own}
