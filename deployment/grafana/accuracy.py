"""The dashboard that says how good the forecasts were, all tickers of an exchange together."""

from deployment.grafana.panels import (
    AMBER,
    CALENDAR,
    FINE,
    KIND,
    SHOWN_OF_ALL,
    TIME,
    WINDOW,
    WRONG,
    Json,
    annotation,
    dashboard,
    link,
    of,
    panel,
    stat,
)


def accuracy() -> Json:
    key = "calendar = ${calendar:sqlstring} AND kind = ${kind:sqlstring}"
    key += " AND window_sessions = ${window}"
    board = panel(
        "table",
        "Leaderboard of ${calendar}, last ${window} sessions (${kind})",
        f"""
        SELECT method, session, n AS forecasts, pinball,
            skill_vs_rolling_quantile_pct AS "skill vs rolling quantile %",
            skill_vs_rolling_quantile_error_pct AS "± %",
            skill_vs_ewma_pct AS "skill vs EWMA %", skill_vs_garch_pct AS "skill vs GARCH %",
            skill_vs_har_pct AS "skill vs HAR %", skill_vs_lstm_pct AS "skill vs LSTM %",
            mae_return_skill_pct AS "skill vs naive %",
            share_better_pct AS "tickers better %",
            coverage_80_pct AS "inside 80 %", coverage_95_pct AS "inside 95 %",
            dm_p_value AS "DM p value"
        FROM bi.leaderboard
        WHERE {key} AND session = (
            SELECT session FROM bi.accuracy
            WHERE scope = 'calendar' AND {key} AND metric = 'mae_return' AND method = 'naive'
            ORDER BY session DESC LIMIT 1
        )
        ORDER BY pinball
        """,
        description="All tickers of the exchange together. Skill above 0: better.",
        height=8,
        decimals=2,
        overrides=[of("pinball", decimals=5), of("forecasts", decimals=0)],
    )
    coverage = panel(
        "timeseries",
        "Share of actual closes inside the intervals shown, % (${kind})",
        f"""
        SELECT {TIME}, 'inside ' || interval_pct || ' %' AS metric, coverage_pct AS value
        FROM bi.interval_coverage
        WHERE scope = 'calendar' AND is_headline AND {key} AND {SHOWN_OF_ALL}
        ORDER BY session, interval_pct
        """,
        form="time_series",
        width=12,
        unit="percent",
    )
    skill = panel(
        "timeseries",
        "Skill against rolling quantiles by method, % (${kind})",
        f"""
        SELECT {TIME}, method AS metric, skill_pct AS value
        FROM bi.accuracy
        WHERE scope = 'calendar' AND metric = 'pinball' AND method <> 'rolling_quantile'
            AND skill_pct IS NOT NULL AND {key} AND {SHOWN_OF_ALL}
        ORDER BY session, method
        """,
        form="time_series",
        description="Pinball loss of the whole distribution over the window; above 0: better.",
        width=12,
        unit="percent",
    )
    tickers = panel(
        "table",
        "Tickers of ${calendar}, worst first (last ${window} sessions, ${kind})",
        f"""
        SELECT a.ticker, a.n AS forecasts, a.skill_pct AS "skill vs rolling quantile %",
            c.coverage_pct AS "inside 80 %", c.deviation_pct AS "inside 80 %, off by", method
        FROM bi.accuracy AS a
        JOIN bi.interval_coverage AS c
            USING (scope, ticker, calendar, method, kind, window_sessions)
        WHERE scope = 'ticker' AND a.is_headline AND metric = 'pinball' AND interval_pct = 80
            AND {key}
        ORDER BY a.skill_pct NULLS LAST, a.ticker
        """,
        height=12,
        decimals=2,
        overrides=[link("ticker")],
    )
    variables = [CALENDAR, KIND, WINDOW]
    panels = [*numbers(key), board, coverage, skill, tickers]
    return dashboard("accuracy", "Accuracy", variables, panels, [reports()])


def numbers(key: str) -> list[Json]:
    """Return what is to be seen at a glance, of the newest session that is scored."""
    newest = f"scope = 'calendar' AND is_headline AND {key}"
    return [
        stat(
            "Skill against rolling quantiles, %",
            f"""
            SELECT skill_pct AS skill FROM bi.accuracy
            WHERE {newest} AND metric = 'pinball'
            ORDER BY session DESC LIMIT 1
            """,
            *((None, WRONG), (-0.5, AMBER), (0, FINE)),
            width=6,
            decimals=2,
            unit="percent",
        ),
        *(
            stat(
                f"Inside the {percent} % interval, %",
                f"""
                SELECT coverage_pct AS inside FROM bi.interval_coverage
                WHERE {newest} AND interval_pct = {percent}
                ORDER BY session DESC LIMIT 1
                """,
                *((None, WRONG), (low, AMBER), (fine, FINE), (high, AMBER)),
                width=6,
                decimals=1,
                unit="percent",
            )
            for percent, low, fine, high in ((80, 74, 77, 84), (95, 91, 93, 97.5))
        ),
        stat(
            "Scored forecasts behind it",
            f"""
            SELECT n AS forecasts FROM bi.accuracy
            WHERE {newest} AND metric = 'pinball'
            ORDER BY session DESC LIMIT 1
            """,
            width=6,
            decimals=0,
        ),
    ]


def reports() -> Json:
    """Return the sessions in which at least a tenth of the tickers of the exchange report."""
    return annotation(
        "reports",
        f"""
        SELECT {TIME}, count(DISTINCT ticker) || ' tickers report' AS text, 'reports' AS tags
        FROM bi.events
        WHERE calendar = ${{calendar:sqlstring}} AND kind = 'earnings' AND is_current
            AND {SHOWN_OF_ALL}
        GROUP BY session
        HAVING 10 * count(DISTINCT ticker) >= (
            SELECT count(*) FROM bi.instruments
            WHERE calendar = ${{calendar:sqlstring}} AND is_active
        )
        ORDER BY session
        """,
    )
