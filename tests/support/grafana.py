"""What Grafana does with the dashboards: it chooses values of variables and expands queries."""

import json
from typing import Any

from sqlalchemy import Connection

from tests.support.places import ROOT

FOLDER = ROOT / "deployment" / "grafana"
DASHBOARDS = ("market", "ticker", "accuracy", "operations")

Json = dict[str, Any]


def loaded(name: str) -> Json:
    dashboard: Json = json.loads((FOLDER / "dashboards" / f"{name}.json").read_text("utf-8"))
    return dashboard


def panels(name: str) -> list[Json]:
    return list(loaded(name)["panels"])


def rows(reader: Connection, query: str) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Return columns and rows of a query; the text is the driver's own, with no placeholders."""
    cursor = reader.connection.cursor()
    cursor.execute(query)
    return [column.name for column in cursor.description], cursor.fetchall()


def expand(sql: str, values: dict[str, str], between: tuple[str, str]) -> str:
    """Do what Grafana does to a query, for the macros and formats in use here, and no others."""
    start, end = (f"'{instant}'" for instant in between)
    sql = sql.replace("$__timeFrom()", start).replace("$__timeTo()", end)
    for name, value in values.items():
        quoted = "'" + value.replace("'", "''") + "'"
        sql = sql.replace(f"${{{name}:sqlstring}}", quoted).replace(f"${{{name}}}", value)
    assert "$" not in sql, sql
    return sql


def values_of(reader: Connection, name: str, **chosen: str) -> dict[str, str]:
    """Return the value of each variable that Grafana chooses when the dashboard is opened."""
    values = {}
    for variable in loaded(name)["templating"]["list"]:
        if variable["type"] == "custom":
            values[variable["name"]] = variable["current"]["value"]
        else:
            _, found = rows(reader, variable["query"])
            values[variable["name"]] = found[0][0]
    return values | {name: value for name, value in chosen.items() if name in values}


def types(reader: Connection, sql: str) -> dict[str, str]:
    """Return the type of each column of a query, without running it."""
    cursor = reader.connection.cursor()
    cursor.execute(f"SELECT * FROM ({sql}) AS panel LIMIT 0")
    registry = reader.connection.dbapi_connection.adapters.types
    return {column.name: registry[column.type_code].name for column in cursor.description}
