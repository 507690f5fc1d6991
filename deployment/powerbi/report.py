"""The pages of the report, and its theme."""

from deployment.grafana.panels import (
    AFTER_CLOSE,
    BLACK,
    BLUE,
    GREEN,
    GREY,
    NOTICE,
    ORANGE,
    PINK,
    RED,
    RESTATED,
)
from deployment.powerbi.visuals import (
    EDGE,
    SCHEMAS,
    Json,
    Page,
    Visual,
    card,
    chart,
    slicer,
    table,
    text,
)

WIDTH = 1400
"""Of what lies between the edges of a page."""
FIRST = {"Next session[is_headline]": "true"}
"""Forecasts by the method that is shown first."""


def part(of: int, number: int = 1) -> int:
    """Return the width of a visual that takes so many of `of` equal parts of a row."""
    return (WIDTH + EDGE) * number // of - EDGE


def report() -> dict[str, Json]:
    """Return the content of every file that is JSON, by its path below the report's folder."""
    pages = [overview(), ticker(), accuracy(), risk()]
    made: dict[str, Json] = {
        "definition/report.json": {
            "$schema": f"{SCHEMAS}/report/1.0.0/schema.json",
            "layoutOptimization": "None",
            "themeCollection": {
                "customTheme": {
                    "name": "stockbatch.json",
                    "reportVersionAtImport": "5.60",
                    "type": "RegisteredResources",
                }
            },
            "resourcePackages": [
                {
                    "name": "RegisteredResources",
                    "type": "RegisteredResources",
                    "items": [
                        {
                            "name": "stockbatch.json",
                            "path": "stockbatch.json",
                            "type": "CustomTheme",
                        }
                    ],
                }
            ],
        },
        "definition/version.json": {
            "$schema": f"{SCHEMAS}/versionMetadata/1.0.0/schema.json",
            "version": "1.0.0",
        },
        "definition/pages/pages.json": {
            "$schema": f"{SCHEMAS}/pagesMetadata/1.0.0/schema.json",
            "pageOrder": [page.name for page in pages],
            "activePageName": pages[0].name,
        },
        "StaticResources/RegisteredResources/stockbatch.json": theme(),
    }
    for page in pages:
        for path, content in page.files().items():
            made[f"definition/pages/{path}"] = content
    return made


def theme() -> Json:
    return {
        "name": "stockbatch",
        "dataColors": [BLUE, ORANGE, GREEN, RED, PINK, BLACK, "#56B4E9", GREY],
        "background": "#FFFFFF",
        "foreground": "#252423",
        "tableAccent": BLUE,
        "good": GREEN,
        "neutral": ORANGE,
        "bad": RED,
        "textClasses": {
            "title": {"fontFace": "Segoe UI Semibold", "fontSize": 11, "color": "#252423"},
            "label": {"fontFace": "Segoe UI", "fontSize": 9, "color": "#252423"},
        },
    }


# ---- the next session


def overview() -> Page:
    return Page(
        name="overview",
        title="Next session",
        rows=[
            [
                slicer("Exchanges[calendar]", "Exchange", width=part(3)),
                slicer("Instruments[sector]", "Sector", width=part(3)),
                slicer("Groups[group_name]", "Group or watchlist", width=part(3)),
            ],
            glances(),
            [tomorrow()],
            [moves(), ahead()],
            [notice(f"{AFTER_CLOSE} {NOTICE}")],
        ],
    )


def glances() -> list[Visual]:
    return [
        card(
            "Next session[Current forecasts]",
            "Forecasts of a session to come",
            only=FIRST,
            width=part(5),
        ),
        card("Next session[Times usual]", "Median × usual", width=part(5), only=FIRST),
        card("Next session[Worst downside]", "Worst downside", width=part(5), only=FIRST),
        card("Data freshness[Exchanges not ready]", "Exchanges not ready", width=part(5)),
        card("Alerts[Open alerts]", "Alerts open", width=part(5)),
    ]


def tomorrow() -> Visual:
    return table(
        "Next session, the largest expected move first",
        [
            *("Instruments[ticker]", "Instruments[name]"),
            *(f"Next session[{name}]" for name in TOLD),
        ],
        names={f"Next session[{name}]": words for name, words in TOLD.items()},
        order=("Next session[expected_move_pct]", "Descending"),
        only=FIRST,
        width=WIDTH,
        height=360,
    )


TOLD = {
    "expected_move_pct": "Expected move ±",
    "move_ratio": "× usual",
    "downside_pct": "Downside",
    "upside_pct": "Upside",
    "probability_of_rise_pct": "P(rise)",
    "probability_of_move_5_pct": "P(beyond 5 %)",
    "origin_close": "Last close",
    "close_low_80": "Low 80 %",
    "close_high_80": "High 80 %",
    "event": "Event",
    "why": "Why",
}


def moves() -> Visual:
    return chart(
        "clusteredBarChart",
        "Expected move",
        "Instruments[ticker]",
        ["Next session[Expected move]"],
        order=("Next session[Expected move]", "Descending"),
        only=FIRST,
        width=part(2),
        height=320,
    )


def ahead() -> Visual:
    return table(
        "Events, the latest first",
        [
            *("Sessions[session]", "Instruments[ticker]", "Instruments[name]"),
            *("Events[event]", "Events[event_date]"),
        ],
        names={"Events[event]": "Event", "Events[event_date]": "Its day"},
        order=("Sessions[session]", "Descending"),
        only={"Events[is_current]": "true"},
        width=part(2),
        height=320,
    )


# ---- a ticker


def ticker() -> Page:
    return Page(
        name="ticker",
        title="Ticker",
        rows=[
            [
                slicer("Instruments[ticker]", "Ticker", is_one=True, width=part(4)),
                slicer(
                    "Forecasts[kind]",
                    "Forecasts",
                    is_one=True,
                    order=("Forecasts[kind]", "Descending"),  # live before late before backtest
                    width=part(4),
                ),
                slicer("Forecasts[method]", "Method", is_one=True, width=part(4)),
                slicer("Sessions[month]", "Months", width=part(4)),
            ],
            [
                card(f"Next session[{name}]", title, only=FIRST, width=part(5))
                for name, title in (
                    ("Expected move", "Expected move ±"),
                    ("Times usual", "× usual"),
                    ("Worst downside", "Downside"),
                    ("Probability of a move of 5 %", "P(beyond 5 %)"),
                    ("Probability of a rise", "P(rise)"),
                )
            ],
            [prices()],
            [errors(), losses()],
            [by_method()],
            [notice(RESTATED)],
        ],
    )


def prices() -> Visual:
    return chart(
        "lineChart",
        "Closes, moving averages and forecasts by the method shown first",
        "Sessions[session]",
        [
            f"Prices[{name}]"
            for name in (
                *("Closing price", "Forecast close", "Low 80 %", "High 80 %"),
                *("Mean of 20", "Mean of 50", "Mean of 200"),
            )
        ],
        width=WIDTH,
        height=360,
    )


def errors() -> Visual:
    return chart(
        "clusteredColumnChart",
        "Actual less forecast change",
        "Sessions[session]",
        ["Forecasts[Bias]"],
        width=part(2),
        height=280,
    )


def losses() -> Visual:
    return chart(
        "lineChart",
        "Training and validation loss by epoch, mean of its models",
        "Training[epoch]",
        ["Training[Training loss]", "Training[Validation loss]"],
        order=("Training[epoch]", "Ascending"),
        width=part(2),
        height=280,
    )


def by_method() -> Visual:
    return table(
        "How its forecasts did",
        [
            "Forecasts[method]",
            *(
                f"Forecasts[{name}]"
                for name in (
                    *("Forecasts scored", "Mean absolute error", "Bias", "Mean pinball loss"),
                    *("Inside 80 %", "Inside 95 %", "Direction right"),
                )
            ),
        ],
        names={"Forecasts[method]": "Method"},
        ignores=("Forecasts[method]",),
        width=WIDTH,
        height=280,
    )


# ---- accuracy


def accuracy() -> Page:
    return Page(
        name="accuracy",
        title="Accuracy",
        rows=[
            [
                slicer("Exchanges[calendar]", "Exchange", is_one=True, width=part(3)),
                slicer(
                    "Leaderboard[kind]",
                    "Forecasts",
                    is_one=True,
                    order=("Leaderboard[kind]", "Descending"),
                    width=part(3),
                ),
                slicer(
                    "Leaderboard[window_sessions]",
                    "Sessions looked back at",
                    is_one=True,
                    width=part(3),
                ),
            ],
            [board()],
            [over_time(*one) for one in OVER_TIME],
            [tickers()],
            [notice(NOTICE)],
        ],
    )


def board() -> Visual:
    return table(
        "Leaderboard of the newest session: all tickers of the exchange together",
        [
            "Leaderboard[method]",
            *(
                f"Leaderboard[{name}]"
                for name in (
                    *("Skill vs rolling quantile", "Skill vs EWMA", "Skill vs HAR"),
                    *("Skill vs LSTM", "Skill vs naive", "Tickers better"),
                    *("Leaderboard inside 80 %", "Leaderboard inside 95 %"),
                )
            ),
        ],
        names={
            "Leaderboard[method]": "Method",
            "Leaderboard[Leaderboard inside 80 %]": "Inside 80 %",
            "Leaderboard[Leaderboard inside 95 %]": "Inside 95 %",
        },
        order=("Leaderboard[Skill vs rolling quantile]", "Descending"),
        width=WIDTH,
        height=280,
    )


OVER_TIME = (
    ("Skill against rolling quantiles; above 0: better", "Skill vs rolling quantile"),
    ("Actual closes inside the 80 % interval", "Leaderboard inside 80 %"),
)


def over_time(title: str, measure: str) -> Visual:
    return chart(
        "lineChart",
        title,
        "Sessions[session]",
        [f"Leaderboard[{measure}]"],
        by="Leaderboard[method]",
        width=part(2),
        height=300,
    )


def tickers() -> Visual:
    columns = {
        "kind": "Forecasts",
        "method": "Method",
        "n": "Scored",
        "skill_pct": "Skill vs rolling quantile",
    }
    return table(
        "Tickers, worst first, of the last 60 sessions",
        [
            *("Instruments[ticker]", "Instruments[name]"),
            *(f"Accuracy[{name}]" for name in columns),
        ],
        names={f"Accuracy[{name}]": words for name, words in columns.items()},
        order=("Accuracy[skill_pct]", "Ascending"),
        only={
            "Accuracy[metric]": "'pinball'",
            "Accuracy[is_headline]": "true",
            "Accuracy[window_sessions]": "60L",
        },
        width=WIDTH,
        height=300,
    )


# ---- risk


def risk() -> Page:
    return Page(
        name="risk",
        title="Risk",
        rows=[
            [
                slicer("Risk[subject_kind]", "Of a", is_one=True, width=part(4)),
                slicer("Risk[subject]", "Name", is_one=True, width=part(4)),
                slicer("Risk[level_pct]", "Level, %", is_one=True, width=part(4)),
                slicer(
                    "Risk[kind]",
                    "Forecasts",
                    is_one=True,
                    order=("Risk[kind]", "Descending"),
                    width=part(4),
                ),
            ],
            [losses_told(), exposures()],
            [may_lose()],
            [told()],
            [notice(f"Losses are above 0, in percent of the gross exposure. {NOTICE}")],
        ],
    )


def losses_told() -> Visual:
    return chart(
        "lineChart",
        "Value at risk, expected shortfall, and the return that came",
        "Sessions[session]",
        [f"Risk[{name}]" for name in ("Value at risk", "Expected shortfall", "Actual result")],
        width=part(2),
        height=300,
    )


def exposures() -> Visual:
    columns = {
        "portfolio": "Portfolio",
        "quantity": "Quantity",
        "close": "Last close",
        "value": "Value",
        "exposure_pct": "Of the exposure",
        "currency": "Currency",
    }
    return table(
        "What portfolios hold",
        ["Instruments[ticker]", *(f"Portfolios[{name}]" for name in columns)],
        names={f"Portfolios[{name}]": words for name, words in columns.items()},
        order=("Portfolios[portfolio]", "Ascending"),
        width=part(2),
        height=300,
    )


def may_lose() -> Visual:
    columns = {
        "subject_kind": "Of a",
        "subject": "Name",
        "level_pct": "Level, %",
        "value_at_risk_pct": "Value at risk",
        "expected_shortfall_pct": "Expected shortfall",
        "value_at_risk": "In the currency",
        "currency": "Currency",
        "members": "Members",
        "kind": "Forecasts",
    }
    return table(
        "How much may be lost in sessions to come, the largest share first",
        ["Sessions[session]", *(f"Risk[{name}]" for name in columns)],
        names={f"Risk[{name}]": words for name, words in columns.items()},
        order=("Risk[value_at_risk_pct]", "Descending"),
        only={"Risk[score_status]": "'open'"},
        ignores=("Risk[subject_kind]", "Risk[subject]", "Risk[kind]"),
        width=WIDTH,
        height=300,
    )


def told() -> Visual:
    columns = {
        "subject_kind": "Of a",
        "subject": "Name",
        "kind": "Forecasts",
        "level_pct": "Level, %",
        "sessions": "Sessions",
        "breaches": "Breaches",
        "breach_pct": "Breaches, %",
        "kupiec_p": "Kupiec p",
        "christoffersen_p": "Christoffersen p",
        "z2": "Z2",
    }
    return table(
        "How well it was told, in the last 250 sessions: a small p says that the level is wrong",
        [f"Risk backtests[{name}]" for name in columns],
        names={f"Risk backtests[{name}]": words for name, words in columns.items()},
        order=("Risk backtests[kupiec_p]", "Ascending"),
        only={"Risk backtests[window_sessions]": "250L"},
        width=WIDTH,
        height=300,
    )


def notice(words: str) -> Visual:
    return text(words, width=WIDTH, height=40)
