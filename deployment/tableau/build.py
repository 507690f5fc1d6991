"""Write the data sources of this folder: `python -m deployment.tableau.build` after a change here.

One per fact of schema `bi`, live, with the comments of its columns. Calculated fields state no
number where they would add up forecasts of several methods or kinds.
"""

from pathlib import Path
from xml.etree import ElementTree

from deployment import dictionary
from stockbatch.store.bi.dictionary import Column

FOLDER = Path(__file__).parent
DIMENSIONS = {"archives", "headlines", "instruments", "sessions"}
TYPES = {
    "date": ("date", "ordinal"),
    "timestamp with time zone": ("datetime", "ordinal"),
    "text": ("string", "nominal"),
    "integer": ("integer", "ordinal"),
    "bigint": ("integer", "ordinal"),
    "double precision": ("real", "quantitative"),
    "boolean": ("boolean", "nominal"),
}
"""Tableau's type and kind of field; quantitative ones are measures."""
CALCULATED = {
    "Mean absolute error": "AVG(ABS([actual_return_pct] - [forecast_return_pct])) / 100",
    "Inside 50 %": "AVG(IIF([inside_50], 1, 0))",
    "Inside 80 %": "AVG(IIF([inside_80], 1, 0))",
    "Inside 95 %": "AVG(IIF([inside_95], 1, 0))",
    "Inside 98 %": "AVG(IIF([inside_98], 1, 0))",
    "Direction right": "AVG(IIF([direction_hit], 1, 0))",
}
"""Shares of forecasts, in bi.forecast_history."""


def data_source(view: str, columns: list[Column]) -> str:
    root = ElementTree.Element(
        "datasource",
        {"formatted-name": f"stockbatch {view}", "inline": "true", "version": "18.1"},
    )
    federated = ElementTree.SubElement(root, "connection", {"class": "federated"})
    connections = ElementTree.SubElement(federated, "named-connections")
    named = ElementTree.SubElement(
        connections, "named-connection", caption="stockbatch", name="postgres.stockbatch"
    )
    address = {"server": "localhost", "port": "5432", "dbname": "stockbatch", "username": ""}
    how = {"class": "postgres", "authentication": "username-password", "sslmode": "require"}
    ElementTree.SubElement(named, "connection", how | address)
    table = {"connection": "postgres.stockbatch", "name": view, "table": f"[bi].[{view}]"}
    ElementTree.SubElement(federated, "relation", table | {"type": "table"})
    ElementTree.SubElement(root, "aliases", enabled="yes")
    for column in columns:
        _field(root, column)
    if view == "forecast_history":
        for name, formula in CALCULATED.items():
            _calculated(root, name, formula)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f"<?xml version='1.0' encoding='utf-8' ?>\n{text}\n"


def _field(root: ElementTree.Element, column: Column) -> None:
    datatype, kind = TYPES[column.type]
    more = {}
    if kind == "quantitative":
        more = {"aggregation": "Avg"}
        if column.name.endswith("_pct"):
            more["default-format"] = '*0.00"%"'
    field = ElementTree.SubElement(
        root,
        "column",
        {
            "caption": column.name.replace("_pct", " %").replace("_", " "),
            "datatype": datatype,
            "name": f"[{column.name}]",
            "role": "measure" if kind == "quantitative" else "dimension",
            "type": kind,
            **more,
        },
    )
    text = ElementTree.SubElement(ElementTree.SubElement(field, "desc"), "formatted-text")
    ElementTree.SubElement(text, "run").text = column.meaning


def _calculated(root: ElementTree.Element, name: str, formula: str) -> None:
    field = ElementTree.SubElement(
        root,
        "column",
        {
            "caption": name,
            "datatype": "real",
            "default-format": "p0.0%",
            "name": f"[{name}]",
            "role": "measure",
            "type": "quantitative",
        },
    )
    alone = "COUNTD([method]) = 1 AND COUNTD([kind]) = 1"
    guarded = {"class": "tableau", "formula": f"IF {alone} THEN {formula} END"}
    ElementTree.SubElement(field, "calculation", guarded)


def files() -> dict[str, str]:
    """Return the text of every data source, by its path."""
    return {
        f"{view}.tds": data_source(view, columns)
        for view, columns in dictionary.columns().items()
        if view not in DIMENSIONS
    }


def main() -> None:
    for path, content in files().items():
        (FOLDER / path).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
