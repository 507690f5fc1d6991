"""The contract of schema `bi`: rows, numbers, comments and types."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from stockbatch import database
from stockbatch.exceptions import AccessDenied
from stockbatch.metrics import METRICS
from stockbatch.records import (
    LSTM,
    Action,
    BarState,
    Comparison,
    CorporateAction,
    Reason,
)
from stockbatch.store import bars, bi, forecasts, metrics, models, runs, scores
from tests.support.ledger import (
    PAST,
    QUANTILES,
    bars_of,
    forecast_of,
    in_time,
    listed,
    measured,
    model_of,
    naive_of,
    opened,
    outcome_of,
    revised_at_will,
    rows,
    store,
)
from tests.support.market import NOW, ORIGIN, calendar, fetch, session

TARGET, AFTER = session(1), session(2)
VIEWS = {
    "alerts",
    "accuracy",
    "forecast_history",
    "leaderboard",
    "next_session_forecast",
    "price_and_forecast",
    "run_history",
    "training_history",
}
PLAIN_TYPES = {
    "bigint",
    "boolean",
    "date",
    "double precision",
    "integer",
    "text",
    "timestamp with time zone",
}


def issue(db, *made, **options):
    forecasts.add(db, made, opened(db), **{"issued_at": NOW} | options)


def score(db, method, **numbers):
    """Score the forecasts of a method."""
    revised_at_will(db)
    ids = db.scalars(text("SELECT id FROM stockbatch.forecasts WHERE method = :m"), {"m": method})
    for forecast_id in ids.all():
        values = {"forecast_id": forecast_id, "revision": 1, "status": "scored"} | numbers
        scores.add(db, {name: [value] for name, value in values.items()}, opened(db))


# ---- the contract


def test_every_view_and_column_has_a_comment(db):
    views = rows(
        db,
        "SELECT c.relname AS view, obj_description(c.oid) AS comment FROM pg_class AS c"
        " WHERE c.relnamespace = 'bi'::regnamespace",
    )
    assert {row["view"] for row in views} >= VIEWS
    columns = rows(
        db,
        "SELECT c.relname || '.' || a.attname AS name, col_description(c.oid, a.attnum) AS comment"
        " FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0"
        " WHERE c.relnamespace = 'bi'::regnamespace",
    )
    assert all(row["comment"] for row in (*views, *columns)), (views, columns)


def test_columns_have_types_that_every_tool_reads(db):
    columns = rows(
        db,
        "SELECT table_name, column_name, data_type FROM information_schema.columns"
        " WHERE table_schema = 'bi'",
    )
    odd = [row for row in columns if row["data_type"] not in PLAIN_TYPES]
    assert odd == []
    for view in VIEWS:
        kinds = {
            row["column_name"]: row["data_type"] for row in columns if row["table_name"] == view
        }
        assert kinds["session"] == "date"
        for instant in ("session_close_at", "updated_at"):
            assert kinds[instant] == "timestamp with time zone"
        if any("close" in name and kind == "double precision" for name, kind in kinds.items()):
            assert kinds["currency"] == "text"


@pytest.mark.parametrize(
    ("role", "may", "may_not"),
    [
        ("reader", ["SELECT * FROM bi.accuracy"], ["SELECT * FROM stockbatch.bars"]),
        ("writer", ["SELECT * FROM bi.accuracy", "SELECT * FROM stockbatch.bars"], []),
    ],
)
def test_a_role_sees_what_it_should(settings, role, may, may_not):
    engine = database.engine(settings, role=role)
    for query in may:
        assert fetch(engine, query) == []
    written = ["UPDATE bi.accuracy SET n = 1", "CREATE TABLE bi.mine ()", "DROP VIEW bi.accuracy"]
    for query in (*may_not, *written, "CREATE TABLE public.mine ()"):
        with pytest.raises((AccessDenied, OperationalError)), engine.begin() as connection:
            connection.execute(text(query))
    engine.dispose()


def test_the_reader_sees_every_view_and_no_table(settings):
    engine = database.engine(settings, role="reader")
    seen = fetch(
        engine,
        "SELECT table_schema, table_name FROM information_schema.tables"
        " WHERE table_schema IN ('bi', 'stockbatch')",
    )
    assert {row["table_schema"] for row in seen} == {"bi"}
    assert {row["table_name"] for row in seen} >= VIEWS
    engine.dispose()


# ---- forecast_history and next_session_forecast


def test_forecast_history_is_the_forecast_and_what_became_of_it(db, one):
    issue(db, forecast_of(one), naive_of(one))
    score(
        db,
        "rolling_quantile",
        actual_close=97.0,
        actual_log_return=float(np.log(0.97)),
        error=-3.1,
        absolute_error=3.1,
        percentage_error=-3.2,
        pinball=0.01,
        direction_hit=False,
        inside_50=False,
        inside_95=True,
        inside_98=True,
    )
    point, row = rows(db, "SELECT * FROM bi.forecast_history ORDER BY method")
    forecast = 100 * np.exp(QUANTILES)
    assert (
        row
        | {
            "session": TARGET,
            "session_close_at": datetime(2024, 6, 4, 20, tzinfo=UTC),
            "ticker": "AAA",
            "currency": "USD",
            "method": "rolling_quantile",
            "kind": "late",
            "origin_session": ORIGIN,
            "origin_close": 100.0,
            "score_status": "scored",
            "actual_close": 97.0,
            "error": -3.1,
            "error_pct": -3.2,
            "direction_hit": False,
            "inside_50": False,
            "inside_80": None,
            "inside_95": True,
            "inside_98": True,
            "issued_at": NOW,
            "deadline_at": PAST,
        }
        == row
    )
    numbers = {
        "forecast_close": forecast[5],
        "median_close": forecast[5],
        "forecast_return_pct": 100 * (np.exp(QUANTILES[5]) - 1),
        "probability_of_rise_pct": 60,
        "actual_return_pct": -3,
    }
    for low, high, percent in ((4, 6, 50), (3, 7, 80), (2, 8, 90), (1, 9, 95), (0, 10, 98)):
        numbers[f"close_low_{percent}"] = forecast[low]
        numbers[f"close_high_{percent}"] = forecast[high]
    assert {name: row[name] for name in numbers} == pytest.approx(numbers)
    assert (point["method"], point["score_status"], point["median_close"]) == (
        "naive",
        "open",
        None,
    )
    assert (point["forecast_close"], point["forecast_return_pct"]) == (100, 0)
    assert row["updated_at"] > row["recorded_at"]
    assert point["updated_at"] == point["recorded_at"]


def test_the_forecasts_say_how_far_they_can_be_trusted(db, one):
    known = {"volatility": 0.02, "shrinkage": 0.25, "dissimilarity": 1.5}
    issue(db, forecast_of(one, method=LSTM, **known), naive_of(one))
    for view in ("forecast_history", "next_session_forecast"):
        query = f"SELECT volatility_pct, shrinkage, dissimilarity, is_trusted FROM bi.{view}"
        lstm, naive = rows(db, f"{query} ORDER BY method")
        assert list(lstm.values()) == [pytest.approx(2), 0.25, 1.5, False]
        assert set(naive.values()) == {None}


def test_live_comes_before_late_before_backtest_and_the_newest_first(db, one):
    def shown():
        ((row),) = rows(db, "SELECT kind, forecast_close FROM bi.forecast_history")
        return row["kind"], row["forecast_close"]

    issue(db, forecast_of(one, close=1.0, fingerprint="1"), backtest=True)
    assert shown() == ("backtest", 1)
    issue(db, forecast_of(one, close=2.0, fingerprint="2"))
    issue(db, forecast_of(one, close=3.0, fingerprint="3"))
    issue(db, forecast_of(one, close=4.0, fingerprint="4"), backtest=True)
    assert shown() == ("late", 3)
    with in_time(db):
        issue(db, forecast_of(one, close=5.0, fingerprint="5"))
        issue(db, forecast_of(one, close=6.0, fingerprint="6"))
    issue(db, forecast_of(one, close=7.0, fingerprint="7"))
    assert shown() == ("live", 6)
    issue(db, forecast_of(one, horizon=2))
    assert shown() == ("live", 6)


def test_a_restated_score_is_the_one_shown(db, one):
    issue(db, forecast_of(one))
    score(db, "rolling_quantile", error=1.0, actual_close=101.0)
    score(db, "rolling_quantile", error=2.0, actual_close=102.0, revision=2)
    assert rows(db, "SELECT error FROM bi.forecast_history") == [{"error": 2}]
    score(db, "rolling_quantile", error=None, revision=3, status="masked")
    shown = rows(db, "SELECT score_status, error FROM bi.forecast_history")
    assert shown == [{"score_status": "masked", "error": None}]


def test_next_session_forecast_is_the_latest_target_of_active_tickers(db, one):
    other, gone = listed(db, "BBB", "CCC")
    issue(db, forecast_of(one), naive_of(one), forecast_of(gone))
    issue(db, forecast_of(one, target_session=AFTER), forecast_of(other))
    db.execute(text("UPDATE stockbatch.instruments SET active = false WHERE ticker = 'CCC'"))
    shown = rows(db, "SELECT ticker, session, method, is_current FROM bi.next_session_forecast")
    assert sorted((row["ticker"], row["session"], row["method"]) for row in shown) == [
        ("AAA", AFTER, "rolling_quantile"),
        ("BBB", TARGET, "rolling_quantile"),
    ]
    assert {row["is_current"] for row in shown} == {False}


def test_a_forecast_is_current_until_its_session_closes(db, one):
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    closes_soon = (
        "INSERT INTO stockbatch.sessions VALUES ('XNYS', :day, now(), now() + :left, now())"
    )
    db.execute(text(closes_soon), {"day": tomorrow, "left": timedelta(hours=1)})
    issue(db, forecast_of(one, target_session=tomorrow))
    assert rows(db, "SELECT is_current FROM bi.next_session_forecast") == [{"is_current": True}]


def test_a_skip_of_a_session_that_is_not_over_is_hidden(db):
    (one,) = listed(db, "AAA")
    today = datetime.now(UTC).date()
    insert = "INSERT INTO stockbatch.sessions VALUES ('XNYS', :day, :at, :close, :at)"
    for age in (3, 2, 1, -1):
        at = datetime.now(UTC) - timedelta(days=age)
        values = {"day": at.date(), "at": at, "close": at + timedelta(hours=1)}
        db.execute(text(insert), values)
    for age in (3, 2, 1, -1):
        run = opened(db, today - timedelta(days=age))
        runs.skip_run(db, run, [one], "too old")
    last = today - timedelta(days=1)
    for view in ("outcomes", "run_history"):
        shown = rows(db, f"SELECT session FROM bi.{view} ORDER BY session")
        assert [row["session"] for row in shown] == [today - timedelta(days=age) for age in (3, 2)]
    (fresh,) = rows(db, "SELECT session, outcome_reason FROM bi.data_freshness")
    assert fresh == {"session": last, "outcome_reason": None}
    db.execute(text("UPDATE stockbatch.runs SET tried_at = clock_timestamp() + interval '1 day'"))
    assert rows(db, "SELECT session FROM bi.outcomes") == []
    run = opened(db, last)
    runs.add_outcomes(db, run, [one], [outcome_of(one, "reused", "fresh")])
    runs.close_run(db, run)
    for view in ("outcomes", "run_history"):
        assert rows(db, f"SELECT session FROM bi.{view}") == [{"session": last}]


# ---- price_and_forecast


def test_price_and_forecast_is_one_panel_of_bars_averages_and_the_forecast(db, one):
    days = [session(n) for n in range(-249, 1)]
    closes = np.arange(1.0, 251.0)
    store(db, one, bars_of(days, closes, open=closes - 0.5, low=closes - 0.5, high=closes + 0.5))
    bar = bars_of([session(-400)], [5.0])
    store(db, one, bar, state=BarState.QUARANTINED)
    issue(db, forecast_of(one, method=LSTM), forecast_of(one))
    panel = rows(db, "SELECT * FROM bi.price_and_forecast ORDER BY session")
    assert [row["session"] for row in panel] == [*days, TARGET]
    closing = calendar().close(days[7])
    assert panel[7]["session_close_at"] == closing
    for number, row in enumerate(panel[:-1], start=1):
        assert (row["ticker"], row["currency"], row["volume"]) == ("AAA", "USD", 7)
        assert (row["open"], row["high"]) == (number - 0.5, number + 0.5)
        assert (row["low"], row["close"]) == (number - 0.5, number)
        for size in (20, 50, 200):
            expected = np.mean(closes[number - size : number]) if number >= size else None
            assert row[f"average_{size}"] == pytest.approx(expected), (number, size)
        assert row["forecast_close"] is None
    row = panel[-1]
    assert (row["close"], row["average_20"], row["forecast_kind"]) == (None, None, "late")
    assert row["origin_session"] == ORIGIN
    lower = ("close_low_98", "close_low_95"), 100 * np.exp(QUANTILES[:2])
    numbers = dict(zip(*lower, strict=True))
    numbers |= {
        "close_high_80": 100 * np.exp(QUANTILES[7]),
        "close_high_98": 100 * np.exp(QUANTILES[10]),
        "probability_of_rise_pct": 60,
    }
    assert {name: row[name] for name in numbers} == pytest.approx(numbers)


def test_prices_and_forecasts_are_restated_for_later_splits(db, one):
    store(db, one, bars_of([ORIGIN, TARGET, AFTER], [100.0, 25.5, 13.0]))
    splits = [(TARGET, 4.0), (AFTER, 2.0)]
    actions = [CorporateAction(session=day, kind="split", value=ratio) for day, ratio in splits]
    bars.add_actions(db, {one.id: actions}, provider="csv")
    lstm = {"method": LSTM}
    issue(db, forecast_of(one, close=101.0, **lstm))
    later = {"origin_session": TARGET, "target_session": AFTER, "origin_close": 25.5}
    issue(db, forecast_of(one, close=25.0, **later, **lstm))
    panel = rows(db, "SELECT * FROM bi.price_and_forecast ORDER BY session")
    assert [row["close"] for row in panel] == pytest.approx([12.5, 12.75, 13])
    assert [row["volume"] for row in panel] == pytest.approx([56, 14, 7])
    assert [row["forecast_close"] for row in panel[1:]] == pytest.approx([101 / 8, 25 / 2])
    low = 25.5 * np.exp(QUANTILES[3]) / 2
    assert panel[2]["close_low_80"] == pytest.approx(low)

    db.execute(text("UPDATE stockbatch.corporate_actions SET retracted_at = now()"))
    panel = rows(db, "SELECT close FROM bi.price_and_forecast ORDER BY session")
    assert [row["close"] for row in panel] == [100, 25.5, 13]


# ---- accuracy and run_history


def test_accuracy_is_the_metrics_of_tickers_and_calendars(db, one):
    measured(db, one, TARGET, {"pinball": (20, 0.9, 1.0, 0.1)})
    measured(db, None, TARGET, {"pinball": (20, 0.8, None, None)})
    query = "SELECT * FROM bi.accuracy WHERE metric = 'pinball' ORDER BY scope DESC"
    shown = rows(db, query)
    assert [(row["scope"], row["ticker"], row["currency"]) for row in shown] == [
        ("ticker", "AAA", "USD"),
        ("calendar", None, None),
    ]
    for row in shown:
        assert (row["session"], row["session_close_at"]) == (TARGET, calendar().close(TARGET))
        assert (row["calendar"], row["method"], row["kind"]) == ("XNYS", "lstm", "late")
        assert (row["window_sessions"], row["metric"], row["n"]) == (20, "pinball", 20)
    assert [(row["value"], row["baseline"], row["skill_pct"]) for row in shown] == [
        (0.9, 1.0, pytest.approx(10)),
        (0.8, None, None),
    ]
    assert {row["unit"] for row in shown} == {"log return"}


def test_every_metric_states_its_unit(db, one):
    units = {
        "mae": ("USD", "price"),
        "bias_return": 2 * ("log return",),
        "winkler_80": 2 * ("log return",),
        "mape": 2 * ("percent",),
        "coverage_98": 2 * ("share",),
        "directional_accuracy": 2 * ("share",),
        "skill_vs_har_error": ("share",),
        "dm_p_value": ("probability",),
        "dm_statistic": ("standard errors",),
        "mase": 2 * ("errors of the naive forecast",),
    }
    told = dict.fromkeys(units, (20, 0.5, None, None))
    measured(db, None, TARGET, told)
    of_tickers = {metric: one for metric, one in told.items() if metric in METRICS}
    measured(db, one, TARGET, of_tickers)
    shown = rows(db, "SELECT metric, unit FROM bi.accuracy ORDER BY scope DESC")
    assert {
        metric: tuple(row["unit"] for row in shown if row["metric"] == metric) for metric in units
    } == units


def test_the_leaderboard_is_what_was_summed_up_over_all_tickers(db, one):
    def rows_of(method, window, **values):
        for metric, value in values.items():
            skill = 0.5 if metric == "mae_return" else None
            yield method, "live", window, metric, 7, value, None, skill

    numbers = {"pinball": 0.1, "coverage_80": 0.81, "coverage_95": 0.96, "mae_return": 0.2}
    numbers |= {"skill_vs_rolling_quantile": 0.01, "skill_vs_rolling_quantile_error": 0.002}
    numbers |= {"skill_vs_ewma": 0.02, "skill_vs_ewma_error": 0.003, "share_better": 0.7}
    numbers |= {"skill_vs_har": 0.04, "skill_vs_har_error": 0.005, "skill_vs_garch": -0.01}
    made = [*rows_of("lstm", 20, **numbers), *rows_of("lstm", 60, mae_return=0.3)]
    made += rows_of("ewma", 20, dm_statistic=2.5, dm_p_value=0.01)
    measured(db, one, TARGET, {"pinball": (7, 9.0, None, None)}, method="garch")
    metrics.save(db, "XNYS", ORIGIN, rows_of("lstm", 20, pinball=0.3))
    metrics.save(db, "XNYS", TARGET, made)
    metrics.save(db, "XLON", TARGET, rows_of("lstm", 20, pinball=0.4))
    query = "SELECT * FROM bi.leaderboard ORDER BY calendar, session, window_sessions, method"
    shown = rows(db, query)
    keys = ("calendar", "session", "window_sessions", "method", "kind", "pinball")
    assert [tuple(row[key] for key in keys) for row in shown] == [
        ("XLON", TARGET, 20, "lstm", "live", 0.4),
        ("XNYS", ORIGIN, 20, "lstm", "live", 0.3),
        ("XNYS", TARGET, 20, "ewma", "live", None),
        ("XNYS", TARGET, 20, "lstm", "live", 0.1),
        ("XNYS", TARGET, 60, "lstm", "live", None),
    ]
    ewma, lstm = shown[2:4]
    assert (ewma["dm_statistic"], ewma["dm_p_value"], ewma["n"]) == (2.5, 0.01, None)
    assert lstm["session_close_at"] == calendar().close(TARGET)
    expected = {
        "n": 7,
        "skill_vs_rolling_quantile_pct": 1,
        "skill_vs_rolling_quantile_error_pct": 0.2,
        "skill_vs_ewma_pct": 2,
        "skill_vs_ewma_error_pct": 0.3,
        "skill_vs_har_pct": 4,
        "skill_vs_har_error_pct": 0.5,
        "skill_vs_garch_pct": -1,
        "skill_vs_lstm_pct": None,
        "share_better_pct": 70,
        "dm_statistic": None,
        "mae_return": 0.2,
        "mae_return_skill_pct": 50,
        "coverage_80_pct": 81,
        "coverage_95_pct": 96,
    }
    assert {name: lstm[name] for name in expected} == pytest.approx(expected)


def test_training_history_is_every_epoch_of_every_model(db, one):
    run = opened(db)
    base = models.add_base(db, model_of(None, tickers=5), run, demo=False).id
    comparison = Comparison(loss=0.19, base_loss=0.2, champion_loss=0.195, gain_error=0.004)
    child = model_of("AAA", TARGET, parent_id=base, comparison=comparison, reason=Reason.DRIFT)
    (own,) = models.add(db, {one.id: child}, run, demo=False).values()
    kept = model_of("AAA", AFTER, best_epoch=0, training_loss=(0.4,), validation_loss=(0.6,))
    garch = model_of("AAA", method="garch", training_loss=(), validation_loss=())
    for model in (kept, garch):
        models.add(db, {one.id: model}, run, demo=True)
    shown = rows(db, "SELECT * FROM bi.training_history ORDER BY session, epoch")
    keys = ("session", "model_kind", "ticker", "epoch", "is_best_epoch")
    assert [tuple(row[key] for key in keys) for row in shown] == [
        *((ORIGIN, "base", None, epoch, epoch == 2) for epoch in (1, 2, 3)),
        *((TARGET, "ticker", "AAA", epoch, epoch == 2) for epoch in (1, 2, 3)),
        (AFTER, "ticker", "AAA", 1, False),
    ]
    losses = [(r["training_loss"], r["validation_loss"], r["generalisation_gap"]) for r in shown]
    assert np.array(losses[:3]) == pytest.approx(
        np.array([[0.3, 0.4, 0.1], [0.2, 0.3, 0.1], [0.1, 0.35, 0.25]])
    )
    first, row, last = shown[0], shown[3], shown[-1]
    assert (first["model_id"], first["base_model_id"], first["tickers"]) == (base, None, 5)
    assert (first["comparison_loss"], first["gain_pct"]) == (None, None)
    assert (row["model_id"], row["base_model_id"], row["tickers"]) == (own, base, 1)
    assert (row["session_close_at"], row["calendar"]) == (calendar().close(TARGET), "XNYS")
    assert (row["reason"], row["verdict"], row["is_demo"]) == ("drift", "promoted", False)
    numbers = {
        "initial_validation_loss": 0.5,
        "comparison_loss": 0.19,
        "base_comparison_loss": 0.2,
        "champion_comparison_loss": 0.195,
        "gain_pct": 5,
        "gain_error_pct": 2,
    }
    assert {name: row[name] for name in numbers} == pytest.approx(numbers)
    assert last["is_demo"] is True


def test_run_history_is_every_run_with_its_counts(db, one):
    run = opened(db)
    two = [one, *listed(db, "BBB")]
    short = [
        runs.Outcome(instrument_id=instrument.id, action=action, reason=Reason.SHORT_HISTORY)
        for instrument, action in zip(two, (Action.NAIVE, Action.BASE), strict=True)
    ]
    runs.add_outcomes(db, run, two, short)
    runs.close_run(db, run)
    failed = opened(db, TARGET)
    runs.close_run(db, failed, failure="no power")
    opened(db, AFTER)
    shown = rows(db, "SELECT * FROM bi.run_history ORDER BY session")
    assert [(row["session"], row["status"], row["message"]) for row in shown] == [
        (ORIGIN, "finished", None),
        (TARGET, "failed", "no power"),
        (AFTER, "running", None),
    ]
    first, _, last = shown
    counts = ("instruments", "trained", "reused", "base", "naive", "none")
    assert [first[name] for name in counts] == [2, 0, 0, 1, 1, 0]
    assert first["session_close_at"] == calendar().close(ORIGIN)
    took = (first["finished_at"] - first["started_at"]).total_seconds()
    assert first["duration_seconds"] == pytest.approx(took)
    assert (first["run_id"], first["attempt"], first["calendar"]) == (run.id, 1, "XNYS")
    assert (last["finished_at"], last["duration_seconds"]) == (None, None)


# ---- splits


def test_splits_are_those_still_stated_in_words(db, one):
    stated = {session(-30): 7.00000700001, session(-20): 0.1, session(-10): 1.5, session(3): 3.0}
    made = [
        CorporateAction(session=day, kind="split", value=ratio, in_prices=ratio == 1.5)
        for day, ratio in stated.items()
    ]
    dividend = CorporateAction(session=session(-5), kind="dividend", value=0.5)
    bars.add_actions(db, {one.id: [*made, dividend]}, provider="csv:/bars.csv")
    span = {one.id: (session(-25), session(0))}
    shown = rows(db, "SELECT * FROM bi.splits ORDER BY session")
    assert [(row["session"], row["split"], row["is_in_prices"]) for row in shown] == [
        (session(-30), "split 7 for 1", False),
        (session(-20), "reverse split 1 for 10", False),
        (session(-10), "split 1.5 for 1", True),
        (session(3), "split 3 for 1", False),
    ]
    expected = {"ticker": "AAA", "calendar": "XNYS", "ratio": 7.00000700001, "provider": "csv"}
    expected |= {"session_close_at": calendar().close(session(-30)), "is_demo": False}
    assert shown[0] | expected == shown[0]
    bars.retract_actions(db, {one.id: [made[2]]}, span, provider="csv:/bars.csv")
    left = bi.splits.of_ticker(db, "AAA").rows()
    assert [row["session"] for row in left] == [session(-30), session(-10), session(3)]
    assert bi.splits.of_ticker(db, "BBB").rows() == []
