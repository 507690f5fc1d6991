"""What is stored of what providers say, from session to session."""

from datetime import date, timedelta

import pytest

from jobs.daily.fetch_only import Fetched, fetch_session
from stockbatch.exceptions import (
    NoData,
    NothingToDecide,
    ProviderUnavailable,
    RateLimited,
    UnknownIssue,
    UnknownTicker,
)
from stockbatch.records import Action, Decision, Listing, PriceBasis, Reason
from stockbatch.store import instruments, issues
from tests.support.feed import Feed, copy, feed
from tests.support.market import (
    CODE,
    NOW,
    ORIGIN,
    TICKERS,
    Market,
    calendar,
    dump,
    fetch,
    outcomes,
    run,
    session,
)

REUSED = Action.REUSED, Reason.FRESH
REFUSED = Action.NONE, Reason.BAR_REFUSED
DOWN = ProviderUnavailable(provider="feed", ticker="BBB", reason="no answer")


@pytest.fixture
def live(app, market):
    """The only provider of an App whose clock stands an hour after ORIGIN has closed."""
    one = Feed("feed", market)
    feed(app, one)
    at(app, ORIGIN)
    return one


@pytest.fixture
def second(app, live, market, tmp_path):
    """Another provider with the same bars, asked where `live` fails."""
    other = Feed("second", copy(market, tmp_path / "second.csv"))
    feed(app, live, other)
    return other


def at(app, day):
    """Let it be an hour after a session has closed."""
    app.clock = lambda: calendar().close(day) + timedelta(hours=1)


def walk(app, first, last):
    for offset in range(first, last + 1):
        at(app, session(offset))
        run(app, session(offset))


def fetch_walk(app, first, last):
    for offset in range(first, last + 1):
        at(app, session(offset))
        fetch_session(app, CODE, session(offset))


def listed(app, check):
    with app.transaction() as db:
        return [row for row in issues.listed(db, None, None) if row["check_name"] == check]


def bar(app, ticker, day):
    rows = fetch(
        app.engine,
        "SELECT b.*, specification AS provider FROM stockbatch.bars AS b"
        " JOIN stockbatch.sources AS s ON s.id = source_id"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " WHERE ticker = :ticker AND session = :day",
        ticker=ticker,
        day=day,
    )
    return rows[0] if rows else None


def findings(app, check=None):
    rows = fetch(
        app.engine,
        "SELECT d.*, ticker FROM stockbatch.data_issues AS d JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE cast(:check AS text) IS NULL OR check_name = :check"
        " ORDER BY session, ticker",
        check=check,
    )
    return [row for row in rows if check or not row["check_name"].startswith("jump")]


def scores(app, ticker, day, method="naive"):
    return fetch(
        app.engine,
        "SELECT s.*, f.origin_close, f.kind FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id"
        " WHERE ticker = :ticker AND target_session = :day AND method = :method ORDER BY revision",
        ticker=ticker,
        day=day,
        method=method,
    )


# ---- provisional bars


def test_the_newest_bar_is_provisional_until_fetched_after_the_next_open(app, live, market):
    run(app)
    assert bar(app, "AAA", session(-1))["state"] == "final"
    assert bar(app, "AAA", ORIGIN)["state"] == "provisional"
    assert {row["state"] for row in fetch(app.engine, "SELECT state FROM stockbatch.bars")} == {
        "final",
        "provisional",
    }
    market.bars["AAA"][ORIGIN]["volume"] += 1000
    walk(app, 1, 1)
    confirmed = bar(app, "AAA", ORIGIN)
    assert (confirmed["state"], confirmed["revision"]) == ("final", 1)
    assert confirmed["volume"] == market.bars["AAA"][ORIGIN]["volume"]
    assert bar(app, "AAA", session(1))["state"] == "provisional"
    assert findings(app) == []


def test_confirming_a_bar_replaces_its_score_and_nothing_else(app, live, market):
    walk(app, 0, 1)
    day = session(1)
    (first,) = scores(app, "AAA", day)
    market.multiply("AAA", 1.002, day)
    walk(app, 2, 2)
    assert outcomes(app.engine, session(2)) == dict.fromkeys(TICKERS, REUSED)
    before, after = scores(app, "AAA", day)
    assert before == first
    assert after["actual_close"] == pytest.approx(first["actual_close"] * 1.002)
    assert after["revision"] == 2
    (shown,) = fetch(
        app.engine,
        "SELECT actual_close FROM bi.forecast_history"
        " WHERE ticker = 'AAA' AND session = :day AND method = 'naive'",
        day=day,
    )
    assert shown["actual_close"] == after["actual_close"]
    origins = "SELECT count(*) AS n FROM stockbatch.forecasts WHERE origin_session = :day"
    assert fetch(app.engine, origins, day=day)[0]["n"] == len(
        fetch(
            app.engine,
            "SELECT DISTINCT instrument_id, method FROM stockbatch.forecasts"
            " WHERE origin_session = :day",
            day=day,
        )
    )
    assert findings(app) == []


def test_a_session_long_over_is_final_at_once(app, live):
    app.clock = lambda: NOW
    run(app)
    assert fetch(app.engine, "SELECT DISTINCT state FROM stockbatch.bars") == [{"state": "final"}]


def test_a_provisional_bar_is_not_fetched_again_before_the_next_open(app, live):
    fetch_session(app, CODE, ORIGIN)
    asked = len(live.asked)
    fetch_session(app, CODE, ORIGIN)
    assert len(live.asked) == asked
    app.clock = lambda: calendar().open(session(1))
    fetch_session(app, CODE, ORIGIN)
    assert len(live.asked) == asked + 3
    assert bar(app, "AAA", ORIGIN)["state"] == "final"


# ---- restated history


def test_a_single_bar_that_changed_is_a_new_revision_and_a_finding(app, live, market):
    run(app)
    market.multiply("BBB", 1.01, session(-3))
    walk(app, 1, 1)
    (found,) = findings(app)
    assert (found["check_name"], found["ticker"]) == ("restated_bar", "BBB")
    assert found["session"] == session(-3)
    assert found["observed"] == pytest.approx(1.01)
    assert found["threshold"] == 1e-4
    assert bar(app, "BBB", session(-3))["revision"] == 2
    restated = Action.TRAINED, Reason.HISTORY_RESTATED
    assert outcomes(app.engine, session(1))["BBB"] == restated


def test_a_split_adjusted_history_is_fetched_again_after_a_later_split(app, market):
    adjusted = Feed("feed", market, PriceBasis.SPLIT_ADJUSTED)
    feed(app, adjusted)
    walk(app, 0, 1)
    (plain,) = scores(app, "AAA", session(1))
    adjusted.times["AAA"] = 0.25
    adjusted.asked.clear()
    walk(app, 2, 3)
    of_one = [request for request in adjusted.asked if request.symbol == "AAA"]
    assert [request.first is None for request in of_one] == [False, True, False]
    (found,) = findings(app)
    assert (found["check_name"], found["severity"]) == ("restated_history", "warning")
    assert found["observed"] == pytest.approx(0.25)
    assert outcomes(app.engine, session(2))["AAA"] == (Action.TRAINED, Reason.HISTORY_RESTATED)
    assert outcomes(app.engine, session(2))["BBB"] == REUSED
    for day, known in market.bars["AAA"].items():
        if day <= session(3):
            assert bar(app, "AAA", day)["close"] == known["close"] / 4
    # Scored on the basis of the origin, whether the forecast was made before or after the split.
    for day in (session(1), session(2), session(3)):
        newest = scores(app, "AAA", day)[-1]
        expected = market.bars["AAA"][day]["close"]
        expected *= 1 if day < session(3) else 0.25
        assert newest["actual_close"] == pytest.approx(expected)
        assert newest["status"] == "scored"
    assert scores(app, "AAA", session(1))[-1]["error"] == pytest.approx(plain["error"])
    assert fetch(app.engine, "SELECT * FROM stockbatch.data_issues WHERE check_name ~ 'jump'") == []


def test_another_history_without_a_split_is_set_aside(app, live, market):
    run(app)
    live.times |= {"AAA": 100.0, "BBB": 0.01, "CCC": 1.07}
    walk(app, 1, 2)
    for day in (session(1), session(2)):
        assert outcomes(app.engine, day) == dict.fromkeys(TICKERS, REFUSED)
        assert {bar(app, ticker, day)["state"] for ticker in TICKERS} == {"quarantined"}
    found = findings(app, "restated_history")
    assert {row["severity"] for row in found} == {"quarantined"}
    words = {"AAA": "unit", "BBB": "unit", "CCC": "no split"}
    for row in found:
        assert row["observed"] == pytest.approx(live.times[row["ticker"]])
        assert words[row["ticker"]] in row["message"]
    for ticker in TICKERS:
        close = market.bars[ticker][session(-1)]["close"]
        assert bar(app, ticker, session(-1))["close"] == close


def test_an_accepted_history_is_fetched_again_as_a_whole(app, live, market):
    run(app)
    live.times["BBB"] = 1.07
    walk(app, 1, 1)
    (found,) = findings(app, "restated_history")
    with app.transaction() as db:
        issues.decide(db, found["id"], Decision.ACCEPTED, by="ops")
    walk(app, 2, 2)
    for day, known in market.bars["BBB"].items():
        if day <= session(2):
            assert bar(app, "BBB", day)["close"] == known["close"] * 1.07
            assert bar(app, "BBB", day)["state"] != "quarantined"
    assert outcomes(app.engine, session(2))["BBB"][1] is Reason.HISTORY_RESTATED
    live.times["BBB"] = 1.07**2
    walk(app, 3, 3)
    assert outcomes(app.engine, session(3))["BBB"] == REFUSED, "the decision is used up"


def test_a_stated_split_explains_a_history_restated_late(app, live, market):
    """A provider that adjusted its prices before it stated the split."""
    market.split("AAA", 4.0, session(2))
    live.times["AAA"] = 1.0
    walk(app, 0, 1)
    for day in [d for d in market.bars["AAA"] if d < session(2)]:
        for name in ("open", "high", "low", "close"):
            market.bars["AAA"][day][name] /= 4
    market.bars["AAA"][session(2)]["split_coefficient"] = 1.0
    walk(app, 2, 2)
    assert outcomes(app.engine, session(2))["AAA"] == REFUSED
    for day in [d for d in market.bars["AAA"] if d < session(2)]:
        for name in ("open", "high", "low", "close"):
            market.bars["AAA"][day][name] *= 4
    market.bars["AAA"][session(2)]["split_coefficient"] = 4.0
    walk(app, 3, 3)
    assert outcomes(app.engine, session(3))["AAA"] == REUSED
    assert bar(app, "AAA", session(2))["state"] == "final"
    run(app, session(2))
    assert outcomes(app.engine, session(2))["AAA"][0] is not Action.NONE


def test_another_currency_is_set_aside(app, live, second):
    live.currency = "GBP"
    run(app)
    (known,) = fetch(
        app.engine, "SELECT DISTINCT currency FROM stockbatch.instruments WHERE active"
    )
    assert known == {"currency": "GBP"}
    live.currency, second.failing = "GBp", dict.fromkeys(TICKERS, DOWN)
    walk(app, 1, 1)
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, REFUSED)
    assert {row["message"] for row in findings(app, "changed_currency")} == {
        "prices come in GBp, so far they came in GBP"
    }


# ---- fallback


def test_the_second_provider_stands_in_where_the_first_fails(app, live, second):
    run(app)
    live.failing["BBB"] = DOWN
    walk(app, 1, 1)
    assert outcomes(app.engine, session(1)) == dict.fromkeys(TICKERS, REUSED)
    assert [request.symbol for request in second.asked] == ["BBB"]
    assert bar(app, "BBB", session(1))["provider"] == "second"
    assert bar(app, "BBB", session(-1))["provider"] == "feed"
    assert bar(app, "AAA", session(1))["provider"] == "feed"
    live.failing.clear()
    walk(app, 2, 2)
    assert bar(app, "BBB", session(2))["provider"] == "feed"
    assert findings(app) == []


@pytest.fixture
def files(app, market, tmp_path):
    """Two CSV files with the same bars, of which the second is asked where the first has none."""
    other = copy(market, tmp_path / "second.csv")
    feed(app, *(app.provider(f"csv:{one.file}") for one in (market, other)))
    at(app, ORIGIN)
    return market, other


def test_a_second_file_that_differs_is_another_source(app, files):
    first, second = files
    fetch_session(app, CODE, ORIGIN)
    first.drop("AAA", session(1))
    for offset in (-8, -5, -2):  # as many would be corrections of a provider's own
        second.multiply("AAA", 1.02, session(offset))
    fetch_walk(app, 1, 1)
    (found,) = findings(app)
    assert (found["ticker"], found["check_name"]) == ("AAA", "providers_apart")
    assert found["observed"] == pytest.approx(1.02)
    assert bar(app, "AAA", session(1))["state"] == "quarantined"
    assert bar(app, "AAA", session(-2))["revision"] == 1
    assert bar(app, "AAA", session(-2))["provider"] == f"csv:{first.file}"
    assert bar(app, "AAA", session(1))["provider"] == f"csv:{second.file}"
    (shown,) = fetch(app.engine, "SELECT bar_provider FROM bi.data_freshness WHERE ticker = 'AAA'")
    assert shown == {"bar_provider": "csv"}


def test_a_second_file_that_agrees_stands_in(app, files):
    first, second = files
    fetch_session(app, CODE, ORIGIN)
    first.drop("AAA", session(1))
    fetch_walk(app, 1, 1)
    assert bar(app, "AAA", session(1))["provider"] == f"csv:{second.file}"
    assert findings(app) == []


def test_another_way_to_read_a_file_is_no_other_source(app, live):
    live.name, live.specification = "csv", "csv:/data/bars.csv"
    feed(app, live)
    fetch_session(app, CODE, ORIGIN)
    live.specification += "#decimal=comma&ticker=Stock"
    feed(app, live)
    live.times["AAA"] = 100.0
    fetch_walk(app, 1, 1)
    assert [found["check_name"] for found in findings(app)] == ["restated_history"]
    assert bar(app, "BBB", session(1))["provider"] == "csv:/data/bars.csv"
    assert fetch(app.engine, "SELECT count(*) AS n FROM stockbatch.sources") == [{"n": 1}]


def test_a_second_provider_that_differs_is_not_spliced_in(app, live, second):
    run(app)
    live.failing["BBB"] = DOWN
    second.times["BBB"] = 1.006
    walk(app, 1, 1)
    assert outcomes(app.engine, session(1))["BBB"][0] is Action.NONE
    (found,) = findings(app)
    assert (found["check_name"], found["session"]) == ("providers_apart", session(1))
    assert found["observed"] == pytest.approx(1.006)
    assert found["threshold"] == 0.005
    assert bar(app, "BBB", session(1))["state"] == "quarantined"
    assert bar(app, "BBB", session(-1))["provider"] == "feed"
    (row,) = fetch(
        app.engine,
        "SELECT message FROM stockbatch.outcomes JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE is_final AND ticker = 'BBB' AND session = :day",
        day=session(1),
    )
    assert "feed could not be reached for BBB: no answer; another provider's" in row["message"]


def test_a_second_provider_without_common_sessions_is_not_spliced_in(app, live, second):
    run(app)
    live.failing["BBB"] = DOWN
    second.market.drop("BBB", *[d for d in second.market.bars["BBB"] if d <= ORIGIN])
    walk(app, 1, 1)
    (found,) = findings(app)
    assert "no session in common" in found["message"]
    assert bar(app, "BBB", session(1))["state"] == "quarantined"


def test_a_second_provider_feeds_a_new_ticker_alone(app, live, second):
    live.failing["BBB"] = UnknownTicker(provider="feed", ticker="BBB", hint="")
    run(app)
    assert bar(app, "BBB", session(-100))["provider"] == "second"
    assert outcomes(app.engine)["BBB"][0] is Action.TRAINED


def test_the_second_provider_is_asked_about_a_disputed_history(app, live, second):
    run(app)
    live.times["BBB"] = 100.0
    walk(app, 1, 1)
    stored = bar(app, "BBB", session(1))
    assert (stored["provider"], stored["state"]) == ("second", "provisional")
    assert stored["close"] == second.market.bars["BBB"][session(1)]["close"]
    assert outcomes(app.engine, session(1))["BBB"] == REUSED


@pytest.mark.parametrize("first", [DOWN, NoData(provider="feed", ticker="BBB", first=1, last=2)])
def test_a_limit_that_any_provider_came_upon_is_the_reason(app, live, second, first):
    live.failing["BBB"], second.failing["BBB"] = first, RateLimited(provider="second", ticker="BBB")
    run(app)
    assert outcomes(app.engine)["BBB"] == (Action.NONE, Reason.RATE_LIMITED)
    live.failing["BBB"], second.failing["BBB"] = second.failing["BBB"], first
    walk(app, 1, 1)
    assert outcomes(app.engine, session(1))["BBB"] == (Action.NONE, Reason.RATE_LIMITED)


# ---- corporate actions


def test_an_action_no_longer_stated_is_retracted_and_can_come_back(app, live, market):
    market.dividend("AAA", 0.5, session(-2))
    market.dividend("AAA", 0.5, session(-40))
    fetch_walk(app, 0, 0)
    market.bars["AAA"][session(-2)]["dividend_amount"] = 0.0
    fetch_walk(app, 1, 1)
    actions = "SELECT session, retracted_at IS NULL AS holds FROM stockbatch.corporate_actions"
    held = {row["session"]: row["holds"] for row in fetch(app.engine, actions)}
    assert held == {session(-2): False, session(-40): True}
    market.bars["AAA"][session(-2)]["dividend_amount"] = 0.5
    fetch_walk(app, 2, 2)
    assert all(row["holds"] for row in fetch(app.engine, actions))


def forecasts(app, ticker, origin):
    return fetch(
        app.engine,
        "SELECT f.* FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = :ticker AND origin_session = :origin"
        " ORDER BY f.id",
        ticker=ticker,
        origin=origin,
    )


def test_a_split_first_seen_a_session_late_changes_no_forecast_made_before(app, live, market):
    """A live run knows what was seen by then; what is seen later enters scores, not forecasts."""
    market.split("AAA", 4.0, session(1))
    market.bars["AAA"][session(1)]["split_coefficient"] = 1.0
    walk(app, 0, 1)
    assert [row["check_name"] for row in listed(app, "jump_pending")] == ["jump_pending"]
    assert scores(app, "AAA", session(1)) == []
    made = forecasts(app, "AAA", ORIGIN) + forecasts(app, "AAA", session(1))
    assert made

    market.bars["AAA"][session(1)]["split_coefficient"] = 4.0
    walk(app, 2, 2)
    (split,) = fetch(app.engine, "SELECT * FROM stockbatch.corporate_actions")
    assert max(row["recorded_at"] for row in made) < split["first_seen_at"]
    assert forecasts(app, "AAA", ORIGIN) + forecasts(app, "AAA", session(1)) == made
    assert forecasts(app, "AAA", session(2))
    (scored,) = scores(app, "AAA", session(1))
    actual = market.bars["AAA"][session(1)]["close"] * 4
    assert (scored["status"], scored["actual_close"]) == ("scored", pytest.approx(actual))
    (scored,) = scores(app, "AAA", session(2))
    assert scored["actual_close"] == market.bars["AAA"][session(2)]["close"]
    assert listed(app, "jump_pending") == []
    assert findings(app, "jump_split_like") == []


# ---- decisions


def quarantine(app, market):
    """Leave a bar of BBB set aside because there were two of it."""
    live = app.providers["feed"]
    original = live._bars

    def twice(request):
        answer = original(request)
        names = ("sessions", "open", "high", "low", "close", "volume")
        import numpy as np

        from stockbatch.records import Bars

        doubled = {n: np.concatenate([getattr(answer.bars, n)] * 2) for n in names}
        if request.symbol == "BBB":
            half = len(answer.bars)
            at = half + int(np.searchsorted(answer.bars.sessions, np.datetime64(ORIGIN)))
            if at < 2 * half:
                doubled["close"][at] = doubled["high"][at]
        return type(answer)(
            symbol=answer.symbol, bars=Bars(**doubled), actions=answer.actions, currency=None
        )

    live._bars = twice


def test_decisions_on_a_bar_hold_as_long_as_its_prices(app, live, market):
    quarantine(app, market)
    run(app)
    assert outcomes(app.engine)["BBB"] == REFUSED
    (found,) = findings(app, "conflicting_bars")
    with app.transaction() as db:
        said = issues.decide(db, found["id"], Decision.ACCEPTED, by="ops")
    assert said == f"BBB {ORIGIN}: there are different bars of this session"
    assert bar(app, "BBB", ORIGIN)["state"] == "final"
    run(app)
    assert outcomes(app.engine)["BBB"][0] is Action.TRAINED
    walk(app, 1, 1)
    assert bar(app, "BBB", ORIGIN)["state"] == "final", "fetched again, it is still accepted"

    with app.transaction() as db:
        issues.decide(db, found["id"], Decision.REJECTED, by="somebody else")
    assert bar(app, "BBB", ORIGIN)["state"] == "quarantined"
    live._bars = Feed._bars.__get__(live)
    walk(app, 2, 2)
    assert bar(app, "BBB", ORIGIN)["state"] == "quarantined", "the same prices stay out"
    market.multiply("BBB", 1.001, ORIGIN)
    walk(app, 3, 3)
    assert bar(app, "BBB", ORIGIN)["state"] == "final", "other prices are another bar"
    kept = fetch(app.engine, "SELECT decision, decided_by FROM stockbatch.decisions ORDER BY id")
    assert kept == [
        {"decision": "accepted", "decided_by": "ops"},
        {"decision": "rejected", "decided_by": "somebody else"},
    ]


def test_only_what_was_set_aside_can_be_decided_on(app, live, market):
    fetch_walk(app, 0, 0)
    market.multiply("BBB", 1.01, session(-3))
    fetch_walk(app, 1, 1)
    (found,) = findings(app, "restated_bar")
    with app.transaction() as db:
        with pytest.raises(UnknownIssue, match="no finding 999"):
            issues.decide(db, 999, Decision.ACCEPTED, by="ops")
        with pytest.raises(NothingToDecide, match="restated_bar, warning"):
            issues.decide(db, found["id"], Decision.ACCEPTED, by="ops")


# ---- back-fill


def test_an_interrupted_back_fill_goes_on_with_the_ticker_it_stopped_at(app, live, market):
    original = live._bars

    def stopped(request):
        if request.symbol == "CCC":
            raise KeyboardInterrupt
        return original(request)

    live._bars = stopped
    with pytest.raises(KeyboardInterrupt):
        fetch_session(app, CODE, ORIGIN)
    live._bars = original
    live.asked.clear()
    assert str(fetch_session(app, CODE, ORIGIN)) == "XNYS 2024-06-03: 3 of 3 tickers have their bar"
    assert [(request.symbol, request.first) for request in live.asked] == [("CCC", None)]
    assert fetch(app.engine, "SELECT count(*) AS n FROM stockbatch.bars") == [{"n": 3 * 151}]


def test_two_tickers_may_have_one_symbol(app, live):
    with app.transaction() as db:
        double = [Listing(ticker="DOUBLE", symbol="AAA")]
        instruments.add(db, double, provider=live.specification)
    assert fetch_session(app, CODE, ORIGIN).problems == {}
    assert bar(app, "DOUBLE", ORIGIN)["close"] == bar(app, "AAA", ORIGIN)["close"]


def test_what_many_tickers_have_in_common_is_one_line():
    problems = {f"T{n:02}": "no bar" for n in range(13)} | {f"U{n}": f"why {n}" for n in range(25)}
    said = str(Fetched(calendar=CODE, session=ORIGIN, tickers=50, problems=problems)).splitlines()
    assert said[0] == f"{CODE} {ORIGIN}: 12 of 50 tickers have their bar"
    assert said[1] == "T00, T01, T02, T03, T04, T05, T06, T07, T08, T09 and 3 more: no bar"
    assert said[2:] == [
        *(f"U{n}: why {n}" for n in range(19)),
        "and 6 more, each with another problem",
    ]


# ---- the whole exchange


def many(make_app, tmp_path, count):
    market = Market(tmp_path / "many.csv", [f"T{number:02}" for number in range(count)])
    app = make_app(market)
    one = Feed("feed", market)
    feed(app, one)
    at(app, ORIGIN)
    return app, one, market


def test_an_exchange_with_too_few_bars_is_held_and_tried_again(make_app, tmp_path, caplog):
    app, one, _ = many(make_app, tmp_path, 20)
    one.failing = {f"T{n:02}": RateLimited(provider="feed", ticker="") for n in range(2)}
    run(app)
    reasons = outcomes(app.engine)
    assert reasons["T00"] == (Action.NONE, Reason.RATE_LIMITED)
    assert reasons["T19"] == (Action.NONE, Reason.HELD)
    assert fetch(app.engine, "SELECT * FROM stockbatch.models") == []
    assert fetch(app.engine, "SELECT * FROM stockbatch.forecasts") == []
    assert "XNYS 2024-06-03 held: 18 of 20 bars are there, 95% are needed" in caplog.text

    before = dump(app.engine, "tries", "tried_at")
    assert not run(app).done_before
    assert dump(app.engine, "tries", "tried_at") == before

    one.failing = {"T00": RateLimited(provider="feed", ticker="")}
    run(app)
    reasons = outcomes(app.engine)
    assert reasons["T00"] == (Action.NONE, Reason.RATE_LIMITED)
    assert {action for ticker, (action, _) in reasons.items() if ticker != "T00"} == {
        Action.TRAINED
    }


def test_tickers_not_listed_yet_or_gone_for_long_hold_nobody(make_app, tmp_path):
    app, _, market = many(make_app, tmp_path, 30)
    for number in range(4):
        market.drop(f"T{number:02}", *[d for d in market.bars[f"T{number:02}"] if d <= ORIGIN])
    for number in range(4, 8):
        market.drop(f"T{number:02}", *[d for d in market.bars[f"T{number:02}"] if d > session(-7)])
    run(app)
    reasons = outcomes(app.engine)
    assert {reasons[f"T{n:02}"] for n in range(8)} == {(Action.NONE, Reason.NO_BAR)}
    assert {reasons[f"T{n:02}"][0] for n in range(8, 30)} == {Action.TRAINED}
    found = findings(app, "suspected_delisted")
    assert {row["ticker"] for row in found} == {f"T{n:02}" for n in range(4, 8)}


def test_a_ticker_without_bars_for_five_sessions_may_be_delisted(app, live, market):
    fetch_walk(app, 0, 0)
    gone = {day: bar for day, bar in market.bars["BBB"].items() if day > ORIGIN}
    market.drop("BBB", *gone)
    fetch_walk(app, 1, 4)
    assert findings(app, "suspected_delisted") == []
    fetch_walk(app, 5, 6)
    (found,) = findings(app, "suspected_delisted")
    assert (found["ticker"], found["session"]) == ("BBB", session(1))
    assert (found["observed"], found["threshold"]) == (5, 5)
    assert len(listed(app, "suspected_delisted")) == 1
    market.bars["BBB"] |= gone
    fetch_walk(app, 7, 8)
    assert listed(app, "suspected_delisted") == []


def test_what_is_traded_no_more_gets_a_proposal(app, live, market):
    fetch_walk(app, 0, 0)
    market.drop("BBB", *[day for day in market.bars["BBB"] if day > ORIGIN])
    fetch_walk(app, 5, 5)
    (found,) = findings(app, "suspected_delisted")
    assert "`stockbatch tickers rename BBB NEW`" in found["message"]
    assert "`stockbatch tickers remove BBB`" in found["message"]


def test_a_ticker_that_another_company_takes_over_is_told(app, live, market):
    """The provider has forgotten the bars of the first company."""
    bars = market.bars["BBB"]
    old = calendar().window(session(-400), 20).tolist()
    market.bars["BBB"] = dict(zip(old, bars.values(), strict=False))
    fetch_walk(app, -399, -399)
    assert findings(app, "another_company") == []
    market.bars["BBB"] = {ORIGIN: bars[ORIGIN]}
    fetch_walk(app, 0, 0)
    (found,) = findings(app, "another_company")
    assert (found["ticker"], found["session"]) == ("BBB", ORIGIN)
    assert found["observed"] == 399
    assert f"since {old[-1]}" in found["message"]


@pytest.mark.parametrize("shown", [None, 2, -2])
def test_a_split_that_prices_do_not_show_stays_what_it_was_found_to_be(app, live, market, shown):
    """Also while the bars that told so leave the sessions asked for again, one by one."""
    fetch_walk(app, 0, 3)
    stated = session(6)
    market.bars["AAA"][stated]["split_coefficient"] = 7.5
    market.write()
    if shown is not None:
        market.multiply("AAA", 1 / 7.5, session(6 + shown), date.max)
    for offset in range(6, 20):
        fetch_walk(app, offset, offset)
        if offset < 8:
            continue
        usable = fetch(
            app.engine,
            "SELECT session, value FROM stockbatch.corporate_actions WHERE retracted_at IS NULL",
        )
        expected = [] if shown is None else [{"session": session(6 + shown), "value": 7.5}]
        assert usable == expected, offset
    (found,) = findings(app, "split_not_shown")
    assert (found["ticker"], found["session"], found["observed"]) == ("AAA", stated, 7.5)


def test_an_outage_of_an_exchange_delists_nobody(make_app, tmp_path):
    app, one, market = many(make_app, tmp_path, 6)
    fetch_walk(app, 0, 0)
    for number in range(4):
        bars = market.bars[f"T{number:02}"]
        market.drop(f"T{number:02}", *[day for day in bars if day > ORIGIN])
    fetch_walk(app, 6, 6)
    assert findings(app, "suspected_delisted") == []
    one.market.bars["T00"] = dict(one.market.bars["T05"])
    fetch_walk(app, 7, 7)
    assert {row["ticker"] for row in findings(app, "suspected_delisted")} == {"T01", "T02", "T03"}


def test_a_special_session_of_most_tickers_is_accepted(make_app, tmp_path):
    app, _, market = many(make_app, tmp_path, 6)
    sunday = ORIGIN - timedelta(days=1)
    for number in range(5):
        bars = market.bars[f"T{number:02}"]
        bars[sunday] = dict(bars[session(-1)])
        market.bars[f"T{number:02}"] = dict(sorted(bars.items()))
    only = market.bars["T05"]
    saturday = ORIGIN - timedelta(days=2)
    only[saturday] = dict(only[session(-1)])
    market.bars["T05"] = dict(sorted(only.items()))
    fetch_walk(app, 0, 0)
    assert {bar(app, f"T{n:02}", sunday)["state"] for n in range(5)} == {"final"}
    assert bar(app, "T05", saturday)["state"] == "quarantined"
    fetch_walk(app, 1, 1)
    assert {bar(app, f"T{n:02}", sunday)["state"] for n in range(5)} == {"final"}
    assert {
        row["decided_by"] for row in fetch(app.engine, "SELECT * FROM stockbatch.decisions")
    } == {issues.MOST}


def test_special_sessions_that_come_every_week_are_a_wrong_calendar(make_app, tmp_path):
    app, _, market = many(make_app, tmp_path, 6)
    sundays = [ORIGIN - timedelta(days=1 + 7 * week) for week in range(3)]
    for number in range(6):
        bars = market.bars[f"T{number:02}"]
        bars |= {sunday: dict(bars[session(-1)]) for sunday in sundays}
        market.bars[f"T{number:02}"] = dict(sorted(bars.items()))
    fetch_walk(app, 0, 0)
    for sunday in sundays:
        assert {bar(app, f"T{n:02}", sunday)["state"] for n in range(6)} == {"quarantined"}
    assert fetch(app.engine, "SELECT * FROM stockbatch.decisions") == []
