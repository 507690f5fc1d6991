"""What outsiders rely on in schema `bi`: the columns, the dictionary, the newer views' rows."""

import re
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import text

from jobs.commands import database as database_command
from stockbatch.market.overlap import restated_by_split
from stockbatch.records import LSTM, Action, BarState, CorporateAction, Finding, Reason, Severity
from stockbatch.store import bars, bi, forecasts, runs
from tests.support.ledger import (
    QUANTILES,
    bars_of,
    forecast_of,
    listed,
    measured,
    opened,
    outcome_of,
    rows,
    store,
)
from tests.support.market import NOW, ORIGIN, calendar, session
from tests.support.places import ROOT

HERE = Path(__file__).parent
DEPLOYMENT = ROOT / "deployment"
TARGET, AFTER = session(1), session(2)


def columns_of(lines):
    """Return the columns of each view, from lines `view.column type`."""
    pairs = [line.split(".", 1) for line in lines]
    return {view: [c for _, c in of_view] for view, of_view in groupby(pairs, lambda pair: pair[0])}


def test_the_contract_is_frozen(db):
    frozen = columns_of((HERE / "bi_contract.txt").read_text().splitlines())
    found = columns_of(f"{c.view}.{c.name} {c.type}" for c in bi.dictionary.columns(db))
    assert found == frozen, "columns are only appended; then append them to bi_contract.txt too"


DIMENSIONS = {"archives", "groups", "headlines", "instruments", "sessions"}


def test_every_fact_has_session_close_and_change(db):
    found = {}
    for column in bi.dictionary.columns(db):
        found.setdefault(column.view, {})[column.name] = column.type
    assert found.keys() > DIMENSIONS
    for view in found.keys() - DIMENSIONS:
        assert found[view]["session"] == "date"
        for instant in ("session_close_at", "updated_at"):
            assert found[view][instant] == "timestamp with time zone"
        prices = {"close", "origin_close", "forecast_close", "actual_close"} & found[view].keys()
        assert not prices or found[view]["currency"] == "text", view
    relations = rows(db, "SELECT relkind FROM pg_class WHERE relnamespace = 'bi'::regnamespace")
    assert {row["relkind"] for row in relations} == {"v"}, "no materialised views, no tables"


def test_percentages_and_flags_are_named_as_such(db):
    for column in bi.dictionary.columns(db):
        flag = column.name.startswith(("is_", "inside_")) or column.name == "direction_hit"
        assert (column.type == "boolean") == flag, column
        if column.name.endswith("_pct"):
            assert column.type in ("double precision", "integer"), column
        if column.name.endswith("_at") or column.name.endswith("since"):
            assert column.type == "timestamp with time zone", column


def test_the_data_dictionary_is_that_of_the_database(settings, monkeypatch, capsys):
    monkeypatch.setattr(database_command.context, "settings", lambda: settings)
    database_command.dictionary()
    written = (DEPLOYMENT / "data-dictionary.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == written, "stockbatch db dictionary > deployment/…"
    assert not re.search(r"\| +\|", written)


def test_one_package_reads_the_views():
    reader = ROOT / "stockbatch" / "store" / "bi"
    # Makes views of the views, for those who may not read these.
    maker = ROOT / "stockbatch" / "database" / "teams.py"
    for folder in ("stockbatch", "jobs"):
        for file in (ROOT / folder).rglob("*.py"):
            asked = re.search(r"\b(FROM|JOIN)\s+bi\.", file.read_text(encoding="utf-8"))
            assert not asked or file.is_relative_to(reader) or file == maker, file


# ---- rows


def test_coverage_stands_beside_what_it_should_be(db, one):
    shares = {50: 0.55, 80: 0.75, 90: 0.9, 95: 1.0, 98: 0.97}
    told = {f"coverage_{percent}": (20, share, None, None) for percent, share in shares.items()}
    measured(db, one, TARGET, told | {"pinball": (20, 0.1, None, None)})
    measured(db, None, TARGET, {"coverage_80": (40, 0.81, None, None)})
    query = "SELECT * FROM bi.interval_coverage ORDER BY scope DESC, interval_pct"
    shown = rows(db, query)
    numbers = [
        (r["ticker"], r["interval_pct"], r["coverage_pct"], r["deviation_pct"]) for r in shown
    ]
    assert numbers == [
        ("AAA", 50, pytest.approx(55), pytest.approx(5)),
        ("AAA", 80, pytest.approx(75), pytest.approx(-5)),
        ("AAA", 90, pytest.approx(90), pytest.approx(0)),
        ("AAA", 95, pytest.approx(100), pytest.approx(5)),
        ("AAA", 98, pytest.approx(97), pytest.approx(-1)),
        (None, 80, pytest.approx(81), pytest.approx(1)),
    ]
    assert (shown[0]["session"], shown[0]["session_close_at"]) == (TARGET, calendar().close(TARGET))
    assert [row["n"] for row in shown] == [20, 20, 20, 20, 20, 40]


def test_outcomes_are_the_final_ones(db, one):
    run = opened(db)
    for action, reason in ((Action.NONE, Reason.NO_BAR), (Action.REUSED, Reason.FRESH)):
        runs.add_outcomes(db, run, [one], [outcome_of(one, action, reason, "words")])
    (row,) = rows(db, "SELECT * FROM bi.outcomes")
    expected = {"session": ORIGIN, "session_close_at": calendar().close(ORIGIN), "ticker": "AAA"}
    expected |= {"action": "reused", "reason": "fresh", "message": "words", "tries": 2}
    expected |= {"run_id": run.id, "is_demo": False, "calendar": "XNYS"}
    assert row | expected == row


def test_data_issues_are_what_the_checks_found(db, one):
    found = Finding(
        session=ORIGIN,
        check="jump",
        severity=Severity.WARNING,
        message="return of 40 %",
        observed=0.4,
        threshold=0.25,
    )
    bars.add_findings(db, {one.id: [found]}, run_id=None)
    (row,) = rows(db, "SELECT * FROM bi.data_issues")
    expected = {"session": ORIGIN, "session_close_at": calendar().close(ORIGIN), "ticker": "AAA"}
    expected |= {"check_name": "jump", "severity": "warning", "observed": 0.4, "threshold": 0.25}
    assert row | expected == row


def test_dimensions_are_tickers_and_sessions(db, one):
    listed(db, "DEMO", demo=True)
    db.execute(text("UPDATE stockbatch.instruments SET active = false WHERE ticker = 'AAA'"))
    shown = rows(db, "SELECT * FROM bi.instruments ORDER BY ticker")
    flags = [(row["ticker"], row["is_active"], row["is_demo"]) for row in shown]
    assert flags == [("AAA", False, False), ("DEMO", True, True)]
    assert (shown[0]["currency"], shown[0]["calendar"]) == ("USD", "XNYS")
    (day,) = rows(db, "SELECT * FROM bi.sessions WHERE session = :day", day=ORIGIN)
    assert day == {
        "session": ORIGIN,
        "calendar": "XNYS",
        "open_at": calendar().open(ORIGIN),
        "close_at": calendar().close(ORIGIN),
        "is_over": True,
    }


class TestDataFreshness:
    """Sessions end in these tests an hour, a day and two days ago; one is still open."""

    @pytest.fixture
    def days(self, db):
        today = datetime.now(UTC).date()
        days = [today - timedelta(days=age) for age in (3, 2, 1, 0)]
        insert = text(
            "INSERT INTO stockbatch.sessions"
            " VALUES ('XNYS', :day, now() + :left - interval '9 hours', now() + :left,"
            " now() + :left - interval '9 hours')"
        )
        for day, left in zip(days, (-49, -25, -1, 9), strict=True):
            db.execute(insert, {"day": day, "left": timedelta(hours=left)})
        return days

    def shown(self, db):
        (row,) = rows(db, "SELECT * FROM bi.data_freshness")
        return row

    def test_ready_once_the_run_of_the_last_closed_session_is_finished(self, db, days):
        (one,) = listed(db, "AAA")
        store(db, one, bars_of(days[:3], [1.0, 2.0, 3.0]), state=BarState.PROVISIONAL)
        assert not self.shown(db)["is_ready"]
        run = opened(db, days[2])
        assert not self.shown(db)["is_ready"]
        runs.add_outcomes(db, run, [one], [outcome_of(one, Action.REUSED, Reason.FRESH)])
        runs.close_run(db, run)
        row = self.shown(db)
        expected = {"session": days[2], "is_ready": True, "bar_session": days[2]}
        expected |= {"sessions_behind": 0, "bar_state": "provisional", "outcome_reason": "fresh"}
        assert row | expected == row
        assert row["age_hours"] == pytest.approx(1, abs=0.1)

        opened(db, days[2], reprocess=True)
        assert not self.shown(db)["is_ready"]

    @pytest.mark.parametrize(("held", "is_ready"), [(0, False), (18, False), (19, True)])
    def test_not_ready_without_95_percent_of_the_bars(self, db, days, held, is_ready):
        ones = listed(db, *(f"T{number}" for number in range(20)))
        for number, one in enumerate(ones):
            store(
                db,
                one,
                bars_of(days[: 2 + (number < held)], [1.0, 2.0, 3.0][: 2 + (number < held)]),
            )
        runs.close_run(db, opened(db, days[2]))
        found = rows(db, "SELECT is_ready FROM bi.data_freshness")
        assert {row["is_ready"] for row in found} == {is_ready}

    def test_of_few_tickers_one_bar_is_enough_and_none_is_not(self, db, days):
        one, other = listed(db, "AAA", "BBB")
        store(db, one, bars_of(days[:2], [1.0, 2.0]))
        runs.close_run(db, opened(db, days[2]))
        assert not any(r["is_ready"] for r in rows(db, "SELECT is_ready FROM bi.data_freshness"))
        store(db, other, bars_of(days[2:3], [1.0]))
        assert all(r["is_ready"] for r in rows(db, "SELECT is_ready FROM bi.data_freshness"))

    def test_a_ticker_that_fell_behind_says_by_how_much(self, db, days):
        (one,) = listed(db, "AAA")
        row = self.shown(db)
        assert (row["bar_session"], row["sessions_behind"], row["age_hours"]) == (None, None, None)
        store(db, one, bars_of(days[:1], [1.0]))
        store(db, one, bars_of(days[1:2], [2.0]), state=BarState.QUARANTINED)
        row = self.shown(db)
        assert (row["bar_session"], row["sessions_behind"]) == (days[0], 2)
        assert row["age_hours"] == pytest.approx(49, abs=0.1)

    def test_never_ready_where_the_sessions_end_in_the_past(self, db, days):
        (one,) = listed(db, "AAA")
        store(db, one, bars_of(days[:3], [1.0, 2.0, 3.0]))
        runs.close_run(db, opened(db, days[2]))
        assert self.shown(db)["is_ready"]
        db.execute(text("DELETE FROM stockbatch.sessions WHERE close_at > now()"))
        assert not self.shown(db)["is_ready"]


# ---- moving averages and splits, against a plain computation


def test_averages_across_splits_are_those_of_restated_closes(db, one):
    days = [session(n) for n in range(-259, 1)]
    splits = {days[30]: 3.0, days[100]: 2.0, days[180]: 0.1}
    traded = [100.0 + n % 7 for n in range(len(days))]
    store(db, one, bars_of(days, traded))
    actions = [CorporateAction(session=day, kind="split", value=v) for day, v in splits.items()]
    bars.add_actions(db, {one.id: actions}, provider="csv")
    restated = []
    for day, close in zip(days, traded, strict=True):
        for split, ratio in splits.items():
            close = close / ratio if day < split else close
        restated.append(close)
    panel = rows(db, "SELECT * FROM bi.price_and_forecast ORDER BY session")
    assert [row["close"] for row in panel] == pytest.approx(restated)
    for number, row in enumerate(panel, start=1):
        for size in (20, 50, 200):
            window = restated[number - size : number] if number >= size else None
            expected = None if window is None else pytest.approx(sum(window) / size)
            assert row[f"average_{size}"] == expected, (number, size)


@pytest.mark.parametrize("shown_as", [TARGET, AFTER], ids=["with a bar", "without"])
def test_a_forecast_follows_a_restatement_as_scores_do(db, one, shown_as):
    """A provider of adjusted prices divides its history by a split that it does not state."""
    made = {"method": LSTM, "close": 101.0, "target_session": shown_as}
    forecasts.add(db, [forecast_of(one, **made)], opened(db), issued_at=NOW)
    for now in (100.0, 98.0, 90.0, 50.0, 50.09, 50.3, 66.7, 80.0, 82.0, 12.5, 9.0, 200.0, 400.0):
        store(db, one, bars_of([ORIGIN, TARGET], [now, now]))
        factor = restated_by_split(np.array(100.0), np.array(now))
        row = rows(db, "SELECT * FROM bi.price_and_forecast WHERE session = :s", s=shown_as)[0]
        assert row["forecast_close"] == pytest.approx(101 / factor), now
        assert row["close_high_80"] == pytest.approx(100 * np.exp(QUANTILES[7]) / factor), now


def test_a_forecast_stands_beside_a_close_without_its_dividend(db, one):
    store(db, one, bars_of([ORIGIN, TARGET, AFTER], [100.0, 49.0, 24.0]))
    actions = [
        CorporateAction(session=TARGET, kind="split", value=2.0),
        CorporateAction(session=TARGET, kind="dividend", value=1.0),
        CorporateAction(session=AFTER, kind="split", value=2.0),
    ]
    bars.add_actions(db, {one.id: actions}, provider="csv")
    made = forecast_of(one, method=LSTM, close=100.0)
    forecasts.add(db, [made], opened(db), issued_at=NOW)
    query = "SELECT * FROM bi.price_and_forecast WHERE session = :session"
    (row,) = rows(db, query, session=TARGET)
    assert (row["close"], row["forecast_close"]) == (24.5, pytest.approx(100 / 4 - 1 / 2))
    assert row["close_low_95"] == pytest.approx(100 * np.exp(QUANTILES[1]) / 4 - 1 / 2)


def test_a_split_changes_all_rows_before_it(db, one):
    store(db, one, bars_of([ORIGIN, TARGET], [100.0, 101.0]))
    query = "SELECT min(updated_at) FROM bi.price_and_forecast"
    before = db.scalar(text(query))
    split = CorporateAction(session=AFTER, kind="split", value=2.0)
    db.execute(text("UPDATE stockbatch.bars SET fetched_at = fetched_at - interval '1 day'"))
    assert db.scalar(text(query)) < before
    bars.add_actions(db, {one.id: [split]}, provider="csv")
    assert db.scalar(text(query)) >= before


def test_a_forecast_stands_beside_its_bar_or_alone_never_twice(db, one):
    store(db, one, bars_of([ORIGIN, TARGET], [100.0, 101.0]))
    bar = bars_of([AFTER], [5.0])
    store(db, one, bar, state=BarState.QUARANTINED)
    lstm = {"method": LSTM}
    options = {"issued_at": NOW}
    made = [forecast_of(one, close=1.0, fingerprint="1", **lstm)]
    forecasts.add(db, made, opened(db), backtest=True, **options)
    late = [forecast_of(one, close=2.0, fingerprint="2", **lstm)]
    late += [forecast_of(one, close=3.0, origin_session=TARGET, target_session=AFTER, **lstm)]
    forecasts.add(db, late, opened(db), **options)
    query = "SELECT * FROM bi.price_and_forecast ORDER BY session"
    shown = [(r["session"], r["close"], r["forecast_kind"], r["forecast_close"], r["bar_state"])
             for r in rows(db, query)]  # fmt: skip
    assert shown == [
        (ORIGIN, 100, None, None, "final"),
        (TARGET, 101, "late", 2, "final"),
        (AFTER, None, "late", 3, None),
    ]
