"""What one ticker breaks stops no other, at the first try, whatever step it breaks."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.daily import chunk as forecasting
from jobs.daily import fetch as fetching
from jobs.daily import run as running
from jobs.isolation import isolate, together
from stockbatch.engine import learning
from stockbatch.engine.seeds import seed
from stockbatch.exceptions import DatabaseUnavailable, NoFit, TrainingFailed
from stockbatch.methods import registry
from stockbatch.methods.base import Given, Method, Scope, Stated
from stockbatch.records import Action, ActionKind, Check, CorporateAction, Finding, Reason, Severity
from stockbatch.store import ticker_metrics
from tests.support.market import (
    ORIGIN,
    Market,
    PlainTrainer,
    fetch,
    in_chunks,
    outcomes,
    run,
    session,
)

OTHERS = tuple(f"T{number:02d}" for number in range(13))
HUNDRED = tuple(f"T{number:02d}" for number in range(99))
BAD = "T09B"
TRAINED = Action.TRAINED, Reason.NO_MODEL


def market_of(folder, others):
    market = Market(folder / "market.csv", ())
    write = market.write
    market.write = lambda: None  # once for all, not for each
    for ticker in (*others, BAD):
        market.list(ticker)
    write()
    return market


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return market_of(tmp_path_factory.mktemp("many"), OTHERS)


@pytest.fixture(scope="module")
def watching(make_lasting_app, many):
    """An App with all of them on its watchlist, for tests to copy."""
    return in_chunks(make_lasting_app(many), 6)


@pytest.fixture
def app(make_app, many, watching):
    return make_app(many, like=watching)


def id_of(app):
    (row,) = fetch(app.engine, "SELECT id FROM stockbatch.instruments WHERE ticker = :t", t=BAD)
    return row["id"]


def message(app, day=ORIGIN):
    (row,) = fetch(
        app.engine,
        "SELECT message FROM stockbatch.outcomes WHERE is_final AND instrument_id = :id"
        " AND session = :day",
        id=id_of(app),
        day=day,
    )
    return row["message"]


def methods_of(app, ticker, day=ORIGIN):
    rows = fetch(
        app.engine,
        "SELECT method FROM stockbatch.forecasts JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = :t AND origin_session = :day",
        t=ticker,
        day=day,
    )
    return {row["method"] for row in rows}


ALL = {"lstm", "naive", "rolling_quantile", "ewma", "har", "har_events", "combined"}
"""What a short history has a forecast by."""


def assert_others_done(app, day=ORIGIN, outcome=TRAINED):
    """Assert that the run was finished at the first try, with all that is due of the others."""
    runs = fetch(app.engine, "SELECT status, tries FROM stockbatch.runs WHERE session = :d", d=day)
    assert runs == [{"status": "finished", "tries": 1}]
    found = outcomes(app.engine, day)
    assert len(found) == 1 + len(OTHERS)
    assert {found[ticker] for ticker in OTHERS} == {outcome}
    for ticker in (OTHERS[0], OTHERS[10], OTHERS[-1]):
        assert methods_of(app, ticker, day) >= ALL


# ---- fetch


def delivered(monkeypatch, **changes):
    """Let the checks pass what no table takes, of the bad ticker alone."""
    check = fetching.quality.check

    def changed(answer, *arguments):
        checked = check(answer, *arguments)
        if answer.symbol != BAD:
            return checked
        return replace(checked, **{name: change(checked) for name, change in changes.items()})

    monkeypatch.setattr(fetching.quality, "check", changed)


BARS = {
    "a close that is no number": {
        "accepted": lambda c: replace(c.accepted, close=np.full(len(c.accepted), np.nan))
    },
    "an infinite volume": {
        "accepted": lambda c: replace(c.accepted, volume=np.full(len(c.accepted), np.inf))
    },
    "a bar many times": {
        "accepted": lambda c: replace(
            c.accepted, sessions=np.full(len(c.accepted), c.accepted.sessions[-1])
        )
    },
    "an infinite split": {
        "actions": lambda _: (CorporateAction(session=ORIGIN, kind=ActionKind.SPLIT, value=np.inf),)
    },
    "a finding of an infinite number": {
        "findings": lambda _: (
            Finding(check=Check.BAD_SPLIT, severity=Severity.WARNING, message="", observed=np.inf),
        )
    },
    "an exception": {"accepted": lambda _: 1 / 0},
}


@pytest.mark.parametrize("changes", BARS.values(), ids=BARS)
def test_bars_that_no_table_takes(app, monkeypatch, changes):
    delivered(monkeypatch, **changes)
    run(app)
    assert_others_done(app)
    assert outcomes(app.engine)[BAD] == (Action.NONE, Reason.FAILED)
    assert message(app)
    assert "\n" not in message(app)


def test_text_that_no_table_takes_is_spelled_out(app, monkeypatch):
    text = "a\0b \ud800"
    finding = Finding(check=Check.BAD_SPLIT, severity=Severity.WARNING, message=text)
    delivered(monkeypatch, findings=lambda _: (finding,))
    run(app)
    assert_others_done(app)
    assert outcomes(app.engine)[BAD] == TRAINED
    (row,) = fetch(app.engine, "SELECT message FROM stockbatch.data_issues")
    assert row["message"] == r"a\x00b \ud800"


def test_a_provider_that_breaks_on_a_ticker(app, monkeypatch, many):
    source = app.provider(many.specification)
    ask = source.fetch

    def choking(requests):
        for request in requests:
            if request.symbol == BAD:
                raise KeyError("poison")
            yield from ask([request])

    monkeypatch.setattr(source, "fetch", choking)
    run(app)
    assert_others_done(app)
    assert outcomes(app.engine)[BAD] == (Action.NONE, Reason.FETCH_FAILED)
    assert "KeyError('poison')" in message(app)


# ---- confirm, score, metrics


@pytest.mark.parametrize("step", ["confirm_jumps", "score_forecasts"])
def test_a_ticker_that_a_step_fails_with(app, monkeypatch, step):
    work = getattr(running, step)

    def choking(app, run, calendar, instruments):
        if BAD in {instrument.ticker for instrument in instruments}:
            raise IndexError("poison")
        return work(app, run, calendar, instruments)

    monkeypatch.setattr(running, step, choking)
    run(app)
    assert_others_done(app)
    assert methods_of(app, BAD) >= ALL
    if step == "score_forecasts":
        assert outcomes(app.engine)[BAD] == (Action.TRAINED, Reason.FAILED)
        assert message(app).startswith("not scored: IndexError('poison'); ")
    else:
        assert outcomes(app.engine)[BAD] == TRAINED


def test_a_forecast_whose_score_and_metrics_are_beyond_numbers(app, change):
    run(app)
    wild = "UPDATE stockbatch.forecasts SET close = 1e300 WHERE instrument_id = :id"
    change(wild, id=id_of(app))
    run(app, session(1))
    reused = Action.REUSED, Reason.FRESH
    found = outcomes(app.engine, session(1))
    assert_others_done(app, session(1), found[OTHERS[0]])
    assert found[OTHERS[0]][0] in {Action.REUSED, Action.BASE}, reused
    assert found[BAD][1] is Reason.FAILED
    assert methods_of(app, BAD, session(1)) >= ALL
    # The others' are scored, and in the metrics over all.
    scored = "SELECT count(DISTINCT instrument_id) AS n FROM stockbatch.scores JOIN"
    scored += " stockbatch.forecasts AS f ON f.id = forecast_id"
    assert fetch(app.engine, scored) == [{"n": len(OTHERS)}]
    total = "SELECT n FROM stockbatch.metrics WHERE method = 'naive'"
    total += " AND window_sessions = 20 AND metric = 'mae_return'"
    assert fetch(app.engine, total) == [{"n": len(OTHERS)}]


def test_metrics_that_no_table_takes(app, monkeypatch):
    run(app)
    id_ = id_of(app)
    saved = ticker_metrics.save

    def wild(db, calendar, through, part, table):
        for columns in table.values():
            columns["mae"][[one.id == id_ for one in part]] = np.inf
        saved(db, calendar, through, part, table)

    monkeypatch.setattr(ticker_metrics, "save", wild)
    run(app, session(1))
    assert_others_done(app, session(1), outcomes(app.engine, session(1))[OTHERS[0]])
    rows = fetch(app.engine, "SELECT DISTINCT instrument_id FROM stockbatch.ticker_metrics")
    assert len(rows) == len(OTHERS)
    assert {"instrument_id": id_} not in rows
    assert fetch(app.engine, "SELECT * FROM stockbatch.sums") == []  # of some tickers only


# ---- forecast


def poisonous(name, spoil):
    """Return a method that says what `spoil` makes of the bad ticker's row."""

    class Poisonous(Method):
        title = "Poisonous"
        sentence = "Anything."

        def forecast(self, given: Given) -> Stated:
            rows = [i.ticker == BAD for i in given.material.instruments]
            shape = (len(rows), given.origins, 11)
            quantiles = np.broadcast_to(np.linspace(-0.01, 0.01, 11), shape).copy()
            stated = replace(
                Stated.of(quantiles),
                raw_quantiles=quantiles.copy(),
                shrinkage=np.ones(shape[:2]),
                dissimilarity=np.ones(shape[:2]),
            )
            return spoil(stated, np.array(rows)) if any(rows) else stated

    Poisonous.name = name
    return Poisonous


def _set(field, value):
    def spoil(stated, rows):
        values = getattr(stated, field).copy()
        values[rows] = value
        return replace(stated, **{field: values})

    return spoil


def _raise(stated, rows):
    raise IndexError("poison")


SPOILT = {
    "nan": _set("quantiles", np.nan),
    "infinity": _set("quantiles", np.inf),
    "log_return": _set("log_return", -np.inf),
    "raw": _set("raw_quantiles", np.nan),
    "shrinkage": _set("shrinkage", np.inf),
    "dissimilarity": _set("dissimilarity", np.nan),
    "raises": _raise,
}


@pytest.fixture
def install(monkeypatch):
    def add(*kinds):
        monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, *kinds))
        registry.methods.cache_clear()

    yield add
    registry.methods.cache_clear()


def test_methods_that_spoil_a_ticker_leave_it_the_others(app, install):
    install(*(poisonous(how, spoil) for how, spoil in SPOILT.items()))
    run(app)
    assert_others_done(app)
    assert outcomes(app.engine)[BAD] == TRAINED
    assert methods_of(app, OTHERS[0]) == {*ALL, *SPOILT}
    assert methods_of(app, BAD) == ALL
    assert message(app).endswith("; raises: IndexError('poison')")
    found = fetch(app.engine, "SELECT check_name, session, message FROM stockbatch.data_issues")
    messages = {(row["check_name"], row["session"]): row["message"] for row in found}
    assert messages.pop(("no_forecast", None)) == "raises: IndexError('poison')"
    left_out = messages.pop(("implausible_forecast", ORIGIN))
    assert "infinity, log_return, raw, shrinkage, dissimilarity, with" in left_out
    assert messages == {}


@pytest.mark.parametrize("column", ["close", "origin_close", "probability_of_rise", "fingerprint"])
def test_a_forecast_that_no_table_takes(app, monkeypatch, column):
    make, id_ = forecasting.forecasts, id_of(app)

    def wild(*arguments):
        for one in make(*arguments):
            value = "\0" if column == "fingerprint" else np.inf
            yield replace(one, **{column: value}) if one.instrument_id == id_ else one

    monkeypatch.setattr(forecasting, "forecasts", wild)
    run(app)
    assert_others_done(app)
    assert outcomes(app.engine)[BAD] == (Action.NONE, Reason.FAILED)
    assert "\n" not in message(app)
    assert methods_of(app, BAD) == set()


def test_one_of_a_hundred(make_app, tmp_path, monkeypatch):
    app = make_app(market_of(tmp_path, HUNDRED))
    app.settings = app.settings.model_copy(update={"chunk_tickers": 64})
    make, id_ = forecasting.forecasts, id_of(app)

    def wild(*arguments):
        for one in make(*arguments):
            yield replace(one, close=np.inf) if one.instrument_id == id_ else one

    monkeypatch.setattr(forecasting, "forecasts", wild)
    run(app)
    runs = fetch(app.engine, "SELECT status, tries FROM stockbatch.runs")
    assert runs == [{"status": "finished", "tries": 1}]
    found = outcomes(app.engine)
    assert found.pop(BAD) == (Action.NONE, Reason.FAILED)
    assert found == dict.fromkeys(HUNDRED, TRAINED)


# ---- train


@pytest.mark.parametrize("error", [TrainingFailed(reason="poison"), FloatingPointError("poison")])
def test_a_ticker_that_spoils_its_training(app, error):
    bad = seed(BAD, ORIGIN, app.settings)

    class Choking(PlainTrainer):
        def fit(self, network, data, settings, **options):
            if bad in data.seeds:
                raise error
            return super().fit(network, data, settings, **options)

    app.trainer = Choking()
    run(app)
    assert_others_done(app)
    assert outcomes(app.engine)[BAD] == (Action.BASE, Reason.FAILED)
    assert "poison" in message(app)
    assert methods_of(app, BAD) == ALL


def test_a_ticker_that_spoils_the_base_is_left_out_of_it(app, monkeypatch):
    fit = learning.train_base

    def choking(materials, *arguments, **options):
        if BAD in {i.ticker for material in materials for i in material.instruments}:
            raise TrainingFailed(reason="poison")
        return fit(materials, *arguments, **options)

    monkeypatch.setattr(learning, "train_base", choking)
    run(app)
    assert_others_done(app)
    (base,) = fetch(
        app.engine, "SELECT tickers FROM stockbatch.models WHERE kind = 'base' AND method = 'lstm'"
    )
    assert base == {"tickers": len(OTHERS)}


def test_a_training_that_fails_for_all_ends_after_a_few(app):
    tried = []

    class Broken(PlainTrainer):
        def fit(self, *arguments, **options):
            tried.append(1)
            raise TrainingFailed(reason="no library")

    app.trainer = Broken()
    run(app)
    assert len(tried) < 20
    assert set(outcomes(app.engine).values()) == {(Action.BASE, Reason.FAILED)}
    assert "no library" in message(app)


class Fitted(Method):
    name = "fitted"
    title = "Fitted"
    sentence = "Anything."
    fits = Scope.TICKER
    error: Exception

    def fit_ticker(self, material, row, settings):
        if material.instruments[row].ticker == BAD:
            raise self.error
        return {"mean": np.zeros(1, np.float32)}

    def forecast(self, given):
        returns = np.full((len(given.material.instruments), given.origins), np.nan)
        returns[list(given.parameters)] = 0.0
        return Stated(log_return=returns)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (NoFit(reason="a mean of 9 times the deviation"), "no plausible fit: a mean of 9 times"),
        (np.linalg.LinAlgError("singular"), "LinAlgError('singular')"),
    ],
)
def test_a_method_without_a_fit_says_why_once(app, install, monkeypatch, error, said):
    monkeypatch.setattr(Fitted, "error", error, raising=False)
    install(Fitted)
    for day in (ORIGIN, session(1)):
        run(app, day)
        assert methods_of(app, BAD, day) == ALL
        assert methods_of(app, OTHERS[0], day) == {*ALL, "fitted"}
        assert f"fitted: {said}" in message(app, day)
    assert_others_done(app)
    (row,) = fetch(app.engine, "SELECT check_name, message FROM stockbatch.data_issues")
    assert row["check_name"] == "no_forecast"
    assert row["message"].startswith(f"fitted: {said}")


# ---- who is to blame


def numbered(count):
    from types import SimpleNamespace

    return [SimpleNamespace(id=number, ticker=f"T{number}") for number in range(count)]


def test_what_no_ticker_can_be_blamed_for_is_raised_at_once():
    calls = []

    def work(part):
        calls.append(len(part))
        raise error

    for error in (DatabaseUnavailable(url="x", reason="y"), MemoryError()):
        with pytest.raises(type(error)):
            isolate("x", work, [numbered(64)])
    assert calls == [64, 64]


def test_one_of_64_is_found_in_a_few_steps_and_work_is_done_once():
    done, calls = [], []

    def work(part):
        calls.append(1)
        if 37 in {one.id for one in part}:
            raise ValueError("poison")
        done.extend(one.id for one in part)

    assert list(isolate("x", work, [numbered(64)])) == [37]
    assert sorted(done) == [one.id for one in numbered(64) if one.id != 37]
    assert len(calls) == 13


def test_a_fit_that_fails_with_everybody_is_no_tickers_fault():
    calls = []

    def fit(part):
        calls.append(1)
        raise ValueError("poison")

    with pytest.raises(ValueError, match="poison"):
        together("x", fit, numbered(1000))
    assert len(calls) < 50
