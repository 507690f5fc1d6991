"""Real splits, replayed session by session: no jump, as-traded forecasts, like with like."""

import csv
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest

from stockbatch.engine import features
from stockbatch.engine.material import prepare, sessions_needed
from stockbatch.market.adjustments import total_log_returns
from stockbatch.store import bars, instruments, market
from tests.support import places
from tests.support.market import PlainTrainer, calendar, fetch, run

DATA = places.DATA / "alpha_vantage_csv"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the recorded data in {DATA}"),
]

SPLITS = [
    ("AAPL", "2000-06-21", 2),
    ("AAPL", "2005-02-28", 2),
    ("AAPL", "2014-06-09", 7),
    ("AAPL", "2020-08-31", 4),
    ("NVDA", "2000-06-27", 2),
    ("NVDA", "2001-09-17", 2),
    ("NVDA", "2006-04-07", 2),
    ("NVDA", "2007-09-11", 1.5),
    ("TSLA", "2020-08-31", 5),
    ("C", "2000-08-28", 4 / 3),
    ("C", "2011-05-09", 0.1),
    ("AIG", "2000-07-31", 1.5),
    ("AIG", "2009-07-01", 0.05),
    ("ZBRA", "2003-08-22", 1.5),
    ("ZBRA", "2004-08-26", 1.5),
]


class Watching(PlainTrainer):
    """Keeps the size of the largest target any model was shown."""

    largest = 0.0

    def _fitted(self, network, every, settings):
        tickers = list(every)
        shown = [np.abs(targets[np.isfinite(targets)]).max() for _, targets, _ in tickers]
        self.largest = max([self.largest, *shown])
        return super()._fitted(network, tickers, settings)


@pytest.fixture(scope="module")
def app(make_lasting_app):
    return make_lasting_app(SimpleNamespace(specification=f"csv:{DATA}"), trainer=Watching())


def recorded(ticker, folder=DATA):
    """Return the rows of a ticker's file by day."""
    with (folder / f"{ticker}.csv").open(newline="") as file:
        rows = {date.fromisoformat(row.pop("timestamp")): row for row in csv.DictReader(file)}
    return {
        day: {name: float(value) for name, value in row.items() if name != "symbol"}
        for day, row in rows.items()
    }


def replay(app, ticker, day):
    """Run the session before `day`, that day and the next two; train again in the last one."""
    around = [calendar().previous(day), day, calendar().next(day), calendar().next(day, 2)]
    for one in around:
        run(app, one, tickers=[ticker])
    app.trainer.largest = 0.0
    run(app, around[-1], tickers=[ticker], retrain=True)
    assert 0 < app.trainer.largest < 20, "in volatilities: the jump would be about 40"
    return around


def forecasts(app, ticker, target):
    return fetch(
        app.engine,
        "SELECT f.*, s.status, s.actual_close, s.actual_log_return, s.error"
        " FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " LEFT JOIN stockbatch.scores AS s ON s.forecast_id = f.id"
        " WHERE ticker = :ticker AND target_session = :day",
        ticker=ticker,
        day=target,
    )


def issues(app, ticker, day):
    rows = fetch(
        app.engine,
        "SELECT check_name, message FROM stockbatch.data_issues"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " WHERE ticker = :ticker AND session = :day",
        ticker=ticker,
        day=day,
    )
    return {row["check_name"]: row["message"] for row in rows}


def material(app, ticker, origin):
    """Return what models are made of at an origin."""
    days = calendar().window(origin, sessions_needed(app.settings))
    with app.transaction() as db:
        chosen = instruments.find(db, [ticker])
        panel, around = bars.load_panel(db, chosen, days), market.load(db, "XNYS", days)
    return prepare(chosen, panel, around)


@pytest.mark.parametrize(("ticker", "day", "ratio"), SPLITS)
def test_a_split_is_no_jump(app, ticker, day, ratio):
    day = date.fromisoformat(day)
    rows = recorded(ticker)
    before, _, after, last = replay(app, ticker, day)
    assert rows[day]["split_coefficient"] == pytest.approx(ratio, rel=1e-4)

    returns = total_log_returns(material(app, ticker, last).panel)[0, -3:]
    closes = [rows[one]["adjusted_close"] for one in (before, day, after, last)]
    np.testing.assert_allclose(returns, np.diff(np.log(closes)), atol=2e-3)
    assert np.abs(returns).max() < 0.25
    assert not [check for check in issues(app, ticker, day) if check.startswith("jump")]

    for origin, target in ((before, day), (day, after), (after, last)):
        made = forecasts(app, ticker, target)
        assert {row["method"] for row in made} >= {"naive", "rolling_quantile", "lstm"}
        bar = rows[target]
        actual = (bar["close"] + bar["dividend_amount"]) * (ratio if target == day else 1)
        for row in made:
            assert row["origin_close"] == rows[origin]["close"]
            assert abs(np.log(row["close"] / rows[origin]["close"])) < 0.25
            assert row["status"] == "scored"
            assert row["actual_close"] == pytest.approx(actual)
            assert row["error"] == pytest.approx(actual - row["close"])
            assert row["actual_log_return"] == pytest.approx(np.log(actual / row["origin_close"]))


def check_masked(app, ticker, day):
    """A split nobody states: its return is no target, no input, no score; the ticker goes on."""
    *_, last = replay(app, ticker, day)
    said = issues(app, ticker, day)["jump_split_like"]
    assert said.endswith("looks like a split nobody reported: not used")
    assert {row["status"] for row in forecasts(app, ticker, day)} == {"masked"}
    assert {row["status"] for row in forecasts(app, ticker, last)} == {"scored"}
    assert forecasts(app, ticker, calendar().next(last))

    one = material(app, ticker, last).features
    column = list(calendar().window(last, one.returns.shape[1]).tolist()).index(day)
    assert np.isnan(one.returns[0, column])
    assert not one.inputs[0, column, : features.FROM_RETURN].any()
    assert np.nanmax(np.abs(one.returns[0, column - 60 :])) < 0.25


def test_a_split_coded_as_a_dividend_is_masked(app):
    day = date(2014, 4, 3)
    check_masked(app, "GOOGL", day)
    assert issues(app, "GOOGL", day)["bad_dividend"] == (
        "a dividend of 567.972 is more than 25% of the price: not used"
    )


def test_splits_that_are_not_coded_are_masked(make_app, tmp_path):
    """Those of ZBRA in 2003 and 2004, had the source not stated them."""
    rows = recorded("ZBRA")
    days = [day for day, row in rows.items() if row["split_coefficient"] != 1]
    assert days == [date(2003, 8, 22), date(2004, 8, 26)]
    with (tmp_path / "ZBRA.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["timestamp", *rows[days[0]]])
        writer.writeheader()
        for day, row in rows.items():
            writer.writerow({"timestamp": day, **row, "split_coefficient": 1.0})
    app = make_app(
        SimpleNamespace(specification=f"csv:{tmp_path / 'ZBRA.csv'}"), trainer=Watching()
    )
    for day in days:
        check_masked(app, "ZBRA", day)
