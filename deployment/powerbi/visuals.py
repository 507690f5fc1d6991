"""Kinds of visuals, in the terms of Power BI's report format (PBIR).

A field is written as DAX writes it: `Table[column]`, or `Table[Measure]`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deployment.powerbi.model import DIMENSIONS, FACTS

Json = dict[str, Any]

SCHEMAS = "https://developer.microsoft.com/json-schemas/fabric/item/report/definition"
MEASURES = {(t.name, m.name) for t in (*DIMENSIONS, *FACTS) for m in t.measures}
EDGE = 10
"""Pixels between visuals, and around them."""


@dataclass(frozen=True, kw_only=True)
class Visual:
    """A visual of a width and height, in pixels, and the fields in each of its roles."""

    kind: str
    title: str
    roles: Mapping[str, Sequence[str]]
    width: int
    height: int
    order: tuple[str, str] | None = None
    """A field, and `Ascending` or `Descending`."""
    only: Mapping[str, str] = field(default_factory=dict)
    """The one value that a column must have, as a literal of DAX."""
    ignores: tuple[str, ...] = ()
    """What is chosen of these leaves it alone."""
    names: Mapping[str, str] = field(default_factory=dict)
    """What fields are called where their own name says too little."""
    objects: Mapping[str, Json] = field(default_factory=dict)
    """Properties of parts of it."""

    def file(self, name: str, x: int, y: int, number: int) -> Json:
        """Return the content of `visual.json`."""
        shown: Json = {"visualType": self.kind}
        if self.roles:
            shown["query"] = {
                "queryState": {
                    role: {"projections": [self._projection(one) for one in fields]}
                    for role, fields in self.roles.items()
                }
            }
        if self.order:
            by, direction = self.order
            sort = [{"field": expression(by), "direction": direction}]
            shown["query"]["sortDefinition"] = {"sort": sort}
        shown["objects"] = {part: [{"properties": given}] for part, given in self.objects.items()}
        title: Json = {"show": literal("false")}
        if self.title:
            title = {"show": literal("true"), "text": literal(_text(self.title))}
        shown["visualContainerObjects"] = {"title": [{"properties": title}]}
        shown["drillFilterOtherVisuals"] = True
        place = {"x": x, "y": y, "z": number, "width": self.width, "height": self.height}
        made = {
            "$schema": f"{SCHEMAS}/visualContainer/1.0.0/schema.json",
            "name": name,
            "position": {**place, "tabOrder": number},
            "visual": shown,
        }
        if self.only:
            made["filterConfig"] = filters(self.only, name)
        return made

    def _projection(self, name: str) -> Json:
        table, own = parted(name)
        made = {
            "field": expression(name),
            "queryRef": f"{table}.{own}",
            "nativeQueryRef": self.names.get(name, own),
            "active": True,
        }
        return {**made, "displayName": self.names[name]} if name in self.names else made


def parted(name: str) -> tuple[str, str]:
    table, own = re.fullmatch(r"([^\[]+)\[([^\]]+)\]", name).groups()  # type: ignore[union-attr]
    return table, own


def expression(name: str, source: Json | None = None) -> Json:
    """Return a reference to a field, of the model or of a `source` within a filter."""
    table, own = parted(name)
    kind = "Measure" if (table, own) in MEASURES else "Column"
    reference = source or {"Entity": table}
    return {kind: {"Expression": {"SourceRef": reference}, "Property": own}}


def filters(only: Mapping[str, str], of: str) -> Json:
    """Return filters that leave one value of each column."""
    made = []
    for n, (column, value) in enumerate(only.items()):
        table, _ = parted(column)
        condition = {
            "Expressions": [expression(column, {"Source": "t"})],
            "Values": [[{"Literal": {"Value": value}}]],
        }
        made.append(
            {
                "name": f"{of}_{n}",
                "field": expression(column),
                "type": "Categorical",
                "filter": {
                    "Version": 2,
                    "From": [{"Name": "t", "Entity": table, "Type": 0}],
                    "Where": [{"Condition": {"In": condition}}],
                },
                "howCreated": "User",
            }
        )
    return {"filters": made}


def literal(value: str) -> Json:
    return {"expr": {"Literal": {"Value": value}}}


def _text(words: str) -> str:
    return "'" + words.replace("'", "''") + "'"


# ---- kinds


def card(name: str, title: str, **more: Any) -> Visual:
    """Return one number."""
    return Visual(
        kind="card",
        title=title,
        roles={"Values": [name]},
        height=90,
        objects={
            "categoryLabels": {"show": literal("false")},
            "labels": {"fontSize": literal("22D"), "labelDisplayUnits": literal("1D")},
        },
        **more,
    )


def slicer(name: str, title: str, *, is_one: bool = False, **more: Any) -> Visual:
    """Return what a visitor chooses by, one value at any time or any number."""
    return Visual(
        kind="slicer",
        title=title,
        roles={"Values": [name]},
        height=90,
        objects={
            "data": {"mode": literal("'Dropdown'")},
            "selection": {"strictSingleSelect": literal("true" if is_one else "false")},
            "header": {"show": literal("false")},
        },
        **more,
    )


def table(title: str, fields: Sequence[str], **more: Any) -> Visual:
    total = {"total": {"totals": literal("false")}}
    return Visual(kind="tableEx", title=title, roles={"Values": fields}, objects=total, **more)


def chart(kind: str, title: str, x: str, y: Sequence[str], by: str = "", **more: Any) -> Visual:
    """Return lines, columns or bars of measures, or of one by the values of a column."""
    roles = {"Category": [x], "Y": y, **({"Series": [by]} if by else {})}
    return Visual(kind=kind, title=title, roles=roles, **more)


def text(words: str, **more: Any) -> Visual:
    runs = [{"value": words, "textStyle": {"fontSize": "9pt"}}]
    general = {"paragraphs": [{"textRuns": runs}]}
    return Visual(kind="textbox", title="", roles={}, objects={"general": general}, **more)


# ---- pages


@dataclass(frozen=True, kw_only=True)
class Page:
    """A page of visuals in rows."""

    name: str
    title: str
    rows: Sequence[Sequence[Visual]]

    @property
    def width(self) -> int:
        """Return how wide the widest row is."""
        return max(sum(one.width + EDGE for one in row) for row in self.rows) + EDGE

    @property
    def height(self) -> int:
        """Return how high all rows are together."""
        return sum(max(one.height for one in row) + EDGE for row in self.rows) + EDGE

    def files(self) -> dict[str, Json]:
        """Return the content of its files, by their paths below the folder of pages."""
        visuals = [visual for row in self.rows for visual in row]
        names = [f"{self.name}_{number:02}" for number in range(1, len(visuals) + 1)]
        placed = zip(names, visuals, self._places(), strict=True)
        made = {
            f"{self.name}/visuals/{name}/visual.json": visual.file(name, x, y, number)
            for number, (name, visual, (x, y)) in enumerate(placed, start=1)
        }
        made[f"{self.name}/page.json"] = {
            "$schema": f"{SCHEMAS}/page/1.0.0/schema.json",
            "name": self.name,
            "displayName": self.title,
            "displayOption": "FitToWidth",
            "height": self.height,
            "width": self.width,
            "visualInteractions": [
                {"source": source, "target": target, "type": "NoFilter"}
                for target, visual in zip(names, visuals, strict=True)
                for source, chosen in zip(names, visuals, strict=True)
                if chosen.kind == "slicer" and chosen.roles["Values"][0] in visual.ignores
            ],
        }
        return made

    def _places(self) -> Iterator[tuple[int, int]]:
        y = EDGE
        for row in self.rows:
            x = EDGE
            for visual in row:
                yield x, y
                x += visual.width + EDGE
            y += max(visual.height for visual in row) + EDGE
