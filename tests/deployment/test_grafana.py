"""What is delivered for SQL users and BI tools runs on rows that the jobs wrote, as the reader."""

import json
import re
from datetime import UTC, datetime, time

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from sqlalchemy import text

from deployment.grafana import build
from deployment.grafana.panels import DAYS
from tests.support import grafana
from tests.support.grafana import DASHBOARDS, expand, loaded, rows, types, values_of
from tests.support.ledger import measured
from tests.support.market import CODE, session
from tests.support.places import ROOT

DEPLOYMENT = ROOT / "deployment"
RANGE = ("2023-12-01T00:00:00Z", "2024-06-30T00:00:00Z")
ESSENTIAL = {
    "ticker",
    "session",
    "time",
    "value",
    "close",
    "actual",
    "error",
    "training",
    "low 80 %",
}
LONG_AFTER = ("2031-01-01T00:00:00Z", "2031-12-31T00:00:00Z")


# ---- recipes


def recipes():
    source = (DEPLOYMENT / "recipes.sql").read_text(encoding="utf-8")
    parts = re.findall(r"^-- ([^\n]*\?[^\n]*)\n(.*?;)$", source, re.DOTALL | re.MULTILINE)
    assert source.count(";\n") == len(parts) >= 10
    return dict(parts)


@pytest.mark.parametrize("asked", recipes())
def test_a_recipe_answers(reader, asked):
    columns, found = rows(reader, recipes()[asked])
    assert found
    assert len(set(columns)) == len(columns)


def test_recipes_say_what_the_tables_hold(reader):
    by_start = {asked.split("?")[0]: sql for asked, sql in recipes().items()}

    def answer(start):
        columns, found = rows(reader, by_start[start])
        return [dict(zip(columns, row, strict=True)) for row in found]

    tomorrow = answer("What is forecast for the next session")
    ratios = [row["move_ratio"] for row in tomorrow if row["move_ratio"] is not None]
    assert ratios == sorted(ratios, reverse=True)
    assert {row["session"] for row in tomorrow} == {session(2)}
    fallen = answer("Who fell back to something simpler than a model of its own, and why")
    assert [(row["ticker"], row["reason"]) for row in fallen] == [("NEW", "short_history")]
    ready = answer("Is the last session complete")
    assert [(row["calendar"], row["is_ready"], row["tickers"]) for row in ready] == [
        ("XNYS", False, 4)  # the bars end in 2024
    ]


# ---- dimensions


@pytest.mark.parametrize(
    ("key", "dimension"),
    [("ticker", "instruments"), ("calendar", "instruments"), ("session", "sessions")],
)
def test_every_fact_finds_its_dimension(reader, key, dimension):
    """BI tools join by these; alerts may concern a day without a session."""
    facts = "SELECT table_name FROM information_schema.columns WHERE table_schema = 'bi'"
    facts += f" AND column_name = '{key}' AND table_name NOT IN ('{dimension}', 'alerts')"
    views = [name for (name,) in rows(reader, facts)[1]]
    assert len(views) > 8
    for view in views:
        lost = f"SELECT {key} FROM bi.{view} EXCEPT SELECT {key} FROM bi.{dimension}"
        assert rows(reader, lost)[1] in ([], [(None,)]), view
    _, ((tickers, distinct),) = rows(
        reader, "SELECT count(*), count(DISTINCT ticker) FROM bi.instruments"
    )
    assert tickers == distinct > 1


# ---- Grafana


PANELS = [
    pytest.param(name, panel, id=f"{name}-{panel['id']}")
    for name in DASHBOARDS
    for panel in grafana.panels(name)
]


def test_dashboards_are_those_that_the_program_writes():
    for name in DASHBOARDS:
        assert loaded(name) == getattr(build, name)()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_grafanas_own_model_knows_every_key(name):
    register_default_plugins()
    content = loaded(name)
    for panel in content["panels"]:
        panel["targets"] = []  # there is no model of the queries of this data source
    for annotation in content["annotations"]["list"]:
        annotation.pop("target")
    for variable in content["templating"]["list"]:
        variable.pop("definition", None)
    back = json.loads(json.dumps(Dashboard.from_json(content), cls=JSONEncoder))
    assert missing(content, back) == []


def missing(given, kept, path="dashboard"):
    """Return the paths of what was given and not kept."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [
            lost
            for key, value in given.items()
            for lost in (missing(value, kept[key], f"{path}.{key}") if key in kept
                         else [f"{path}.{key}"])
        ]  # fmt: skip
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        pairs = enumerate(zip(given, kept, strict=True))
        return [lost for n, (a, b) in pairs for lost in missing(a, b, f"{path}[{n}]")]
    return [] if given == kept else [path]


@pytest.mark.parametrize("kind", ["late", "backtest"])
@pytest.mark.parametrize("between", [RANGE, LONG_AFTER], ids=["in range", "long after"])
@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_a_panel_is_filled(reader, name, panel, between, kind):
    (target,) = panel["targets"]
    values = values_of(reader, name, kind=kind)
    columns, found = rows(reader, expand(target["rawSql"], values, between))
    assert found, panel["title"]
    assert len(set(columns)) == len(columns)
    kinds = types(reader, expand(target["rawSql"], values, between))
    assert set(kinds.values()) <= {"timestamptz", "date", "float8", "int4", "int8", "text", "bool"}
    if target["format"] == "table":
        days = re.compile(DAYS["matcher"]["options"].strip("/"))
        shown = {c for c in columns if days.search(c)}
        assert {c for c, kind in kinds.items() if kind == "date"} <= shown
    filled = {c for n, c in enumerate(columns) if any(row[n] is not None for row in found)}
    assert ESSENTIAL & set(columns) <= filled
    assert not [v for row in found for v in row if v != v], "NaN"
    if target["format"] == "time_series":
        check_times(columns, found)
    if panel["type"] == "trend":
        check_trend(columns, found, panel["options"]["xField"])
    named = {
        o["matcher"]["options"]
        for o in panel["fieldConfig"]["overrides"]
        if o["matcher"]["id"] == "byName"
    }
    assert named <= set(columns)
    below = {p["value"] for o in panel["fieldConfig"]["overrides"] for p in o["properties"]
             if p["id"] == "custom.fillBelowTo"}  # fmt: skip
    assert below <= set(columns)


def check_times(columns, found):
    """Check for a first column `time`: midnights in UTC in order, the rest numbers and labels."""
    assert columns[0] == "time"
    times = [row[0] for row in found]
    assert times == sorted(times)
    assert all(isinstance(time, datetime) for time in times)
    assert {(time.hour, time.utcoffset().total_seconds()) for time in times} == {(0, 0)}
    labels = [n for n, column in enumerate(columns) if column == "metric"]
    if labels:
        keys = [(row[0], row[labels[0]]) for row in found]
        assert len(set(keys)) == len(keys)
    else:
        assert len(set(times)) == len(times)
    for row in found:
        for n, value in enumerate(row[1:], start=1):
            assert isinstance(value, str if n in labels else (int, float, type(None)))


def check_trend(columns, found, x):
    positions = [row[columns.index(x)] for row in found]
    assert all(isinstance(position, (int, float)) for position in positions)
    assert positions == sorted(set(positions))


def test_a_dashboard_opens_on_the_best_kind_there_is(reader):
    for name in ("market", "ticker", "accuracy"):
        dashboard = loaded(name)
        assert values_of(reader, name)["kind"] == "late"
        assert any("${kind}" in panel["title"] for panel in dashboard["panels"])
    assert {loaded(name)["timezone"] for name in DASHBOARDS} == {"utc"}


def test_live_comes_before_late_before_backtest(db):
    (variable,) = (v for v in loaded("market")["templating"]["list"] if v["name"] == "kind")
    for kind in ("backtest", "late", "live"):
        told = {"mae_return": (20, 0.9, 1.0, 0.1)}
        measured(db, None, session(), told, kind=kind)
        found = db.scalars(text(variable["query"])).all()
        assert found[0] == kind
    assert found == ["live", "late", "backtest"]


def test_the_fan_ends_with_the_session_to_come(reader):
    (panel,) = (p for p in loaded("ticker")["panels"] if "next session" in p["title"])
    values = values_of(reader, "ticker", ticker="AAA")
    columns, found = rows(reader, expand(panel["targets"][0]["rawSql"], values, RANGE))
    last = dict(zip(columns, found[-1], strict=True))
    assert datetime.fromtimestamp(last["session"] / 1000, UTC).date() == session(2)
    assert last["actual"] is None
    assert last["low 95 %"] < last["low 80 %"] < last["low 50 %"] < last["high 50 %"]


def test_events_are_marked_at_the_sessions_they_move(reader):
    annotation, of_splits = loaded("ticker")["annotations"]["list"]
    assert annotation["enable"]
    assert annotation["target"]["format"] == "table"
    sql = annotation["target"]["rawSql"]
    values = values_of(reader, "ticker", ticker="AAA")
    assert types(reader, expand(sql, values, RANGE)) == {
        "time": "timestamptz",
        "text": "text",
        "tags": "text",
    }
    moved = datetime.combine(session(6), time(), UTC)
    assert rows(reader, expand(sql, values, RANGE))[1] == [
        (moved, f"reports after the close ({session(5)})", "report")
    ]
    values = values_of(reader, "ticker", ticker="BBB")
    assert rows(reader, expand(sql, values, RANGE))[1] == []
    split = expand(of_splits["target"]["rawSql"], values, RANGE)
    assert rows(reader, split)[1] == [
        (datetime.combine(session(-40), time(), UTC), "split 4 for 1", "split")
    ]


def test_the_table_of_the_next_session_says_what_is_known_to_move_it(reader):
    (panel,) = (p for p in loaded("market")["panels"] if p["title"].startswith("Next session"))
    columns, found = rows(
        reader, expand(panel["targets"][0]["rawSql"], values_of(reader, "market"), RANGE)
    )
    events = {row[columns.index("ticker")]: row[columns.index("event")] for row in found}
    assert events == {"AAA": None, "BBB": None, "CCC": "reports before the open", "NEW": None}


@pytest.mark.parametrize(
    ("chosen", "tickers"),
    [
        ({}, {"AAA", "BBB", "CCC", "NEW"}),
        ({"watchlist": "Our 'own'"}, {"AAA"}),
        ({"group": "sector: Energy"}, {"AAA", "CCC"}),
        ({"group": "sector: Energy", "watchlist": "Our 'own'"}, {"AAA"}),
        ({"exchange": CODE}, {"AAA", "BBB", "CCC", "NEW"}),
        ({"exchange": "XLON"}, set()),
    ],
)
def test_exchange_group_and_watchlist_leave_out_the_others(reader, chosen, tickers):
    values = values_of(reader, "market", **chosen)
    for panel in grafana.panels("market"):
        columns, found = rows(reader, expand(panel["targets"][0]["rawSql"], values, RANGE))
        if "downside %" in columns:
            assert {row[0] for row in found} == tickers
        if columns == ["events"]:
            assert found == [(len(tickers & {"CCC"}),)]


def test_a_group_and_a_watchlist_are_there_to_be_chosen(reader):
    variables = {v["name"]: v for v in loaded("market")["templating"]["list"]}
    asked = {
        name: [value for (value,) in rows(reader, variables[name]["query"])[1]]
        for name in ("exchange", "group", "watchlist")
    }
    assert asked == {
        "exchange": ["all", CODE],
        "group": ["all", "sector: Energy", "tag: value"],
        "watchlist": ["all", "Our 'own'"],
    }


def test_numbers_at_a_glance_have_thresholds_where_there_is_good_and_bad():
    glances = [panel for name in DASHBOARDS for panel in grafana.panels(name)
               if panel["type"] == "stat"]  # fmt: skip
    judged = [p for p in glances if p["options"]["colorMode"] == "background"]
    assert len(judged) > 8
    for panel in judged:
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        values = [step["value"] for step in steps]
        assert values[0] is None
        assert values[1:] == sorted(values[1:])
        assert len({step["color"] for step in steps}) > 1


def test_skill_over_time_is_that_of_the_whole_distribution(reader):
    (panel,) = (p for p in grafana.panels("accuracy") if p["title"].startswith("Skill against")
                and p["type"] == "timeseries")  # fmt: skip
    values = values_of(reader, "accuracy", kind="backtest", window="20")
    _, found = rows(reader, expand(panel["targets"][0]["rawSql"], values, RANGE))
    expected = rows(
        reader,
        "SELECT method, skill_pct FROM bi.accuracy WHERE scope = 'calendar' AND metric = 'pinball'"
        " AND kind = 'backtest' AND window_sessions = 20 AND skill_pct IS NOT NULL"
        " AND method <> 'rolling_quantile'",
    )[1]
    assert sorted(row[1:] for row in found) == sorted(expected)
    assert len({value for _, _, value in found}) > 5


def test_dashboards_ask_again_by_themselves():
    assert {loaded(name)["refresh"] for name in DASHBOARDS} == {"5m"}


def test_a_hostile_ticker_stays_a_value(reader):
    dashboard = loaded("ticker")
    targets = [panel["targets"][0] for panel in dashboard["panels"]]
    targets += [annotation["target"] for annotation in dashboard["annotations"]["list"]]
    for target in targets:
        values = values_of(reader, "ticker", ticker="'; DROP VIEW bi.accuracy; --")
        _, found = rows(reader, expand(target["rawSql"], values, RANGE))
        assert found == []


def test_provisioning_names_what_is_there():
    folder = grafana.FOLDER / "provisioning"
    (source,) = yaml.safe_load((folder / "datasources/stockbatch.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((folder / "dashboards/stockbatch.yaml").read_text())["providers"]
    assert provider["type"] == "file"
    uids = {loaded(name)["uid"] for name in DASHBOARDS}
    assert len(uids) == len(DASHBOARDS)
    for name in DASHBOARDS:
        used = json.dumps(loaded(name))
        assert set(re.findall(r'"datasource": (\{[^}]*\})', used)) == {
            json.dumps({"type": source["type"], "uid": source["uid"]})
        }
        assert set(re.findall(r"/d/([\w-]+)", used)) <= uids
