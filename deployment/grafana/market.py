"""The dashboard of the next session: what is forecast, how unusual that is, and what awaits."""

from deployment.grafana.panels import (
    AFTER_CLOSE,
    AMBER,
    CHOICES,
    FINE,
    KIND,
    NOTICE,
    PRICES,
    WINDOW,
    WRONG,
    Json,
    chosen,
    dashboard,
    link,
    of,
    panel,
    price,
    stat,
)

SHOWN_FIRST = f"FROM bi.next_session_forecast AS f WHERE f.is_headline AND {chosen('f')}"


def market() -> Json:
    panels = [*numbers(), tomorrow(), groups(), ahead(), complete()]
    return dashboard("market", "Market overview", [*CHOICES, KIND, WINDOW], panels)


def numbers() -> list[Json]:
    """Return what is to be seen at a glance."""
    return [
        stat(
            "Tickers with the last bar, %",
            f"""
            SELECT 100.0::float8 * count(*) FILTER (WHERE sessions_behind = 0) / count(*) AS share
            FROM bi.data_freshness AS d
            WHERE {chosen("d")}
            HAVING count(*) > 0
            """,
            *((None, WRONG), (90, AMBER), (99.5, FINE)),
            unit="percent",
            decimals=0,
        ),
        stat(
            "Forecasts not of a session to come",
            f"SELECT count(*) FILTER (WHERE NOT f.is_current) AS old {SHOWN_FIRST}",
            *((None, FINE), (1, WRONG)),
        ),
        stat(
            "Median expected move, ± %",
            f"""
            SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY f.expected_move_pct) AS move
            {SHOWN_FIRST}
            """,
            decimals=1,
            unit="percent",
        ),
        stat(
            "1.5 × usual or more",
            f"SELECT count(*) FILTER (WHERE f.move_ratio >= 1.5) AS unusual {SHOWN_FIRST}",
            *((None, FINE), (1, AMBER)),
        ),
        stat("With an event", f"SELECT count(f.event) AS events {SHOWN_FIRST}"),
        stat("Alerts open", OPEN_ALERTS, *((None, FINE), (1, WRONG))),
    ]


OPEN_ALERTS = "SELECT count(*) FILTER (WHERE is_open) AS alerts FROM bi.alerts"


def tomorrow() -> Json:
    return panel(
        "table",
        "Next session (skill of ${kind} forecasts, last ${window} sessions)",
        f"""
        SELECT f.ticker, f.name, f.expected_move_pct AS "expected move ± %",
            f.move_ratio AS "× usual", f.downside_pct AS "downside %", f.upside_pct AS "upside %",
            f.probability_of_rise_pct AS "P(rise) %", f.probability_of_fall_pct AS "P(fall) %",
            f.probability_of_move_2_pct AS "P(beyond 2 %) %",
            f.probability_of_move_5_pct AS "P(beyond 5 %) %", f.event, f.why,
            {price("f.origin_close", "last close")}, {price("f.forecast_close", "forecast")},
            {price("f.close_low_80", "low 80 %")}, {price("f.close_high_80", "high 80 %")},
            {price("f.close_low_95", "low 95 %")}, {price("f.close_high_95", "high 95 %")},
            a.skill_pct AS "skill %", c.coverage_pct AS "inside 80 %", a.method AS "skill of",
            f.session, f.kind, f.is_current AS current, f.currency, f.method
        FROM bi.next_session_forecast AS f
        LEFT JOIN bi.accuracy AS a
            ON a.scope = 'ticker' AND a.ticker = f.ticker AND a.is_headline
            AND a.kind = ${{kind:sqlstring}} AND a.window_sessions = ${{window}}
            AND a.metric = 'pinball'
        LEFT JOIN bi.interval_coverage AS c
            ON c.scope = 'ticker' AND c.ticker = f.ticker AND c.is_headline
            AND c.kind = ${{kind:sqlstring}} AND c.window_sessions = ${{window}}
            AND c.interval_pct = 80
        WHERE f.is_headline AND {chosen("f")}
        ORDER BY f.expected_move_pct DESC NULLS LAST, f.ticker
        """,
        description="expected move: half the 80 % interval; downside and upside: one close in "
        "twenty is lower, one higher. forecast: usually the last close, because past prices say "
        "next to nothing about direction. skill %: pinball loss below that of rolling quantiles; "
        f"below 0: worse. event: what is known to move the session. {AFTER_CLOSE} {NOTICE}",
        height=18,
        decimals=2,
        overrides=[
            link("ticker"),
            *(of(name, decimals=1) for name in MOVES),
            of("× usual", decimals=1),
            of("inside 80 %", decimals=1),
            *(of(name, decimals=0) for name in PROBABILITIES),
            *(of(name, unit="string") for name in PRICES),
        ],
    )


MOVES = ("expected move ± %", "downside %", "upside %")
PROBABILITIES = ("P(rise) %", "P(fall) %", "P(beyond 2 %) %", "P(beyond 5 %) %")


def groups() -> Json:
    return panel(
        "table",
        "Groups, the most unusual first",
        f"""
        SELECT g.group_kind AS kind, g.group_name AS "group", count(*) AS tickers,
            percentile_cont(0.5) WITHIN GROUP (ORDER BY f.expected_move_pct)
                AS "median move ± %",
            percentile_cont(0.5) WITHIN GROUP (ORDER BY f.move_ratio) AS "median × usual",
            count(f.event) AS events
        FROM bi.groups AS g
        JOIN bi.next_session_forecast AS f USING (ticker)
        WHERE f.is_headline AND {chosen("f")}
        GROUP BY g.group_kind, g.group_name
        ORDER BY 5 DESC NULLS LAST, g.group_kind, g.group_name
        """,
        width=12,
        decimals=1,
        overrides=[of("tickers", decimals=0), of("events", decimals=0)],
    )


def ahead() -> Json:
    return panel(
        "table",
        "Events ahead",
        f"""
        SELECT e.session, e.ticker, e.name, e.event, e.event_date::text AS "its day"
        FROM bi.events AS e
        JOIN bi.next_session_forecast AS f USING (ticker)
        WHERE f.is_headline AND e.is_current AND e.session >= f.session AND {chosen("f")}
        ORDER BY e.session, e.ticker, e.event_id
        LIMIT 200
        """,
        description=AFTER_CLOSE,
        width=12,
        overrides=[link("ticker")],
    )


def complete() -> Json:
    return panel(
        "table",
        "Is the last session complete?",
        f"""
        SELECT d.calendar AS exchange, d.session, bool_and(d.is_ready) AS complete,
            count(*) FILTER (WHERE d.sessions_behind = 0) AS "tickers up to date",
            count(*) AS tickers, max(d.age_hours) AS "oldest, hours"
        FROM bi.data_freshness AS d
        WHERE {chosen("d")}
        GROUP BY d.calendar, d.session
        ORDER BY d.calendar
        """,
        height=5,
        decimals=0,
    )
