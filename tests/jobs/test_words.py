"""Prices as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.words import price


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
