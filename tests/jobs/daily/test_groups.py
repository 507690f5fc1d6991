"""How well the tickers of a group were forecast together."""

import numpy as np
import pytest

from jobs import watchlist
from stockbatch import metrics
from stockbatch.records import GroupKind
from stockbatch.store import group_metrics
from tests.support.market import CODE, ORIGIN, fetch, run, session

LATE = "kind = 'late' AND window_sessions = 60"


def group(app, kind, name, *tickers):
    watchlist.tag(app, tickers, [(kind, name)])


def losses(app, method, *tickers):
    """Return the pinball losses of a method by ticker and session."""
    found = fetch(
        app.engine,
        "SELECT ticker, session, pinball FROM bi.forecast_history WHERE method = :method"
        " AND score_status = 'scored' ORDER BY session",
        method=method,
    )
    return np.array([[row["pinball"] for row in found if row["ticker"] == t] for t in tickers])


def test_a_group_is_summed_up_as_all_of_an_exchange_are(app):
    group(app, GroupKind.TAG, "two", "AAA", "CCC")
    group(app, GroupKind.WATCHLIST, "all", "AAA", "BBB", "CCC")
    for offset in range(4):
        run(app, session(offset))
    rows = fetch(
        app.engine,
        f"SELECT * FROM bi.group_accuracy WHERE {LATE} AND method = 'ewma' ORDER BY group_kind",
    )
    assert [(row["group_kind"], row["group_name"], row["tickers"], row["n"]) for row in rows] == [
        ("tag", "two", 2, 6),
        ("watchlist", "all", 3, 9),
    ]
    own, rival = (losses(app, method, "AAA", "CCC") for method in ("ewma", "rolling_quantile"))
    skill = metrics.clustered_skill(own, rival)
    two, everyone = rows
    assert two["pinball"] == pytest.approx(own.mean())
    assert two["skill_vs_rolling_quantile_pct"] == pytest.approx(100 * skill.value)
    error = two["skill_vs_rolling_quantile_error_pct"]
    assert error == pytest.approx(100 * skill.standard_error)
    (whole,) = fetch(
        app.engine,
        "SELECT * FROM bi.leaderboard WHERE method = 'ewma' AND kind = 'late'"
        " AND window_sessions = 60 AND session = :session",
        session=session(3),
    )
    assert everyone["session_close_at"] == whole["session_close_at"]
    for column in ("n", "pinball", "skill_vs_rolling_quantile_pct",
                   "skill_vs_rolling_quantile_error_pct", "mae_return", "coverage_80_pct",
                   "coverage_95_pct"):  # fmt: skip
        assert everyone[column] == pytest.approx(whole[column]), column


def test_points_only_have_no_skill_and_a_group_that_is_dissolved_no_row(app):
    group(app, GroupKind.TAG, "two", "AAA", "CCC")
    for offset in range(2):
        run(app, session(offset))
    naive = fetch(app.engine, f"SELECT * FROM bi.group_accuracy WHERE method = 'naive' AND {LATE}")
    assert [(row["n"], row["pinball"], row["coverage_80_pct"]) for row in naive] == [
        (2, None, None)
    ]
    watchlist.tag(app, ["AAA", "CCC"], [], ["two"])
    assert fetch(app.engine, "SELECT * FROM bi.group_accuracy") == []


def test_an_older_session_says_nothing_over_a_newer_one(app):
    group(app, GroupKind.TAG, "one", "AAA")
    row = group_metrics.Row("tag", "one", "ewma", "late", 20, 1, 5, 0.1, 0.2, 0.1, 0.3, 0.8, None)
    with app.transaction() as db:
        group_metrics.save(db, CODE, session(1), [row])
    before = fetch(app.engine, "SELECT * FROM stockbatch.group_metrics")
    with app.transaction() as db:
        group_metrics.save(db, CODE, session(1), [row])
        group_metrics.save(db, CODE, ORIGIN, [row._replace(n=4)])
    assert fetch(app.engine, "SELECT * FROM stockbatch.group_metrics") == before
    assert before[0]["skill"] == 0.2
