"""Plots: what is computed for them, and whether everyone can tell their colours apart."""

import inspect
from datetime import date
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from altair.utils.schemapi import SchemaValidationError

from jobs.pictures import charts, drawing
from jobs.pictures.drawing import Layers
from jobs.pictures.frames import awaited

# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB.
SIGHTS = {
    "common": np.eye(3),
    "protanopia": np.array(
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ]
    ),
    "deuteranopia": np.array(
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ]
    ),
    "tritanopia": np.array(
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ]
    ),
}
TO_XYZ = np.array(
    [
        [0.412456, 0.357576, 0.180437],
        [0.212673, 0.715152, 0.072175],
        [0.019334, 0.119192, 0.950304],
    ]
)
WHITE = TO_XYZ.sum(axis=1)
JUST_NOTICEABLE = 2.3
"""Of CIE 1976 colour differences."""
TOGETHER = {
    "outcomes": tuple(charts.ACTIONS.values()),
    "predicted": ("#000000", drawing.VERMILION, drawing.GREY, drawing.SKY),
    "predicted in the dark": ("#ffffff", drawing.VERMILION, drawing.GREY, drawing.SKY),
    "prices": (
        *(drawing.BLUE, drawing.VERMILION),
        *(colour for colour, _ in charts.AVERAGES.values()),
    ),
    "compared": tuple(colour for colour, _ in charts.COMPARED),
    "losses": (drawing.BLUE, drawing.VERMILION),
    "errors": (drawing.BLUE, drawing.ORANGE, drawing.SKY),
    "risk": (drawing.SKY, drawing.VERMILION, drawing.ORANGE),
}


def lab(colour, sight):
    """Return a colour as seen, in CIE L*a*b*."""
    stored = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)
    relative = TO_XYZ @ np.clip(SIGHTS[sight] @ linear, 0, 1) / WHITE
    f = np.where(relative > 216 / 24389, np.cbrt(relative), (24389 / 27 * relative + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize("plot", TOGETHER)
def test_colours_of_a_plot_are_told_apart_with_any_colour_vision(plot, sight):
    for one, other in combinations(TOGETHER[plot], 2):
        difference = np.linalg.norm(lab(one, sight) - lab(other, sight))
        assert difference > 5 * JUST_NOTICEABLE, (one, other, difference)


def test_black_and_white_are_as_far_apart_as_colours_can_be():
    assert lab("#ffffff", "common") == pytest.approx([100, 0, 0], abs=0.01)
    assert lab("#000000", "common") == pytest.approx([0, 0, 0], abs=0.01)


def rows_of(chart, layer):
    """Return the rows that a layer of a chart draws."""
    made = chart.to_dict()
    name = made["layer"][layer].get("data", made.get("data"))["name"]
    return pd.DataFrame(made["datasets"][name])


def test_sizes_of_errors_are_never_averaged_over_kinds():
    days = pd.date_range("2024-01-01", periods=12, freq="D")
    kinds = ["backtest"] * 6 + ["live"] * 6
    sizes = [1.0] * 6 + [3.0] * 6
    data = pd.DataFrame(
        {
            "session": days,
            "method": "lstm",
            "kind": kinds,
            "error_pct": sizes,
            "absolute_error_pct": sizes,
        }
    )
    chart = charts.error(data)
    means = rows_of(chart, 1).groupby("kind")["mean"].max()
    assert means.to_dict() == {"backtest": 1.0, "live": 3.0}
    assert chart.to_dict()["layer"][1]["encoding"]["detail"]["field"] == "kind"


def events(*told):
    """Return a frame as `bi.events.current` makes it, of what `report` returns."""
    columns = ["session", "event_date", "event", "kind", "is_projected"]
    frame = pd.DataFrame(told, columns=columns)
    return frame.astype({"session": "datetime64[s]"})


def splits(*told):
    """Return a frame as `bi.splits.of_ticker` makes it, of sessions and words."""
    frame = pd.DataFrame(told, columns=["session", "split"])
    return frame.astype({"session": "datetime64[s]"})


def price(data, events):
    """Return the chart of prices of a ticker that has never split."""
    return charts.price(data, events, splits())


def report(session, day, words="reports after the close", kind="earnings", *, projected=False):
    return session, day, words, kind, projected


def prices(sessions=10):
    data = pd.DataFrame({"session": pd.date_range("2024-01-01", periods=sessions, freq="D")})
    data["session"] = data["session"].astype("datetime64[s]")
    ends = [f"close_{end}_{percent}" for end in ("low", "high") for percent in (50, 80, 95)]
    averages = [f"average_{n}" for n in charts.AVERAGES]
    columns = ["open", "high", "low", "close", "forecast_close", "naive_close", *ends, *averages]
    data = data.assign(**dict.fromkeys(columns, 100.0), forecast_kind="live")
    return data.assign(origin_session=data["session"].shift())


@pytest.mark.parametrize("draw", [price, charts.predicted_and_actual])
class TestMarks:
    def layers(self, draw, *told, sessions=10):
        """Return the chart, and the rows drawn by the layers of each kind."""
        made = draw(prices(sessions), events(*told)).to_dict()
        rows = {}
        for layer in made["layer"]:
            data = layer.get("data", made.get("data"))
            kind = layer["mark"].get("shape", layer["mark"]["type"])
            rows.setdefault(kind, []).extend(made["datasets"][data["name"]])
        return made, rows

    def test_an_event_is_marked_over_the_session_it_moves_and_says_what_it_is(self, draw):
        made, rows = self.layers(
            draw,
            report("2024-01-05", date(2024, 1, 4)),
            report("2024-01-08", date(2024, 1, 8), "may report", projected=True),
            report("2024-01-08", date(2024, 1, 8), "index change", "index_change"),
            report("2024-02-05", date(2024, 2, 5)),  # not shown
        )
        expected = [
            ("2024-01-05", "report", "reports after the close (2024-01-04)"),
            ("2024-01-08", "report?; index change",
             "may report (2024-01-08); index change (2024-01-08)"),
        ]  # fmt: skip
        for kind in ("triangle-down", "text"):
            found = [(row["session"][:10], row["mark"], row["event"]) for row in rows[kind]]
            assert found == expected
        subtitle = made["title"]["subtitle"]
        assert subtitle[-2].startswith("triangle: an event moved this session")
        assert subtitle[-1] == "report?: by the rhythm of past years, not announced"
        tips = [t["field"] for layer in made["layer"] for t in layer["encoding"].get("tooltip", ())]
        assert tips.count("event") == 3  # of triangle, word and pointer

    def test_the_pointer_says_where_nothing_is_known(self, draw):
        made, _ = self.layers(draw, report("2024-01-05", date(2024, 1, 4)))
        reader = made["layer"][-1]
        said = {row["event"] for row in made["datasets"][reader["data"]["name"]]}
        assert said == {"none known", "reports after the close (2024-01-04)"}

    def test_without_events_nothing_is_said_of_them(self, draw):
        made, rows = self.layers(draw)
        assert "triangle-down" not in rows
        assert "event" not in str(made["layer"])
        assert not any("triangle" in line for line in made["title"]["subtitle"])

    @pytest.mark.parametrize(("number", "words"), [(8, 8), (9, 0)])
    def test_many_marks_have_no_word_each_and_lie_outside_of_the_plot(self, draw, number, words):
        days = pd.date_range("2024-01-01", periods=number, freq="10D")
        told = [report(f"{day:%Y-%m-%d}", day.date()) for day in days]
        made, rows = self.layers(draw, *told, sessions=100)
        assert len(rows["triangle-down"]) == number
        assert len(rows.get("text", [])) == words
        heights = [
            layer["encoding"]["y"]["value"]
            for layer in made["layer"]
            if layer["mark"].get("shape") == "triangle-down" or layer["mark"]["type"] == "text"
        ]
        assert all(height < 0 for height in heights)


def test_what_a_forecast_awaits_is_said_with_its_day():
    forecast = pd.Series({"session": pd.Timestamp("2024-01-05"), "event": None}, dtype=object)
    late = report("2024-01-05", date(2024, 1, 4))
    next_one = report("2024-04-05", date(2024, 4, 5), "may report", projected=True)
    past = report("2023-10-05", date(2023, 10, 4))
    assert awaited(forecast, events(past)) == []
    assert awaited(forecast, events(past, next_one)) == ["next event: may report (2024-04-05)"]
    known = "known to move it: reports after the close (2024-01-04)"
    assert awaited(forecast, events(past, late, next_one)) == [known]
    of_before = forecast.copy()
    of_before["event"] = "reported the session before, hour unknown"
    assert awaited(of_before, events(past, next_one)) == [
        "known to move it: reported the session before, hour unknown"
    ]


def test_only_closes_outside_the_wide_interval_are_marked():
    data = pd.DataFrame(
        {
            "session": pd.date_range("2024-01-01", periods=4, freq="D"),
            "close": [100.0, 120.0, 80.0, np.nan],
            "forecast_close": 100.0,
            "naive_close": 100.0,
            "close_low_80": 95.0,
            "close_high_80": 105.0,
            "close_low_95": 90.0,
            "close_high_95": 110.0,
            "forecast_kind": "live",
        }
    )
    made = charts.predicted_and_actual(data, events()).to_dict()
    (marked,) = [layer for layer in made["layer"] if layer["mark"].get("shape") == "diamond"]
    assert [row["close"] for row in made["datasets"][marked["data"]["name"]]] == [120.0, 80.0]


def with_the_next(sessions=10):
    """Return prices whose last session has a forecast and no bar yet."""
    data = prices(sessions)
    data.loc[sessions - 1, ["open", "high", "low", "close"]] = np.nan
    low_and_high = {"close_low_50": 99.0, "close_low_80": 97.0, "close_low_95": 94.0}
    low_and_high |= {"close_high_50": 101.0, "close_high_80": 103.0, "close_high_95": 106.0}
    for name, value in low_and_high.items():
        data.loc[sessions - 1, name] = value
    return data


def layers_of(made, kind):
    """Return the marks of a kind with the rows that each draws."""
    found = []
    for layer in made["layer"]:
        if layer["mark"]["type"] == kind:
            data = layer.get("data", made.get("data"))
            found.append((layer, made["datasets"][data["name"]]))
    return found


def test_the_fan_opens_at_the_last_close_and_is_widest_where_it_says_so():
    made = price(with_the_next(), events()).to_dict()
    areas = layers_of(made, "area")
    drawn = [
        [
            (row[layer["encoding"]["y"]["field"]], row[layer["encoding"]["y2"]["field"]])
            for row in rows
        ]
        for layer, rows in areas
    ]
    assert drawn == [
        [(100.0, 100.0), (94.0, 106.0)],
        [(100.0, 100.0), (97.0, 103.0)],
        [(100.0, 100.0), (99.0, 101.0)],
    ]


def test_a_split_is_a_line_with_words_inside_of_the_plot():
    told = splits(("2023-06-01", "split 2 for 1"), ("2024-01-05", "split 4 for 1"))
    made = charts.price(with_the_next(), events(), told).to_dict()
    for kind in ("rule", "text"):
        ((layer, rows),) = [
            (layer, rows) for layer, rows in layers_of(made, kind) if rows and "split" in rows[0]
        ]
        assert [(row["session"][:10], row["split"]) for row in rows] == [
            ("2024-01-05", "split 4 for 1")
        ]
        assert layer["encoding"].get("y", {"value": 8})["value"] > 0
    assert made["title"]["subtitle"][-1] == "dashed: a split; prices before it are restated"
    assert "split" not in str(price(with_the_next(), events()).to_dict())


def test_candles_that_rise_are_pale_and_none_is_drawn_of_a_session_to_come():
    data = with_the_next(4)
    data.loc[0, ["open", "close"]] = [100.0, 102.0]
    data.loc[1, ["open", "close"]] = [102.0, 99.0]
    made = price(data, events()).to_dict()
    (pale, rising), (full, falling) = layers_of(made, "bar")
    assert [row["session"][:10] for row in rising] == ["2024-01-01", "2024-01-03"]
    assert [row["session"][:10] for row in falling] == ["2024-01-02"]
    assert pale["mark"]["fillOpacity"] < full["mark"]["fillOpacity"]


def test_many_sessions_are_a_line_of_closes():
    made = price(with_the_next(charts.MOST_CANDLES + 1), events()).to_dict()
    assert layers_of(made, "bar") == []
    assert "line: the close" in made["title"]["subtitle"]


def test_tickers_are_compared_by_their_change_since_the_first_session_of_all():
    one, other = with_the_next(10), with_the_next(6)
    other["session"] = one["session"].tail(6).to_numpy()
    other["close"] = [50.0, 55.0, 60.0, 50.0, 45.0, np.nan]
    made = charts.compared({"AAA": one, "BBB": other}).to_dict()
    changes = [[row["close"] for row in rows][:-1] for _, rows in layers_of(made, "line")]
    assert changes == [[0.0] * 5, pytest.approx([0.0, 10.0, 20.0, 0.0, -10.0])]
    ends = [[row["close_high_80"] for row in rows] for _, rows in layers_of(made, "rule")]
    assert ends == [[pytest.approx(3.0)], [pytest.approx(106.0)]]


def one_of_each():
    """Return a chart of every kind that has layers, by the name of what draws it."""
    data, told = with_the_next(), events(report("2024-01-05", "2024-01-05"))
    sizes = pd.DataFrame({"session": data["session"], "method": ["lstm", "naive"] * 5})
    sizes = sizes.assign(kind="live", error_pct=1.0, absolute_error_pct=1.0)
    curve = pd.DataFrame(
        {"epoch": [1, 2], "training_loss": [0.3, 0.2], "session": sizes["session"][0]}
    )
    curve = curve.assign(validation_loss=0.3, is_best_epoch=[False, True], model_kind="base")
    board = pd.DataFrame({"method": ["lstm"], "coverage_80_pct": [79.0], "coverage_95_pct": [96.0]})
    skill = {"skill_vs_rolling_quantile_pct": 1.0, "skill_vs_rolling_quantile_error_pct": 0.2}
    return {
        "price": price(data, told),
        "compared": charts.compared({"AAA": data}),
        "predicted_and_actual": charts.predicted_and_actual(data, told),
        "error": charts.error(sizes),
        "losses": charts.losses(curve.assign(initial_validation_loss=0.4)),
        "skill": charts.skill(board.assign(**skill)),
        "coverage": charts.coverage(board),
        "risk": charts.risk(told_risk()),
    }


def told_risk():
    """Return a frame as `bi.risk.history` makes it: of four sessions one is a breach, one open."""
    came = {
        "actual_return_pct": [0.5, -2.5, None, None],
        "actual_result": [5.0, -25.0, None, None],
        "is_breach": [False, True, None, None],
    }
    days = pd.date_range("2024-01-02", periods=4, unit="s")
    told = {"level_pct": 5.0, "value_at_risk_pct": 2.0, "expected_shortfall_pct": 3.0}
    return pd.DataFrame({"session": days, **came}).assign(**told)


def test_breaches_of_the_value_at_risk_are_marked_and_the_line_goes_on():
    chart = charts.risk(told_risk())
    assert list(rows_of(chart, 1)["limit"]) == [-2.0] * 4
    (breach,) = rows_of(chart, 2).to_dict("records")
    assert (breach["session"][:10], breach["actual_return_pct"]) == ("2024-01-03", -2.5)
    assert "5 % of sessions should fall below it" in chart.to_dict()["title"]["subtitle"][0]


def test_charts_follow_the_schema():
    made = one_of_each()
    drawn = dict(inspect.getmembers(charts, inspect.isfunction))
    layered = {name for name, draw in drawn.items() if draw.__annotations__["return"] is Layers}
    assert set(made) == layered - {"together"}
    for chart in made.values():
        assert chart.to_dict(validate=True) == chart.to_dict()
        chart.layer[0].encoding.x = "no axis"
        with pytest.raises(SchemaValidationError):
            chart.to_dict(validate=True)


@pytest.mark.parametrize("draw", [price, charts.predicted_and_actual])
def test_words_and_axes_have_the_colour_of_the_page(draw):
    look = draw(with_the_next(), events()).configure(**drawing.LOOK).to_dict()["config"]
    assert {look["title"]["color"], look["axis"]["labelColor"]} == {"currentColor"}
    assert look["background"] == "transparent"
