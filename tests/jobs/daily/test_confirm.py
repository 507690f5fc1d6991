"""A jump that a fallback confirms is used and scored at once."""

from datetime import date, timedelta

import numpy as np
import pytest

from jobs.api.sent_bars import predict
from stockbatch.engine.material import prepare, sessions_needed
from stockbatch.exceptions import ProviderUnavailable, UnknownProvider
from stockbatch.records import QUANTILES, Action, BarRequest, Decision
from stockbatch.store import bars, instruments, issues, market
from tests.support.feed import Feed, copy, feed
from tests.support.market import (
    ORIGIN,
    calendar,
    fetch,
    outcomes,
    run,
    session,
)

JUMP = session(1)
DOWN = ProviderUnavailable(provider="feed", ticker="AAA", reason="no answer")


@pytest.fixture
def live(market):
    market.multiply("AAA", 0.6, JUMP, date.max)
    return Feed("feed", market)


@pytest.fixture
def second(app, live, tmp_path):
    """Another provider with the same bars."""
    other = Feed("second", copy(live.market, tmp_path / "second.csv"))
    feed(app, live, other)
    return other


def walk(app, first, last, **options):
    for offset in range(first, last + 1):
        now = calendar().close(session(offset)) + timedelta(hours=1)
        app.clock = lambda now=now: now
        run(app, session(offset), **options)


def found(app):
    return fetch(
        app.engine,
        "SELECT ticker, d.session, check_name, severity, observed, threshold, d.message, status"
        " FROM stockbatch.data_issues AS d JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " LEFT JOIN stockbatch.runs AS r ON r.id = run_id ORDER BY d.session, check_name",
    )


def checks(app):
    return [(row["ticker"], row["session"], row["check_name"]) for row in found(app)]


def statuses(app, target=JUMP):
    """Status and actual return of the scores of AAA, a pair for each revision and method."""
    rows = fetch(
        app.engine,
        "SELECT s.status, s.actual_log_return FROM stockbatch.scores AS s"
        " JOIN stockbatch.forecasts AS f ON f.id = forecast_id"
        " JOIN stockbatch.instruments AS i ON i.id = f.instrument_id"
        " WHERE ticker = 'AAA' AND target_session = :target",
        target=target,
    )
    return {
        (row["status"], row["actual_log_return"] and round(row["actual_log_return"], 9))
        for row in rows
    }


def log_return(one, day=JUMP):
    closes = [one.market.bars["AAA"][of]["close"] for of in (calendar().previous(day), day)]
    return round(float(np.diff(np.log(closes))[0]), 9)


def width(app, origin):
    """Width of AAA's 90 % interval in log returns."""
    (row,) = fetch(
        app.engine,
        "SELECT q95 - q05 AS width FROM stockbatch.forecasts AS f"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " WHERE ticker = 'AAA' AND origin_session = :origin AND method = 'lstm'",
        origin=origin,
    )
    return row["width"]


def material(app, origin):
    days = calendar().window(origin, sessions_needed(app.settings))
    with app.transaction() as db:
        chosen = instruments.find(db, ["AAA"])
        return prepare(chosen, bars.load_panel(db, chosen, days), market.load(db, "XNYS", days))


@pytest.mark.parametrize("comes_back", [False, True])
def test_a_crash_that_a_fallback_confirms_is_used_and_scored_at_once(app, live, second, comes_back):
    if comes_back:
        for one in (live, second):
            one.market.multiply("AAA", 1 / 0.6, session(2), date.max)
    walk(app, 0, 1)
    (row,) = found(app)
    assert (row["ticker"], row["session"]) == ("AAA", JUMP)
    assert (row["check_name"], row["severity"]) == ("jump_confirmed", "warning")
    assert row["observed"] == pytest.approx(log_return(live))
    assert row["threshold"] >= 0.25
    assert row["message"].endswith("says the same: used (second)")
    assert row["status"] == "finished"
    assert [(r.symbol, r.last) for r in second.asked] == [("AAA", JUMP)]
    assert statuses(app) == {("scored", log_return(live))}
    at_once = material(app, JUMP)
    assert at_once.features.returns[0, -1] == pytest.approx(log_return(live))

    walk(app, 2, 2)
    assert statuses(app) == {("scored", log_return(live))}
    again = [("AAA", session(2), "jump_confirmed")] if comes_back else []
    assert checks(app) == [("AAA", JUMP, "jump_confirmed"), *again]
    later = material(app, session(2)).features
    np.testing.assert_allclose(later.inputs[0, -2], at_once.features.inputs[0, -1], atol=1e-5)
    assert later.scale[0, -2] == pytest.approx(at_once.features.scale[0, -1])


@pytest.mark.parametrize(
    ("behind", "confirmed"),
    [("/b.csv", True), ("/a.csv#decimal=comma", False), ("/a.csv", False)],
)
def test_another_file_confirms_a_jump_and_the_same_one_never(app, live, second, behind, confirmed):
    live.name, live.specification = "csv", "csv:/a.csv"
    second.name, second.specification = "csv", f"csv:{behind}"
    feed(app, live, second)
    app.providers[live.specification] = live
    walk(app, 0, 1)
    assert checks(app) == [("AAA", JUMP, "jump_confirmed" if confirmed else "jump_pending")]
    assert bool(second.asked) == confirmed


def differs(second):
    second.market.multiply("AAA", 1.006, JUMP)


def lacks_the_bar(second):
    second.market.drop("AAA", JUMP)


def lacks_the_bar_before(second):
    second.market.drop("AAA", ORIGIN)


def knows_of_a_split(second):
    second.market.bars["AAA"][JUMP]["split_coefficient"] = 1 / 0.6


def fails(second):
    second.failing["AAA"] = DOWN


@pytest.mark.parametrize(
    "spoil", [differs, lacks_the_bar, lacks_the_bar_before, knows_of_a_split, fails]
)
def test_a_crash_that_nobody_confirms_waits_for_the_next_bar(app, live, second, spoil):
    walk(app, 0, 0)
    spoil(second)
    walk(app, 1, 1)
    assert len(second.asked) == 1
    assert outcomes(app.engine, JUMP)["AAA"][0] is Action.REUSED
    assert checks(app) == [("AAA", JUMP, "jump_pending")]
    assert statuses(app) == set()
    walk(app, 2, 2)
    assert len(second.asked) == 1
    assert statuses(app) == {("scored", log_return(live))}
    assert ("AAA", JUMP, "jump_released") in checks(app)


def test_a_fallback_that_agrees_within_the_tolerance_confirms(app, live, second):
    second.market.multiply("AAA", 1.004, JUMP)
    second.times["AAA"] = 3.0  # another level is no other return
    walk(app, 0, 1)
    assert checks(app) == [("AAA", JUMP, "jump_confirmed")]


def test_what_looks_like_a_split_is_not_asked_about(app, live, second):
    for one in (live, second):
        one.market.multiply("AAA", 0.5 / 0.6, JUMP, date.max)
    walk(app, 0, 1)
    assert second.asked == []
    assert checks(app) == [("AAA", JUMP, "jump_pending")]
    walk(app, 2, 2)
    assert {status for status, _ in statuses(app)} == {"masked"}


@pytest.fixture
def fortyfold(live):
    """Every price from the jump on forty times as high, as after a reverse split nobody states."""
    live.market.multiply("AAA", 40 / 0.6, JUMP, date.max)


def finding(app, check):
    (row,) = fetch(
        app.engine, "SELECT id FROM stockbatch.data_issues WHERE check_name = :name", name=check
    )
    return row["id"]


def decide(app, decision, check="jump_tenfold"):
    with app.transaction() as db:
        return issues.decide(db, finding(app, check), decision, by="ops")


def test_forty_times_is_used_on_no_next_bars_word_but_on_a_persons(app, live, fortyfold):
    walk(app, 0, 1)
    assert checks(app) == [("AAA", JUMP, "jump_pending")]
    walk(app, 2, 3)
    assert ("AAA", JUMP, "jump_tenfold") in checks(app)
    assert {status for status, _ in statuses(app)} == {"masked"}
    assert np.isnan(material(app, session(3)).features.returns[0, -3])

    assert "+3" in decide(app, Decision.ACCEPTED)
    judged = material(app, session(3))
    assert judged.features.returns[0, -3] == pytest.approx(log_return(live))
    assert "jump_confirmed" in {found.check for found in judged.findings[0]}
    (row,) = [row for row in found(app) if row["check_name"] == "jump_confirmed"]
    assert row["message"].endswith(": accepted by ops: used")
    assert (row["session"], row["observed"]) == (JUMP, pytest.approx(log_return(live)))

    walk(app, 4, 4)
    decide(app, Decision.REJECTED)
    assert np.isnan(material(app, session(3)).features.returns[0, -3])
    assert "jump_confirmed" not in {name for *_, name in checks(app)}
    decide(app, Decision.ACCEPTED)
    decide(app, Decision.ACCEPTED)
    assert np.isfinite(material(app, session(3)).features.returns[0, -3])
    closes = fetch(
        app.engine,
        "SELECT state FROM stockbatch.bars AS b JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = 'AAA' AND session = :day",
        day=JUMP,
    )
    assert closes == [{"state": "final"}], "the bar itself was never in doubt"


def test_a_person_may_say_so_before_the_next_bar(app, live, fortyfold):
    walk(app, 0, 1)
    decide(app, Decision.ACCEPTED, "jump_pending")
    walk(app, 2, 2)
    assert statuses(app) == {("scored", log_return(live))}
    assert "jump_tenfold" not in {name for *_, name in checks(app)}


def test_another_provider_that_has_forty_times_is_believed(app, live, second, fortyfold):
    second.market.multiply("AAA", 40 / 0.6, JUMP, date.max)
    walk(app, 0, 2)
    assert checks(app) == [("AAA", JUMP, "jump_confirmed")]
    assert statuses(app) == {("scored", log_return(live))}


def test_the_interval_after_a_confirmed_crash_is_wider(app, make_app, live, second, tmp_path):
    walk(app, 0, 1)
    alone = make_app(live.market)
    feed(alone, live)
    walk(alone, 0, 1)
    assert width(app, ORIGIN) == pytest.approx(width(alone, ORIGIN))
    assert width(app, JUMP) > 1.2 * width(alone, JUMP)


def test_the_first_fallback_that_answers_decides(app, live, second, tmp_path):
    third = Feed("third", copy(live.market, tmp_path / "third.csv"))
    feed(app, live, second, third)
    second.failing["AAA"] = DOWN
    walk(app, 0, 1)
    assert found(app)[0]["message"].endswith("(third)")
    assert len(second.asked) == len(third.asked) == 1


def test_a_fallback_is_no_witness_of_its_own_bar(app, live, second):
    walk(app, 0, 0)
    live.failing["AAA"] = DOWN
    walk(app, 1, 1)
    assert len(second.asked) == 1, "for the bar, not for the jump"
    assert checks(app) == [("AAA", JUMP, "jump_pending")]
    assert statuses(app) == set()


def test_a_fallback_that_cannot_be_used_is_no_failure(app, live, second, caplog):
    walk(app, 0, 0)
    provider = app.provider

    def without_second(specification):
        if specification == "second":
            raise UnknownProvider(provider="second", known="feed")
        return provider(specification)

    app.provider = without_second
    walk(app, 1, 1)
    assert checks(app) == [("AAA", JUMP, "jump_pending")]
    assert "no jump is confirmed" in caplog.text


def test_what_is_confirmed_is_not_asked_about_again(app, live, second):
    walk(app, 0, 0)
    second.failing["AAA"] = DOWN
    walk(app, 1, 1)
    second.failing.clear()
    walk(app, 1, 1, reprocess=True)
    assert statuses(app) == {("scored", log_return(live))}
    assert [name for *_, name in checks(app)] == ["jump_confirmed", "jump_pending"]
    with app.transaction() as db:
        assert issues.counts(db, None) == {"jump_confirmed": 1}
        assert [row["check_name"] for row in issues.listed(db, None, None)] == ["jump_confirmed"]
    asked = len(second.asked)
    walk(app, 1, 1, reprocess=True)
    assert len(second.asked) == asked
    assert statuses(app) == {("scored", log_return(live))}


def test_a_provider_named_for_the_run_stands_in_for_the_fallbacks_too(app, live, second):
    walk(app, 0, 1, provider="feed")
    assert second.asked == []
    assert checks(app) == [("AAA", JUMP, "jump_pending")]


def test_a_prediction_from_the_same_bars_knows_of_it(app, live, second):
    walk(app, 0, 1)
    (answer,) = live.fetch([BarRequest(symbol="AAA", first=None, last=JUMP)])
    with app.transaction() as db:
        (instrument,) = instruments.find(db, ["AAA"])
        made = predict(db, app.settings, instrument, answer, app.clock())
    quantiles = dict(zip(QUANTILES, made.forecast.quantiles, strict=True))
    assert quantiles[0.95] - quantiles[0.05] == pytest.approx(width(app, JUMP), rel=1e-9)
    assert "jump_confirmed" in {finding.check for finding in made.findings}
