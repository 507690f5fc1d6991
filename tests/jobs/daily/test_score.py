"""Scoring and summing up, against plain computations on the same rows."""

from dataclasses import replace
from datetime import timedelta
from itertools import product
from statistics import fmean, stdev

import numpy as np
import pytest
from scipy.stats import ttest_1samp
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_pinball_loss,
    root_mean_squared_error,
)
from sqlalchemy import text

from jobs.app import App
from jobs.daily.losses import WINDOWS
from jobs.daily.metrics import update_metrics
from jobs.daily.score import score_forecasts
from stockbatch import records
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.methods.distribution import probability_above
from stockbatch.records import LSTM, POINT_BASELINE, QUANTILE_BASELINE, CorporateAction, Run
from stockbatch.store import bars, forecasts
from tests.support.ledger import (
    PAST,
    QUANTILES,
    bars_of,
    forecast_of,
    listed,
    naive_of,
    opened,
    store,
)
from tests.support.market import NOW, PlainTrainer, calendar, fetch, session, small

ORIGIN, TARGET = session(0), session(1)
HISTORY = [session(offset) for offset in range(-80, 1)]


@pytest.fixture
def app(settings, writer) -> App:
    return App(settings=small(settings), engine=writer, trainer=PlainTrainer(), clock=lambda: NOW)


@pytest.fixture
def one(app):
    """A ticker that closed at 99, 100, 99, 100, … until ORIGIN."""
    with app.transaction() as db:
        (instrument,) = listed(db, "AAA")
        store(db, instrument, bars_of(HISTORY, [100 - (n % 2) for n in range(len(HISTORY))]))
    return instrument


def scored(app, *instruments, through=TARGET):
    """Score up to a session and return the scores, oldest first, and how many were new."""
    with app.transaction() as db:
        run = opened(db, through)
    count = score_forecasts(app, run, calendar(), instruments)
    return fetch(app.engine, "SELECT * FROM stockbatch.scores ORDER BY id"), count


def issue(app, *made):
    with app.transaction() as db:
        forecasts.add(db, made, opened(db), issued_at=NOW)


def trade(app, instrument, *closes, first=TARGET, actions=()):
    """Store bars from `first` on, and actions."""
    days = calendar().sessions[np.searchsorted(calendar().sessions, np.datetime64(first)) :]
    with app.transaction() as db:
        store(db, instrument, bars_of(days[: len(closes)].tolist(), closes))
        bars.add_actions(db, {instrument.id: actions}, provider="csv")


def test_a_score_is_what_the_definitions_say(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 97.0)
    (row,), count = scored(app, one)
    forecast, actual = 100 * np.exp(QUANTILES[5]), np.log(0.97)
    assert count == 1
    assert (row["status"], row["revision"], row["actual_close"]) == ("scored", 1, 97)
    expected = {
        "actual_log_return": actual,
        "error": 97 - forecast,
        "absolute_error": forecast - 97,
        "squared_error": (forecast - 97) ** 2,
        "percentage_error": 100 * (97 - forecast) / 97,
        "log_return_error": actual - QUANTILES[5],
        "pinball": np.mean(
            [
                mean_pinball_loss([actual], [quantile], alpha=level)
                for level, quantile in list(zip(records.QUANTILES, QUANTILES, strict=True))[1:10]
            ]
        ),
        "winkler_80": 0.041 + 2 / 0.2 * (-0.02 - actual),
        "winkler_95": 0.081,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["direction_hit"] is False
    inside = {50: False, 80: False, 90: False, 95: True, 98: True}
    assert {percent: row[f"inside_{percent}"] for percent in inside} == inside
    again, count = scored(app, one)
    assert (again, count) == ([row], 0)


def test_a_point_forecast_is_scored_as_a_point(app, one):
    issue(app, naive_of(one))
    trade(app, one, 97.0)
    (row,), _ = scored(app, one)
    assert (row["status"], row["error"]) == ("scored", -3)
    assert [row[n] for n in ("pinball", "winkler_80", "direction_hit", "inside_50")] == [None] * 4


def test_a_close_that_did_not_move_has_no_direction(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 100.0)
    (row,), _ = scored(app, one)
    assert row["direction_hit"] is None
    assert row["inside_50"] is True


def test_splits_and_dividends_are_undone(app, one):
    issue(app, forecast_of(one))
    actions = [
        CorporateAction(session=TARGET, kind="split", value=4.0),
        CorporateAction(session=TARGET, kind="dividend", value=0.5),
    ]
    trade(app, one, 25.0, actions=actions)
    (row,), _ = scored(app, one)
    assert (row["status"], row["actual_close"]) == ("scored", 102)
    assert row["error"] == pytest.approx(102 - 100 * np.exp(QUANTILES[5]))
    assert row["actual_log_return"] == pytest.approx(np.log(1.02))


def test_a_split_nobody_reported_is_masked(app, one):
    issue(app, forecast_of(one), naive_of(one))
    trade(app, one, 50.0)
    assert scored(app, one) == ([], 0)
    trade(app, one, 50.5, first=session(2))
    rows, _ = scored(app, one, through=session(2))
    assert [row["status"] for row in rows] == ["masked", "masked"]
    silent = rows[0].keys() - {"id", "forecast_id", "revision", "status", "run_id", "scored_at"}
    assert {row[name] for row in rows for name in silent} == {None}


def test_a_crash_is_scored_once_the_next_session_confirms_it(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 60.0)
    assert scored(app, one) == ([], 0)
    trade(app, one, 61.0, first=session(2))
    assert scored(app, one) == ([], 0), "nothing later than the run's session is read"
    (row,), _ = scored(app, one, through=session(2))
    assert (row["status"], row["actual_close"]) == ("scored", 60)


def test_a_jump_taken_back_is_masked_both_ways(app, one):
    back = {"origin_session": TARGET, "origin_close": 60.0, "target_session": session(2)}
    issue(app, forecast_of(one), forecast_of(one, **back))
    trade(app, one, 60.0, 100.0)
    rows, _ = scored(app, one, through=session(2))
    assert [row["status"] for row in rows] == ["masked", "masked"]


def test_a_jump_of_one_ticker_does_not_delay_another(app, one):
    with app.transaction() as db:
        (other,) = listed(db, "BBB")
    issue(app, forecast_of(one), forecast_of(other))
    trade(app, one, 60.0)
    trade(app, other, 101.0)
    (row,), _ = scored(app, other, one)
    assert row["actual_close"] == 101


def test_a_restated_actual_adds_a_score(app, one):
    issue(app, forecast_of(one))
    trade(app, one, 97.0)
    before, _ = scored(app, one)
    trade(app, one, 98.0)
    rows, count = scored(app, one)
    assert count == 1
    assert rows[:1] == before
    assert (rows[1]["revision"], rows[1]["actual_close"]) == (2, 98)


def test_a_target_that_was_never_held_scores_no_session(app, one, change):
    hurricane = TARGET + timedelta(days=4)
    assert not calendar().is_session(hurricane)
    change(  # the calendar that was known then had it
        "INSERT INTO stockbatch.sessions (calendar, session, open_at, close_at, deadline_at)"
        " SELECT calendar, :day, open_at + :days, close_at + :days, deadline_at + :days"
        " FROM stockbatch.sessions WHERE session = :target",
        day=hurricane,
        days=timedelta(days=4),
        target=TARGET,
    )
    issue(app, forecast_of(one, target_session=hurricane))
    assert scored(app, one) == ([], 0)
    (row,), _ = scored(app, one, through=session(5))
    assert (row["status"], row["revision"], row["error"]) == ("no_session", 0, None)
    again, _ = scored(app, one, through=session(6))
    assert again == [row]


def test_a_missing_bar_of_a_session_is_waited_for(app, one):
    issue(app, forecast_of(one))
    assert scored(app, one, through=session(3)) == ([], 0)
    trade(app, one, 97.0)
    rows, _ = scored(app, one, through=session(3))
    assert [row["status"] for row in rows] == ["scored"]


@pytest.fixture
def exchange(app, one):
    """Five tickers, three with a forecast of TARGET each, and one for show, the last."""
    with app.transaction() as db:
        others = [*listed(db, "BBB", "CCC", "DDD", "EEE"), *listed(db, "^DEMO", demo=True)]
        for other in others:
            store(db, other, bars_of(HISTORY, [100.0] * len(HISTORY)))
    issue(app, *(forecast_of(each) for each in (one, *others[:2])))
    return one, *others


def test_a_session_that_no_ticker_has_while_most_have_traded_since_was_never_held(app, exchange):
    """A typhoon closes the exchange, of which its calendar knows nothing."""
    assert scored(app, *exchange, through=session(2)) == ([], 0), "nobody has traded since"
    trade(app, exchange[0], 101.0, first=session(2))
    trade(app, exchange[1], 101.0, first=session(2))
    trade(app, exchange[-1], 101.0, first=session(2))  # the one for show is no sign
    assert scored(app, *exchange, through=session(2)) == ([], 0), "most have not traded since"
    trade(app, exchange[2], 101.0, first=session(2))
    assert scored(app, *exchange, through=TARGET) == ([], 0), "later bars are not looked at"
    rows, count = scored(app, *exchange, through=session(2))
    assert [(row["status"], row["revision"]) for row in rows] == [("no_session", 0)] * 3
    assert count == 3
    assert scored(app, *exchange, through=session(3)) == (rows, 0)


def test_shares_that_trade_on_some_days_only_do_not_tell_that_a_session_was_not_held(app, exchange):
    for each in exchange:
        trade(app, each, 101.0, first=session(2))
    with app.transaction() as db:
        db.execute(
            text("DELETE FROM stockbatch.bars WHERE session = ANY(:days)"),
            {"days": [HISTORY[-2], HISTORY[-4]]},
        )
    assert scored(app, *exchange, through=session(3)) == ([], 0)


def test_one_share_that_trades_every_day_tells_that_a_session_was_not_held(app, one):
    with app.transaction() as db:
        (some_days,) = listed(db, "BBB")
        store(db, some_days, bars_of(HISTORY[::2], [100.0] * len(HISTORY[::2])))
    issue(app, forecast_of(one))
    trade(app, one, 101.0, first=session(2))
    (row,), _ = scored(app, one, through=session(2))
    assert row["status"] == "no_session"


def test_a_session_that_one_ticker_has_was_held(app, exchange):
    for each in exchange[:3]:
        trade(app, each, 101.0, first=session(2))
    with app.transaction() as db:  # a doubtful bar is a sign as well
        store(db, exchange[2], bars_of([TARGET], [400.0]), state="quarantined")
    assert scored(app, *exchange, through=session(3)) == ([], 0)


def test_a_session_that_seemed_cancelled_is_scored_when_its_bars_come(app, exchange):
    for each in exchange[:3]:
        trade(app, each, 101.0, first=session(2))
    before, _ = scored(app, *exchange, through=session(2))
    trade(app, exchange[1], 101.0)
    rows, count = scored(app, *exchange, through=session(2))
    assert (rows[:3], count) == (before, 1)
    assert (rows[3]["status"], rows[3]["actual_close"]) == ("scored", 101)


# ---- metrics

TICKERS = ("AAA", "BBB", "CCC")
DAYS = [session(offset) for offset in range(70)]
POINTS = ("mae", "rmse", "bias", "mape", "smape", "mase")
METHODS = (POINT_BASELINE, LSTM, QUANTILE_BASELINE, "ewma")
COVERED = {f"coverage_{percent}": f"inside_{percent}" for percent in (50, 80, 90, 95, 98)}


@pytest.fixture
def summed_up(app):
    """Made-up forecasts by four methods over 70 sessions, scored and summed up."""
    rng = np.random.default_rng(7)
    with app.transaction() as db:
        instruments = [*listed(db, *TICKERS), *listed(db, "^DEMO", demo=True)]
        made = []
        for instrument in instruments:
            closes = 100 * np.exp(np.cumsum(rng.normal(0, 0.01, len(DAYS))))
            store(db, instrument, bars_of(DAYS, closes))
            for day, close, target in zip(DAYS, closes, DAYS[1:], strict=False):
                made += list(_forecasts(rng, instrument, day, close, target))
        run = opened(db, DAYS[-1])
        forecasts.add(db, made, run, issued_at=NOW)
    score_forecasts(app, run, calendar(), instruments)
    update_metrics(app, run, calendar())
    return instruments


def _forecasts(rng, instrument, day, close, target):
    common = {
        "origin_session": day,
        "origin_close": close,
        "target_session": target,
        "deadline_at": PAST,
    }
    yield naive_of(instrument, **common | {"close": close})
    for method in METHODS[1:]:
        if method == LSTM and instrument.ticker == "BBB" and rng.random() < 0.3:
            continue
        quantiles = np.sort(rng.normal(0, 0.01, 11))
        made = forecast_of(
            instrument,
            quantiles=tuple(quantiles.tolist()),
            log_return=float(quantiles[5]),
            probability_of_rise=float(probability_above(quantiles)),
            **common | {"close": close * float(np.exp(quantiles[5]))},
        )
        yield replace(made, method=method)


def test_metrics_are_what_scikit_learn_says_of_the_same_rows(app, summed_up):
    stored = fetch(
        app.engine,
        "SELECT m.*, coalesce(i.ticker, 'ALL') AS ticker FROM stockbatch.metrics AS m"
        " LEFT JOIN stockbatch.instruments AS i ON i.id = m.instrument_id",
    )
    keys = "ticker", "method", "kind", "window_sessions", "metric"
    found = {tuple(row[name] for name in keys): row for row in stored}
    rows = fetch(
        app.engine,
        "SELECT f.*, s.*, i.ticker, i.demo FROM stockbatch.forecasts AS f"
        " JOIN stockbatch.scores AS s ON s.forecast_id = f.id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id ORDER BY f.target_session",
    )
    expected = {
        (ticker, method, "late", window, metric): numbers
        for ticker, method, window in product(("ALL", "^DEMO", *TICKERS), METHODS, WINDOWS)
        for metric, numbers in plain_metrics(rows, ticker, method, window).items()
    }
    assert found.keys() == expected.keys()
    for key, numbers in expected.items():
        row = found[key]
        assert row["through_session"] == DAYS[-1]
        stated = [row[name] for name in ("n", "value", "baseline", "skill")]
        np.testing.assert_allclose(
            np.array(stated, float), np.array(numbers, float), rtol=1e-9, err_msg=str(key)
        )


def plain_metrics(rows, ticker, method, window):
    """Return n, value, baseline and skill by metric; `rows` are joined forecasts and scores."""
    first = calendar().previous(DAYS[-1], window - 1)
    all_ = [row for row in rows if ticker in (row["ticker"], "" if row["demo"] else "ALL")]
    own = [row for row in all_ if row["method"] == method and row["target_session"] >= first]
    place = {(row["ticker"], row["target_session"]) for row in own}
    naive, rolling = (
        [
            row
            for row in all_
            if row["method"] == other and (row["ticker"], row["target_session"]) in place
        ]
        for other in (POINT_BASELINE, QUANTILE_BASELINE)
    )
    answer = {}
    for metric, value in plain_values(own).items():
        if ticker == "ALL" and metric in POINTS:
            continue
        baseline = skill = None
        if not metric.startswith(("bias", "coverage", "width", "directional")):
            other = rolling if metric.startswith(("pinball", "winkler")) else naive
            baseline = plain_values(other)[metric]
            skill = 1 - value / baseline
        answer[metric] = len(own), value, baseline, skill
    if ticker == "ALL" and method != POINT_BASELINE:
        losses = {
            other: {
                (row["target_session"], row["ticker"]): row["pinball"]
                for row in all_
                if row["method"] == other and row["target_session"] >= first
            }
            for other in METHODS
        }
        answer |= plain_comparisons(method, losses)
    return answer


def plain_comparisons(method, losses):
    """Return the metrics of the leaderboard; `losses` are by session and ticker, by method."""
    answer = {}
    for rival in (QUANTILE_BASELINE, "ewma", LSTM):
        places, days = common(losses[method], losses[rival])
        own, other = (sum(losses[m][place] for place in places) for m in (method, rival))
        left = [
            sum(losses[method][p] - own / other * losses[rival][p] for p in places if p[0] == day)
            for day in days
        ]
        error = stdev(left) * np.sqrt(len(days)) / other
        answer[f"skill_vs_{rival}"] = len(places), 1 - own / other, None, None
        answer[f"skill_vs_{rival}_error"] = len(places), error, None, None
    if method != QUANTILE_BASELINE:
        places, _ = common(losses[method], losses[QUANTILE_BASELINE])
        gain = {ticker: [] for ticker in TICKERS}
        for place in places:
            gain[place[1]].append(losses[QUANTILE_BASELINE][place] - losses[method][place])
        answer["share_better"] = len(places), fmean(fmean(g) > 0 for g in gain.values()), None, None
    if method != LSTM:
        places, days = common(losses[method], losses[LSTM])
        daily = [
            fmean(losses[method][p] - losses[LSTM][p] for p in places if p[0] == day)
            for day in days
        ]
        test = ttest_1samp(daily, 0)
        answer["dm_statistic"] = len(places), test.statistic, None, None
        answer["dm_p_value"] = len(places), test.pvalue, None, None
    return answer


def common(one, other):
    """Return what two methods have both forecast, and its sessions."""
    places = sorted(one.keys() & other.keys())
    return places, sorted({day for day, _ in places})


def plain_values(rows):
    def column(name):
        return np.array([row[name] for row in rows], dtype=np.float64)

    actual, close = column("actual_close"), column("close")
    gone, said = column("actual_log_return"), column("log_return")
    values = {
        "mae": mean_absolute_error(actual, close),
        "rmse": root_mean_squared_error(actual, close),
        "bias": np.mean(actual - close),
        "mape": 100 * mean_absolute_percentage_error(actual, close),
        "smape": 200 * np.mean(np.abs(actual - close) / (actual + close)),
        "mase": mean_absolute_error(actual, close)
        / mean_absolute_error(actual, column("origin_close")),
        "mae_return": mean_absolute_error(gone, said),
        "rmse_return": root_mean_squared_error(gone, said),
        "bias_return": np.mean(gone - said),
    }
    if rows[0]["q50"] is None:
        return values
    stated = {
        level: column(name) for level, name in zip(records.QUANTILES, QUANTILE_COLUMNS, strict=True)
    }
    values["pinball"] = np.mean(
        [mean_pinball_loss(gone, stated[level], alpha=level) for level in records.QUANTILES[1:10]]
    )
    values["directional_accuracy"] = np.mean((column("probability_of_rise") > 0.5) == (gone > 0))
    for metric, name in COVERED.items():
        values[metric] = np.mean(column(name))
    for percent, low, high in ((80, 0.1, 0.9), (95, 0.025, 0.975)):
        values[f"width_{percent}"] = np.mean(stated[high] - stated[low])
        values[f"winkler_{percent}"] = np.mean(column(f"winkler_{percent}"))
    return values


def test_metrics_again_change_nothing_and_an_older_session_replaces_no_ticker(app, summed_up):
    def of_tickers():
        return fetch(
            app.engine, "SELECT * FROM stockbatch.metrics WHERE instrument_id > 0 ORDER BY id"
        )

    before = of_tickers()
    for day in (DAYS[-1], DAYS[30]):
        with app.transaction() as db:
            run = opened(db, day)
        update_metrics(app, run, calendar())
    assert of_tickers() == before
    through = fetch(
        app.engine,
        "SELECT DISTINCT through_session FROM stockbatch.metrics WHERE instrument_id IS NULL"
        " ORDER BY 1",
    )
    assert [row["through_session"] for row in through] == [DAYS[30], DAYS[-1]]


LEADERBOARD = {
    "n": ("n", "mae_return", 1),
    "pinball": ("value", "pinball", 1),
    "skill_vs_rolling_quantile_pct": ("value", "skill_vs_rolling_quantile", 100),
    "skill_vs_rolling_quantile_error_pct": ("value", "skill_vs_rolling_quantile_error", 100),
    "skill_vs_ewma_pct": ("value", "skill_vs_ewma", 100),
    "skill_vs_ewma_error_pct": ("value", "skill_vs_ewma_error", 100),
    "share_better_pct": ("value", "share_better", 100),
    "dm_statistic": ("value", "dm_statistic", 1),
    "dm_p_value": ("value", "dm_p_value", 1),
    "mae_return": ("value", "mae_return", 1),
    "mae_return_skill_pct": ("skill", "mae_return", 100),
    "coverage_80_pct": ("value", "coverage_80", 100),
    "coverage_95_pct": ("value", "coverage_95", 100),
}


def test_a_session_without_a_bar_is_not_summed_up(app, summed_up):
    """As a run by a clock that is ahead finds it: its metrics would be the newest for months."""
    query = "SELECT max(through_session) AS day, count(*) AS n FROM stockbatch.metrics"
    before = fetch(app.engine, query)
    later = calendar().next(calendar().next(DAYS[-1]))
    update_metrics(app, Run.unrecorded("XNYS", later), calendar())
    assert fetch(app.engine, query) == before
    assert before[0]["day"] == DAYS[-1]


def test_the_leaderboard_has_a_row_per_method_and_window(app, summed_up):
    rows = fetch(app.engine, "SELECT * FROM bi.leaderboard")
    assert {(row["method"], row["window_sessions"]) for row in rows} == {*product(METHODS, WINDOWS)}
    assert len(rows) == len(METHODS) * len(WINDOWS)
    for row in rows:
        assert (row["session"], row["calendar"], row["kind"]) == (DAYS[-1], "XNYS", "late")
        stored = fetch(
            app.engine,
            "SELECT * FROM stockbatch.metrics WHERE instrument_id IS NULL AND method = :method"
            " AND window_sessions = :window",
            method=row["method"],
            window=row["window_sessions"],
        )
        by_name = {one["metric"]: one for one in stored}
        for column, (number, metric, factor) in LEADERBOARD.items():
            expected = by_name.get(metric, {number: None})[number]
            assert row[column] == (None if expected is None else pytest.approx(factor * expected))


def test_the_leaderboard_compares_nobody_with_itself(app, summed_up):
    rows = fetch(app.engine, "SELECT * FROM bi.leaderboard WHERE window_sessions = 60")
    by_method = {row["method"]: row for row in rows}

    def silent(method):
        return {name for name in LEADERBOARD if by_method[method][name] is None}

    assert silent("lstm") == {"dm_statistic", "dm_p_value"}
    assert silent("rolling_quantile") == {"share_better_pct"}
    assert silent("ewma") == set()
    assert silent("naive") == LEADERBOARD.keys() - {"n", "mae_return", "mae_return_skill_pct"}
    assert by_method["rolling_quantile"]["skill_vs_rolling_quantile_pct"] == 0


def test_parts_of_the_tickers_add_up_to_what_all_of_them_come_to(app, summed_up, monkeypatch):
    columns = "method, kind, window_sessions, metric, n, value, baseline, skill"
    query = (
        f"SELECT {columns} FROM stockbatch.metrics WHERE instrument_id IS NULL ORDER BY 1, 2, 3, 4"
    )
    together = fetch(app.engine, query)
    with app.transaction() as db:
        db.execute(text("DELETE FROM stockbatch.metrics"))
        run = opened(db, DAYS[-1])
    monkeypatch.setattr("jobs.daily.metrics.AT_ONCE", 1)
    update_metrics(app, run, calendar())
    parts = fetch(app.engine, query)
    assert [list(row.values())[:5] for row in parts] == [list(row.values())[:5] for row in together]
    numbers = [
        np.array([list(row.values())[5:] for row in rows], float) for rows in (parts, together)
    ]
    np.testing.assert_allclose(*numbers, rtol=1e-12)


def test_a_method_that_lacks_a_ticker_is_compared_on_the_others(app, summed_up):
    with app.transaction() as db:
        (new,) = listed(db, "NEW")
        store(db, new, bars_of(DAYS, [100 + n % 3 for n in range(len(DAYS))]))
        made = forecast_of(new, origin_session=DAYS[-2], target_session=DAYS[-1])
        made = replace(made, method=LSTM)
        forecasts.add(db, [made], opened(db, DAYS[-1]), issued_at=NOW)
        run = opened(db, DAYS[-1])
    before = fetch(app.engine, "SELECT * FROM bi.leaderboard WHERE method = 'lstm' ORDER BY 6")
    score_forecasts(app, run, calendar(), [*summed_up, new])
    update_metrics(app, run, calendar())
    after = fetch(app.engine, "SELECT * FROM bi.leaderboard WHERE method = 'lstm' ORDER BY 6")
    for old, fresh in zip(before, after, strict=True):
        assert fresh["n"] == old["n"] + 1
        assert fresh["pinball"] != old["pinball"]
        for column in ("skill_vs_rolling_quantile_pct", "skill_vs_ewma_pct", "share_better_pct"):
            assert fresh[column] == pytest.approx(old[column])
    for skill in fetch(
        app.engine,
        "SELECT a.skill_pct, l.skill_vs_rolling_quantile_pct AS expected FROM bi.accuracy AS a"
        " JOIN bi.leaderboard AS l USING (method, window_sessions)"
        " WHERE a.scope = 'calendar' AND a.metric = 'pinball' AND method = 'lstm'",
    ):
        assert skill["skill_pct"] == pytest.approx(skill["expected"])
