"""The job of one session, on a small market and a real database."""

import logging
import time
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest

from jobs.daily.run import run_session, run_sessions
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.engine.training import TrainingProcess
from stockbatch.exceptions import (
    DatabaseFull,
    NoInstruments,
    NotASession,
    RunInProgress,
    RunSuperseded,
    SessionNotClosed,
    UnknownInstrument,
    UnknownProvider,
)
from stockbatch.records import Action, Listing, Reason
from stockbatch.store import instruments, runs
from tests.support.market import (
    BEFORE,
    CODE,
    MODEL,
    NOW,
    ORIGIN,
    RETRAIN_AFTER,
    TICKERS,
    Market,
    PlainTrainer,
    assert_same,
    calendar,
    dump,
    facts,
    fetch,
    in_chunks,
    outcomes,
    run,
    session,
    watch,
)

TRAINED = Action.TRAINED, Reason.NO_MODEL
REUSED = Action.REUSED, Reason.FRESH
NO_BAR = Action.NONE, Reason.NO_BAR
DIVERGED = Action.BASE, Reason.DIVERGED
METHODS = {"lstm", "naive", "rolling_quantile"}


def forecasts(app, day=ORIGIN):
    """Return the forecasts made at an origin by ticker and method."""
    rows = fetch(
        app.engine,
        "SELECT f.*, ticker FROM stockbatch.forecasts AS f"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id WHERE origin_session = :day",
        day=day,
    )
    return {(row["ticker"], row["method"]): row for row in rows}


def model_kind(app, ticker, day=ORIGIN):
    """Return the kind of the model behind the LSTM forecast of a ticker."""
    model_id = forecasts(app, day)[ticker, "lstm"]["model_id"]
    (row,) = fetch(app.engine, "SELECT kind FROM stockbatch.models WHERE id = :id", id=model_id)
    return row["kind"]


def last_run(app):
    (row,) = fetch(app.engine, "SELECT * FROM stockbatch.runs ORDER BY id DESC LIMIT 1")
    return row


def message(app, ticker, day=ORIGIN):
    (row,) = fetch(
        app.engine,
        "SELECT message FROM stockbatch.outcomes JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE is_final AND ticker = :t AND session = :day",
        t=ticker,
        day=day,
    )
    return row["message"]


# ---- what a run leaves behind


def test_every_ticker_is_trained_and_forecast_by_every_method(app, market, tensorflow):
    app.trainer = tensorflow
    summary = run(app)
    assert str(summary) == "XNYS 2024-06-03 finished: 3 outcomes: 3 trained (no_model)"
    assert outcomes(app.engine) == dict.fromkeys(TICKERS, TRAINED)
    made = forecasts(app)
    assert made.keys() >= {(ticker, method) for ticker in TICKERS for method in METHODS}
    for (ticker, method), row in made.items():
        close = market.bars[ticker][ORIGIN]["close"]
        assert (row["origin_close"], row["target_session"]) == (close, session(1))
        assert (row["horizon"], row["kind"], row["issued_at"]) == (1, "late", NOW)
        assert row["deadline_at"] == calendar().open(session(1))
        assert row["close"] == pytest.approx(close * np.exp(row["log_return"]))
        assert (row["model_id"] is None) == (method not in ("lstm", "combined"))
        if method == "naive":
            assert (row["log_return"], row["q50"], row["probability_of_rise"]) == (0, None, None)
        else:
            quantiles = [row[name] for name in QUANTILE_COLUMNS]
            assert quantiles == sorted(set(quantiles))
            kept = row["shrinkage"] if method in ("lstm", "combined") else 1
            assert row["log_return"] == pytest.approx(kept * row["q50"])
            assert -0.2 < quantiles[0] < 0 < quantiles[-1] < 0.2


def test_the_run_is_on_record(app):
    run(app)
    row = last_run(app)
    assert (row["calendar"], row["session"], row["attempt"]) == (CODE, ORIGIN, 1)
    assert (row["status"], row["message"], row["trigger"]) == ("finished", None, "manual")
    assert (row["instruments"], row["trained"], row["none"]) == (3, 3, 0)
    assert row["started_at"] < row["finished_at"]
    assert row["engine_hash"] == app.settings.engine_hash()
    for table in ("models", "forecasts", "outcomes"):
        of_run = f"SELECT count(*) AS n FROM stockbatch.{table} WHERE run_id = :id"
        assert fetch(app.engine, of_run, id=row["id"])[0]["n"] >= 3
    (promoted,) = fetch(
        app.engine, "SELECT DISTINCT from_session, reason FROM stockbatch.promotions"
    )
    assert promoted == {"from_session": ORIGIN, "reason": "no_model"}


def test_a_second_call_changes_nothing_and_says_so(app):
    first = run(app)
    before = dump(app.engine)
    again = run(app)
    assert dump(app.engine) == before
    assert str(again) == "XNYS 2024-06-03 finished already: 3 outcomes: 3 trained (no_model)"
    assert (first.done_before, again.done_before) == (False, True)


def test_the_next_session_scores_reuses_and_trains_nothing(app, market):
    run(app)
    models = fetch(app.engine, "SELECT * FROM stockbatch.models")
    with TrainingProcess() as untouched:
        app.trainer = untouched
        run(app, session(1))
        assert untouched.pid is None
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, REUSED)
    assert fetch(app.engine, "SELECT * FROM stockbatch.models") == models
    by_model = {row["model_id"] for row in forecasts(app, session(1)).values()}
    in_use = fetch(app.engine, "SELECT model_id FROM stockbatch.promotions")
    assert by_model == {None, *(row["model_id"] for row in in_use)}
    scores = fetch(
        app.engine,
        "SELECT s.*, ticker, method FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id",
    )
    assert len(scores) == len(forecasts(app))
    for row in scores:
        assert row["status"] == "scored"
        assert row["actual_close"] == market.bars[row["ticker"]][session(1)]["close"]
    metrics = fetch(app.engine, "SELECT DISTINCT through_session FROM stockbatch.metrics")
    assert metrics == [{"through_session": session(1)}]


def test_a_walk_is_the_same_as_its_sessions_one_by_one(app, make_app, market):
    walked = list(run_sessions(app, CODE, date(2024, 6, 1), session(2)))
    assert [summary.session for summary in walked] == [session(n) for n in range(3)]
    alone = make_app(market)
    for offset in range(3):
        run(alone, session(offset))
    assert_same(facts(app.engine), facts(alone.engine))


# ---- train or reuse


def test_a_model_of_a_certain_age_is_retrained(app):
    run(app)
    run(app, session(RETRAIN_AFTER - 1))
    run(app, session(RETRAIN_AFTER))
    fresh, expired = (outcomes(app.engine, session(RETRAIN_AFTER - n)) for n in (1, 0))
    assert fresh == dict.fromkeys(TICKERS, REUSED)
    assert expired == dict.fromkeys(TICKERS, (Action.TRAINED, Reason.EXPIRED))
    reasons = fetch(app.engine, "SELECT DISTINCT reason FROM stockbatch.models ORDER BY 1")
    assert [row["reason"] for row in reasons] == ["expired", "no_model"]


def test_other_engine_settings_retrain(app):
    run(app)
    model = MODEL.model_copy(update={"units": 2})
    app.settings = app.settings.model_copy(update={"model": model})
    run(app, session(1))
    run(app, session(2))
    changed = Action.TRAINED, Reason.CONFIGURATION_CHANGED
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, changed)
    assert outcomes(app.engine, session(2)) == dict.fromkeys(TICKERS, REUSED)


def test_other_settings_do_not_retrain(app):
    run(app)
    app.settings = app.settings.model_copy(update={"chunk_tickers": 64, "threads": 1})
    run(app, session(1))
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, REUSED)


def test_a_restated_history_retrains_its_ticker(app, market):
    run(app)
    market.multiply("BBB", 1.01, session(-3))
    run(app, session(1))
    restated = Action.TRAINED, Reason.HISTORY_RESTATED
    assert outcomes(app.engine, session(1)) == {"AAA": REUSED, "BBB": restated, "CCC": REUSED}
    kept = fetch(app.engine, "SELECT session, revision FROM stockbatch.bar_revisions")
    assert kept == [{"session": session(-3), "revision": 1}]
    run(app, session(2))
    assert outcomes(app.engine, session(2)) == dict.fromkeys(TICKERS, REUSED)


def test_a_correction_of_the_last_bar_a_model_saw_does_not_retrain(app, market):
    run(app)
    market.multiply("BBB", 1.01, ORIGIN)
    run(app, session(1))
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, REUSED)


def test_training_can_be_forced_in_an_attempt_of_its_own(app):
    run(app)
    run(app, session(1))
    before = forecasts(app, session(1))
    run(app, session(1), retrain=True)
    forced = Action.TRAINED, Reason.FORCED
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, forced)
    assert last_run(app)["attempt"] == 2
    tries = fetch(app.engine, "SELECT * FROM stockbatch.outcomes WHERE session = :d", d=session(1))
    assert sorted((row["try_number"], row["is_final"]) for row in tries) == (
        [(1, False)] * 3 + [(2, True)] * 3
    )
    rows = fetch(
        app.engine,
        "SELECT id FROM stockbatch.forecasts WHERE origin_session = :day",
        day=session(1),
    )
    assert {row["id"] for row in before.values()} < {row["id"] for row in rows}
    assert len(rows) == len(before) + 6, "only what the new models have a part in is new"


def test_a_short_history_gets_the_base_model_and_says_why(app, market):
    market.list("NEW", sessions=30)
    watch(app, market, ["NEW"])
    run(app)
    assert outcomes(app.engine)["NEW"] == (Action.BASE, Reason.SHORT_HISTORY)
    assert message(app, "NEW").startswith("31 bars: too few")
    assert model_kind(app, "NEW") == "base"
    assert ("NEW", "naive") in forecasts(app)
    assert ("NEW", "rolling_quantile") not in forecasts(app)


def test_where_all_histories_are_short_there_are_the_baselines(app):
    day = session(-BEFORE + 40)
    run(app, day)
    assert {reason for _, reason in outcomes(app.engine, day).values()} <= {Reason.SHORT_HISTORY}


class Diverging(PlainTrainer):
    """Finds no finite loss for the ticker in the first row."""

    def fit(self, *arguments, **options):
        fitted = super().fit(*arguments, **options)
        curve = fitted.validation_loss.copy()
        curve[0] = np.nan
        return replace(fitted, validation_loss=curve)


def test_a_fit_without_a_finite_loss_is_an_outcome(app):
    app.trainer = Diverging()
    run(app, tickers=["AAA", "BBB"])
    assert outcomes(app.engine) == {"AAA": DIVERGED, "BBB": TRAINED}
    assert message(app, "AAA") == "training (no_model) found no finite loss"
    assert model_kind(app, "AAA") == "base"


def test_a_model_of_its_own_outlives_a_fit_that_found_none(app):
    model = MODEL.model_copy(update={"seed": 2})
    app.settings = app.settings.model_copy(update={"model": model})
    run(app)
    own = {ticker for ticker in TICKERS if model_kind(app, ticker) == "ticker"}
    assert own, "one of the made-up models is better than the base"
    app.trainer = Diverging()
    app.settings = app.settings.model_copy(update={"chunk_tickers": 1})
    later = session(RETRAIN_AFTER)
    run(app, later)
    for ticker in TICKERS:
        action = Action.REUSED if ticker in own else Action.BASE
        assert outcomes(app.engine, later)[ticker] == (action, Reason.DIVERGED)
        assert (model_kind(app, ticker, later) == "ticker") == (ticker in own)


def test_a_model_of_other_settings_makes_no_forecasts(app):
    run(app, tickers=["AAA", "BBB"])
    model = MODEL.model_copy(update={"units": 2})
    app.settings = app.settings.model_copy(update={"model": model})
    app.trainer = Diverging()
    run(app, session(1), tickers=["AAA", "BBB"])
    assert outcomes(app.engine, session(1)) == {
        "AAA": DIVERGED,
        "BBB": (Action.TRAINED, Reason.CONFIGURATION_CHANGED),
    }
    assert model_kind(app, "AAA", session(1)) == "base"


# ---- missing and bad bars, poisonous tickers


def test_a_missing_bar_is_an_outcome_until_it_comes(app, market):
    bar = market.bars["BBB"][ORIGIN]
    market.drop("BBB", ORIGIN)
    run(app)
    assert outcomes(app.engine) == {"AAA": TRAINED, "BBB": NO_BAR, "CCC": TRAINED}
    assert "BBB" not in {ticker for ticker, _ in forecasts(app)}

    before = dump(app.engine, "tries", "tried_at")
    run(app)
    assert dump(app.engine, "tries", "tried_at") == before

    market.bars["BBB"][ORIGIN] = bar
    market.write()
    run(app)
    assert outcomes(app.engine)["BBB"] == TRAINED
    tries = fetch(app.engine, "SELECT try_number, is_final, reason FROM stockbatch.outcomes")
    assert {"try_number": 1, "is_final": False, "reason": "no_bar"} in tries
    assert len(fetch(app.engine, "SELECT * FROM stockbatch.runs")) == 1
    assert last_run(app)["trained"] == 3


def test_a_ticker_not_traded_yet_has_no_bar(app, market):
    market.list("NEW", sessions=0)
    watch(app, market, ["NEW"])
    run(app, session(-1))
    assert outcomes(app.engine, session(-1))["NEW"] == NO_BAR
    assert message(app, "NEW", session(-1)).startswith("csv has no bars of NEW from the beginning")


def test_a_bar_that_is_refused_is_an_outcome_with_what_is_wrong(app, market):
    market.bars["BBB"][ORIGIN]["high"] = 1.0
    market.write()
    run(app)
    assert outcomes(app.engine)["BBB"] == (Action.NONE, Reason.BAR_REFUSED)
    assert "high 1 < low" in message(app, "BBB")
    (issue,) = fetch(app.engine, "SELECT * FROM stockbatch.data_issues")
    assert (issue["session"], issue["severity"]) == (ORIGIN, "rejected")
    assert issue["run_id"] == last_run(app)["id"]


def test_a_bad_bar_of_the_past_is_left_out_and_the_rest_goes_on(app, market):
    market.bars["BBB"][session(-5)]["open"] = float("nan")
    market.write()
    run(app)
    assert outcomes(app.engine) == dict.fromkeys(TICKERS, TRAINED)
    (issue,) = fetch(app.engine, "SELECT * FROM stockbatch.data_issues")
    assert (issue["session"], issue["check_name"]) == (session(-5), "price_unknown")


def watch_elsewhere(app, ticker, specification):
    """Let a ticker of the watchlist be fed by another provider."""
    with app.transaction() as db:
        (known,) = instruments.find(db, [ticker])
        instruments.remove(db, [ticker])
        listing = Listing(ticker=known.ticker, symbol=known.symbol)
        instruments.add(db, [listing], provider=specification)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("nothing of use", "there is no column"),
        ("date,open,high,low,close\n2024-06-03,1,1,1,x\n", "line 2, column close"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_bad_file_spoils_its_own_ticker_only(app, tmp_path, content, said):
    file = tmp_path / "BBB.csv"
    if content is not None:
        file.write_text(content)
    watch_elsewhere(app, "BBB", f"csv:{file}")
    run(app)
    failed = Action.NONE, Reason.FETCH_FAILED
    assert outcomes(app.engine) == {"AAA": TRAINED, "BBB": failed, "CCC": TRAINED}
    assert str(file) in message(app, "BBB")
    assert said in message(app, "BBB")
    assert last_run(app)["status"] == "finished"


def test_a_provider_there_is_no_more_spoils_its_own_tickers_only(app):
    watch_elsewhere(app, "BBB", "telex")
    run(app)
    assert outcomes(app.engine)["BBB"] == (Action.NONE, Reason.FETCH_FAILED)
    assert "telex is not a provider" in message(app, "BBB")


def test_another_provider_can_stand_in_for_a_run(app, tmp_path, make_app, market):
    elsewhere = Market(tmp_path / "elsewhere.csv")
    market.file.unlink()
    run(app, provider=elsewhere.specification)
    assert outcomes(app.engine) == dict.fromkeys(TICKERS, TRAINED)
    with pytest.raises(UnknownProvider, match="telex is not a provider"):
        run(app, session(1), provider="telex")
    assert outcomes(app.engine, session(1)) == {}


# ---- subsets


def test_a_subset_and_then_the_rest_is_the_whole(app, make_app, market):
    whole = make_app(market)
    for one in (app, whole):
        run(one)
    run(app, session(1), tickers=["CCC"])
    assert outcomes(app.engine, session(1)).keys() == {"CCC"}
    assert not run(app, session(1)).done_before
    assert run(app, session(1)).done_before
    assert run(app, session(1), tickers=["AAA"]).done_before
    run(whole, session(1))
    found, expected = facts(app.engine), facts(whole.engine)
    # When the first one was forecast, the others' bars had nothing to teach it yet.
    for history in (found, expected):
        for key in list(history["forecasts"]):
            row = dict(key)
            of_first = (row["instrument_id"], row["origin_session"]) == ("CCC", str(session(1)))
            if of_first and row["method"] in ("lstm", "combined"):
                del history["forecasts"][key]
    assert_same(found, expected)


def test_the_base_model_learns_from_the_tickers_there_are(app):
    run(app, tickers=["CCC"])
    run(app)
    run(app, session(1))
    assert outcomes(app.engine) == dict.fromkeys(TICKERS, TRAINED)
    changed = Action.TRAINED, Reason.BASE_CHANGED
    assert outcomes(app.engine, session(1)) == {"AAA": REUSED, "BBB": REUSED, "CCC": changed}


def test_a_ticker_named_twice_is_handled_once(app):
    summary = run(app, tickers=["AAA", "AAA"])
    assert len(summary.outcomes) == 1


def test_a_ticker_added_later_is_handled_by_the_next_call(app, market):
    run(app)
    market.list("NEW")
    watch(app, market, ["NEW"])
    run(app)
    assert outcomes(app.engine) == dict.fromkeys([*TICKERS, "NEW"], TRAINED)
    assert last_run(app)["instruments"] == 4


def test_a_demonstration_ticker_is_never_due_and_in_no_metric_over_all(app, market):
    market.list("^DEMO")
    source = app.provider(market.specification)
    with app.transaction() as db:
        listing = source.listing("^DEMO")
        instruments.add(db, [listing], provider=source.specification, demo=True)
    for day in (session(0), session(1)):
        run(app, day)
        assert "^DEMO" not in outcomes(app.engine, day)

    def of_all():
        query = (
            "SELECT method, kind, window_sessions, metric, n, value FROM stockbatch.metrics"
            " ORDER BY 1, 2, 3, 4"
        )
        return fetch(app.engine, query)

    before = of_all()
    for day in (session(0), session(1)):
        run(app, day, tickers=["^DEMO"])
        assert outcomes(app.engine, day).keys() == {*TICKERS, "^DEMO"}
    assert of_all() == before


# ---- which session


def test_the_default_is_the_last_session_closed_long_enough_ago(app):
    close = calendar().close(session(1))
    app.clock = lambda: close
    assert run_session(app, CODE).session == ORIGIN
    app.settings = app.settings.model_copy(update={"close_delay_minutes": 0})
    assert run_session(app, CODE).session == session(1)


def test_a_session_still_open_or_never_held_is_refused(app):
    app.clock = lambda: datetime(2024, 6, 3, 19, 59, tzinfo=UTC)
    with pytest.raises(SessionNotClosed, match="2024-06-03 of XNYS closes only at"):
        run(app)
    with pytest.raises(NotASession, match="the nearest are 2024-05-31 and 2024-06-03"):
        run(app, date(2024, 6, 1))
    assert fetch(app.engine, "SELECT * FROM stockbatch.runs") == []


def test_unknown_tickers_and_an_empty_watchlist_are_refused(app):
    with pytest.raises(UnknownInstrument, match="ZZZ is not on the watchlist"):
        run(app, tickers=["ZZZ"])
    with pytest.raises(NoInstruments, match="watchlist of XLON is empty"):
        run_session(app, "XLON", ORIGIN)
    assert fetch(app.engine, "SELECT * FROM stockbatch.runs") == []


def test_the_dawn_of_time_has_an_outcome_too(app):
    dawn = date(1990, 1, 2)
    run(app, dawn)
    assert outcomes(app.engine, dawn) == dict.fromkeys(TICKERS, NO_BAR)


# ---- corporate actions and jumps


def test_splits_and_dividends_change_no_forecast_and_no_score(app, make_app, tmp_path, market):
    eventful = Market(tmp_path / "eventful.csv")
    eventful.split("AAA", 4.0, session(1))
    eventful.split("BBB", 0.1, session(-20))
    eventful.dividend("BBB", 0.5, session(1))
    eventful.split("CCC", 1.5, session(1))
    eventful.dividend("CCC", 0.25, session(1))
    other = make_app(eventful)
    for day in (session(0), session(1), session(2)):
        run(app, day)
        run(other, day)
    query = (
        "SELECT f.target_session, f.method, ticker, s.status, log_return_error, actual_log_return"
        " FROM stockbatch.scores AS s JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id"
        " WHERE f.method IN ('naive', 'rolling_quantile') ORDER BY 1, 2, 3"
    )
    plain, told = fetch(app.engine, query), fetch(other.engine, query)
    assert len(plain) == 12
    for one, two in zip(plain, told, strict=True):
        assert two == pytest.approx(one, abs=1e-9)
        assert two["status"] == "scored"
    assert fetch(other.engine, "SELECT * FROM stockbatch.data_issues") == []


@pytest.mark.parametrize(
    ("factor", "for_good", "check", "status"),
    [
        (0.62, True, "jump_released", "scored"),
        (0.62, False, "jump_reversed", "masked"),
        (0.5, True, "jump_split_like", "masked"),
    ],
)
def test_a_jump_waits_for_the_next_session(app, market, factor, for_good, check, status):
    market.multiply("AAA", factor, session(1), date.max if for_good else None)

    def statuses():
        rows = fetch(
            app.engine,
            "SELECT s.status FROM stockbatch.scores AS s"
            " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
            " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id"
            " WHERE ticker = 'AAA' AND f.origin_session = :day",
            day=ORIGIN,
        )
        return {row["status"] for row in rows}

    run(app)
    run(app, session(1))
    assert outcomes(app.engine, session(1))["AAA"] == REUSED
    assert ("AAA", "lstm") in forecasts(app, session(1))
    assert statuses() == set()
    run(app, session(2))
    assert statuses() == {status}
    issues = fetch(app.engine, "SELECT check_name, session FROM stockbatch.data_issues")
    assert sorted(row["check_name"] for row in issues) == sorted(["jump_pending", check])
    assert {row["session"] for row in issues} == {session(1)}


# ---- interruptions


class Interrupting:
    """Raises at an event, the `count`-th time it comes."""

    def __init__(self, event, error, count=1):
        self.event, self.error, self.count = event, error, count

    def __call__(self, event):
        self.count -= event == self.event
        if event == self.event and self.count == 0:
            raise self.error


def test_an_interrupted_run_loses_nothing_and_is_gone_on_with(app, make_app, market):
    in_chunks(app).on_event = Interrupting("forecasts: save", KeyboardInterrupt(), count=2)
    with pytest.raises(KeyboardInterrupt):
        run(app)
    assert last_run(app)["status"] == "running"
    assert len(outcomes(app.engine)) == 2
    app.on_event = lambda event: None
    summary = run(app)
    assert not summary.done_before
    undisturbed = make_app(market)
    run(undisturbed)
    assert_same(facts(app.engine), facts(undisturbed.engine))


@pytest.mark.parametrize("event", ["metrics", "finish"])
def test_a_run_interrupted_after_its_last_outcome_is_finished(app, make_app, market, event):
    run(app)
    app.on_event = Interrupting(event, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run(app, session(1))
    app.on_event = lambda event: None
    assert not run(app, session(1)).done_before
    assert run(app, session(1)).done_before
    undisturbed = make_app(market)
    for day in (session(0), session(1)):
        run(undisturbed, day)
    assert_same(facts(app.engine), facts(undisturbed.engine))


class Failing(PlainTrainer):
    def __init__(self, error, calls):
        self.error, self.calls = error, calls

    def fit(self, *arguments, **options):
        self.calls -= 1
        if self.calls < 0:
            raise self.error
        return super().fit(*arguments, **options)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            DatabaseFull(url="the database", reason="full"),
            "the database has no space left: full",
        ),
        (MemoryError("what?"), "MemoryError('what?')"),
    ],
)
def test_a_failing_run_keeps_what_was_committed_and_can_be_resumed(
    app, make_app, market, error, reason
):
    in_chunks(app).trainer = Failing(error, calls=1)
    with pytest.raises(type(error)):
        run(app)
    row = last_run(app)
    assert (row["status"], row["message"], row["trained"]) == ("failed", reason, 2)
    assert row["finished_at"] is not None
    assert outcomes(app.engine) == dict.fromkeys(TICKERS[:2], TRAINED)

    app.trainer = PlainTrainer()
    run(app)
    undisturbed = make_app(market)
    run(undisturbed)
    assert_same(facts(app.engine), facts(undisturbed.engine))


def test_a_chunk_that_commits_too_late_is_saved_again_as_late_from_what_is_at_hand(app, change):
    app.settings = app.settings.model_copy(update={"chunk_tickers": 9})
    events = []
    change("ALTER TABLE stockbatch.sessions DROP CONSTRAINT sessions_instants_check")

    def on_event(name):
        events.append(name)
        if name == "forecasts: save" and events.count(name) == 1:
            change(
                "UPDATE stockbatch.sessions SET deadline_at = clock_timestamp() + interval '2 s'"
                " WHERE session = :day",
                day=session(1),
            )
        if name == "forecasts: commit" and events.count(name) == 1:
            time.sleep(2.1)  # the session opens between the record and the commit

    app.on_event = on_event
    run(app)
    steps = [name for name in events if name.startswith("forecasts: ")]
    assert steps == [f"forecasts: {name}" for name in ("load", "compute", *("save", "commit") * 2)]
    assert outcomes(app.engine) == dict.fromkeys(TICKERS, TRAINED)
    made = fetch(app.engine, "SELECT kind, method FROM stockbatch.forecasts")
    assert {row["kind"] for row in made} == {"late"}
    assert len(made) == len(TICKERS) * len({row["method"] for row in made})


@pytest.mark.parametrize("event", ["score", "forecasts: save", "metrics", "finish"])
def test_a_superseded_process_stops_writing(app, event):
    seen = []

    def supersede(now):
        if now == event and not seen:
            with app.transaction() as db:
                runs.open_run(
                    db,
                    CODE,
                    ORIGIN,
                    trigger="manual",
                    reprocess=False,
                    code_version="2",
                    engine_hash="",
                )
            seen.append(dump(app.engine))

    app.on_event = supersede
    with pytest.raises(RunSuperseded):
        run(app)
    assert dump(app.engine) == seen[0]


def test_two_runs_of_a_calendar_do_not_mix(app):

    refused = []

    def intrude(event):
        if event == "forecasts: compute":  # each try watches the lease for seconds
            with pytest.raises(RunInProgress):
                run(app, session(1))
            refused.append(event)

    app.on_event = intrude
    run(app)
    assert refused
    assert outcomes(app.engine, session(1)) == {}


def test_the_log_has_a_line_per_step(app, caplog):
    with caplog.at_level(logging.INFO, logger="jobs"):
        run(app)
    assert [record.message for record in caplog.records] == [
        "XNYS 2024-06-03: bars fetched, 0 problems",
        "XNYS 2024-06-03: 0 forecasts scored",
        "XNYS 2024-06-03: forecasts made for 3 tickers",
        "XNYS 2024-06-03: risk told of 0 tickers, groups and portfolios",
    ]


def test_a_folder_with_a_file_per_ticker_is_the_same_as_one_file(app, make_app, market, tmp_path):
    run(app)
    folder = tmp_path / "folder"
    folder.mkdir()
    for ticker in TICKERS:
        Market(folder / f"{ticker}.csv", [ticker])
    parts = Market(Path(folder / "AAA.csv"), ["AAA"])
    parts.file = folder
    other = make_app(parts)
    run(other)
    assert forecasts(other).keys() == forecasts(app).keys()
    for key, row in forecasts(app).items():
        assert forecasts(other)[key]["fingerprint"] == row["fingerprint"]
