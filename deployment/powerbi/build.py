"""Write the model and the report: `python -m deployment.powerbi.build` after a change here.

A star: every fact points at the tickers, exchanges and sessions it is about, by the columns that
all views of schema `bi` share; those are hidden in the facts, so that reports slice by the
dimensions.
"""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from textwrap import indent

from deployment import dictionary
from deployment.powerbi.model import DIMENSIONS, FACTS, Table
from deployment.powerbi.report import report
from stockbatch.store.bi.dictionary import Column

FOLDER = Path(__file__).parent / "stockbatch.SemanticModel" / "definition"
REPORT = Path(__file__).parent / "stockbatch.Report"

TYPES = {
    "date": ("dateTime", "yyyy-mm-dd"),
    "timestamp with time zone": ("dateTime", "yyyy-mm-dd hh:nn:ss"),
    "text": ("string", None),
    "integer": ("int64", "0"),
    "bigint": ("int64", "0"),
    "double precision": ("double", "#,0.######"),
    "boolean": ("boolean", None),
}
PRICE = re.compile(r"(^|_)close(_|$)|^(open|high|low|average_[0-9]+|(absolute_)?error)$")
KEYS = {"ticker": "Instruments", "calendar": "Exchanges", "session": "Sessions"}
"""Columns of the facts, and the dimensions whose key they are."""
TECHNICAL = {"alert_id", "base_model_id", "issue_id", "model_id", "run_id", "session_close_at"}


# ---- Power Query


MONTH = (
    "Rows = Table.SelectRows(View,"
    " each [session] >= Date.From(RangeStart) and [session] < Date.From(RangeEnd))"
)
UTC = (
    "Utc = (instant) => if instant is datetimezone"
    " then DateTimeZone.RemoveZone(DateTimeZone.ToUtc(instant)) else instant"
)


def source(table: Table, columns: Sequence[Column]) -> str:
    """Return the query of a table; what filters comes first and is left to the database."""
    steps = _view(table)
    if table.only:
        names = ", ".join(f'"{name}"' for name in table.only)
        steps.append(f"Keys = Table.Distinct(Table.SelectColumns(View, {{{names}}}))")
    if table.by_month:
        steps.append(MONTH)
    if table.where:
        steps.append(f"Rows = Table.SelectRows(View, each {table.where})")
    result = _name(steps[-1])
    instants = [c.name for c in columns if c.type.startswith("timestamp")]
    if instants:
        to_utc = ", ".join(f'{{"{name}", Utc, type nullable datetime}}' for name in instants)
        steps += [UTC, f"InUtc = Table.TransformColumns({result}, {{{to_utc}}})"]
        result = "InUtc"
    return _let(steps, result)


def polling(table: Table) -> str:
    """Return the query that tells whether anything changed in a month."""
    changed = "Changed = Utc(List.Max(Rows[updated_at]))"
    return _let(
        [*_view(table), MONTH, UTC, changed],
        "if Changed = null then #datetime(1901, 1, 1, 0, 0, 0) else Changed",
    )


def _view(table: Table) -> list[str]:
    return [
        "Source = PostgreSQL.Database(Server, Database)",
        f'View = Source{{[Schema = "bi", Item = "{table.view}"]}}[Data]',
    ]


def _name(step: str) -> str:
    return step.partition(" = ")[0]


def _let(steps: Sequence[str], result: str) -> str:
    return "let\n" + ",\n".join(f"    {step}" for step in steps) + f"\nin\n    {result}"


# ---- TMDL, which indents by tabs


def tmdl(table: Table, columns: Sequence[Column]) -> str:
    parts = [f"/// {table.grain or columns[0].grain}", f"table {quoted(table.name)}", ""]
    if table.by_month:
        parts += refresh_policy(table, columns)
    for measure in table.measures:
        separator = "\n" if "\n" in measure.dax else " "
        dax = separator + indent(measure.dax, "\t\t\t" if separator == "\n" else "")
        parts += _described(measure.description, f"measure {quoted(measure.name)} ={dax}")
        parts += [f"\t\tformatString: {measure.form}", ""]
    for column in columns:
        parts += _column(table, column)
    for name, (kind, dax) in table.calculated.items():
        parts += [f"\tcolumn {name} = {dax}", f"\t\tdataType: {kind}", "\t\tsummarizeBy: none", ""]
    query = indent(source(table, columns), "\t\t\t\t")
    parts += [
        f"\tpartition {quoted(table.name)} = m",
        "\t\tmode: import",
        "\t\tsource =",
        query,
        "",
    ]
    return "\n".join(parts)


def _column(table: Table, column: Column) -> Iterator[str]:
    kind, form = TYPES[column.type]
    if column.name.endswith("_pct"):
        form = r"0.00\%"
    elif kind == "double" and PRICE.search(column.name):
        form = "#,0.00########"  # of a coin at 0.0000086183, six decimals would leave one digit
    yield from _described(column.meaning, f"column {column.name}")
    yield f"\t\tdataType: {kind}"
    if table in DIMENSIONS and KEYS.get(column.name) == table.name:
        yield "\t\tisKey"
    elif column.name in TECHNICAL or (table in FACTS and column.name in KEYS):
        yield "\t\tisHidden"
    if form:
        yield f"\t\tformatString: {form}"
    yield from ("\t\tsummarizeBy: none", f"\t\tsourceColumn: {column.name}")
    if column.type == "date":
        yield from ("", "\t\tannotation UnderlyingDateTimeDataType = Date")
    yield ""


def refresh_policy(table: Table, columns: Sequence[Column]) -> Iterator[str]:
    """Yield ten years, of which every month is looked at and loaded where it changed."""
    yield "\trefreshPolicy"
    yield "\t\tpolicyType: basic"
    yield "\t\trollingWindowGranularity: year"
    yield "\t\trollingWindowPeriods: 11"
    yield "\t\tincrementalGranularity: month"
    yield "\t\tincrementalPeriods: 120"
    yield from ("\t\tpollingExpression =", indent(polling(table), "\t\t\t"))
    yield from ("\t\tsourceExpression =", indent(source(table, columns), "\t\t\t"), "")


def relationships(views: dict[str, list[Column]]) -> Iterator[str]:
    for table in FACTS:
        names = {column.name for column in views[table.view]}
        for key, dimension in KEYS.items():
            if key in names:
                yield f"relationship {quoted(f'{table.name} {key}')}"
                yield f"\tfromColumn: {quoted(table.name)}.{key}"
                yield f"\ttoColumn: {dimension}.{key}"
                if table.filters_back:
                    yield "\tcrossFilteringBehavior: bothDirections"
                yield ""


def model() -> Iterator[str]:
    yield "model Model"
    yield "\tculture: en-US"
    yield "\tdefaultPowerBIDataSourceVersion: powerBI_V3"
    yield "\tdiscourageImplicitMeasures"
    yield "\tsourceQueryCulture: en-US"
    yield "\tdataAccessOptions"
    yield "\t\tlegacyRedirects"
    yield "\t\treturnErrorValuesAsNull"
    yield ""
    yield "annotation __PBI_TimeIntelligenceEnabled = 0"
    yield ""
    for table in (*DIMENSIONS, *FACTS):
        yield f"ref table {quoted(table.name)}"
    yield ""


def expressions() -> Iterator[str]:
    yield from _parameter("Server", '"localhost"', "Text", "host, or host:port")
    yield from _parameter("Database", '"stockbatch"', "Text", "its name")
    yield from _parameter(
        "RangeStart", "#datetime(2000, 1, 1, 0, 0, 0)", "DateTime", "first session to load"
    )
    yield from _parameter(
        "RangeEnd", "#datetime(2100, 1, 1, 0, 0, 0)", "DateTime", "session to end before"
    )


def _parameter(name: str, value: str, kind: str, description: str) -> Iterator[str]:
    meta = f'[IsParameterQuery=true, Type="{kind}", IsParameterQueryRequired=true]'
    yield f"/// {description}"
    yield f"expression {name} = {value} meta {meta}"
    yield ""


def _described(description: str, declaration: str) -> Iterator[str]:
    if description:
        yield f"\t/// {description}"
    yield f"\t{declaration}"


def quoted(name: str) -> str:
    return f"'{name}'" if " " in name else name


def files() -> dict[str, str]:
    """Return the text of every file of the model, by its path."""
    views = dictionary.columns()
    made = {
        "database.tmdl": "database\n\tcompatibilityLevel: 1600\n",
        "model.tmdl": "\n".join(model()),
        "expressions.tmdl": "\n".join(expressions()),
        "relationships.tmdl": "\n".join(relationships(views)),
    }
    for table in (*DIMENSIONS, *FACTS):
        columns = [c for c in views[table.view] if not table.only or c.name in table.only]
        made[f"tables/{table.name}.tmdl"] = tmdl(table, columns)
    return made


def report_files() -> dict[str, str]:
    """Return the text of every file of the report's pages and theme, by its path."""
    return {
        path: json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        for path, content in report().items()
    }


def main() -> None:
    shutil.rmtree(REPORT / "definition", ignore_errors=True)  # a visual that is no more
    model = {FOLDER / path: content for path, content in files().items()}
    pages = {REPORT / path: content for path, content in report_files().items()}
    for file, content in (model | pages).items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
