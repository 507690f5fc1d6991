"""What a night tells of risk, and what comes of it, on a small market and a real database."""

import math

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs import portfolios, watchlist
from jobs.daily import risk as step
from jobs.replay.backtest import backtest
from stockbatch import database, metrics
from stockbatch.database.tables import QUANTILE_COLUMNS
from stockbatch.methods import risk
from stockbatch.providers.frames import Frames
from stockbatch.records import COMBINED, QUANTILES, GroupKind, Listing, PriceBasis
from stockbatch.store import forecasts, instruments, stated
from stockbatch.store import risk as risk_store
from stockbatch.store.stated import Measure
from tests.jobs.daily.test_price_basis import feed
from tests.support.ledger import in_time
from tests.support.market import CODE, COLUMNS, ORIGIN, calendar, fetch, run, session
from tests.support.risks import aged

HELD = {"AAA": 10.0, "BBB": -4.0}


@pytest.fixture(autouse=True)
def _of_a_short_history(monkeypatch):
    """Let a small market's history be enough."""
    monkeypatch.setattr(risk, "FEWEST", 60)


@pytest.fixture
def hold(app, tmp_path):
    def do(held, day=ORIGIN, name="Fund"):
        file = tmp_path / "portfolio.csv"
        lines = [f"{name},{ticker},{quantity},{day}" for ticker, quantity in held.items()]
        file.write_text("\n".join(["portfolio,ticker,quantity,from", *lines]))
        done = portfolios.import_(app, file)
        assert not done.failures
        return done

    return do


def told(app, kind, name, day):
    """Return what was told of a session, by level."""
    rows = fetch(
        app.engine,
        "SELECT * FROM bi.risk WHERE subject_kind = :kind AND subject = :name AND session = :day"
        " ORDER BY level_pct",
        kind=kind,
        name=name,
        day=day,
    )
    return {row["level_pct"]: row for row in rows}


def of_portfolio(app, day, name="Fund"):
    (row,) = fetch(
        app.engine,
        "SELECT * FROM bi.portfolio_forecasts WHERE portfolio = :name AND session = :day",
        name=name,
        day=day,
    )
    return row


def closes(market, ticker, day):
    return {of_day: bar["close"] for of_day, bar in market.bars[ticker].items() if of_day <= day}


def plain_outcomes(market, held, day):
    """What EWMA's scales make of past sessions, from the bars alone, ticker by ticker."""
    total, exposure = 0.0, sum(abs(q) * closes(market, t, day)[day] for t, q in held.items())
    for ticker, quantity in held.items():
        prices = np.array(list(closes(market, ticker, day).values()))
        returns = np.diff(np.log(prices))
        surprises = []
        for last in range(20, len(returns) + 1):
            weights = 0.94 ** np.arange(min(last, 250))[::-1]
            scale = math.sqrt(np.average(returns[max(last - 250, 0) : last] ** 2, weights=weights))
            if last < len(returns):
                surprises.append(returns[last] / scale)
        total = total + quantity * prices[-1] / exposure * np.expm1(np.array(surprises) * scale)
    return total, exposure


def test_a_portfolio_is_told_from_bars_alone_while_the_headline_has_stated_little(
    app, market, hold
):
    hold(HELD)
    run(app)
    outcomes, exposure = plain_outcomes(market, HELD, ORIGIN)
    found = of_portfolio(app, session(1))
    assert (found["members"], found["reason"], found["method"]) == (2, None, "ewma")
    assert found["simulations"] == len(outcomes)
    assert found["exposure"] == pytest.approx(exposure)
    assert found["return_low_80_pct"] == pytest.approx(100 * aged(outcomes, 0.1)[0])
    assert found["return_high_95_pct"] == pytest.approx(100 * aged(outcomes, 0.975)[0])
    levels = told(app, "portfolio", "Fund", session(1))
    assert levels.keys() == {1.0, 2.5, 5.0}
    for level, row in levels.items():
        at_risk, beyond = aged(outcomes, level / 100)
        assert row["value_at_risk_pct"] == pytest.approx(-100 * at_risk)
        assert row["value_at_risk"] == pytest.approx(-exposure * at_risk)
        assert row["expected_shortfall_pct"] == pytest.approx(-100 * beyond)
        assert (row["score_status"], row["is_breach"], row["kind"]) == ("open", None, "late")
    one = told(app, "ticker", "AAA", session(1))[5.0]
    outcomes, _ = plain_outcomes(market, {"AAA": 1.0}, ORIGIN)
    assert one["value_at_risk_pct"] == pytest.approx(-100 * np.quantile(outcomes, 0.05))
    assert (one["ticker"], one["members"], one["exposure"]) == ("AAA", 1, None)


def test_groups_are_equally_weighted(app, market):
    watchlist.tag(app, ["AAA", "CCC"], [(GroupKind.TAG, "two")])
    run(app)
    both = [plain_outcomes(market, {ticker: 1.0}, ORIGIN)[0] for ticker in ("AAA", "CCC")]
    row = told(app, "tag", "two", session(1))[2.5]
    expected, _ = aged(np.mean(both, axis=0), 0.025)
    assert row["value_at_risk_pct"] == pytest.approx(-100 * expected)
    assert (row["members"], row["currency"]) == (2, None)
    assert told(app, "exchange", CODE, session(1))[5.0]["members"] == 3


def test_what_came_is_scored_as_tickers_are_and_summed_up(app, market, hold):
    hold(HELD)
    for offset in range(4):
        run(app, session(offset))
    losses = []
    for offset in range(3):
        before, day = session(offset), session(offset + 1)
        values = {t: q * closes(market, t, day)[before] for t, q in HELD.items()}
        exposure = sum(map(abs, values.values()))
        gains = [v * (closes(market, t, day)[day] / closes(market, t, day)[before] - 1)
                 for t, v in values.items()]  # fmt: skip
        found = of_portfolio(app, day)
        assert found["score_status"] == "scored"
        assert found["actual_result"] == pytest.approx(sum(gains))
        assert found["actual_return_pct"] == pytest.approx(100 * sum(gains) / exposure)
        low, high = found["return_low_80_pct"], found["return_high_80_pct"]
        assert found["inside_80"] == (low <= found["actual_return_pct"] <= high)
        for row in told(app, "portfolio", "Fund", day).values():
            is_breach = row["actual_return_pct"] < -row["value_at_risk_pct"]
            assert row["is_breach"] is is_breach
        losses.append(found["pinball"])
    assert of_portfolio(app, session(4))["score_status"] == "open"
    rows = fetch(
        app.engine,
        "SELECT * FROM bi.risk_backtests WHERE subject = 'Fund'"
        " ORDER BY window_sessions, level_pct",
    )
    assert [(row["window_sessions"], row["level_pct"]) for row in rows] == [
        (window, level) for window in (20, 60, 250) for level in (1, 2.5, 5)
    ]
    for row in rows:
        assert (row["sessions"], row["session"]) == (3, session(3))
        assert row["pinball"] == pytest.approx(np.mean(losses))
        breaches = [told(app, "portfolio", "Fund", session(n))[row["level_pct"]] for n in (1, 2, 3)]
        misses = np.array([[float(one["is_breach"]) for one in breaches]])
        assert row["breaches"] == misses.sum()
        assert row["kupiec_p"] == pytest.approx(metrics.kupiec(misses, row["level_pct"] / 100)[0])
    tickers = fetch(app.engine, "SELECT DISTINCT subject FROM bi.risk_backtests ORDER BY 1")
    assert [row["subject"] for row in tickers] == ["AAA", "BBB", "CCC", "Fund", CODE]


def test_a_member_without_a_bar_leaves_a_portfolio_without_a_forecast(app, market, hold):
    hold(HELD)
    hold({"AAA": 1.0}, name="Other")
    market.drop("BBB", session(1))
    run(app, session(0))
    run(app, session(1))
    found = of_portfolio(app, session(2))
    assert found["reason"] == "there is no forecast of BBB"
    assert (found["median_return_pct"], found["exposure"], found["currency"]) == (None, None, None)
    assert told(app, "portfolio", "Fund", session(2)) == {}
    assert of_portfolio(app, session(2), "Other")["reason"] is None
    assert told(app, "ticker", "BBB", session(2)) == {}
    assert told(app, "exchange", CODE, session(2))[5.0]["members"] == 2
    # Nobody knows what came of it either; the group's other members tell, a session later.
    assert told(app, "exchange", CODE, session(1))[5.0]["score_status"] == "open"
    run(app, session(2))
    assert of_portfolio(app, session(1))["score_status"] == "open"
    assert told(app, "exchange", CODE, session(1))[5.0]["score_status"] == "scored"


def test_a_member_that_moved_to_another_exchange_is_still_held(app, market, hold):
    hold(HELD)
    with app.transaction() as db:
        instruments.remove(db, ["BBB"])
        moved = [Listing(ticker="BBB", symbol="BBB", calendar="XLON")]
        instruments.add(db, moved, provider=market.specification)
    run(app)
    found = of_portfolio(app, session(1))
    assert (found["reason"], found["members"]) == ("there is no forecast of BBB", 2)


def test_too_little_history_is_said(app, hold, monkeypatch):
    monkeypatch.setattr(risk, "FEWEST", 250)
    hold(HELD)
    run(app)
    found = of_portfolio(app, session(1))
    assert found["reason"] == "130 past sessions known of all its tickers, and 250 are needed"
    assert fetch(app.engine, "SELECT * FROM bi.risk") == []


def test_quantities_follow_splits_after_their_statement(app, market, hold):
    hold({"AAA": 10.0}, session(-1))
    hold({"AAA": 30.0}, session(1), name="After")
    market.split("AAA", 3.0, session(1))
    run(app, session(0))
    run(app, session(1))
    close = closes(market, "AAA", session(1))
    assert of_portfolio(app, session(1))["exposure"] == pytest.approx(10 * close[session(0)])
    assert of_portfolio(app, session(2))["exposure"] == pytest.approx(30 * close[session(1)])
    assert of_portfolio(app, session(2), "After")["exposure"] == pytest.approx(
        30 * close[session(1)]
    )
    came = 3 * close[session(1)] / close[session(0)] - 1
    assert of_portfolio(app, session(1))["actual_return_pct"] == pytest.approx(100 * came)
    held = fetch(app.engine, "SELECT portfolio, quantity FROM bi.portfolios ORDER BY portfolio")
    assert [tuple(row.values()) for row in held] == [
        ("After", pytest.approx(30)),
        ("Fund", pytest.approx(30)),
    ]


@pytest.mark.parametrize("is_restated", [False, True])
def test_a_past_close_that_a_later_split_is_in_is_of_more_shares(app, market, hold, is_restated):
    traded = dict(closes(market, "AAA", session(9)))
    market.split("AAA", 3.0, session(2))
    frames = {ticker: pd.DataFrame(bars).T for ticker, bars in market.bars.items()}
    frames = {t: f.rename(columns={"split_coefficient": "split"}) for t, f in frames.items()}
    frames["AAA"].loc[frames["AAA"].index < session(2), list(COLUMNS[:4])] /= 3
    feed(app, Frames(frames=frames, price_basis=PriceBasis.SPLIT_ADJUSTED))
    run(app, session(3))
    if is_restated:  # what is older than the split was never fetched again
        engine = database.engine(app.settings, role="owner")
        with engine.begin() as owner:
            older = "UPDATE stockbatch.bars SET open = 3 * open, high = 3 * high, low = 3 * low,"
            older += " close = 3 * close WHERE session < :day AND instrument_id = "
            one = "(SELECT id FROM stockbatch.instruments WHERE ticker = 'AAA')"
            owner.execute(text(older + one), {"day": session(2)})
            owner.execute(
                text(
                    "INSERT INTO stockbatch.corporate_actions (instrument_id, session, kind, value,"
                    f" source_id) SELECT {one}, :day, 'restatement', 3, min(id)"
                    " FROM stockbatch.sources"
                ),
                {"day": session(2)},
            )
        engine.dispose()
    hold({"AAA": 10.0, "BBB": -4.0}, session(-1))
    list(backtest(app, CODE, ORIGIN, session(3)))
    for offset in range(4):
        worth = 10 * traded[session(offset)] + 4 * market.bars["BBB"][session(offset)]["close"]
        exposure = of_portfolio(app, session(offset + 1))["exposure"]
        assert exposure == pytest.approx(worth), offset


def test_the_headlines_widths_scale_where_it_has_stated_enough(app, market, hold, monkeypatch):
    monkeypatch.setattr(risk, "FEWEST", 5)
    hold(HELD)
    for offset in range(8):
        run(app, session(offset))
    found = of_portfolio(app, session(8))
    assert (found["method"], found["simulations"]) == (COMBINED, 7)
    rows = fetch(
        app.engine,
        "SELECT ticker, target_session, (coalesce(raw_q90, q90) - coalesce(raw_q10, q10)) / 2 AS w"
        " FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " WHERE method = 'combined'",
    )
    said = {(row["ticker"], row["target_session"]): row["w"] for row in rows}
    total, exposure = 0.0, found["exposure"]
    for ticker, quantity in HELD.items():
        prices = closes(market, ticker, session(7))
        days = list(prices)
        returns = np.diff(np.log(list(prices.values())))
        ewma = risk.ewma_scales(np.concatenate([[np.nan], returns])[None])[0]
        own = [max(said[ticker, session(n)], ewma[days.index(session(n))]) for n in range(1, 8)]
        last = max(said[ticker, session(8)], ewma[-1])
        moves = np.expm1(last * returns[-7:] / own)
        total = total + quantity * prices[session(7)] / exposure * moves
    assert found["median_return_pct"] == pytest.approx(100 * aged(total, 0.5)[0])


def test_widths_follow_the_ledger(app):
    for offset in range(3):
        run(app, session(offset))
    sessions = calendar().window(session(3), 5)
    with app.transaction() as db:
        watched = instruments.active(db, CODE)
        stated.update(db, CODE, COMBINED, Measure.HALF_WIDTH)  # nothing is new
        found = stated.half_widths(db, watched[::-1], sessions, COMBINED)
        raw = forecasts.past_quantiles(db, watched[::-1], sessions, COMBINED)
    low, high = metrics.interval(raw, 80)
    assert np.isfinite(found).sum() == 9
    np.testing.assert_allclose(found, (high - low) / 2)


def test_what_was_told_is_not_told_again(app, hold):
    hold(HELD)
    run(app)
    count = "SELECT count(*) AS n FROM stockbatch.risk_forecasts"
    before = fetch(app.engine, count)
    run(app, reprocess=True)
    assert fetch(app.engine, count) == before
    hold({"AAA": 10.0, "BBB": -5.0})
    run(app, reprocess=True)
    (after,) = fetch(app.engine, count)
    assert after["n"] == before[0]["n"] + 1
    assert of_portfolio(app, session(1))["exposure"] > 0  # the newest of its kind


def test_the_database_tells_live_from_late(app):
    run(app)
    with app.transaction() as db:
        told_before = risk_store.subjects(db, CODE, [])
    owner = database.engine(app.settings, role="owner")
    with Session(owner) as db, in_time(db):
        db.execute(
            text(
                "INSERT INTO stockbatch.risk_forecasts (subject_id, origin_session, target_session,"
                " kind, fingerprint, simulations, reason, issued_at, deadline_at)"
                " SELECT :id, :origin, :target, k, k, 0, 'x', issued, '2000-01-01' FROM (VALUES"
                " ('live', now()), ('late', now()), ('backtest', now())) AS v (k, issued)"
            ),
            {"id": min(told_before.values()), "origin": ORIGIN, "target": session(1)},
        )
        kinds = db.execute(
            text("SELECT kind, fingerprint FROM stockbatch.risk_forecasts WHERE reason = 'x'")
        )
        assert {f: k for k, f in kinds} == {
            "live": "live", "late": "live", "backtest": "backtest",
        }  # fmt: skip
    owner.dispose()
    assert fetch(app.engine, "SELECT DISTINCT kind FROM bi.risk") == [{"kind": "late"}]


def test_where_nothing_is_forecast_nothing_is_told(app, monkeypatch):
    monkeypatch.setattr(step.risk_store, "forecast", lambda *_: set())
    run(app)
    assert fetch(app.engine, "SELECT * FROM stockbatch.risk_forecasts") == []


def test_a_backtest_tells_what_the_nights_would_have_told(app, market, hold, monkeypatch):
    monkeypatch.setattr(step, "SESSIONS_AT_ONCE", 2)
    hold(HELD, session(1))
    market.drop("BBB", session(2))
    list(backtest(app, CODE, ORIGIN, session(4)))
    for offset in range(5):
        run(app, session(offset))
    query = (
        "SELECT session, subject, level_pct, value_at_risk_pct, expected_shortfall_pct, exposure,"
        " score_status, actual_return_pct, is_breach, members, simulations FROM bi.risk"
        " WHERE kind = '{}' AND session < :last ORDER BY session, subject, level_pct"
    )
    late, past = (
        fetch(app.engine, query.format(kind), last=session(4)) for kind in ("late", "backtest")
    )
    assert len(past) == len(late) == 3 * (4 * 3 - 1 + 1)
    for one, other in zip(past, late, strict=True):
        for column, value in one.items():
            if isinstance(value, float):
                assert value == pytest.approx(other[column], rel=1e-9), column
            else:
                assert value == other[column], (column, one, other)
    reasons = fetch(
        app.engine,
        "SELECT session FROM bi.portfolio_forecasts WHERE kind = 'backtest' AND reason IS NOT NULL",
    )
    assert [row["session"] for row in reasons] == [session(3)]
    kinds = fetch(app.engine, "SELECT DISTINCT kind FROM bi.risk_backtests ORDER BY kind")
    assert [row["kind"] for row in kinds] == ["backtest", "late"]


def test_a_group_waits_for_what_a_jump_of_its_ticker_was(app, market):
    market.multiply("AAA", 0.4, session(2), session(9))
    run(app, session(1))
    run(app, session(2))
    assert told(app, "exchange", CODE, session(2))[5.0]["score_status"] == "open"
    run(app, session(3))
    row = told(app, "exchange", CODE, session(2))[5.0]
    moves = [
        closes(market, ticker, session(2))[session(2)]
        / closes(market, ticker, session(2))[session(1)]
        - 1
        for ticker in ("AAA", "BBB", "CCC")
    ]
    assert row["actual_return_pct"] == pytest.approx(100 * np.mean(moves))
    assert row["is_breach"]


def test_a_backtest_knows_of_a_jump_no_more_than_its_night_did(app, market, hold):
    hold(HELD)
    market.multiply("AAA", 2.3, session(2), session(9))  # true, as session(3) says
    market.multiply("BBB", 2.3, session(4))  # taken back by session(5)
    for offset in range(6):
        run(app, session(offset))
    list(backtest(app, CODE, ORIGIN, session(5)))
    query = (
        "SELECT value_at_risk_pct, expected_shortfall_pct, simulations FROM bi.risk"
        " WHERE kind = '{}' AND session <= :last ORDER BY session, subject, level_pct"
    )
    late, past = (
        [list(row.values()) for row in fetch(app.engine, query.format(kind), last=session(5))]
        for kind in ("late", "backtest")
    )
    assert len(past) == 3 * 5 * 5
    np.testing.assert_allclose(past, late, rtol=1e-9)


def test_quantiles_are_of_the_levels_of_forecasts():
    assert len(QUANTILE_COLUMNS) == len(QUANTILES) == 11
    assert risk.LEVELS == (0.01, 0.025, 0.05)


def test_what_spoils_risk_stops_no_run(app, monkeypatch):
    def fail(*_):
        raise ValueError("numbers nobody thought of")

    monkeypatch.setattr(step, "score_risk", fail)
    assert run(app).outcomes
    assert told(app, "ticker", "AAA", session(1)) == {}
    (made,) = fetch(app.engine, "SELECT status FROM stockbatch.runs")
    assert made["status"] == "finished"
