"""What dashboards are made of: panels, their columns and colours, variables, annotations."""

from collections.abc import Sequence
from textwrap import dedent
from typing import Any

Json = dict[str, Any]

SOURCE = {"type": "grafana-postgresql-datasource", "uid": "stockbatch"}
BLACK, ORANGE, BLUE, GREEN, RED, PINK = (
    *("#555555", "#E69F00", "#0072B2", "#009E73", "#D55E00", "#CC79A7"),
)
"""Colours of Okabe and Ito, which the colour-blind tell apart."""
FINE, AMBER, WRONG = GREEN, ORANGE, RED
"""What a number on a coloured ground says."""
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
    passed = ("unit", "decimals", "custom", "thresholds", "color", "noValue")
    defaults = {name: more[name] for name in passed if name in more}
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


def stat(title: str, sql: str, *steps: tuple[float | None, str], **more: Any) -> Json:
    """Return one large number on the colour of the step that it has reached; None begins the first.

    Without steps it has no colour: there is no good or bad.
    """
    levels = [{"color": code, "value": value} for value, code in steps or [(None, GREY)]]
    return panel(
        "stat",
        title,
        sql,
        height=4,
        width=more.pop("width", 4),
        thresholds={"mode": "absolute", "steps": levels},
        color={"mode": "thresholds"},
        noValue="none",
        options={
            "colorMode": "background" if steps else "none",
            "graphMode": "none",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
        **more,
    )


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


def everything_or(name: str, label: str, sql: str) -> Json:
    """Return a variable that begins with `all`, which leaves nothing out."""
    return question(name, label, f"SELECT * FROM (SELECT 'all' UNION ALL ({sql})) AS choices")


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


def annotation(name: str, sql: str, code: str = GREY) -> Json:
    """Return marks over the panels with an axis of time, to be switched off by their name."""
    return {
        "name": name,
        "datasource": SOURCE,
        "enable": True,
        "hide": False,
        "iconColor": code,
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
        "refresh": "5m",
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
EXCHANGE = everything_or(
    "exchange",
    "exchange",
    "SELECT calendar FROM bi.instruments WHERE is_active GROUP BY calendar ORDER BY calendar",
)
GROUP = everything_or(
    "group",
    "group",
    "SELECT DISTINCT group_kind || ': ' || group_name FROM bi.groups"
    " WHERE group_kind NOT IN ('exchange', 'watchlist') ORDER BY 1",
)
WATCHLIST = everything_or(
    "watchlist",
    "watchlist",
    "SELECT DISTINCT group_name FROM bi.groups WHERE group_kind = 'watchlist' ORDER BY 1",
)
CHOICES = [EXCHANGE, GROUP, WATCHLIST]
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


def chosen(rows: str) -> str:
    """Return the condition that rows are of tickers of the exchange, group and watchlist chosen."""
    member = "(SELECT ticker FROM bi.groups WHERE"
    return f"""
            (${{exchange:sqlstring}} = 'all' OR {rows}.calendar = ${{exchange:sqlstring}})
            AND (${{group:sqlstring}} = 'all' OR {rows}.ticker IN
                {member} group_kind || ': ' || group_name = ${{group:sqlstring}}))
            AND (${{watchlist:sqlstring}} = 'all' OR {rows}.ticker IN
                {member} group_kind = 'watchlist' AND group_name = ${{watchlist:sqlstring}}))
    """.strip()
