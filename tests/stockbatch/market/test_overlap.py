from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockbatch.market.overlap import (
    Match,
    admit,
    compare,
    restated_by_split,
)
from stockbatch.market.quality import Checked
from stockbatch.records import Check, CorporateAction, PriceBasis, Severity, StoredBars
from tests.support.ledger import bars_of

DAYS = np.arange("2024-01-01", "2024-01-14", dtype="datetime64[D]")
CLOSES = 50 + np.sin(np.arange(13))
LAST = date(2024, 1, 13)
NONE = np.array([])


def stored(count=11, own=True, basis=PriceBasis.AS_TRADED, restatements=()):
    """The first days as they are stored, all final."""
    return StoredBars(
        bars=bars_of(DAYS[:count].tolist(), CLOSES[:count]),
        final=np.ones(count, dtype=bool),
        own=np.full(count, own, dtype=bool),
        basis=(basis,) * count,
        newest=DAYS[count - 1].item(),
        restatements=tuple(restatements),
    )


def told(factor=1.0, first=0):
    """The bars of all days, `factor` times what they are."""
    return bars_of(DAYS[first:].tolist(), (CLOSES * factor)[first:])


def compared(factor, splits=(), adjusted=False, **options):
    return compare(stored(**options), told(factor), np.array(splits, float), adjusted=adjusted)


def test_what_is_the_same_is_the_same():
    assert compared(1.0).match is Match.SAME
    assert compared(1.00009).match is Match.SAME
    assert compared(1.00011).match is Match.OTHER


@pytest.mark.parametrize("ratio", [2, 4, 1.5, 0.1, 7, 1.0317])
def test_a_stated_split_explains_its_ratio_either_way(ratio):
    for factor in (1 / ratio, ratio):
        found = compared(factor, [ratio])
        assert found.match is Match.SPLIT
        assert found.ratio == pytest.approx(factor)
    assert compared(1 / ratio).match is Match.OTHER


def test_two_splits_at_once_explain_their_product():
    assert compared(1 / 6, [2, 3]).match is Match.SPLIT


@pytest.mark.parametrize("factor", [100, 0.01, 1000, 0.001, 1.07, 0.97])
def test_no_split_need_not_be_stated_of_these(factor):
    assert compared(factor, adjusted=True).match is Match.OTHER


@pytest.mark.parametrize("ratio", [2, 3, 4, 10, 20, 1.5])
def test_adjusted_prices_need_no_stated_split(ratio):
    assert compared(1 / ratio, adjusted=True).match is Match.SPLIT


def test_single_bars_are_corrections():
    factor = np.ones(13)
    factor[[3, 7]] = 1.01, 0.5
    found = compared(factor)
    assert found.match is Match.CORRECTED
    assert [day for day, _ in found.corrected] == [date(2024, 1, 4), date(2024, 1, 8)]
    assert [ratio for _, ratio in found.corrected] == pytest.approx([1.01, 0.5])


def test_a_split_inside_the_overlap_restates_what_is_before_it():
    factor = np.where(np.arange(13) < 4, 0.25, 1.0)
    assert compared(factor, [4]).match is Match.SPLIT
    assert compared(factor).match is Match.CORRECTED


def test_two_bars_are_too_few_to_tell():
    assert compared(1.01, count=2).match is Match.CORRECTED
    assert compared(0.5, [2], count=2).match is Match.SPLIT


@pytest.mark.parametrize(("factor", "match"), [(1.0049, Match.SAME), (1.0051, Match.APART)])
def test_another_provider_may_differ_by_half_a_percent(factor, match):
    worst = np.ones(13)
    worst[5] = factor
    found = compared(worst, own=False)
    assert found.match is match
    assert found.ratio == pytest.approx(factor)


def checked(bars, actions=()):
    nothing = bars.where(np.zeros(len(bars), dtype=bool))
    return Checked(accepted=bars, quarantined=nothing, actions=actions, findings=())


def admitted(bars, known, **options):
    options = {"basis": PriceBasis.AS_TRADED} | options
    return admit(checked(bars), known, LAST, **options)


def test_a_new_ticker_is_taken_as_it_comes():
    one = admitted(told(), None)
    assert len(one.accepted) == 13
    assert not one.findings


def test_only_newer_bars_of_another_provider_are_taken():
    action = CorporateAction(session=date(2024, 1, 5), kind="dividend", value=1.0)
    newer = CorporateAction(session=date(2024, 1, 12), kind="dividend", value=1.0)
    known = stored(own=False)
    one = admit(checked(told(1.004), (action, newer)), known, LAST, basis=PriceBasis.AS_TRADED)
    assert one.accepted.sessions.tolist() == DAYS[11:].tolist()
    assert one.actions == (newer,)


@pytest.mark.parametrize(
    ("bars", "known", "options", "check", "words"),
    [
        (
            told(100.0),
            stored(),
            {},
            Check.RESTATED_HISTORY,
            "closes are 100 times those stored (another unit",
        ),
        (
            told(1.3),
            stored(),
            {},
            Check.RESTATED_HISTORY,
            "1.3 times those stored: no split explains it",
        ),
        (
            told(0.95),
            stored(basis=PriceBasis.SPLIT_ADJUSTED),
            {"basis": PriceBasis.SPLIT_ADJUSTED},
            Check.RESTATED_HISTORY,
            "no split explains it; if dividends do, remove it and add it again with --basis total",
        ),
        (
            told(1.01),
            stored(own=False),
            {},
            Check.PROVIDERS_APART,
            "close is 1.01 times that stored",
        ),
        (told(1.0, 11), stored(own=False), {}, Check.PROVIDERS_APART, "no session in common"),
        (
            told(),
            stored(),
            {"currency": ("GBp", "GBP")},
            Check.CHANGED_CURRENCY,
            "in GBp, so far they came in",
        ),
    ],
)
def test_what_does_not_fit_is_set_aside_with_a_plain_word(bars, known, options, check, words):
    one = admitted(bars, known, **options)
    assert len(one.accepted) == 0
    assert one.quarantined.sessions.tolist() == DAYS[11:].tolist()
    (found,) = one.findings
    assert (found.check, found.severity, found.session) == (check, Severity.QUARANTINED, LAST)
    assert words in found.message
    again = admitted(bars, known, agreed=frozenset({(check, found.message)}), **options)
    assert again.refetch == (check != Check.PROVIDERS_APART), "accepted, a history is fetched again"


def test_restating_by_a_split_and_by_nothing_else():
    before = np.array([100.0, 100.0, 100.0, 100.0, 100.0, 100.0])
    now = np.array([25.0, 100.0, 1000.0, 93.0, np.nan, 100.05])
    assert restated_by_split(before, now).tolist() == [4.0, 1.0, 0.1, 1.0, 1.0, 1.0]


@given(st.lists(st.floats(0.5, 2.0), min_size=13, max_size=13), st.integers(1, 13), st.booleans())
def test_any_two_histories_can_be_compared(factors, count, own):
    factor = np.array(factors)
    found = compare(stored(count, own), told(factor), NONE, adjusted=True)
    differs = (np.abs(factor[:count] - 1) > 1e-4).any()
    if own:
        assert (found.match is Match.SAME) == (not differs)
    one = admitted(told(factor), stored(count, own))
    assert len(one.accepted) + len(one.quarantined) in (0, 13, 13 - count)
