"""The dashboard of the next session: what is forecast, how unusual that is, and what awaits."""

from deployment.grafana.panels import AFTER_CLOSE, AMBER, BLUE, GREY, NOTICE
from deployment.superset.charts import (
    COUNT,
    PERCENTAGE,
    RATIO,
    SHARE,
    Chart,
    lines,
    marked,
    number,
    summary,
    table,
)
from deployment.superset.dashboards import Dashboard, Filter
from deployment.superset.datasets import EVENTS_AHEAD, FRESHNESS, NEXT_SESSION

MEDIAN = "percentile_cont(0.5) WITHIN GROUP (ORDER BY {})"


def overview() -> Dashboard:
    return Dashboard(
        name="overview",
        title="Next session",
        description=f"What is forecast for the next session. {NOTICE}",
        rows=[numbers(), [tomorrow()], [moves(), why()], [sectors(), ahead()], [complete()]],
        filters=[
            Filter(name="exchange", column="calendar", dataset=NEXT_SESSION, is_one=False),
            Filter(name="sector", column="sector", dataset=NEXT_SESSION, is_one=False),
        ],
        colours={"expected": BLUE, "usual": GREY},
    )


def numbers() -> list[Chart]:
    return [
        number("Tickers", NEXT_SESSION, "count(*)", COUNT, "with a forecast"),
        number(
            "Median move",
            NEXT_SESSION,
            MEDIAN.format("expected_move_pct / 100"),
            SHARE,
            "±, half the 80 % interval",
        ),
        number(
            "Unusual",
            NEXT_SESSION,
            "count(*) FILTER (WHERE move_ratio >= 1.5)",
            COUNT,
            "1.5 × usual or more",
        ),
        number("Events", NEXT_SESSION, "count(event)", COUNT, "that move the session"),
        number(
            "Outdated",
            NEXT_SESSION,
            "count(*) FILTER (WHERE NOT is_current)",
            COUNT,
            "of a session that is over",
        ),
        number(
            "Last bar",
            FRESHNESS,
            "1.0 * count(*) FILTER (WHERE sessions_behind = 0) / count(*)",
            ",.0%",
            "of tickers have it",
        ),
    ]


def tomorrow() -> Chart:
    return table(
        "Next session, the largest expected move first",
        NEXT_SESSION,
        [
            *("ticker", "name", "expected_move_pct", "move_ratio", "downside_pct", "upside_pct"),
            *("probability_of_rise_pct", "probability_of_move_5_pct", "origin_close"),
            *("close_low_80", "close_high_80", "event", "session", "kind", "currency"),
        ],
        [("expected_move_pct", False)],
        width=12,
        description="Expected move: half the 80 % interval; downside and upside: one close in "
        "twenty is lower, one higher. The forecast is usually the last close, because past prices "
        f"say next to nothing about direction. {AFTER_CLOSE} {NOTICE}",
        height=60,
        params={
            "conditional_formatting": [marked("move_ratio", "≥", 1.5, AMBER)],
            "include_search": True,
        },
    )


def moves() -> Chart:
    return lines(
        "Expected and usual move, the largest first, ± %",
        NEXT_SESSION,
        "ticker",
        {"expected": "MAX(expected_move_pct)", "usual": "MAX(usual_move_pct)"},
        PERCENTAGE,
        kind="echarts_timeseries_bar",
        params={
            "x_axis_sort": "expected",
            "x_axis_sort_asc": False,
            "row_limit": 20,
            "truncateYAxis": False,
        },
    )


def why() -> Chart:
    return table(
        "Why a move is other than usual, the most unusual first",
        NEXT_SESSION,
        ["ticker", "why"],
        [("move_ratio", False)],
        where=[("why", "IS NOT NULL", None)],
        width=6,
        height=44,
    )


def sectors() -> Chart:
    return summary(
        "Sectors, the most unusual first",
        NEXT_SESSION,
        ["sector"],
        {
            "tickers": ("count(*)", COUNT),
            "median move ± %": (MEDIAN.format("expected_move_pct"), PERCENTAGE),
            "median × usual": (MEDIAN.format("move_ratio"), RATIO),
            "events": ("count(event)", COUNT),
        },
        order="median × usual",
        width=6,
        height=36,
    )


def ahead() -> Chart:
    return table(
        "Events ahead",
        EVENTS_AHEAD,
        ["session", "ticker", "name", "event", "event_date"],
        [("session", True), ("ticker", True)],
        description=AFTER_CLOSE,
        width=6,
        height=36,
    )


def complete() -> Chart:
    return summary(
        "Is the last session complete?",
        FRESHNESS,
        ["calendar", "session"],
        {
            "tickers": ("count(*)", COUNT),
            "up to date": ("count(*) FILTER (WHERE sessions_behind = 0)", COUNT),
            "complete": ("bool_and(is_ready)::text", ""),
            "oldest, hours": ("max(age_hours)", ",.0f"),
        },
        order="tickers",
        width=12,
        height=22,
    )
