"""Dashboards: charts in rows, and the filters beside them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deployment.superset.charts import Chart
from deployment.superset.datasets import Dataset, Json, identity


@dataclass(frozen=True, kw_only=True)
class Filter:
    """What a visitor chooses; it leaves out rows of the charts on `datasets`, none: of all."""

    name: str
    column: str
    dataset: Dataset
    datasets: tuple[Dataset, ...] = ()
    is_one: bool = True
    """One value is chosen at any time, the first at the beginning; else any number, or none."""
    descending: bool = False
    value: Any = None
    """Chosen at the beginning, instead of the first."""

    def setting(self, left_out: Sequence[int]) -> Json:
        """Return it as part of a dashboard, whose charts of these numbers it leaves alone."""
        first = self.is_one and self.value is None
        chosen: Json = {"extraFormData": {}, "filterState": {}}
        if self.value is not None:
            clause = {"col": self.column, "op": "IN", "val": [self.value]}
            chosen = {
                "extraFormData": {"filters": [clause]},
                "filterState": {"value": [self.value], "label": str(self.value)},
            }
        return {
            "id": f"NATIVE_FILTER-{self.column}",
            "name": self.name,
            "type": "NATIVE_FILTER",
            "filterType": "filter_select",
            "description": "",
            "targets": [
                {
                    "datasetUuid": identity("dataset", self.dataset.name),
                    "column": {"name": self.column},
                }
            ],
            "controlValues": {
                "enableEmptyFilter": self.is_one,
                "defaultToFirstItem": first,
                "multiSelect": not self.is_one,
                "sortAscending": not self.descending,
                "searchAllOptions": False,
                "inverseSelection": False,
            },
            "defaultDataMask": chosen,
            "requiredFirst": first,  # what is chosen so counts at once, without a click
            "cascadeParentIds": [],
            "scope": {"rootPath": ["ROOT_ID"], "excluded": list(left_out)},
        }


@dataclass(frozen=True, kw_only=True)
class Dashboard:
    """A page of charts in rows."""

    name: str
    title: str
    description: str
    rows: Sequence[Sequence[Chart]]
    filters: Sequence[Filter]
    colours: Mapping[str, str]
    """Of lines and bars, by their names."""

    @property
    def charts(self) -> list[Chart]:
        """Return them from left to right, then down."""
        return [chart for row in self.rows for chart in row]

    def file(self) -> Json:
        """Return what the export says of it."""
        numbers = {chart.title: n for n, chart in enumerate(self.charts, start=1)}
        return {
            "dashboard_title": self.title,
            "description": self.description,
            "slug": f"stockbatch-{self.name}",
            "published": True,
            "css": "",
            "position": self._position(numbers),
            "metadata": {
                "native_filter_configuration": [
                    one.setting(
                        [
                            numbers[chart.title]
                            for chart in self.charts
                            if one.datasets and chart.dataset not in one.datasets
                        ]
                    )
                    for one in self.filters
                ],
                "color_scheme": "supersetColors",
                "label_colors": dict(self.colours),
                "cross_filters_enabled": False,
                "refresh_frequency": 300,
            },
            "uuid": identity("dashboard", self.name),
            "version": "1.0.0",
        }

    def _position(self, numbers: Mapping[str, int]) -> Json:
        rows = [f"ROW-{n}" for n in range(len(self.rows))]
        position: Json = {
            "DASHBOARD_VERSION_KEY": "v2",
            "ROOT_ID": {"id": "ROOT_ID", "type": "ROOT", "children": ["GRID_ID"]},
            "GRID_ID": _placed("GRID_ID", "GRID", rows, ["ROOT_ID"]),
            "HEADER_ID": {"id": "HEADER_ID", "type": "HEADER", "meta": {"text": self.title}},
        }
        for row, charts in zip(rows, self.rows, strict=True):
            above = ["ROOT_ID", "GRID_ID"]
            cells = {f"CHART-{numbers[chart.title]}": chart for chart in charts}
            position[row] = _placed(row, "ROW", list(cells), above)
            position[row]["meta"] = {"background": "BACKGROUND_TRANSPARENT"}
            for cell, chart in cells.items():
                position[cell] = _placed(cell, "CHART", [], [*above, row])
                position[cell]["meta"] = {
                    "chartId": numbers[chart.title],
                    "uuid": chart.uuid(self.name),
                    "sliceName": chart.title,
                    "width": chart.width,
                    "height": chart.height,
                }
        return position


def _placed(name: str, kind: str, children: list[str], parents: list[str]) -> Json:
    return {"id": name, "type": kind, "children": children, "parents": parents}
