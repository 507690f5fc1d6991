"""Prices as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.words import price, rounded


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (187.23, "187.23"),
        (187.2, "187.20"),
        (12345.67, "12,345.67"),
        (623000.5, "623,000.50"),
        (1.08462, "1.0846"),
        (0.0000086183, "0.0000086183"),
        (9.99996, "10.000"),
        (0.0, "0.00"),
        (3.2e-14, "3.2e-14"),
    ],
)
def test_a_price_has_the_digits_that_count(value, shown):
    assert price(value) == shown


@given(st.floats(1e-12, 1e14))
def test_a_price_is_never_far_from_what_is_shown(value):
    assert float(price(value).replace(",", "")) == pytest.approx(value, rel=6e-5)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("close_low_80", 2444.6512345, 2444.65),
        ("origin_close", 1.084612345, 1.0846),
        ("median_close", 0.0000086183123, 0.0000086183),
        ("return_low_80_pct", -1.23456789, -1.2346),
        ("pinball", 0.00436381234, 0.00436381),
        ("n", 1234567, 1234567),
        ("is_current", True, True),
        ("close_low_80", None, None),
        ("ticker", "AAA", "AAA"),
        ("value", 63_436_099.0618, 63_436_099.06),
        ("quantity", 1_234_567.125, 1_234_567.125),
        ("stated_quantity", -0.123456789012, -0.123456789012),
        ("quantity", 30.000000000000004, 30),
    ],
)
def test_values_for_files_are_rounded_to_what_they_mean(name, value, expected):
    assert rounded(name, value) == expected
