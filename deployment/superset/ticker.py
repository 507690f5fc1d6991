"""The dashboard of one ticker."""

from deployment.grafana.panels import AFTER_CLOSE, BLACK, BLUE, GREEN, ORANGE, PINK, RED, RESTATED
from deployment.superset.charts import (
    CHANGE,
    LOSS,
    MONEY,
    PERCENTAGE,
    PRICED,
    RATIO,
    SHARE,
    SIGNED,
    Chart,
    edges,
    lines,
    number,
    summary,
    table,
)
from deployment.superset.dashboards import Dashboard, Filter
from deployment.superset.datasets import ACCURACY, LOSSES, NEXT_SESSION, PRICES, SHOWN

PALE = "#8CC4E8"
YEAR, WEEKS = 252, 30
"""Sessions of the charts."""
PREFERRED = "Of each session the live forecast, else the late one, else the backtest's."


def ticker() -> Dashboard:
    return Dashboard(
        name="ticker",
        title="Ticker",
        description="Prices, forecasts and how they did, of one ticker.",
        rows=[
            numbers(),
            [why()],
            [year()],
            [fan(), predicted()],
            [errors(), losses()],
            [own_accuracy()],
        ],
        filters=[
            Filter(name="ticker", column="ticker", dataset=NEXT_SESSION),
            Filter(
                name="forecasts",
                column="kind",
                dataset=ACCURACY,
                datasets=(ACCURACY,),
                descending=True,
            ),
            Filter(
                name="sessions looked back at",
                column="window_sessions",
                dataset=ACCURACY,
                datasets=(ACCURACY,),
                value=60,
            ),
        ],
        colours={
            "actual": BLACK,
            "close": BLACK,
            "mean of 20": ORANGE,
            "mean of 50": GREEN,
            "mean of 200": PINK,
            "low 80 %": BLUE,
            "high 80 %": BLUE,
            "low 95 %": PALE,
            "high 95 %": PALE,
            "forecast": ORANGE,
            "error": BLUE,
            "predicted": ORANGE,
            "training": BLUE,
            "validation": RED,
        },
    )


def numbers() -> list[Chart]:
    return [
        number(title, NEXT_SESSION, sql, form, told)
        for title, sql, form, told in (
            ("Close", "max(origin_close)", MONEY, "the last"),
            ("Move", "max(expected_move_pct) / 100", SHARE, "±, half the 80 % interval"),
            ("Ratio", "max(move_ratio)", RATIO, "times the usual move"),
            ("Down", "max(downside_pct) / 100", CHANGE, "one close in 20 is lower"),
            ("Up", "max(upside_pct) / 100", CHANGE, "one close in 20 is higher"),
            ("Rise", "max(probability_of_rise_pct) / 100", ",.0%", "its probability"),
        )
    ]


def why() -> Chart:
    return table(
        "Next session",
        NEXT_SESSION,
        [
            *("session", "ticker", "event", "why", "forecast_close", "close_low_80"),
            *("close_high_80", "close_low_95", "close_high_95", "currency", "method", "kind"),
        ],
        [("ticker", True)],
        width=12,
        description=AFTER_CLOSE,
        height=25,
    )


def year() -> Chart:
    return lines(
        "Closes, moving averages and the 80 % interval forecast, the last year",
        PRICES,
        "session",
        {
            "close": "MAX(close)",
            **{f"mean of {n}": f"MAX(average_{n})" for n in (20, 50, 200)},
            **edges(80),
        },
        PRICED,
        where=[("sessions_ago", "<=", YEAR)],
        description=f"{PREFERRED} {RESTATED}",
        width=12,
        height=50,
    )


def fan() -> Chart:
    return lines(
        "Forecast and actual close, last weeks",
        PRICES,
        "session",
        {
            "actual": "MAX(close)",
            "forecast": "MAX(forecast_close)",
            **edges(80),
            **edges(95),
        },
        PRICED,
        where=[("sessions_ago", "<=", WEEKS)],
        description="80 and 95 % of actual closes should lie between their two lines. "
        f"{PREFERRED} {RESTATED}",
        params={"legendType": "scroll"},
    )


def predicted() -> Chart:
    return lines(
        "Predicted and actual change, %",
        SHOWN,
        "session",
        {"actual": "MAX(actual_return_pct)", "predicted": "MAX(forecast_return_pct)"},
        SIGNED,
        description=PREFERRED,
    )


def errors() -> Chart:
    return lines(
        "Error of the forecast close, % (actual - forecast)",
        SHOWN,
        "session",
        {"error": "MAX(error_pct)"},
        SIGNED,
        kind="echarts_timeseries_bar",
        where=[("score_status", "==", "scored")],
        description=PREFERRED,
        params={"show_legend": False},
    )


def losses() -> Chart:
    return lines(
        "Training and validation loss of the newest model",
        LOSSES,
        "epoch",
        {"training": "MAX(training_loss)", "validation": "MAX(validation_loss)"},
        ",.4f",
        description="Pinball loss by epoch. A validation loss that rises while the other falls: "
        "overfitting; the weights of the best epoch are kept.",
        params={"x_axis_title": "epoch", "x_axis_title_margin": 30},
    )


def own_accuracy() -> Chart:
    def of(column: str, metric: str) -> str:
        return f"max({column}) FILTER (WHERE metric = '{metric}')"

    return summary(
        "Accuracy by method",
        ACCURACY,
        ["method"],
        {
            "forecasts": ("max(n)", ",d"),
            "mean error": (of("value", "mae"), MONEY),
            "skill vs naive %": (of("skill_pct", "mae"), SIGNED),
            "pinball": (of("value", "pinball"), LOSS),
            "skill vs rolling quantile %": (of("skill_pct", "pinball"), SIGNED),
            "inside 80 %": ("100 * " + of("value", "coverage_80"), PERCENTAGE),
            "inside 95 %": ("100 * " + of("value", "coverage_95"), PERCENTAGE),
            "direction right %": ("100 * " + of("value", "directional_accuracy"), PERCENTAGE),
        },
        order="pinball",
        ascending=True,
        where=[("scope", "==", "ticker")],
        description="Skill above 0: better.",
        width=12,
        height=44,
    )
