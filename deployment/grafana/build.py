"""Write the dashboards of this folder: `python deployment/grafana/build.py` after a change here.

Queries read schema `bi` only. A dashboard has the variable `kind`: live forecasts where there are
any, else late ones, else backtests (kinds sort as they are preferred); titles name it. All times
are UTC, so that a session's date does not shift.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from textwrap import dedent
from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "grafana-postgresql-datasource", "uid": "stockbatch"}
BLACK, ORANGE, BLUE, GREEN, RED, PINK = (
    *("#555555", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7"),
)
"""Colours of Okabe and Ito, which the colour-blind tell apart."""
GREY = "#8A8A8A"
"""As far from white as from Grafana's dark."""
PRICES = ("last close", "forecast", "low 80 %", "high 80 %", "low 95 %", "high 95 %")
"""Columns of forecasts that are prices."""
DAYS = {
    "matcher": {"id": "byRegexp", "options": "/^(session|last bar|last forecast)$/"},
    "properties": [{"id": "unit", "value": "time:YYYY-MM-DD"}],
}
"""Shows columns of dates without a time of day."""
NOTICE = "Not investment advice. The terms of the data providers bind whoever redistributes."


# ---- pieces


def target(sql: str, form: str) -> Json:
    return {
        "datasource": SOURCE,
        "editorMode": "code",
        "format": form,
        "rawQuery": True,
        "rawSql": dedent(sql).strip(),
        "refId": "A",
    }


def panel(kind: str, title: str, sql: str, *, form: str = "table", **more: Any) -> Json:
    """Return a panel; `unit`, `decimals`, `custom`, `overrides` and `options` are Grafana's."""
    defaults = {name: more[name] for name in ("unit", "decimals", "custom") if name in more}
    dates = [DAYS] if form == "table" else []
    return {
        "type": kind,
        "title": title,
        "description": more.get("description", ""),
        "datasource": SOURCE,
        "targets": [target(sql, form)],
        "fieldConfig": {"defaults": defaults, "overrides": dates + more.get("overrides", [])},
        "options": more.get("options", {}),
        "gridPos": {"h": more.get("height", 9), "w": more.get("width", 24), "x": 0, "y": 0},
    }


def of(column: str, **properties: Any) -> Json:
    """Return settings of one column; `_` in a name stands for Grafana's dot."""
    return {
        "matcher": {"id": "byName", "options": column},
        "properties": [
            {"id": name.replace("_", "."), "value": value} for name, value in properties.items()
        ],
    }


def colour(column: str, code: str, **properties: Any) -> Json:
    return of(column, color={"mode": "fixed", "fixedColor": code}, **properties)


def band(percent: int, opacity: int) -> list[Json]:
    """Return the settings that fill the space between two columns."""
    plain = {"custom_lineWidth": 0, "custom_pointSize": 1}
    fill = {"custom_fillBelowTo": f"low {percent} %", "custom_fillOpacity": opacity}
    return [
        colour(f"low {percent} %", BLUE, **plain),
        colour(f"high {percent} %", BLUE, **plain, **fill),
    ]


def price(column: str, name: str) -> str:
    """Return a price under another name, of five significant digits and two decimals at least.

    Shown with the unit `string`, it is not rounded again: Grafana's own decimals would leave two
    digits of it.
    """
    digits = f"greatest(2, 4 - floor(log({column}))::int)"
    return f'round({column}::numeric, {digits})::float8 AS "{name}"'


def link(column: str) -> Json:
    """Return the setting that leads from a ticker to its page."""
    url = "/d/stockbatch-ticker?var-ticker=${__value.raw}"
    return of(column, links=[{"title": "its page", "url": url}])


def question(name: str, label: str, sql: str) -> Json:
    """Return a variable whose values a query finds, the first one chosen."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": SOURCE,
        "query": sql,
        "definition": sql,
        "refresh": 1,  # when the dashboard is opened
        "sort": 0,  # as the query sorts
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }


def choice(name: str, label: str, values: list[int], chosen: int) -> Json:
    options = [{"selected": v == chosen, "text": str(v), "value": str(v)} for v in values]
    return {
        "type": "custom",
        "name": name,
        "label": label,
        "query": ",".join(map(str, values)),
        "current": {"selected": True, "text": str(chosen), "value": str(chosen)},
        "options": options,
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "skipUrlSync": False,
    }


def annotation(name: str, sql: str) -> Json:
    """Return marks over the panels with an axis of time, to be switched off by their name."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": GREY,
        "target": target(sql, "table") | {"refId": "Anno"},
    }


def dashboard(
    uid: str,
    title: str,
    variables: list[Json],
    panels: list[Json],
    annotations: Sequence[Json] = (),
) -> Json:
    """Return a dashboard whose panels lie from left to right, then down."""
    x = y = height = 0
    for number, made in enumerate(panels, start=1):
        place = made["gridPos"]
        if x + place["w"] > 24:
            x, y, height = 0, y + height, 0
        place["x"], place["y"] = x, y
        x, height = x + place["w"], max(height, place["h"])
        made["id"] = number
    return {
        "uid": f"stockbatch-{uid}",
        "title": title,
        "description": NOTICE,
        "tags": ["stockbatch"],
        "timezone": "utc",
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,
        "time": {"from": "now-1y", "to": "now+5d"},
        "timepicker": {},
        "refresh": "",
        "templating": {"list": variables},
        "annotations": {"list": list(annotations)},
        "links": [
            {
                "type": "dashboards",
                "title": "stockbatch",
                "tags": ["stockbatch"],
                "asDropdown": False,
                "icon": "external link",
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "panels": panels,
    }


KIND = question(
    "kind",
    "forecasts",
    "SELECT DISTINCT kind FROM bi.accuracy"
    " WHERE metric = 'mae_return' AND window_sessions = 20 ORDER BY kind DESC",
)
TICKER = question(
    "ticker", "ticker", "SELECT ticker FROM bi.instruments WHERE is_active ORDER BY is_demo, ticker"
)
CALENDAR = question(
    "calendar",
    "exchange",
    "SELECT calendar FROM bi.instruments GROUP BY calendar"
    " ORDER BY count(*) FILTER (WHERE is_active AND NOT is_demo) DESC, calendar",
)
WINDOW = choice("window", "sessions looked back at", [20, 60, 250], 60)

TIME = "session::timestamp AT TIME ZONE 'UTC' AS \"time\""
# The chosen range, and always the last year there is: with data of long ago Grafana says where to.
SHOWN = """session > least($__timeFrom()::date,
        (SELECT bar_session - 365 FROM bi.data_freshness WHERE ticker = ${ticker:sqlstring}))"""
SHOWN_OF_ALL = """session > least($__timeFrom()::date,
        (SELECT max(bar_session) - 365 FROM bi.data_freshness))"""

OF_KIND = "(forecast_kind = ${kind:sqlstring} OR forecast_close IS NOT NULL AND close IS NULL)"
"""A forecast of the kind looked at, or of the session to come, of whatever kind it is."""
METHOD = """(session, method) IN (
        SELECT session, method FROM bi.price_and_forecast WHERE ticker = ${ticker:sqlstring})"""
"""A forecast by the method that is shown first of its session."""
AFTER_CLOSE = "What comes after a close moves the session after it."
RESTATED = "Prices and forecasts are restated for later splits."


# ---- market overview


def market() -> Json:
    ready = panel(
        "table",
        "Is the last session complete?",
        """
        SELECT calendar AS exchange, session, bool_and(is_ready) AS complete,
            count(*) FILTER (WHERE sessions_behind = 0) AS "tickers up to date",
            count(*) AS tickers, max(age_hours) AS "oldest, hours"
        FROM bi.data_freshness
        GROUP BY calendar, session
        ORDER BY calendar
        """,
        height=5,
        decimals=0,
    )
    tomorrow = panel(
        "table",
        "Next session (skill of ${kind} forecasts, last ${window} sessions)",
        f"""
        SELECT f.ticker, f.name, f.session, f.kind, f.is_current AS current, f.currency,
            {price("f.origin_close", "last close")}, {price("f.forecast_close", "forecast")},
            f.forecast_return_pct AS "change %",
            {price("f.close_low_80", "low 80 %")}, {price("f.close_high_80", "high 80 %")},
            {price("f.close_low_95", "low 95 %")}, {price("f.close_high_95", "high 95 %")},
            f.probability_of_rise_pct AS "P(rise) %", f.event, f.method,
            a.skill_pct AS "skill %", c.coverage_pct AS "inside 80 %", a.method AS "skill of"
        FROM bi.next_session_forecast AS f
        LEFT JOIN bi.accuracy AS a
            ON a.scope = 'ticker' AND a.ticker = f.ticker AND a.is_headline
            AND a.kind = ${{kind:sqlstring}} AND a.window_sessions = ${{window}}
            AND a.metric = 'pinball'
        LEFT JOIN bi.interval_coverage AS c
            ON c.scope = 'ticker' AND c.ticker = f.ticker AND c.is_headline
            AND c.kind = ${{kind:sqlstring}} AND c.window_sessions = ${{window}}
            AND c.interval_pct = 80
        WHERE f.is_headline
        ORDER BY f.forecast_return_pct DESC, f.ticker
        """,
        description="skill %: pinball loss below that of rolling quantiles; below 0: worse. "
        f"event: what is known to move the session. {AFTER_CLOSE} {NOTICE}",
        height=18,
        decimals=2,
        overrides=[
            link("ticker"),
            of("inside 80 %", decimals=1),
            of("P(rise) %", decimals=1),
            *(of(name, unit="string") for name in PRICES),
        ],
    )
    return dashboard("market", "Market overview", [KIND, WINDOW], [ready, tomorrow])


# ---- ticker


def ticker() -> Json:
    panels = [candles(), fan(), predicted(), errors(), losses(), own_accuracy()]
    return dashboard("ticker", "Ticker", [TICKER, KIND, WINDOW], panels, [events()])


def events() -> Json:
    """Return the reports of a ticker and what else moves it, each at the session that it moves.

    Those ahead are marked as far as the chosen range goes.
    """
    return annotation(
        "events",
        f"""
        SELECT {TIME}, event || ' (' || event_date || ')' AS text,
            CASE WHEN kind = 'earnings' THEN 'report' ELSE kind END
                || CASE WHEN is_projected THEN ',not announced' ELSE '' END AS tags
        FROM bi.events
        WHERE ticker = ${{ticker:sqlstring}} AND is_current AND {SHOWN}
        ORDER BY session, event_id
        """,
    )


def candles() -> Json:
    return panel(
        "candlestick",
        "${ticker}: prices, moving averages and the forecast of each session (${kind})",
        f"""
        SELECT {TIME}, {", ".join(price(name, name) for name in ("open", "high", "low", "close"))},
            volume, {", ".join(price(f"average_{n}", f"mean of {n}") for n in (20, 50, 200))},
            {price(f"CASE WHEN {OF_KIND} THEN forecast_close END", "forecast")},
            {price(f"CASE WHEN {OF_KIND} THEN close_low_80 END", "low 80 %")},
            {price(f"CASE WHEN {OF_KIND} THEN close_high_80 END", "high 80 %")}
        FROM bi.price_and_forecast
        WHERE ticker = ${{ticker:sqlstring}} AND {SHOWN}
        ORDER BY session
        """,
        description=f"Dashed: an event moved the session, or is to. {AFTER_CLOSE} {RESTATED}",
        form="time_series",
        height=12,
        options={
            "mode": "candles+volume",
            "candleStyle": "candles",
            "colorStrategy": "open-close",
            "colors": {"up": BLUE, "down": RED},
            "fields": {},
            "includeAllFields": True,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        },
        overrides=[
            colour("mean of 20", ORANGE),
            colour("mean of 50", GREEN),
            colour("mean of 200", PINK),
            *(of(name, unit="string") for name in ("open", "high", "low", "close")),
            *(of(f"mean of {n}", unit="string") for n in (20, 50, 200)),
            *(of(name, unit="string") for name in ("forecast", "low 80 %", "high 80 %")),
            colour("forecast", BLACK, custom_lineStyle={"fill": "dash", "dash": [4, 4]}),
            *band(80, 15),
        ],
    )


def fan() -> Json:
    """Return the last weeks and the session to come, as a trend: its axis ends with the data."""
    return panel(
        "trend",
        "${ticker}: forecast and actual close, last weeks (${kind}) and next session",
        f"""
        SELECT extract(epoch FROM session)::double precision * 1000 AS session,
            {price("close", "actual")}, {price("forecast_close", "forecast")},
            {", ".join(price(f"close_low_{p}", f"low {p} %") for p in (50, 80, 95))},
            {", ".join(price(f"close_high_{p}", f"high {p} %") for p in (50, 80, 95))}
        FROM (
            SELECT * FROM bi.price_and_forecast
            WHERE ticker = ${{ticker:sqlstring}} AND {OF_KIND} AND session > (
                SELECT max(session) - 60 FROM bi.price_and_forecast
                WHERE ticker = ${{ticker:sqlstring}} AND forecast_kind = ${{kind:sqlstring}}
            )
            ORDER BY session DESC
            LIMIT 30
        ) AS last
        ORDER BY session
        """,
        description=f"Bands: 50, 80 and 95 % of actual closes should lie inside. {RESTATED}",
        width=12,
        options={"xField": "session"},
        overrides=[
            *(of(name, unit="string") for name in ("actual", "low 50 %", "high 50 %", *PRICES[1:])),
            *band(95, 10),
            *band(80, 15),
            *band(50, 20),
            colour("forecast", ORANGE, custom_lineWidth=2),
            colour("actual", BLACK, custom_lineWidth=2, custom_showPoints="always"),
        ],
    )


def predicted() -> Json:
    return panel(
        "timeseries",
        "${ticker}: predicted against actual change, % (${kind})",
        f"""
        SELECT {TIME}, actual_return_pct AS actual, forecast_return_pct AS predicted
        FROM bi.forecast_history
        WHERE ticker = ${{ticker:sqlstring}} AND kind = ${{kind:sqlstring}} AND {METHOD}
            AND {SHOWN}
        ORDER BY session
        """,
        form="time_series",
        width=12,
        unit="percent",
        overrides=[colour("actual", BLACK), colour("predicted", ORANGE)],
    )


def errors() -> Json:
    return panel(
        "timeseries",
        "${ticker}: error of the forecast close, % (${kind}; actual - forecast)",
        f"""
        SELECT {TIME}, error_pct AS error
        FROM bi.forecast_history
        WHERE ticker = ${{ticker:sqlstring}} AND kind = ${{kind:sqlstring}} AND {METHOD}
            AND score_status = 'scored' AND {SHOWN}
        ORDER BY session
        """,
        form="time_series",
        width=12,
        unit="percent",
        custom={"drawStyle": "bars", "fillOpacity": 60},
        overrides=[colour("error", BLUE)],
    )


def losses() -> Json:
    return panel(
        "trend",
        "${ticker}: training and validation loss of the newest model",
        """
        SELECT epoch, training_loss AS training, validation_loss AS validation
        FROM bi.training_history
        WHERE ticker = ${ticker:sqlstring} AND model_id = (
            SELECT max(model_id) FROM bi.training_history
            WHERE ticker = ${ticker:sqlstring} AND model_kind = 'ticker'
        )
        ORDER BY epoch
        """,
        description="Pinball loss by epoch. A validation loss that rises while the other falls: "
        "overfitting; the weights of the best epoch are kept.",
        width=12,
        options={"xField": "epoch"},
        overrides=[colour("training", BLUE), colour("validation", RED)],
    )


def own_accuracy() -> Json:
    return panel(
        "table",
        "${ticker}: accuracy by method, last ${window} sessions (${kind})",
        f"""
        SELECT method, max(n) AS forecasts,
            {price("max(value) FILTER (WHERE metric = 'mae' AND value > 0)", "mean error")},
            max(skill_pct) FILTER (WHERE metric = 'mae') AS "skill vs naive %",
            max(value) FILTER (WHERE metric = 'pinball') AS pinball,
            max(skill_pct) FILTER (WHERE metric = 'pinball') AS "skill vs rolling quantile %",
            100 * max(value) FILTER (WHERE metric = 'coverage_80') AS "inside 80 %",
            100 * max(value) FILTER (WHERE metric = 'coverage_95') AS "inside 95 %",
            100 * max(value) FILTER (WHERE metric = 'directional_accuracy') AS "direction right %"
        FROM bi.accuracy
        WHERE ticker = ${{ticker:sqlstring}} AND kind = ${{kind:sqlstring}}
            AND window_sessions = ${{window}}
        GROUP BY method
        ORDER BY method
        """,
        decimals=2,
        overrides=[of("pinball", decimals=5), of("mean error", unit="string")],
    )


# ---- accuracy


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
        "Skill against the naive forecast by method, % (${kind})",
        f"""
        SELECT {TIME}, method AS metric, skill_pct AS value
        FROM bi.accuracy
        WHERE scope = 'calendar' AND metric = 'mae_return' AND method <> 'naive'
            AND {key} AND {SHOWN_OF_ALL}
        ORDER BY session, method
        """,
        form="time_series",
        description="Mean absolute error of returns; above 0: better than naive.",
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
    return dashboard("accuracy", "Accuracy", variables, [board, coverage, skill, tickers])


# ---- operations


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
        """
        SELECT ticker, bar_session AS "last bar", outcome_action AS action,
            outcome_reason AS reason, sessions_behind AS "sessions behind"
        FROM bi.data_freshness
        WHERE outcome_action IS NULL OR outcome_action IN ('base', 'naive', 'none')
        ORDER BY sessions_behind DESC NULLS FIRST, ticker
        """,
        width=12,
        overrides=[link("ticker")],
    )
    age = panel(
        "table",
        "Age of the data, oldest first",
        """
        SELECT ticker, calendar AS exchange, bar_session AS "last bar", bar_state AS state,
            bar_provider AS provider, sessions_behind AS "sessions behind", age_hours AS hours,
            forecast_session AS "last forecast", is_ready AS "session complete"
        FROM bi.data_freshness
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
    panels = [alerts, runs, reasons, fallen, age, issues]
    return dashboard("operations", "Operations", [], panels)


def main() -> None:
    folder = Path(__file__).parent / "dashboards"
    for make in (market, ticker, accuracy, operations):
        content = json.dumps(make(), indent=2, ensure_ascii=False)
        (folder / f"{make.__name__}.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
