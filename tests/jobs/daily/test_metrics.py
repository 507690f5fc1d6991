"""Summing up, against plain computations on the same rows, and against the whole window."""

from dataclasses import replace
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

from jobs import watchlist
from jobs.app import App
from jobs.daily import carried, groups, kept_sums, part_metrics, totals
from jobs.daily import metrics as metrics_job
from jobs.daily.kept_sums import KeptSums
from jobs.daily.losses import WINDOWS
from jobs.daily.metrics import update_metrics
from jobs.daily.score import score_forecasts
from stockbatch import records
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.methods.distribution import probability_above
from stockbatch.records import LSTM, POINT_BASELINE, QUANTILE_BASELINE, GroupKind, Run
from stockbatch.store import forecasts
from tests.support.ledger import PAST, bars_of, forecast_of, listed, naive_of, opened, store
from tests.support.market import METRICS, NOW, PlainTrainer, calendar, fetch, session, small


@pytest.fixture
def app(settings, writer) -> App:
    return App(settings=small(settings), engine=writer, trainer=PlainTrainer(), clock=lambda: NOW)


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
    stored = fetch(app.engine, METRICS)
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
        return fetch(app.engine, "SELECT * FROM stockbatch.ticker_metrics ORDER BY 1, 2, 3, 4, 5")

    before = of_tickers()
    for day in (DAYS[-1], DAYS[30]):
        with app.transaction() as db:
            run = opened(db, day)
        update_metrics(app, run, calendar())
    assert of_tickers() == before
    through = fetch(
        app.engine,
        "SELECT DISTINCT through_session FROM stockbatch.metrics ORDER BY 1",
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
            "SELECT * FROM stockbatch.metrics WHERE method = :method AND window_sessions = :window",
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
    query = f"SELECT {columns} FROM stockbatch.metrics ORDER BY 1, 2, 3, 4"
    together = fetch(app.engine, query)
    with app.transaction() as db:
        for table in ("metrics", "ticker_metrics", "sums"):
            db.execute(text(f"DELETE FROM stockbatch.{table}"))
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


# ---- night by night


def forget_all(app):
    with app.transaction() as db:
        for table in ("metrics", "ticker_metrics", "group_metrics", "sums"):
            db.execute(text(f"DELETE FROM stockbatch.{table}"))


def all_metrics(app, day):
    found = fetch(app.engine, f"{METRICS} WHERE session = :day", day=day)
    groups = fetch(app.engine, "SELECT * FROM stockbatch.group_metrics")
    for row in found:
        row.pop("calendar")
    keys = ("ticker", "group_name", "method", "kind", "window_sessions", "metric")
    return {
        tuple(row.get(name) for name in keys): {
            name: value for name, value in row.items() if isinstance(value, float | int)
        }
        for row in [*found, *groups]
    }


@pytest.fixture
def nightly(app, summed_up, monkeypatch):
    """A function that sums up a session, and tells how many tickers and sessions it has read."""
    read = []
    load = part_metrics.load

    def watched(app, instruments, sessions):
        if instruments:
            read.append((len(instruments), len(sessions)))
        return load(app, instruments, sessions)

    monkeypatch.setattr(part_metrics, "load", watched)
    monkeypatch.setattr(carried, "due", lambda ids, session: np.zeros(len(ids), bool))

    def sum_up(day):
        read.clear()
        with app.transaction() as db:
            run = opened(db, day)
        update_metrics(app, run, calendar())
        return list(read)

    forget_all(app)
    assert sum_up(DAYS[40]) == [(4, 250)]
    return sum_up


def assert_as_from_nothing(app, nightly, day):
    found = all_metrics(app, day)
    forget_all(app)
    nightly(day)
    expected = all_metrics(app, day)
    assert found.keys() == expected.keys()
    for key, numbers in expected.items():
        assert found[key] == pytest.approx(numbers, rel=1e-9, abs=1e-13), key


def restate(app, instruments, ticker, day):
    (one,) = [one for one in instruments if one.ticker == ticker]
    with app.transaction() as db:
        store(db, one, bars_of([day], [123.0]))
        run = opened(db, DAYS[-1])
    score_forecasts(app, run, calendar(), [one])


def test_a_night_reads_what_comes_and_leaves_and_says_what_the_whole_window_does(app, nightly):
    watchlist.tag(app, ["AAA", "CCC"], [(GroupKind.TAG, "two")])
    for day in DAYS[41:]:
        read = nightly(day)
        if day == DAYS[41]:  # a group that was not there
            assert read == [(4, 250)]
        else:
            assert read == [(4, 4)]
    assert {row["tickers"] for row in fetch(app.engine, "SELECT * FROM bi.group_accuracy")} == {2}
    assert_as_from_nothing(app, nightly, DAYS[-1])


def test_a_second_run_of_a_night_reads_nothing_of_the_window(app, nightly):
    nightly(DAYS[41])
    before = all_metrics(app, DAYS[41])
    assert nightly(DAYS[41]) == [(4, 4)]
    assert all_metrics(app, DAYS[41]) == before


def test_a_restated_bar_makes_its_ticker_and_its_session_anew(app, summed_up, nightly):
    for day in DAYS[41:50]:
        nightly(day)
    restate(app, summed_up, "AAA", DAYS[33])
    assert nightly(DAYS[50]) == [(4, 5), (1, 250)]
    assert nightly(DAYS[51]) == [(4, 4)]
    restate(app, summed_up, "CCC", DAYS[20])
    assert nightly(DAYS[51]) == [(4, 5), (1, 250)]  # the same session again
    assert nightly(DAYS[52]) == [(4, 4)]
    assert_as_from_nothing(app, nightly, DAYS[52])


def test_a_bar_restated_of_the_session_that_leaves_the_window_makes_its_ticker_anew(
    app, summed_up, nightly, monkeypatch
):
    for module in (carried, kept_sums, part_metrics, totals, groups, metrics_job):
        if hasattr(module, "WINDOWS"):
            monkeypatch.setattr(module, "WINDOWS", (5, 10, 20))
    monkeypatch.setattr(part_metrics, "LONGEST", 20)
    forget_all(app)
    nightly(DAYS[40])
    restate(app, summed_up, "AAA", DAYS[21])
    assert nightly(DAYS[41]) == [(4, 4), (1, 20)]
    assert_as_from_nothing(app, nightly, DAYS[41])


def test_nights_left_out_are_made_up_for(app, nightly):
    nightly(DAYS[41])
    assert nightly(DAYS[47]) == [(4, 250)]
    assert nightly(DAYS[48]) == [(4, 4)]
    assert_as_from_nothing(app, nightly, DAYS[48])


def test_a_ticker_that_leaves_or_has_its_first_score(app, summed_up, nightly):
    watchlist.remove(app, ["CCC"])
    assert nightly(DAYS[41]) == [(3, 250)]
    with app.transaction() as db:
        (new,) = listed(db, "NEW")
        store(db, new, bars_of(DAYS, [100 + n % 3 for n in range(len(DAYS))]))
        made = forecast_of(new, origin_session=DAYS[42], target_session=DAYS[43])
        forecasts.add(db, [made], opened(db, DAYS[42]), issued_at=NOW)
    assert nightly(DAYS[42]) == [(4, 4), (1, 250)]
    with app.transaction() as db:
        run = opened(db, DAYS[43])
    score_forecasts(app, run, calendar(), [new])
    assert nightly(DAYS[43]) == [(4, 4), (1, 250)]
    assert nightly(DAYS[44]) == [(4, 4)]
    assert_as_from_nothing(app, nightly, DAYS[44])
    with app.transaction() as db:
        db.execute(text("UPDATE stockbatch.instruments SET active = true"))
    assert nightly(DAYS[45])[0] == (5, 250)
    assert_as_from_nothing(app, nightly, DAYS[45])


def test_a_session_from_before_leaves_what_is_kept_of_a_later_one(app, summed_up, nightly):
    for day in DAYS[41:45]:
        nightly(day)
    restate(app, summed_up, "AAA", DAYS[30])
    assert nightly(DAYS[35]) == [(4, 250)]
    assert nightly(DAYS[45]) == [(4, 5), (1, 250)]
    assert_as_from_nothing(app, nightly, DAYS[45])


def test_what_was_killed_before_its_end_is_summed_up_anew(app, summed_up, nightly, monkeypatch):
    nightly(DAYS[41])
    restate(app, summed_up, "BBB", DAYS[30])

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(KeptSums, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            nightly(DAYS[42])
    assert nightly(DAYS[42]) == [(4, 5), (1, 250)]
    assert_as_from_nothing(app, nightly, DAYS[42])
