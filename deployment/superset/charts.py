"""Kinds of charts, in the terms of Superset.

A chart says what it asks for twice: in its `params`, from which a page asks, and in its
`query_context`, from which REST and reports do.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployment.powerbi.build import PRICE
from deployment.superset.datasets import Dataset, Json, identity

PERCENTAGE, SIGNED, RATIO, COUNT, LOSS = ",.1f", "+,.2f", ",.1f", ",d", ",.5f"
SHARE, CHANGE = ",.1%", "+,.2%"
"""Of shares, whose unit is shown."""
MONEY, PRICED = ",.2f", ",.5~g"
"""Of prices in tables; along axes, and where two decimals would leave nothing of a coin."""
DAY = "%Y-%m-%d"


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart, of the rows for which all of `where` holds: a column, an operator and a value."""

    title: str
    kind: str
    dataset: Dataset
    params: Json
    query: Json
    where: Sequence[tuple[str, str, Any]] = ()
    width: int
    """In twelfths of the page."""
    height: int
    """In eights of pixels."""
    description: str = ""

    def uuid(self, dashboard: str) -> str:
        """Return its identifier: a dashboard has one chart of a title."""
        return identity("chart", f"{dashboard}/{self.title}")

    def file(self, dashboard: str) -> Json:
        """Return what the export says of it."""
        params = {
            "viz_type": self.kind,
            "annotation_layers": [],
            **self.params,
            "adhoc_filters": [
                {
                    "clause": "WHERE",
                    "expressionType": "SIMPLE",
                    "subject": column,
                    "operator": operator,
                    "comparator": value,
                }
                for column, operator, value in self.where
            ],
        }
        filters = [{"col": column, "op": op, "val": value} for column, op, value in self.where]
        asked = {
            "datasource": {"id": 0, "type": "table"},  # Superset puts in which one it has become
            "force": False,
            "queries": [{"row_limit": 1000, **self.query, "filters": filters}],
            "form_data": params,
            "result_format": "json",
            "result_type": "full",
        }
        return {
            "slice_name": self.title,
            "description": self.description or None,
            "viz_type": self.kind,
            "params": params,
            "query_context": json.dumps(asked, ensure_ascii=False),
            "uuid": self.uuid(dashboard),
            "dataset_uuid": identity("dataset", self.dataset.name),
            "version": "1.0.0",
        }


def metric(name: str, sql: str) -> Json:
    return {
        "expressionType": "SQL",
        "sqlExpression": sql,
        "label": name,
        "hasCustomLabel": True,
        "optionName": f"metric_{identity('metric', name + sql)}",
    }


# ---- numbers


def number(title: str, dataset: Dataset, sql: str, form: str, told: str) -> Chart:
    """Return one large number over all rows, with what it means below it."""
    asked = metric(title, sql)
    params = {
        "metric": asked,
        "subheader": told,
        "header_font_size": 0.3,
        "subheader_font_size": 0.15,
        "y_axis_format": form,
    }
    return Chart(
        title=title,
        kind="big_number_total",
        dataset=dataset,
        params=params,
        query={"metrics": [asked]},
        width=2,
        height=20,
    )


def trend(title: str, dataset: Dataset, sql: str, form: str, told: str, **more: Any) -> Chart:
    """Return the number of the newest session, above the line of those before."""
    asked = metric(title, sql)
    params = {
        "metric": asked,
        "x_axis": "session",
        "aggregation": "LAST_VALUE",
        "subheader": told,
        "header_font_size": 0.3,
        "subheader_font_size": 0.125,
        "show_trend_line": True,
        "start_y_axis_at_zero": False,
        "time_format": DAY,
        "y_axis_format": form,
    }
    return Chart(
        title=title,
        kind="big_number",
        dataset=dataset,
        params=params,
        query={"columns": ["session"], "metrics": [asked]},
        width=3,
        height=26,
        **more,
    )


# ---- tables


TABLE = {
    "row_limit": 1000,
    "table_timestamp_format": DAY,
    "show_cell_bars": False,
    "color_pn": False,
    "allow_rearrange_columns": True,
}


def table(
    title: str,
    dataset: Dataset,
    columns: Sequence[str],
    order: Sequence[tuple[str, bool]],
    *,
    params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Chart:
    """Return rows as they are, sorted by columns: of each, whether the lowest is first."""
    by = [list(one) for one in order]
    given = {
        "query_mode": "raw",
        "all_columns": list(columns),
        "order_by_cols": [json.dumps(one) for one in by],
        "column_config": {column: _formatted(_form(column)) for column in columns},
        **TABLE,
        **(params or {}),
    }
    query = {"columns": list(columns), "orderby": by}
    return Chart(title=title, kind="table", dataset=dataset, params=given, query=query, **more)


def summary(
    title: str,
    dataset: Dataset,
    by: Sequence[str],
    metrics: Mapping[str, tuple[str, str]],
    *,
    order: str,
    ascending: bool = False,
    params: Mapping[str, Any] | None = None,
    **more: Any,
) -> Chart:
    """Return a row per group, with numbers: SQL and format of each by its name."""
    asked = {name: metric(name, sql) for name, (sql, _) in metrics.items()}
    given = {
        "query_mode": "aggregate",
        "groupby": list(by),
        "metrics": list(asked.values()),
        "timeseries_limit_metric": asked[order],
        "order_desc": not ascending,
        "column_config": {name: _formatted(form) for name, (_, form) in metrics.items()},
        **TABLE,
        **(params or {}),
    }
    query = {
        "columns": list(by),
        "metrics": list(asked.values()),
        "orderby": [[asked[order], ascending]],
    }
    return Chart(title=title, kind="table", dataset=dataset, params=given, query=query, **more)


def marked(column: str, operator: str, value: float, code: str) -> Json:
    """Return the setting that puts a colour behind cells of a column."""
    return {"column": column, "operator": operator, "targetValue": value, "colorScheme": code}


def _form(column: str) -> str:
    if column == "pinball":
        return LOSS
    if column == "dm_p_value":
        return ",.3f"
    if column.startswith("probability"):
        return ",.0f"
    if "skill" in column:
        return SIGNED
    if column.endswith("_pct") or column == "move_ratio":
        return PERCENTAGE
    if PRICE.search(column) or column in (
        "exposure",
        "expected_shortfall",
        "value",
        "value_at_risk",
    ):
        return MONEY
    return ""


def _formatted(form: str) -> Json:
    small = PRICED if form == MONEY else form
    return {"d3NumberFormat": form, "d3SmallNumberFormat": small} if form else {}


# ---- lines and bars


def lines(
    title: str,
    dataset: Dataset,
    x: str,
    metrics: Mapping[str, str],
    form: str,
    *,
    kind: str = "echarts_timeseries_line",
    by: Sequence[str] = (),
    params: Mapping[str, Any] | None = None,
    width: int = 6,
    height: int = 44,
    **more: Any,
) -> Chart:
    """Return lines, or bars, over `x`, a line per metric and value of `by`."""
    asked = [metric(name, sql) for name, sql in metrics.items()]
    given = {
        "x_axis": x,
        "x_axis_sort_asc": True,
        "x_axis_time_format": DAY,
        "metrics": asked,
        "groupby": list(by),
        "order_desc": True,
        "row_limit": 10000,
        "truncate_metric": True,
        "show_legend": True,
        "legendOrientation": "top",
        "rich_tooltip": True,
        "tooltipTimeFormat": DAY,
        "y_axis_format": form,
        "y_axis_bounds": [None, None],
        "truncateYAxis": True,
        **(params or {}),
    }
    query = {
        "columns": [x, *by],
        "metrics": asked,
        "orderby": [[asked[0], False]],
        "row_limit": given["row_limit"],
    }
    return Chart(
        title=title,
        kind=kind,
        dataset=dataset,
        params=given,
        query=query,
        width=width,
        height=height,
        **more,
    )


def edges(percent: int) -> dict[str, str]:
    """Return the lines of an interval's ends.

    Superset 6.1 would fill the space between `…__yhat_lower` and `…__yhat_upper`, but only on an
    axis that begins with zero.
    """
    return {f"{end} {percent} %": f"MAX(close_{end}_{percent})" for end in ("low", "high")}
