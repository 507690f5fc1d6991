import math
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from stockbatch.market import quality
from stockbatch.market.quality import check
from stockbatch.records import Bars, CorporateAction, FetchedBars, Severity

CALENDAR = np.array(
    [
        day
        for day in np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]")
        if np.is_busday(day)
    ]
)
LAST = date(2024, 2, 16)
MONDAY, SATURDAY = date(2024, 1, 8), date(2024, 1, 13)
GOOD = (10.0, 12.0, 9.0, 11.0, 1000.0)


def fetched(rows, actions=()):
    """One ticker's answer from rows of (session, open, high, low, close, volume)."""
    columns = list(zip(*rows, strict=True)) or [()] * 6
    prices = (np.array(column, float) for column in columns[1:])
    names = ("open", "high", "low", "close", "volume")
    bars = Bars(
        sessions=np.array(columns[0], "datetime64[D]"), **dict(zip(names, prices, strict=True))
    )
    return FetchedBars(symbol="X", bars=bars, actions=tuple(actions))


def days(count, first=MONDAY):
    start = np.searchsorted(CALENDAR, np.datetime64(first))
    return CALENDAR[start : start + count].tolist()


def rising(count):
    """Good bars that all differ."""
    return [(day, 10 + i, 12.5 + i, 9.5 + i, 11 + i, 1000) for i, day in enumerate(days(count))]


def found(checked):
    return Counter((finding.check, finding.severity) for finding in checked.findings)


def test_good_bars_pass_in_order_without_a_word():
    rows = rising(9)
    checked = check(fetched(rows[::-1]), CALENDAR, LAST)
    assert checked.accepted.sessions.tolist() == days(9)
    assert checked.accepted.close.tolist() == [row[4] for row in rows]
    assert len(checked.quarantined) == 0
    assert checked.findings == checked.actions == ()


@pytest.mark.parametrize(
    ("prices", "name", "observed"),
    [
        ((math.nan, 12, 9, 11), "price_unknown", None),
        ((10, math.inf, 9, 11), "price_impossible", None),
        ((10, 12, 0, 11), "price_impossible", 0),
        ((10, 12, -9, 11), "price_impossible", -9),
        ((10, 9, 12, 11), "high_below_low", 9),
        ((8.9, 12, 9, 11), "outside_range", 8.9),
        ((10, 12, 9, 12.1), "outside_range", 12.1),
    ],
)
def test_bad_prices_are_rejected_and_named(prices, name, observed):
    rows = rising(3)
    rows[1] = (rows[1][0], *prices, 1000)
    checked = check(fetched(rows), CALENDAR, LAST)
    assert checked.accepted.sessions.tolist() == [rows[0][0], rows[2][0]]
    (finding,) = checked.findings
    assert (finding.check, finding.severity) == (name, Severity.REJECTED)
    assert (finding.session, finding.observed) == (rows[1][0], observed)


@pytest.mark.parametrize(
    ("name", "message"),
    [("open", "open unknown"), ("high", "high unknown"), ("close", "close unknown")],
)
def test_the_unknown_price_is_named(name, message):
    answer = fetched([(MONDAY, *GOOD)])
    getattr(answer.bars, name)[0] = math.nan
    assert check(answer, CALENDAR, LAST).findings[0].message == message


@pytest.mark.parametrize(("excess", "accepted"), [(9e-7, 1), (1.1e-6, 0)])
def test_rounding_errors_are_tolerated_and_no_more(excess, accepted):
    high = (MONDAY, 10, 11 * (1 - excess), 9, 11, 5)
    low = (MONDAY, 10, 12, 10 * (1 + excess), 11, 5)
    for row in (high, low):
        assert len(check(fetched([row]), CALENDAR, LAST).accepted) == accepted


def test_later_bars_and_actions_are_dropped_silently():
    later = LAST + timedelta(days=3)
    split = CorporateAction(session=later, kind="split", value=2.0)
    checked = check(fetched([(MONDAY, *GOOD), (later, 0, 0, 0, 0, 0)], [split]), CALENDAR, LAST)
    assert checked.accepted.sessions.tolist() == [MONDAY]
    assert checked.findings == checked.actions == ()


def test_bars_without_a_place_on_the_calendar():
    rows = [(MONDAY, *GOOD), ("NaT", *GOOD), (date(1985, 1, 2), *GOOD), (date(1985, 1, 3), *GOOD)]
    checked = check(fetched(rows), CALENDAR, LAST)
    assert checked.accepted.sessions.tolist() == [MONDAY]
    assert {f.check: f.observed for f in checked.findings} == {"undated": 1, "before_calendar": 2}


def test_a_bar_on_a_closed_day_is_quarantined():
    checked = check(fetched([(MONDAY, *GOOD), (SATURDAY, *GOOD)]), CALENDAR, LAST)
    assert checked.accepted.sessions.tolist() == [MONDAY]
    assert checked.quarantined.sessions.tolist() == [SATURDAY]
    assert found(checked) == {("off_calendar", Severity.QUARANTINED): 1}


def test_equal_bars_of_a_session_leave_one():
    checked = check(fetched([(MONDAY, *GOOD), (MONDAY, *GOOD[:4], 7)]), CALENDAR, LAST)
    assert checked.accepted.volume.tolist() == [1000]
    assert found(checked) == {("duplicate_bar", Severity.WARNING): 1}


def test_conflicting_bars_of_a_session_leave_none():
    rows = [(MONDAY, *GOOD), (MONDAY, 10, 12, 9, 9.5, 7), (MONDAY, *GOOD)]
    checked = check(fetched(rows), CALENDAR, LAST)
    assert len(checked.accepted) == 0
    assert checked.quarantined.close.tolist() == [11]
    assert found(checked) == {("conflicting_bars", Severity.QUARANTINED): 1}


def test_a_good_bar_beside_a_bad_one_of_the_same_session_is_kept():
    checked = check(fetched([(MONDAY, math.nan, 1, 1, 1, 1), (MONDAY, *GOOD)]), CALENDAR, LAST)
    assert checked.accepted.open.tolist() == [10]
    assert found(checked) == {("price_unknown", Severity.REJECTED): 1}


def test_missing_sessions_lie_between_the_first_and_the_last_bar():
    rows = rising(7)
    checked = check(fetched([rows[0], rows[2], rows[6]]), CALENDAR, LAST)
    assert [finding.session for finding in checked.findings] == [rows[i][0] for i in (1, 3, 4, 5)]
    assert found(checked) == {("missing_session", Severity.WARNING): 4}


def test_a_rejected_bar_is_not_missing_too():
    rows = rising(3)
    rows[1] = (rows[1][0], *[math.nan] * 5)
    assert found(check(fetched(rows), CALENDAR, LAST)) == {("price_unknown", Severity.REJECTED): 1}


def test_volumes():
    volumes = [0, math.nan, -5, math.inf, 1000]
    rows = [(*row[:5], volume) for row, volume in zip(rising(5), volumes, strict=True)]
    checked = check(fetched(rows), CALENDAR, LAST)
    assert_array_equal(checked.accepted.volume, [0, math.nan, math.nan, math.nan, 1000])
    assert found(checked) == {
        ("zero_volume", Severity.WARNING): 1,
        ("bad_volume", Severity.WARNING): 2,
    }


def test_a_feed_that_stands_still():
    rows = [(day, *GOOD) for day in days(6)] + [(days(7)[-1], 20, 21, 19, 20, 1)]
    (finding,) = check(fetched(rows), CALENDAR, LAST).findings
    assert finding.check == "identical_bars"
    assert (finding.session, finding.observed, finding.threshold) == (days(6)[-1], 6, 5)
    assert check(fetched(rows[:4]), CALENDAR, LAST).findings == ()


def test_many_findings_of_one_check_are_counted():
    calendar = np.arange("2020-01-01", "2024-02-17", dtype="datetime64[D]")
    rows = [(day.item(), *GOOD) for day in calendar[::251]]
    checked = check(fetched(rows), calendar, LAST)
    missing = [finding for finding in checked.findings if finding.check == "missing_session"]
    assert len(missing) == quality.MOST_FINDINGS + 1
    assert missing[-1].observed == 250 * (len(rows) - 1) - quality.MOST_FINDINGS


def test_years_without_bars_are_told_as_another_company():
    calendar = np.arange("2020-01-01", "2024-02-17", dtype="datetime64[D]")
    again = calendar[252].item()
    rows = [(calendar[0].item(), *GOOD), (again, *GOOD), (calendar[254].item(), *GOOD)]
    first, missing = check(fetched(rows), calendar, LAST).findings
    assert (first.check, first.severity) == ("another_company", Severity.WARNING)
    assert (first.session, first.observed, first.threshold) == (again, 251, 250)
    assert first.message.startswith("251 sessions without a bar since 2020-01-01: another company")
    for proposal in ("tickers rename", "remove", "add"):
        assert proposal in first.message
    assert (missing.check, missing.session) == ("missing_session", calendar[253].item())


def continuous(ratio, shown=None, count=12, wiggle=0.01):
    """As-traded bars; those from `shown` on are on the basis after a split, opens within a cent."""
    rows = []
    for i, day in enumerate(days(count)):
        level = 10 * (1 + wiggle * math.sin(i)) / (ratio if shown is not None and i >= shown else 1)
        rows.append((day, level * 1.001, level * 1.02, level * 0.98, level, 1000 + i))
    return rows


@pytest.mark.parametrize("ratio", [190, 2, 1.25, 7.5, 1 / 40, 1 / 190])
def test_a_split_that_prices_show_is_used(ratio):
    stated = split(ratio, days(12)[6])
    checked = check(fetched(continuous(ratio, shown=6), [stated]), CALENDAR, LAST)
    assert checked.actions == (stated,)
    assert checked.findings == ()


@pytest.mark.parametrize("ratio", [190, 2, 1.25, 7.5, 1 / 40, 1 / 190])
def test_a_split_that_prices_do_not_show_is_told_and_not_used(ratio):
    stated = [split(ratio, days(12)[6]), dividend(0.1, days(12)[6])]
    checked = check(fetched(continuous(ratio), stated), CALENDAR, LAST)
    assert [action.kind for action in checked.actions] == ["dividend"]
    (finding,) = checked.findings
    assert (finding.check, finding.severity) == ("split_not_shown", Severity.WARNING)
    assert (finding.session, finding.observed) == (days(12)[6], ratio)
    assert (
        finding.message == f"a split of {ratio:g} is stated, which the prices do not show: not used"
    )


@pytest.mark.parametrize("ratio", [190, 2, 9, 1 / 40])
@pytest.mark.parametrize("shown", [3, 5, 7, 9])
def test_a_split_that_neighbouring_prices_show_is_used_there(ratio, shown):
    rows = continuous(ratio, shown=shown)
    checked = check(fetched(rows, [split(ratio, days(12)[6])]), CALENDAR, LAST)
    assert checked.actions == (split(ratio, days(12)[shown]),)
    (finding,) = checked.findings
    assert finding.check == "split_not_shown"
    assert finding.message.endswith(f"those of {days(12)[shown]} do, where it is used")


def test_small_splits_and_unclear_ones_are_used_as_stated():
    small = split(1.1, days(12)[6])
    assert check(fetched(continuous(1.1), [small]), CALENDAR, LAST).actions == (small,)
    rows = continuous(2)
    rows[6] = (rows[6][0], 5, 10.2, 4.9, rows[6][4], 1000)  # its open shows it
    unclear = split(2, days(12)[6])
    assert check(fetched(rows, [unclear]), CALENDAR, LAST).actions == (unclear,)
    newest = split(2, days(13)[-1])  # without a bar of its session nothing is shown yet
    assert check(fetched(continuous(2), [newest]), CALENDAR, LAST).actions == (newest,)


def test_what_the_provider_found_is_reported_with_the_rest():
    answer = fetched(rising(3))
    said = quality.not_shown(MONDAY, 4.0)
    assert check(replace(answer, findings=(said,)), CALENDAR, LAST).findings == (said,)


def dividend(value, session=MONDAY):
    return CorporateAction(session=session, kind="dividend", value=value)


def split(value, session=MONDAY):
    return CorporateAction(session=session, kind="split", value=value)


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf, 2.8])
def test_impossible_dividends_are_not_used(value):
    friday = date(2024, 1, 5)
    checked = check(fetched([(friday, *GOOD), (MONDAY, *GOOD)], [dividend(value)]), CALENDAR, LAST)
    assert checked.actions == ()
    assert len(checked.accepted) == 2
    assert found(checked) == {("bad_dividend", Severity.WARNING): 1}


@pytest.mark.parametrize("value", [0, -2, math.nan, math.inf])
def test_impossible_splits_are_not_used(value):
    checked = check(fetched([(MONDAY, *GOOD)], [split(value)]), CALENDAR, LAST)
    assert checked.actions == ()
    assert found(checked) == {("bad_split", Severity.WARNING): 1}


def test_a_dividend_is_measured_by_the_price_on_its_own_basis():
    friday = date(2024, 1, 5)
    bars = [(friday, 100, 120, 90, 110, 1), (MONDAY, *GOOD)]
    kept = check(fetched(bars, [dividend(5.0)]), CALENDAR, LAST)
    assert kept.actions == (dividend(5.0),)
    refused = check(fetched(bars, [dividend(5.0), split(10.0)]), CALENDAR, LAST)
    assert refused.actions == (split(10.0),)
    assert refused.findings[0].threshold == pytest.approx(110 / 10 / 4)


def test_actions_take_effect_on_the_next_session_and_once():
    actions = [split(2.0, SATURDAY), dividend(0.1), dividend(0.1), dividend(0.2)]
    checked = check(fetched([(MONDAY, *GOOD)], actions), CALENDAR, LAST)
    assert checked.actions == (dividend(0.1), split(2.0, date(2024, 1, 15)))
    assert found(checked) == {
        ("off_calendar_action", Severity.WARNING): 1,
        ("bad_dividend", Severity.WARNING): 1,
    }


ODD = st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -1.0, 5e-324, 1e-300, 1.7e308, 1e9])
PRICES = st.one_of(st.sampled_from([9.0, 10.0, 10.5, 11.0, 12.0]), ODD)
SESSIONS = st.one_of(
    st.sampled_from([*days(6), SATURDAY, LAST, LAST + timedelta(days=1), date(1985, 1, 2), "NaT"]),
    st.dates(),
)
ROWS = st.lists(st.tuples(SESSIONS, PRICES, PRICES, PRICES, PRICES, PRICES), max_size=12)
ACTIONS = st.lists(
    st.builds(
        CorporateAction,
        session=st.one_of(st.sampled_from([*days(6), SATURDAY, LAST]), st.dates()),
        kind=st.sampled_from(["split", "dividend"]),
        value=st.one_of(ODD, st.sampled_from([2.0, 0.5, 1e-3, 3.0])),
    ),
    max_size=6,
)


def sound(row):
    """The rule for one bar, in plain words."""
    _, opened, high, low, close, _ = row
    prices = (opened, high, low, close)
    if not all(math.isfinite(price) and price > 0 for price in prices) or high < low:
        return False
    return high >= max(opened, close) * 0.999999 and low <= min(opened, close) * 1.000001


@given(ROWS, ACTIONS)
@example([], [])
@example([("NaT", *GOOD)], [])
def test_hostile_frames(rows, actions):
    checked = check(fetched(rows, actions), CALENDAR, LAST)
    by_session: dict[date, list[tuple[float, ...]]] = {}
    for row in rows:
        if row[0] != "NaT" and CALENDAR[0].item() <= row[0] <= LAST and sound(row):
            by_session.setdefault(row[0], []).append(row)
    agreed = {day for day, bars in by_session.items() if len({bar[1:5] for bar in bars}) == 1}
    accepted = sorted(agreed & set(CALENDAR.tolist()))
    assert checked.accepted.sessions.tolist() == accepted
    assert checked.accepted.close.tolist() == [by_session[day][0][4] for day in accepted]
    assert checked.quarantined.sessions.tolist() == sorted(set(by_session) - set(accepted))
    for bars in (checked.accepted, checked.quarantined):
        assert not ((bars.volume < 0) | np.isinf(bars.volume)).any()
    told = {finding.session for finding in checked.findings}
    refused = {row[0] for row in rows if row[0] != "NaT" and not sound(row)}
    assert {day for day in refused if CALENDAR[0].item() <= day <= LAST} <= told
    for finding in checked.findings:
        assert finding.observed is None or math.isfinite(finding.observed)
        assert finding.threshold is None or math.isfinite(finding.threshold)
    keys = [(action.session, action.kind) for action in checked.actions]
    assert keys == sorted(set(keys))
    for action in checked.actions:
        assert math.isfinite(action.value)
        assert action.value > 0
        assert action.session <= LAST
        assert np.datetime64(action.session) in CALENDAR


@given(ROWS, st.randoms())
def test_the_order_of_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    one, other = (check(fetched(some), CALENDAR, LAST) for some in (rows, shuffled))
    assert_array_equal(one.accepted.sessions, other.accepted.sessions)
    assert_array_equal(one.accepted.close, other.accepted.close)
    assert found(one) == found(other)
