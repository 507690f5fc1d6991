from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stockbatch.engine import material, scale
from stockbatch.engine.scale import ALL, OF_BARS, OF_NEWS, REACH, REACH_OF_BARS, scale_inputs
from stockbatch.records import Instrument, Market, News, Reports, cut
from tests.stockbatch.engine.test_features import make_panel

SESSIONS = 400


def prepared(panel, reports=None, news=None):
    size = len(panel.sessions)
    random = np.random.default_rng(9)
    market = Market(
        sessions=panel.sessions,
        absolute_return=np.abs(random.normal(0.01, 0.002, 1200))[:size],
        median_return=random.normal(0, 0.01, 1200)[:size],
    )
    instruments = [
        Instrument(id=row, ticker=ticker, symbol=ticker, provider="csv", calendar="XNYS")
        for row, ticker in enumerate(panel.tickers)
    ]
    return material.prepare(instruments, panel, market, reports, news)


def reports_on(columns, sessions=SESSIONS, *, lingering=True):
    """Return reports of the first of two tickers, known a session ahead."""
    came = np.zeros((2, sessions), bool)
    came[0, list(columns)] = True
    due = np.zeros_like(came)
    due[:, :-1] = came[:, 1:]
    covered = np.zeros_like(came)
    covered[0] = True
    return Reports(
        due=due,
        came=came,
        lingering=came & lingering,
        covered=covered,
        expected=np.zeros_like(came),
    )


@pytest.fixture(scope="module")
def one():
    return prepared(make_panel(SESSIONS), reports_on([102, 160, 222, 399]))


def column(known, name):
    return known.inputs[..., ALL.index(name)]


def slow_mean(values, session, length):
    window = values[max(session - length + 1, 0) : session + 1]
    window = window[np.isfinite(window)]
    return window.mean() if len(window) else np.nan


def test_sizes_are_means_over_their_horizons_to_the_level(one):
    known = scale_inputs(one, SESSIONS, events=False)
    returns, panel = one.features.returns[1], one.panel
    ranges = np.log(panel.high[1] / panel.low[1]) ** 2 / (4 * np.log(2))
    variance = (returns**2 + np.where(np.isfinite(ranges), ranges, returns**2)) / 2
    for session in (60, 250, 399):
        level = slow_mean(variance, session, 250)
        assert known.level[1, session] == pytest.approx(np.sqrt(level), rel=1e-12)
        for length in (1, 5, 22, 66):
            size = np.log(slow_mean(variance, session, length) / level) / 2
            got = column(known, f"own_{length}")[1, session]
            np.testing.assert_allclose(got, np.clip(size, -3, 3), rtol=1e-5, atol=1e-6)


def test_turnover_is_compared_with_the_months(one):
    known = scale_inputs(one, 1, events=False)
    turnover = (one.panel.close * one.panel.volume)[1]
    week = np.log(slow_mean(turnover, 399, 5) / slow_mean(turnover, 399, 20))
    assert column(known, "turnover_5")[1, 0] == pytest.approx(week, rel=1e-5)


def test_falls_and_rises_are_told_apart(one):
    known = scale_inputs(one, SESSIONS, events=False)
    fall, rise = column(known, "fall"), column(known, "rise")
    returns = one.features.returns
    known_level = np.isfinite(known.level)
    assert (fall[known_level & (returns > 0)] == 0).all()
    assert (rise[known_level & (returns < 0)] == 0).all()
    assert np.nanmin(fall) < -2


def test_what_is_near_acts_on_the_habit_so_far(one):
    known = scale_inputs(one, SESSIONS, events=True)
    level = scale_inputs(one, SESSIONS, events=False).level[0]
    sizes = np.abs(one.features.returns[0, 1:]) / level[:-1]
    reactions = [np.clip(sizes[day - 1], 0.2, 6) for day in (102, 160, 222)]
    habit = column(known, "report_due_habit")[0]
    assert habit[101] == 0
    assert np.flatnonzero(column(known, "report_due")[0]).tolist() == [101, 159, 221, 398]
    for place, day in enumerate((159, 221, 398), 1):
        mean = np.nanmean(reactions[:place])
        assert habit[day] == pytest.approx(np.log(mean / scale.USUAL_REACTION), rel=1e-4)
    assert np.flatnonzero(column(known, "report_lingering")[0]).tolist() == [102, 160, 222, 399]
    assert (known.inputs[1, :, len(OF_BARS) :] == 0).all()


def test_what_is_only_projected_is_an_input_of_its_own():
    known = reports_on([102, 160])
    expected = np.zeros_like(known.came)
    expected[0, [221, 285]] = True
    inputs = scale_inputs(
        prepared(make_panel(SESSIONS), replace(known, expected=expected)), SESSIONS, events=True
    )
    assert np.flatnonzero(column(inputs, "report_expected")[0]).tolist() == [221, 285]
    assert np.flatnonzero(column(inputs, "report_due")[0]).tolist() == [101, 159]
    assert column(inputs, "report_expected")[1].sum() == 0


def test_reports_of_known_hour_do_not_linger():
    timed = prepared(make_panel(SESSIONS), reports_on([102, 160], lingering=False))
    known = scale_inputs(timed, SESSIONS, events=True)
    assert (column(known, "report_lingering") == 0).all()
    assert column(known, "report_due_habit")[0, 159] != 0


def test_a_habit_is_made_of_eight_reports_of_two_years():
    came = np.zeros((1, 2000), bool)
    came[0, ::63] = True
    reaction = np.linspace(1, 3, 2000)[None]
    habit = scale._habit(came, reaction, 0, 2.0)[0]
    for session in (0, 62, 63, 500, 1999):
        columns = np.flatnonzero(came[0, : session + 1])
        columns = columns[columns > session - 520][-8:]
        assert habit[session] == pytest.approx(np.log(reaction[0, columns].mean() / 2))
    came[0, 100:] = False
    assert scale._habit(came, reaction, 0, 2.0)[0, -1] == 0  # too long ago


@pytest.mark.parametrize(("events", "reach"), [(True, REACH), (False, REACH_OF_BARS)])
def test_only_the_reach_counts(events, reach):
    panel = make_panel(1100)
    columns = [*range(50, 1100, 63)]
    whole = scale_inputs(prepared(panel, reports_on(columns, 1100)), 1100, events=events)
    last = scale_inputs(prepared(panel, reports_on(columns, 1100)), 5, events=events)
    np.testing.assert_array_equal(last.inputs, whole.inputs[:, -5:])
    np.testing.assert_array_equal(last.level, whole.level[:, -5:])
    assert reach < 1100


@pytest.mark.parametrize("sessions", [1, 7, 250])
def test_sums_are_those_of_a_plain_loop_to_the_last_bit(sessions):
    rng = np.random.default_rng(sessions)
    values = np.where(rng.random((3, 120)) < 0.1, np.nan, rng.normal(0, 1e-4, (3, 120)))
    values[2] = np.nan
    total, count = scale._sums(values, sessions)
    for row in range(3):
        for step in range(120):
            window = values[row, max(step - sessions + 1, 0) : step + 1].tolist()
            known = [value for value in window if value == value]
            plain = 0.0
            for value in known:
                plain += value
            assert (total[row, step], count[row, step]) == (plain, len(known))


@settings(max_examples=15)
@given(st.integers(60, SESSIONS - 2), st.integers(0, 2**32 - 1))
def test_nothing_later_is_known(session, seed):
    panel = make_panel(SESSIONS)
    random = np.random.default_rng(seed)
    later = np.ones(panel.close.shape)
    later[:, session + 1 :] = np.exp(random.normal(0, 0.02, later[:, session + 1 :].shape))
    changed = replace(
        panel,
        **{name: getattr(panel, name) * later for name in ("open", "high", "low", "close")},
        volume=panel.volume * later,
    )
    with_dates = reports_on([100, 160, 222, 399])
    upto = slice(session + 1)
    before, after = (
        scale_inputs(prepared(cut(some, upto), cut(with_dates, upto)), 9, events=True)
        for some in (panel, changed)
    )
    np.testing.assert_array_equal(before.inputs, after.inputs)
    whole = scale_inputs(prepared(changed, with_dates), SESSIONS - session + 8, events=True)
    # A jump is known as what it was only a session later.
    np.testing.assert_array_equal(before.inputs[:, :8], whole.inputs[:, :8])


def news_of(seed, sessions=SESSIONS, often=0.8):
    """Return news of the second of two tickers, from a session on, some of it without a score."""
    random = np.random.default_rng(seed)
    items = np.zeros((2, sessions))
    items[1, 30:] = random.poisson(often, sessions - 30)
    scored = random.binomial(items.astype(int), 0.9).astype(float)
    total = scored * random.uniform(-1, 1, items.shape)
    return News(items=items, scored=scored, total=total)


def slow_news(news, row, session):
    """Return the four inputs of a ticker at a session, added up item by item."""
    items, scored, total = (one[row].tolist() for one in (news.items, news.scored, news.total))
    before = range(max(session - 60, 0), session)
    dated = [day for day in before if items[day]]
    age = session - dated[0] if dated else 0
    often = sum(items[day] for day in before) / age if age >= 20 else np.nan
    counts = sum(scored[day] for day in before)
    usual = sum(total[day] for day in before) / counts if counts >= 20 else np.nan
    volumes, scores = [], []
    for length in (1, 5):
        days = range(max(session - length + 1, 0), session + 1)
        mean = sum(items[day] for day in days) / len(days)
        volumes.append(min((mean - often) / (often + 1), 3))
        said = sum(scored[day] for day in days)
        scores.append((sum(total[day] for day in days) - said * usual) / (said + 1))
    return volumes + scores


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.05, 0.8, 5.0]))
def test_news_is_told_against_the_usual(seed, often):
    news = news_of(seed, often=often)
    with_news = prepared(make_panel(SESSIONS), None, news)
    known = scale_inputs(with_news, SESSIONS, events=True, news=True)
    assert known.inputs.shape[-1] == len(ALL)
    assert np.isnan(known.inputs[0, :, -len(OF_NEWS) :]).all()  # there never was any
    for session in range(0, SESSIONS, 7):
        expected = slow_news(news, 1, session)
        found = known.inputs[1, session, -len(OF_NEWS) :]
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_news_of_later_and_of_long_ago_changes_nothing():
    whole, panel = news_of(1), make_panel(SESSIONS)
    upto = slice(300)
    before = scale_inputs(
        prepared(cut(panel, upto), None, cut(whole, upto)), 20, events=True, news=True
    )
    all_of_it = scale_inputs(prepared(panel, None, whole), SESSIONS, events=True, news=True)
    np.testing.assert_array_equal(
        before.inputs[..., -len(OF_NEWS) :], all_of_it.inputs[:, 280:300, -len(OF_NEWS) :]
    )
    forgotten = replace(whole, items=whole.items.copy())
    forgotten.items[:, : SESSIONS - 1 - 60 - 4] = 0
    last = scale_inputs(prepared(panel, None, forgotten), 1, events=True, news=True)
    np.testing.assert_array_equal(last.inputs[:, -1], all_of_it.inputs[:, -1])


def test_nobody_who_does_not_ask_for_news_gets_it():
    one = prepared(make_panel(SESSIONS), None, news_of(1))
    without = scale_inputs(prepared(make_panel(SESSIONS)), 9, events=True)
    np.testing.assert_array_equal(scale_inputs(one, 9, events=True).inputs, without.inputs)
    assert scale_inputs(one, 9, events=False, news=True).inputs.shape[-1] == len(OF_BARS)
    nothing = scale_inputs(prepared(make_panel(SESSIONS)), 9, events=True, news=True)
    assert np.isnan(nothing.inputs[..., -len(OF_NEWS) :]).all()
