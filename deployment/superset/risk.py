"""The dashboard of risk: how much may be lost, and how well that was told."""

from deployment.grafana.panels import AMBER, BLACK, NOTICE, ORANGE, RED
from deployment.superset.charts import (
    SIGNED,
    Chart,
    lines,
    marked,
    summary,
    table,
)
from deployment.superset.dashboards import Dashboard, Filter
from deployment.superset.datasets import NEXT_RISK, PORTFOLIOS, RISK, RISK_BACKTESTS

TOLD = (RISK, NEXT_RISK, RISK_BACKTESTS)
YEAR = 252
FEW = 0.05
"""Of p values."""


def risk() -> Dashboard:
    return Dashboard(
        name="risk",
        title="Risk",
        description="What tickers, groups and portfolios may lose in a session: losses are above "
        f"0, in percent of the gross exposure. {NOTICE}",
        rows=[[may_lose()], [held(), over_time()], [told()]],
        filters=[
            Filter(name="over time", column="whole_name", dataset=RISK, datasets=(RISK,)),
            Filter(
                name="forecasts", column="kind", dataset=RISK, datasets=(RISK,), descending=True
            ),
            Filter(name="level, %", column="level_pct", dataset=RISK, datasets=TOLD, value=5),
            Filter(
                name="in the tables",
                column="subject_kind",
                dataset=NEXT_RISK,
                datasets=(NEXT_RISK, RISK_BACKTESTS),
                is_one=False,
            ),
        ],
        colours={"value at risk": ORANGE, "expected shortfall": RED, "loss that came": BLACK},
    )


def may_lose() -> Chart:
    return table(
        "Next session, the largest value at risk first",
        NEXT_RISK,
        [
            *("subject_kind", "subject", "session", "value_at_risk_pct", "expected_shortfall_pct"),
            *("value_at_risk", "expected_shortfall", "exposure", "currency", "members"),
            *("simulations", "method", "kind"),
        ],
        [("value_at_risk_pct", False)],
        description="Value at risk: the loss that is exceeded in so many percent of sessions; "
        "expected shortfall: the mean of the losses beyond. Amounts are of portfolios, in their "
        "currency.",
        width=12,
        height=40,
    )


def held() -> Chart:
    return table(
        "What portfolios hold, at the last close",
        PORTFOLIOS,
        ["portfolio", "ticker", "quantity", "close", "value", "currency", "exposure_pct"],
        [("portfolio", True), ("exposure_pct", False)],
        width=6,
        height=44,
    )


def over_time() -> Chart:
    return lines(
        "Value at risk, shortfall and the loss that came, %",
        RISK,
        "session",
        {
            "value at risk": "MAX(value_at_risk_pct)",
            "expected shortfall": "MAX(expected_shortfall_pct)",
            "loss that came": "-MAX(actual_return_pct)",
        },
        SIGNED,
        where=[("sessions_ago", "<=", YEAR)],
        description="A loss above the value at risk is a breach.",
    )


def told() -> Chart:
    def of(column: str, window: int) -> str:
        return f"max({column}) FILTER (WHERE window_sessions = {window})"

    return summary(
        "How well it was told, in the last 250 sessions",
        RISK_BACKTESTS,
        ["subject_kind", "subject", "kind"],
        {
            "sessions": (of("sessions", 250), ",d"),
            "breaches": (of("breaches", 250), ",d"),
            "breaches %": (of("breach_pct", 250), ",.1f"),
            "Kupiec p": (of("kupiec_p", 250), ",.3f"),
            "Christoffersen p": (of("christoffersen_p", 250), ",.3f"),
            "Z2": (of("z2", 250), "+,.2f"),
            "inside 80 %": (of("coverage_80_pct", 250), ",.1f"),
            "inside 95 %": (of("coverage_95_pct", 250), ",.1f"),
            "skill vs unscaled %": (of("skill_vs_unscaled_pct", 250), SIGNED),
        },
        order="Kupiec p",
        ascending=True,
        description="As many breaches as the level says should be. A small p of Kupiec says that "
        "the level is wrong, of Christoffersen that breaches come in clusters; Z2 is about 0 "
        "where the shortfall is right, and below it where losses were larger.",
        params={
            "conditional_formatting": [
                marked("Kupiec p", "<", FEW, AMBER),
                marked("Christoffersen p", "<", FEW, AMBER),
            ]
        },
        width=12,
        height=44,
    )
