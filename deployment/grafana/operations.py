"""The dashboard for whoever runs it."""

from deployment.grafana.panels import (
    AMBER,
    CHOICES,
    FINE,
    SHOWN_OF_ALL,
    TIME,
    WRONG,
    Json,
    chosen,
    dashboard,
    link,
    panel,
    stat,
)


def operations() -> Json:
    runs = panel(
        "table",
        "Runs",
        """
        SELECT started_at AS started, calendar AS exchange, session, attempt, trigger, status,
            duration_seconds AS seconds, instruments AS tickers, trained, reused, base, naive, none,
            message
        FROM bi.run_history
        ORDER BY started_at DESC
        LIMIT 100
        """,
        decimals=0,
    )
    reasons = panel(
        "timeseries",
        "Outcomes by action and reason",
        f"""
        SELECT {TIME}, action || ': ' || reason AS metric, count(*) AS value
        FROM bi.outcomes
        WHERE {SHOWN_OF_ALL}
        GROUP BY session, action, reason
        ORDER BY session, action, reason
        """,
        form="time_series",
        width=12,
        custom={"drawStyle": "bars", "fillOpacity": 80, "stacking": {"mode": "normal"}},
    )
    fallen = panel(
        "table",
        "Who fell back to something simpler, last session",
        f"""
        SELECT ticker, bar_session AS "last bar", outcome_action AS action,
            outcome_reason AS reason, sessions_behind AS "sessions behind"
        FROM bi.data_freshness AS d
        WHERE (outcome_action IS NULL OR outcome_action IN ('base', 'naive', 'none'))
            AND {chosen("d")}
        ORDER BY sessions_behind DESC NULLS FIRST, ticker
        """,
        width=12,
        overrides=[link("ticker")],
    )
    age = panel(
        "table",
        "Age of the data, oldest first",
        f"""
        SELECT ticker, calendar AS exchange, bar_session AS "last bar", bar_state AS state,
            bar_provider AS provider, sessions_behind AS "sessions behind", age_hours AS hours,
            forecast_session AS "last forecast", is_ready AS "session complete"
        FROM bi.data_freshness AS d
        WHERE {chosen("d")}
        ORDER BY bar_session NULLS FIRST, ticker
        """,
        width=12,
        decimals=0,
        overrides=[link("ticker")],
    )
    issues = panel(
        "table",
        "Findings in the data, newest first",
        """
        SELECT updated_at AS found, session, ticker, check_name AS "check", severity, message,
            observed, threshold
        FROM bi.data_issues
        ORDER BY updated_at DESC, issue_id DESC
        LIMIT 200
        """,
        width=12,
        overrides=[link("ticker")],
    )
    alerts = panel(
        "table",
        "Alerts, open ones first",
        """
        SELECT raised_at AS raised, cleared_at AS cleared, is_open AS open, condition,
            subject AS exchange, session, message, observed, threshold,
            undelivered AS "messages undelivered"
        FROM bi.alerts
        ORDER BY is_open DESC, raised_at DESC
        LIMIT 200
        """,
    )
    panels = [*numbers(), alerts, runs, reasons, fallen, age, issues]
    return dashboard("operations", "Operations", CHOICES, panels)


def numbers() -> list[Json]:
    """Return what is to be seen at a glance."""
    return [
        stat(
            "Alerts open",
            "SELECT count(*) FILTER (WHERE is_open) AS alerts FROM bi.alerts",
            *((None, FINE), (1, WRONG)),
            width=6,
        ),
        stat(
            "Tickers that lack the last bar",
            f"""
            SELECT count(*) FILTER (WHERE sessions_behind > 0 OR bar_session IS NULL) AS behind
            FROM bi.data_freshness AS d
            WHERE NOT is_demo AND {chosen("d")}
            """,
            *((None, FINE), (1, AMBER), (10, WRONG)),
            width=6,
        ),
        stat(
            "Last run failed",
            """
            SELECT CASE WHEN status = 'failed' THEN 1 ELSE 0 END AS failed FROM bi.run_history
            ORDER BY started_at DESC LIMIT 1
            """,
            *((None, FINE), (1, WRONG)),
            width=6,
        ),
        stat(
            "Without a forecast in the last run",
            "SELECT none FROM bi.run_history ORDER BY started_at DESC LIMIT 1",
            *((None, FINE), (1, AMBER), (10, WRONG)),
            width=6,
        ),
    ]
