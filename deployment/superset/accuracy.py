"""The dashboard that says how good the forecasts were, all tickers of an exchange together."""

from deployment.grafana.panels import GREEN, NOTICE, RED
from deployment.superset.charts import (
    CHANGE,
    COUNT,
    PERCENTAGE,
    SHARE,
    Chart,
    lines,
    marked,
    table,
    trend,
)
from deployment.superset.dashboards import Dashboard, Filter
from deployment.superset.datasets import ACCURACY, COVERAGE, LEADERBOARD, TICKERS

SKILL = [
    ("scope", "==", "calendar"),
    ("metric", "==", "pinball"),
]


def accuracy() -> Dashboard:
    return Dashboard(
        name="accuracy",
        title="Accuracy",
        description=f"How good the forecasts of an exchange were. {NOTICE}",
        rows=[numbers(), [board()], [coverage(), skill()], [tickers()]],
        filters=[
            Filter(name="exchange", column="calendar", dataset=LEADERBOARD),
            Filter(name="forecasts", column="kind", dataset=LEADERBOARD, descending=True),
            Filter(
                name="sessions looked back at",
                column="window_sessions",
                dataset=LEADERBOARD,
                value=60,
            ),
        ],
        colours={},
    )


def numbers() -> list[Chart]:
    shown_first = ("is_headline", "==", True)
    return [
        trend(
            "Skill",
            ACCURACY,
            "max(skill_pct) / 100",
            CHANGE,
            "against rolling quantiles",
            where=[*SKILL, shown_first],
        ),
        *(
            trend(
                f"Inside {percent} %",
                COVERAGE,
                "max(coverage_pct) / 100",
                SHARE,
                "of actual closes",
                where=[
                    ("scope", "==", "calendar"),
                    ("interval_pct", "==", percent),
                    shown_first,
                ],
            )
            for percent in (80, 95)
        ),
        trend(
            "Scored",
            ACCURACY,
            "max(n)",
            COUNT,
            "forecasts behind it",
            where=[*SKILL, shown_first],
        ),
    ]


def board() -> Chart:
    return table(
        "Leaderboard",
        LEADERBOARD,
        [
            *("method", "n", "pinball", "skill_vs_rolling_quantile_pct"),
            *("skill_vs_rolling_quantile_error_pct", "skill_vs_ewma_pct", "skill_vs_garch_pct"),
            *("skill_vs_har_pct", "skill_vs_lstm_pct", "mae_return_skill_pct"),
            *("share_better_pct", "coverage_80_pct", "coverage_95_pct", "dm_p_value", "session"),
        ],
        [("pinball", True)],
        width=12,
        description="All tickers of the exchange together. Skill above 0: better.",
        height=52,
        params={
            "conditional_formatting": [
                marked("skill_vs_rolling_quantile_pct", ">", 0, GREEN),
                marked("skill_vs_rolling_quantile_pct", "<", 0, RED),
            ]
        },
    )


def coverage() -> Chart:
    return lines(
        "Actual closes inside the intervals shown, %",
        COVERAGE,
        "session",
        {"inside": "MAX(coverage_pct)"},
        PERCENTAGE,
        by=["interval_pct"],
        where=[("scope", "==", "calendar"), ("is_headline", "==", True)],
        description="As many as the interval says should be.",
        params={"y_axis_bounds": [None, 100]},
    )


def skill() -> Chart:
    return lines(
        "Skill against rolling quantiles by method, %",
        ACCURACY,
        "session",
        {"skill": "MAX(skill_pct)"},
        PERCENTAGE,
        by=["method"],
        where=[*SKILL, ("method", "!=", "rolling_quantile")],
        description="Pinball loss of the whole distribution over the window; above 0: better.",
    )


def tickers() -> Chart:
    return table(
        "Tickers, worst first",
        TICKERS,
        ["ticker", "n", "skill_pct", "coverage_pct", "deviation_pct", "method"],
        [("skill_pct", True), ("ticker", True)],
        width=12,
        description="Skill against rolling quantiles; inside the 80 % interval, and how far off.",
        height=50,
        params={"include_search": True},
    )
