"""The semantic model: its tables, of which views they are made, and its measures.

Measures state no number where they would add up forecasts of several methods or kinds.
"""

from dataclasses import dataclass, field
from textwrap import dedent

PERCENT, SIGNED, COUNT, PRICE = "0.0%", "+0.00%;-0.00%;0.00%", "#,0", "#,0.00"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number computed from whatever rows are looked at."""

    name: str
    dax: str
    form: str = PERCENT
    description: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table of the model, loaded from a view of schema `bi`."""

    name: str
    view: str
    grain: str = ""
    """Where it is not that of the view."""
    only: tuple[str, ...] = ()
    """Columns to load; none: all. The rows of these few are made distinct."""
    where: str = ""
    filters_back: bool = False
    """What is chosen of it chooses of the dimension, and so of every fact."""
    by_month: bool = False
    """Refreshed a month of sessions at a time, where `updated_at` says that something changed."""
    measures: tuple[Measure, ...] = ()
    calculated: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Type and DAX of further columns."""


def one(table: str, *columns: str) -> str:
    return " && ".join(f"HASONEVALUE({table}[{column}])" for column in columns)


def of_one_method(dax: str) -> str:
    return f"IF({one('Forecasts', 'method', 'kind')}, {dax})"


def share(table: str, flag: str) -> str:
    return dedent(f"""
        DIVIDE(
            CALCULATE(COUNTROWS({table}), {table}[{flag}] = TRUE()),
            CALCULATE(COUNTROWS({table}), NOT ISBLANK({table}[{flag}]))
        )
        """).strip()


def scored(dax: str) -> str:
    return of_one_method(f'CALCULATE({dax}, Forecasts[score_status] = "scored")')


def price(name: str, column: str, description: str) -> Measure:
    dax = f"IF(HASONEVALUE(Instruments[ticker]), AVERAGE(Prices[{column}]))"
    return Measure(name=name, dax=dax, form=PRICE, description=description)


def newest(column: str, *, divisor: int = 100) -> str:
    keys = one("Leaderboard", "method", "kind", "window_sessions")
    return dedent(f"""
        VAR newest = MAX(Leaderboard[session])
        RETURN
            IF(
                {keys} && HASONEVALUE(Exchanges[calendar]),
                CALCULATE(AVERAGE(Leaderboard[{column}]), Leaderboard[session] = newest) / {divisor}
            )
        """).strip()


ERROR = "Forecasts[actual_return_pct] - Forecasts[forecast_return_pct]"
FORECASTS = (
    Measure(
        name="Forecasts scored",
        dax='CALCULATE(COUNTROWS(Forecasts), Forecasts[score_status] = "scored")',
        form=COUNT,
        description="Forecasts whose session is over and whose actual close is to be trusted.",
    ),
    Measure(
        name="Mean absolute error",
        dax=scored(f"AVERAGEX(Forecasts, ABS({ERROR})) / 100"),
        form="0.00%",
        description="Of the forecast change from close to close; of one method and kind only.",
    ),
    Measure(
        name="Bias",
        dax=scored(f"AVERAGEX(Forecasts, {ERROR}) / 100"),
        form=SIGNED,
        description="Mean of actual less forecast change; above 0: forecast too low.",
    ),
    Measure(
        name="Mean pinball loss",
        dax=of_one_method("AVERAGE(Forecasts[pinball])"),
        form="0.00000",
        description="Loss of the quantiles of the log return; lower is better.",
    ),
    *(
        Measure(
            name=f"Inside {percent} %",
            dax=of_one_method(share("Forecasts", f"inside_{percent}")),
            description=f"Share of actual closes inside the {percent} % interval.",
        )
        for percent in (50, 80, 90, 95, 98)
    ),
    Measure(
        name="Direction right",
        dax=of_one_method(share("Forecasts", "direction_hit")),
        description="Share of forecasts whose more probable direction came true.",
    ),
)
NEXT = (
    Measure(
        name="Expected move",
        dax="IF(HASONEVALUE('Next session'[method]),"
        " AVERAGE('Next session'[expected_move_pct]) / 100)",
        form="±0.00%",
        description="Half the 80 % interval; of one method only.",
    ),
    Measure(
        name="Times usual",
        dax="IF(HASONEVALUE('Next session'[method]), MEDIAN('Next session'[move_ratio]))",
        form="0.0 ×",
        description="Expected move over the ticker's usual one; of several tickers the median.",
    ),
    Measure(
        name="Worst downside",
        dax="IF(HASONEVALUE('Next session'[method]), MIN('Next session'[downside_pct]) / 100)",
        form=SIGNED,
        description="Change at the 5 % level of the ticker where it is lowest.",
    ),
    Measure(
        name="Probability of a move of 5 %",
        dax="IF(HASONEVALUE('Next session'[method]),"
        " AVERAGE('Next session'[probability_of_move_5_pct]) / 100)",
    ),
    Measure(
        name="Expected change",
        dax="IF(HASONEVALUE('Next session'[method]),"
        " AVERAGE('Next session'[forecast_return_pct]) / 100)",
        form=SIGNED,
        description="Forecast change to the next close; of one method only.",
    ),
    Measure(
        name="Probability of a rise",
        dax="IF(HASONEVALUE('Next session'[method]),"
        " AVERAGE('Next session'[probability_of_rise_pct]) / 100)",
    ),
    Measure(
        name="Width of the 80 % interval",
        dax=dedent("""
            IF(
                HASONEVALUE('Next session'[method]),
                AVERAGEX(
                    FILTER('Next session', NOT ISBLANK('Next session'[close_low_80])),
                    DIVIDE(
                        'Next session'[close_high_80] - 'Next session'[close_low_80],
                        'Next session'[origin_close]
                    )
                )
            )
            """).strip(),
        description="In parts of the last close: how sure the forecast is.",
    ),
    Measure(
        name="Current forecasts",
        dax="CALCULATE(COUNTROWS('Next session'), 'Next session'[is_current] = TRUE())",
        form=COUNT,
        description="Forecasts of a session that has not closed yet.",
    ),
)
PRICES = (
    price("Closing price", "close", "Of one ticker; restated for later splits."),
    price("Forecast close", "forecast_close", "Of one ticker; of the method shown first."),
    *(
        price(f"{end} {percent} %", f"close_{end.lower()}_{percent}", "An end of the interval.")
        for percent in (50, 80, 95, 98)
        for end in ("Low", "High")
    ),
    *(
        price(f"Mean of {size}", f"average_{size}", f"Moving average of {size} sessions.")
        for size in (20, 50, 200)
    ),
)
SKILL = (
    ("Skill vs rolling quantile", "skill_vs_rolling_quantile_pct", "Pinball loss below that of"),
    ("Skill vs EWMA", "skill_vs_ewma_pct", "Pinball loss below that of"),
    ("Skill vs HAR", "skill_vs_har_pct", "Pinball loss below that of"),
    ("Skill vs LSTM", "skill_vs_lstm_pct", "Pinball loss below that of"),
    ("Skill vs naive", "mae_return_skill_pct", "Absolute error below that of"),
    ("Tickers better", "share_better_pct", "Share of tickers with a lower pinball loss than"),
)
LEADERBOARD = (
    *(
        Measure(
            name=name,
            dax=newest(column),
            form=PERCENT if name == "Tickers better" else SIGNED,
            description=f"{words} the baseline; of one exchange, method, kind and window.",
        )
        for name, column, words in SKILL
    ),
    *(
        Measure(
            name=f"Leaderboard inside {percent} %",
            dax=newest(f"coverage_{percent}_pct"),
            description=f"Share of actual returns inside the {percent} % interval, newest session.",
        )
        for percent in (80, 95)
    ),
)
ACCURACY = (
    Measure(
        name="Metric value",
        dax=f"IF({one('Accuracy', 'method', 'kind', 'window_sessions', 'metric')}"
        " && HASONEVALUE(Instruments[ticker]), AVERAGE(Accuracy[value]))",
        form="#,0.00000",
        description="Of one ticker, method, kind, window and metric.",
    ),
    Measure(
        name="Median skill of tickers",
        dax=f"IF({one('Accuracy', 'method', 'kind', 'window_sessions', 'metric')},"
        " MEDIAN(Accuracy[skill_pct]) / 100)",
        form=SIGNED,
        description="Of one method, kind, window and metric; above 0: better than the baseline.",
    ),
)
COVERAGE = (
    Measure(
        name="Actual coverage",
        dax=f"IF({one('Coverage', 'method', 'kind', 'window_sessions', 'interval_pct')},"
        " DIVIDE(SUMX(Coverage, Coverage[coverage_pct] * Coverage[n]), SUM(Coverage[n])) / 100)",
        description="Share of actual closes inside; of one method, kind, window and interval.",
    ),
)
OUTCOMES = (
    Measure(name="Outcomes of runs", dax="COUNTROWS(Outcomes)", form=COUNT),
    Measure(
        name="Fell back",
        dax="DIVIDE(CALCULATE(COUNTROWS(Outcomes),"
        ' Outcomes[action] IN {"base", "naive", "none"}), COUNTROWS(Outcomes))',
        description="Share of outcomes without a model of the ticker's own.",
    ),
)
RUNS = (
    Measure(
        name="Failed runs",
        dax='CALCULATE(COUNTROWS(Runs), Runs[status] = "failed") + 0',
        form=COUNT,
    ),
    Measure(
        name="Mean minutes of a run",
        dax="AVERAGE(Runs[duration_seconds]) / 60",
        form="#,0.0",
    ),
)
FRESHNESS = (
    Measure(
        name="Tickers up to date",
        dax="CALCULATE(COUNTROWS('Data freshness'), 'Data freshness'[sessions_behind] == 0) + 0",
        form=COUNT,
        description="Tickers with a bar of the last closed session.",
    ),
    Measure(
        name="Exchanges not ready",
        dax="CALCULATE(DISTINCTCOUNT('Data freshness'[calendar]),"
        " 'Data freshness'[is_ready] = FALSE(), 'Data freshness'[is_demo] = FALSE()) + 0",
        form=COUNT,
        description="Exchanges whose last closed session is not complete; 0: all data are there.",
    ),
)
TRAINING = (
    Measure(
        name="Training loss",
        dax="AVERAGE(Training[training_loss])",
        form="0.0000",
        description="Mean over the models chosen, by epoch.",
    ),
    Measure(
        name="Validation loss",
        dax="AVERAGE(Training[validation_loss])",
        form="0.0000",
        description="Rising while the training loss falls: overfitting.",
    ),
)
ALERTS = (
    Measure(
        name="Open alerts",
        dax="CALCULATE(COUNTROWS(Alerts), Alerts[is_open] = TRUE()) + 0",
        form=COUNT,
    ),
)
OF_ONE_SUBJECT = one("Risk", "subject_kind", "subject", "level_pct", "kind")
RISK = (
    *(
        Measure(
            name=name,
            dax=f"IF({OF_ONE_SUBJECT}, AVERAGE(Risk[{column}]) / 100)",
            form="0.00%",
            description=f"{words} of one ticker, group or portfolio, level and kind.",
        )
        for name, column, words in (
            ("Value at risk", "value_at_risk_pct", "Loss that is exceeded so often,"),
            ("Expected shortfall", "expected_shortfall_pct", "Mean loss beyond value at risk,"),
        )
    ),
    Measure(
        name="Actual result",
        dax=f"IF({OF_ONE_SUBJECT}, AVERAGE(Risk[actual_return_pct]) / 100)",
        form=SIGNED,
        description="Return that came, of one ticker, group or portfolio, level and kind.",
    ),
    Measure(
        name="Breaches",
        dax=f"IF({one('Risk', 'level_pct', 'kind')}, {share('Risk', 'is_breach')})",
        description="Share of sessions whose loss was larger than the value at risk.",
    ),
)
DIMENSIONS = (
    Table(name="Instruments", view="instruments"),
    Table(
        name="Exchanges",
        view="instruments",
        grain="One row per exchange calendar with a ticker.",
        only=("calendar",),
    ),
    Table(name="Headlines", view="headlines"),
    Table(
        name="Sessions",
        view="sessions",
        grain="One row per trading date of any exchange.",
        only=("session",),
        calculated={
            "year": ("int64", "YEAR(Sessions[session])"),
            "month": ("string", 'FORMAT(Sessions[session], "yyyy-MM")'),
        },
    ),
)
FACTS = (
    Table(name="Next session", view="next_session_forecast", measures=NEXT),
    Table(name="Reasons", view="forecast_reasons", by_month=True),
    Table(name="Forecasts", view="forecast_history", by_month=True, measures=FORECASTS),
    Table(name="Prices", view="price_and_forecast", by_month=True, measures=PRICES),
    Table(name="Accuracy", view="accuracy", where='[scope] = "ticker"', measures=ACCURACY),
    Table(name="Leaderboard", view="leaderboard", measures=LEADERBOARD),
    Table(name="Groups", view="groups", filters_back=True),
    Table(name="Group accuracy", view="group_accuracy"),
    Table(
        name="Coverage",
        view="interval_coverage",
        where='[scope] = "ticker"',
        measures=COVERAGE,
    ),
    Table(name="Risk", view="risk", by_month=True, measures=RISK),
    Table(name="Risk backtests", view="risk_backtests"),
    Table(name="Portfolios", view="portfolios"),
    Table(name="Portfolio forecasts", view="portfolio_forecasts"),
    Table(name="Training", view="training_history", by_month=True, measures=TRAINING),
    Table(name="Outcomes", view="outcomes", by_month=True, measures=OUTCOMES),
    Table(name="Runs", view="run_history", measures=RUNS),
    Table(name="Data freshness", view="data_freshness", measures=FRESHNESS),
    Table(name="Data issues", view="data_issues"),
    Table(name="Events", view="events"),
    Table(name="Splits", view="splits"),
    Table(name="News", view="news"),
    Table(name="Sentiment", view="sentiment"),
    Table(name="Archives", view="archives"),
    Table(name="Alerts", view="alerts", measures=ALERTS),
)
