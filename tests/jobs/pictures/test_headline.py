"""What is said first of a forecast, and what is said of its one number."""

import pandas as pd
import pytest

from jobs.pictures import headline

FORECAST = pd.Series(
    {
        "expected_move_pct": 2.04,
        "move_ratio": 1.6,
        "downside_pct": -3.44,
        "upside_pct": 3.1,
        "probability_of_rise_pct": 52.6,
        "probability_of_fall_pct": 47.1,
        "probability_of_move_2_pct": 31.0,
        "probability_of_move_5_pct": None,
        "currency": "USD",
        "origin_close": 100.0,
        "forecast_close": 100.0,
        "forecast_return_pct": 0.0,
    },
    dtype=object,
)


def test_what_varies_comes_first():
    assert headline.of_one(FORECAST) == {
        "Expected move": "± 2.0 %",
        "Against the usual": "1.6 ×",
        "Downside, 5 % level": "−3.4 %",
        "Upside, 95 % level": "+3.1 %",
        "Rise": "53 %",
        "Fall": "47 %",
        "Beyond ±2 %": "31 %",
        "Beyond ±5 %": "unknown",
    }


def test_a_point_that_is_the_last_close_says_why():
    said = headline.point(FORECAST)
    assert said.startswith("Point forecast: 100.00 (USD), the last close. ")
    assert said.endswith(headline.LAST_CLOSE)


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_a_currency_nobody_knows_is_said_to_be_unknown(unknown):
    other = FORECAST.copy()
    other["currency"] = unknown
    said = headline.point(other)
    assert said.startswith("Point forecast: 100.00 (an unknown currency), the last close. ")


def test_a_point_elsewhere_says_where():
    other = FORECAST.copy()
    other["forecast_close"], other["forecast_return_pct"] = 99.5, -0.5
    said = headline.point(other)
    assert said == "Point forecast: 99.500 (USD), −0.50 % from the last close, 100.00."


def test_a_point_at_the_last_close_leaves_its_column_empty():
    ends = {f"close_{end}_{p}": [90.0, 95.0] for end in ("low", "high") for p in (80, 95)}
    data = pd.DataFrame({"origin_close": 100.0, "forecast_return_pct": [0.0, 0.4], **ends})
    rows = headline.rows_of(data)
    assert rows["point"].isna().tolist() == [True, False]
    assert [tuple(round(end, 9) for end in ends) for ends in rows["interval"]] == [
        (-10.0,) * 4,
        (-5.0,) * 4,
    ]
