import dataclasses
import inspect
from enum import StrEnum

import numpy as np
import pytest

from stockbatch import records
from stockbatch.records import QUANTILES, Bars, Listing

CLASSES = [kind for _, kind in inspect.getmembers(records, inspect.isclass)]
RECORDS = [kind for kind in CLASSES if dataclasses.is_dataclass(kind)]
ENUMS = [kind for kind in CLASSES if issubclass(kind, StrEnum) and kind is not StrEnum]


@pytest.mark.parametrize("kind", RECORDS)
def test_records_are_frozen_slotted_and_built_by_name(kind):
    assert kind.__dataclass_params__.frozen
    assert "__slots__" in vars(kind)
    assert all(field.kw_only for field in dataclasses.fields(kind))
    assert kind.__doc__


@pytest.mark.parametrize("kind", ENUMS)
def test_names_stored_in_the_database_are_lower_case(kind):
    assert [member.value for member in kind] == [member.name.lower() for member in kind]


def test_a_record_cannot_be_changed():
    listing = Listing(ticker="AAPL", symbol="AAPL")
    with pytest.raises(dataclasses.FrozenInstanceError):
        listing.ticker = "MSFT"
    assert dataclasses.replace(listing, symbol="AAPL.US").ticker == "AAPL"


def test_quantiles_rise_and_mirror_around_the_median():
    assert list(QUANTILES) == sorted(set(QUANTILES))
    assert len(QUANTILES) == 11
    np.testing.assert_allclose(np.add(QUANTILES, QUANTILES[::-1]), 1)
    assert QUANTILES[0] > 0
    assert QUANTILES[5] == 0.5


def test_bars_are_counted_and_chosen_together():
    columns = {
        name: np.arange(3.0) + start
        for start, name in enumerate(("open", "high", "low", "close", "volume"))
    }
    bars = Bars(sessions=np.array(["2018-02-05", "2018-02-06", "2018-02-07"], "M8[D]"), **columns)
    chosen = bars.where(np.array([True, False, True]))
    assert (len(bars), len(chosen)) == (3, 2)
    for field in dataclasses.fields(Bars):
        np.testing.assert_array_equal(
            getattr(chosen, field.name), getattr(bars, field.name)[[0, 2]]
        )
