"""The backtest is the run, many sessions at once."""

import pytest

from jobs.replay import block as replay
from jobs.replay.backtest import backtest
from stockbatch.database.tables import QUANTILE_COLUMNS, RAW_QUANTILE_COLUMNS
from stockbatch.exceptions import NotASession, SessionNotClosed
from tests.support.market import CODE, ORIGIN, TICKERS, dump, fetch, in_chunks, run, session

LAST = 6
RAW = (*RAW_QUANTILE_COLUMNS, "close", "shrinkage", "dissimilarity")
NUMBERS = (
    *(*QUANTILE_COLUMNS, *RAW_QUANTILE_COLUMNS, "close", "shrinkage", "dissimilarity"),
    *("probability_of_fall", "probability_of_move_2", "usual_move"),
)


def walk(app):
    return list(backtest(app, CODE, ORIGIN, session(LAST)))


def forecasts(app, kind):
    rows = fetch(
        app.engine,
        "SELECT f.*, ticker FROM stockbatch.forecasts AS f"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id WHERE kind = :kind",
        kind=kind,
    )
    return {(row["ticker"], row["origin_session"], row["method"]): row for row in rows}


def assert_same_numbers(found, expected, but_for=""):
    """Compare; of the methods named what is calibrated may differ, the rest may not."""
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        for name in RAW if key[2] in but_for.split() else NUMBERS:
            if row[name] is None:
                assert found[key][name] is None, (key, name)
            else:
                assert found[key][name] == pytest.approx(row[name], rel=1e-6, abs=1e-9), (key, name)
        if not but_for:
            assert found[key]["reasons"] == (
                row["reasons"] and pytest.approx(row["reasons"], rel=1e-6, abs=1e-9)
            )


@pytest.fixture
def plain(app):
    return in_chunks(app)


def test_its_forecasts_are_those_of_runs(plain, make_app, market):
    market.split("BBB", 2, session(2))
    market.dividend("CCC", 0.5, session(3))
    market.multiply("AAA", 0.6, session(2), session(60))  # a crash that stays: pending, released
    market.drop("CCC", session(4))
    walked = make_app(market)
    done = walk(plain)
    assert [(block.first, block.last) for block in done] == [
        (ORIGIN, session(4)),
        (session(5), session(LAST)),
    ]
    for offset in range(LAST + 1):
        run(walked, session(offset))
    found, expected = forecasts(plain, "backtest"), forecasts(walked, "late")
    assert sum(block.added for block in done) == len(found)
    assert_same_numbers(found, expected)


def test_a_run_after_it_reuses_its_models_and_says_the_same(plain):
    walk(plain)
    summary = run(plain, session(3))
    assert {str(outcome.action) for outcome in summary.outcomes} == {"reused"}
    late = forecasts(plain, "late")
    walked = forecasts(plain, "backtest")
    assert_same_numbers(late, {key: walked[key] for key in late})
    assert len(late) == len({method for _, _, method in late}) * len(TICKERS)


def test_it_is_scored_and_summed_up_apart_from_runs(plain):
    walk(plain)
    scores = fetch(
        plain.engine,
        "SELECT f.kind, s.status FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id",
    )
    assert len(scores) == len(forecasts(plain, "backtest"))
    assert {(row["kind"], row["status"]) for row in scores} == {("backtest", "scored")}
    kinds = fetch(plain.engine, "SELECT DISTINCT kind FROM bi.accuracy")
    assert kinds == [{"kind": "backtest"}]
    assert fetch(plain.engine, "SELECT * FROM stockbatch.runs") == []
    assert fetch(plain.engine, "SELECT * FROM stockbatch.outcomes") == []


def test_its_metrics_of_all_tickers_have_a_history(plain, make_app, market):
    walk(plain)
    shorter = make_app(market)
    list(backtest(shorter, CODE, ORIGIN, session(3)))
    columns = "method, kind, window_sessions, metric, through_session, n, value, baseline, skill"
    query = f"SELECT {columns} FROM stockbatch.metrics"
    query += " WHERE through_session <= :last ORDER BY 1, 2, 3, 4, 5"
    found, expected = (fetch(app.engine, query, last=session(4)) for app in (plain, shorter))
    assert {row["through_session"] for row in found} == {session(n) for n in (1, 2, 3, 4)}
    assert len(found) == len(expected)
    for row, then in zip(found, expected, strict=True):
        assert row == pytest.approx(then, nan_ok=True)


@pytest.mark.parametrize("event", ["backtest: compute", "backtest: save", "backtest: commit"])
def test_an_interrupted_one_goes_on_where_it_was(plain, make_app, market, event):
    undisturbed = make_app(market)
    walk(undisturbed)
    seen = []

    def interrupt(name):
        seen.append(name)
        if seen.count(event) == 2 and name == event:
            raise KeyboardInterrupt

    plain.on_event = interrupt
    with pytest.raises(KeyboardInterrupt):
        walk(plain)
    begun = len(forecasts(plain, "backtest"))
    plain.on_event = lambda name: None
    added = sum(block.added for block in walk(plain))
    assert_same_numbers(forecasts(plain, "backtest"), forecasts(undisturbed, "backtest"))
    assert begun + added == len(forecasts(undisturbed, "backtest"))


def test_a_ticker_it_fails_with_keeps_no_other_out(plain, make_app, market, monkeypatch):
    undisturbed = make_app(market)
    walk(undisturbed)
    work = replay.load

    def choking(app, run, around, tickers, window):
        if "BBB" in {instrument.ticker for instrument in tickers}:
            raise IndexError("poison")
        return work(app, run, around, tickers, window)

    monkeypatch.setattr(replay, "load", choking)
    walk(plain)
    expected = forecasts(undisturbed, "backtest")
    of_others = {key: row for key, row in expected.items() if key[0] != "BBB"}
    # What all tickers teach each is another thing without one of them.
    assert_same_numbers(forecasts(plain, "backtest"), of_others, but_for="lstm combined")
    monkeypatch.setattr(replay, "load", work)
    walk(plain)
    assert_same_numbers(forecasts(plain, "backtest"), expected, but_for="lstm combined")


def test_what_all_tickers_fail_with_ends_it(plain, monkeypatch):
    def choking(*_):
        raise IndexError("poison")

    monkeypatch.setattr(replay, "load", choking)
    with pytest.raises(IndexError, match="poison"):
        walk(plain)


def test_a_second_one_changes_nothing(plain):
    walk(plain)
    before = dump(plain.engine)
    assert [block.added for block in walk(plain)] == [0, 0]
    assert dump(plain.engine) == before


def test_nothing_after_an_origin_changes_its_forecast(plain, make_app, market):
    walk(plain)
    market.multiply("AAA", 1.07, session(4), session(60))
    other = make_app(market)
    walk(other)
    before, after = (
        {key: row for key, row in forecasts(one, "backtest").items() if key[1] < session(4)}
        for one in (plain, other)
    )
    assert_same_numbers(after, before)


def test_it_wants_closed_sessions(plain):
    with pytest.raises(NotASession):
        list(backtest(plain, CODE, ORIGIN.replace(day=2), session(1)))
    with pytest.raises(SessionNotClosed):
        list(backtest(plain, CODE, ORIGIN, session(200)))
