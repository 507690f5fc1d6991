"""Model and report for Power BI, and the guide for Tableau, name what schema `bi` has.

Neither program is at hand here. Microsoft's own library reads and writes the model's files as they
are (see deployment/powerbi/README.md); the tests below read them by their indentation.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field

import pytest

from deployment.powerbi import build as powerbi
from stockbatch.store.bi import dictionary
from tests.support.places import ROOT

DEPLOYMENT = ROOT / "deployment"
MODEL = DEPLOYMENT / "powerbi" / "stockbatch.SemanticModel" / "definition"
POWERBI_TYPES = {
    "text": "string",
    "boolean": "boolean",
    "integer": "int64",
    "bigint": "int64",
    "double precision": "double",
    "date": "dateTime",
    "timestamp with time zone": "dateTime",
}


@pytest.fixture
def bi(db):
    """Names and types of the columns of every view."""
    found = {}
    for column in dictionary.columns(db):
        found.setdefault(column.view, {})[column.name] = column.type
    return found


# ---- TMDL


@dataclass
class Node:
    """A line, what is indented below it, and the description above it."""

    line: str
    text: str = ""
    """All that is indented below, as it is written."""
    children: list = field(default_factory=list)

    def of(self, kind):
        """Return the declarations of a kind by name."""
        pattern = re.compile(rf"{kind} ('[^']+'|\S+)")
        found = [(pattern.match(child.line), child) for child in self.children]
        return {match[1].strip("'"): child for match, child in found if match}

    def value(self, name):
        (found,) = [c.line for c in self.children if c.line.startswith(f"{name}:")]
        return found.partition(":")[2].strip()

    def expression(self, name):
        """Return what stands after `name =`, on the same line or below."""
        (child,) = [c for c in self.children if re.match(rf"{name} ?=", c.line)]
        return child.line.partition("=")[2] + child.text


def parsed(text):
    root = Node("")
    open_nodes = [(-1, root)]
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip("\t"))
        if not line.strip() or line.lstrip().startswith("///"):
            continue
        while open_nodes[-1][0] >= depth:
            open_nodes.pop()
        for _, node in open_nodes:
            node.text += line + "\n"
        node = Node(line.strip())
        open_nodes[-1][1].children.append(node)
        open_nodes.append((depth, node))
    return root


@pytest.fixture(scope="module")
def model():
    """The tables of the semantic model."""
    tables = {}
    for file in (MODEL / "tables").iterdir():
        ((name, table),) = parsed(file.read_text(encoding="utf-8")).of("table").items()
        assert name == file.stem
        tables[name] = table
    return tables


def columns_of(table):
    """Return the columns of a table: those of its view and those computed."""
    return table.of("column")


def test_files_are_those_that_the_program_writes():
    for path, content in powerbi.files().items():
        assert (powerbi.FOLDER / path).read_text(encoding="utf-8") == content, path
    in_model = {str(file.relative_to(MODEL)) for file in MODEL.rglob("*.tmdl")}
    assert in_model == powerbi.files().keys()
    report = {
        file.relative_to(REPORT).as_posix(): file.read_text(encoding="utf-8")
        for file in REPORT.rglob("*.json")
    }
    assert report == powerbi.report_files()


def test_every_table_is_loaded_from_columns_that_a_view_has(model, bi):
    loaded = Counter()
    for name, table in model.items():
        source = table.of("partition")[name].expression("source")
        (view,) = re.findall(r'Source\{\[Schema = "bi", Item = "(\w+)"\]\}\[Data\]', source)
        loaded[view] += 1
        for column, node in columns_of(table).items():
            if "=" in node.line:
                continue
            assert node.value("sourceColumn") == column
            assert node.value("dataType") == POWERBI_TYPES[bi[view][column]], (name, column)
        instants = set(re.findall(r'\{"(\w+)", Utc, type nullable datetime\}', source))
        known = {c: bi[view][c] for c in columns_of(table) if c in bi[view]}
        assert instants == {c for c, kind in known.items() if kind == "timestamp with time zone"}
        assert set(re.findall(r"each \[(\w+)\]", source)) <= bi[view].keys()
        distinct = re.findall(r'Table.Distinct\(Table.SelectColumns\(View, \{"(\w+)"\}\)\)', source)
        assert bool(distinct) == (len(known) < len(bi[view]))
        assert distinct == [] or known.keys() == set(distinct)
    assert loaded.keys() == bi.keys(), "a view is missing"


def test_relationships_lead_from_facts_to_keys(model):
    text = (MODEL / "relationships.tmdl").read_text(encoding="utf-8")
    found = parsed(text).of("relationship")
    ends = set()
    for relationship in found.values():
        (fact, key), (dimension, its_key) = (
            [part.strip("'") for part in relationship.value(end).rsplit(".", 1)]
            for end in ("fromColumn", "toColumn")
        )
        assert key in columns_of(model[fact])
        assert "isKey" in [c.line for c in columns_of(model[dimension])[its_key].children]
        assert "isHidden" in [c.line for c in columns_of(model[fact])[key].children]
        kinds = [columns_of(model[t])[key].value("dataType") for t in (fact, dimension)]
        assert kinds[0] == kinds[1]
        ends.add((fact, dimension))
    dimensions = {dimension for _, dimension in ends}
    assert dimensions == {"Instruments", "Exchanges", "Sessions"}
    assert len(ends) == len(found), "two ways from one table to another"
    assert not dimensions & {fact for fact, _ in ends}, "not a star"
    # Which method is shown first concerns all tickers and sessions alike.
    assert {fact for fact, _ in ends} | dimensions | {"Headlines"} == model.keys()


REFERENCE = re.compile(r"('[^']+'|\b[A-Za-z]\w*)\[([^\]]+)\]")


def test_measures_and_computed_columns_use_columns_that_there_are(model):
    measures = [
        (name, measure, node)
        for name, table in model.items()
        for measure, node in table.of("measure").items()
    ]
    assert len(measures) > 30
    assert len({measure for _, measure, _ in measures}) == len(measures)
    for name, measure, node in measures:
        assert measure.lower() not in {column.lower() for column in columns_of(model[name])}
        assert measure not in model
        node.value("formatString")
        lines = [c for c in node.text.splitlines() if not c.lstrip().startswith("formatString:")]
        check_dax(model, node.line.partition("=")[2] + "\n".join(lines))
    computed = [n for t in model.values() for n in columns_of(t).values() if "=" in n.line]
    assert computed
    for node in computed:
        check_dax(model, node.line.partition("=")[2])


def check_dax(model, dax):
    found = REFERENCE.findall(dax)
    for table, column in found:
        assert column in columns_of(model[table.strip("'")]), dax
    tables = re.findall(r"(?:COUNTROWS|FILTER|AVERAGEX|SUMX)\(\s*('[^']+'|\w+)\s*[,)]", dax)
    assert {table.strip("'") for table in tables} <= model.keys()
    assert found or tables
    assert len(re.findall(r"\[", dax)) == len(found), "a bare reference"
    plain = re.sub(r'"[^"]*"', "", dax)
    assert plain.count("(") == plain.count(")")


def test_what_grows_is_refreshed_by_month_where_updated_at_says_so(model, bi):
    refreshed = {name for name, table in model.items() if "refreshPolicy" in table.text}
    assert refreshed == {"Reasons", "Forecasts", "Prices", "Outcomes", "Risk", "Training"}
    for name in refreshed:
        (policy,) = [c for c in model[name].children if c.line == "refreshPolicy"]
        partition = model[name].of("partition")[name]
        assert policy.expression("sourceExpression").split() == (
            partition.expression("source").split()
        )
        for query in (
            policy.expression("pollingExpression"),
            policy.expression("sourceExpression"),
        ):
            assert "[session] >= Date.From(RangeStart) and [session] < Date.From(RangeEnd)" in query
        assert "List.Max(Rows[updated_at])" in policy.expression("pollingExpression")
        assert {"session", "updated_at"} <= columns_of(model[name]).keys()
    text = (MODEL / "expressions.tmdl").read_text(encoding="utf-8")
    parameters = re.findall(r"^expression (\w+) = ", text, re.MULTILINE)
    assert parameters == ["Server", "Database", "RangeStart", "RangeEnd"]


def test_the_project_leads_to_the_model():
    folder = DEPLOYMENT / "powerbi"

    def read(path):
        return json.loads((folder / path).read_text(encoding="utf-8"))

    (artifact,) = read("stockbatch.pbip")["artifacts"]
    report = folder / artifact["report"]["path"]
    reference = read(report / "definition.pbir")["datasetReference"]["byPath"]["path"]
    assert (report / reference).resolve() == MODEL.parent
    assert float(read(MODEL.parent / "definition.pbism")["version"]) >= 4  # 4: may be TMDL
    for page in read(report / "definition/pages/pages.json")["pageOrder"]:
        assert read(report / f"definition/pages/{page}/page.json")["name"] == page
    (connection,) = read("stockbatch.pbids")["connections"]
    assert connection["details"]["protocol"] == "postgresql"
    assert connection["details"]["address"].keys() == {"server", "database"}
    for file in [*folder.glob("*"), *folder.rglob("definition*/**/*"), *folder.glob("*/*")]:
        if file.suffix in {".json", ".pbir", ".pbism", ".pbip"}:
            assert "/schema.json" in read(file)["$schema"]


# ---- the report


REPORT = DEPLOYMENT / "powerbi" / "stockbatch.Report"
ROLES = {
    "card": {"Values"},
    "clusteredBarChart": {"Category", "Y"},
    "clusteredColumnChart": {"Category", "Y"},
    "lineChart": {"Category", "Y", "Series"},
    "slicer": {"Values"},
    "tableEx": {"Values"},
    "textbox": set(),
}
LITERALS = {"boolean": r"true|false", "string": r"'[^']*'", "int64": r"\d+L"}
"""How values of a type are written."""


@dataclass
class Shown:
    """A visual and the page it is on."""

    page: dict
    visual: dict

    @property
    def name(self):
        return self.visual["name"]

    @property
    def kind(self):
        return self.visual["visual"]["visualType"]

    def projections(self, *roles):
        state = self.visual["visual"].get("query", {}).get("queryState", {})
        return [one for role in roles or state for one in state.get(role, {"projections": []})[
            "projections"]]  # fmt: skip

    def fields(self, kind, *roles):
        """Return tables and names of the columns or measures in roles."""
        found = [one["field"][kind] for one in self.projections(*roles) if kind in one["field"]]
        return {(one["Expression"]["SourceRef"]["Entity"], one["Property"]) for one in found}

    def filtered(self):
        """Return the columns that a filter leaves one value of, with it."""
        found = {}
        for one in self.visual.get("filterConfig", {}).get("filters", ()):
            column = one["field"]["Column"]
            (where,) = one["filter"]["Where"]
            (inner,) = where["Condition"]["In"]["Expressions"]
            ((value,),) = where["Condition"]["In"]["Values"]
            (source,) = one["filter"]["From"]
            assert inner["Column"]["Property"] == column["Property"]
            assert inner["Column"]["Expression"]["SourceRef"]["Source"] == source["Name"]
            assert source["Entity"] == column["Expression"]["SourceRef"]["Entity"]
            found[source["Entity"], column["Property"]] = value["Literal"]["Value"]
        return found


def read(file):
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def shown():
    """Every visual of every page."""
    pages = REPORT / "definition" / "pages"
    order = read(pages / "pages.json")["pageOrder"]
    assert sorted(order) == sorted(folder.name for folder in pages.iterdir() if folder.is_dir())
    found = []
    for name in order:
        page = read(pages / name / "page.json")
        assert page["name"] == name
        for file in sorted(pages.glob(f"{name}/visuals/*/visual.json")):
            found.append(Shown(page, read(file)))
            assert found[-1].name == file.parent.name
    assert len({one.name for one in found}) == len(found) > 20
    return found


def references(content):
    """Return every reference to a field anywhere in a file: its kind, table and name."""
    found = set()
    if isinstance(content, dict):
        for key, value in content.items():
            if key in ("Column", "Measure") and "Entity" in value["Expression"]["SourceRef"]:
                table = value["Expression"]["SourceRef"]["Entity"]
                found.add((key, table, value["Property"]))
            found |= references(value)
    if isinstance(content, list):
        found = set().union(*map(references, content))
    return found


def test_every_field_of_the_report_is_in_the_model(shown, model):
    used = set().union(*(references(one.visual) for one in shown))
    assert {kind for kind, *_ in used} == {"Column", "Measure"}
    for kind, table, name in used:
        there = columns_of(model[table]) if kind == "Column" else model[table].of("measure")
        assert name in there, (table, name)


def test_visuals_have_the_roles_of_their_kind(shown):
    for one in shown:
        state = one.visual["visual"].get("query", {}).get("queryState", {})
        assert state.keys() <= ROLES[one.kind]
        assert one.kind == "textbox" or state
        assert not one.fields("Column", "Y")
        assert not one.fields("Measure", "Category", "Series")
        assert one.kind != "card" or len(one.fields("Measure")) == len(one.projections()) == 1
        names = [field["queryRef"] for field in one.projections()]
        assert len(set(names)) == len(names)
        sorted_by = one.visual["visual"].get("query", {}).get("sortDefinition", {"sort": []})
        assert references(sorted_by) <= references(state)


def test_filters_are_of_values_of_the_type_of_their_column(shown, model):
    names = Counter()
    for one in shown:
        for (table, column), value in one.filtered().items():
            kind = columns_of(model[table])[column].value("dataType")
            assert re.fullmatch(LITERALS[kind], value), (table, column, value)
        names.update(f["name"] for f in one.visual.get("filterConfig", {}).get("filters", ()))
    assert names
    assert set(names.values()) == {1}


def test_visuals_lie_on_their_page_and_not_on_each_other(shown):
    def corners(one):
        at = one.visual["position"]
        return at["x"], at["y"], at["x"] + at["width"], at["y"] + at["height"]

    for n, one in enumerate(shown):
        left, top, right, bottom = corners(one)
        assert left >= 0
        assert top >= 0
        assert right <= one.page["width"]
        assert bottom <= one.page["height"]
        for other in shown[:n]:
            if other.page is one.page:
                its_left, its_top, its_right, its_bottom = corners(other)
                beside = right <= its_left or its_right <= left
                assert beside or bottom <= its_top or its_bottom <= top, (one.name, other.name)


def test_a_measure_of_one_method_and_kind_is_shown_where_these_are_one(shown, model):
    """A measure is blank where it would mix what must not be; a visual of it would be, too."""
    guarded = 0
    for one in shown:
        apart = {i["source"] for i in one.page["visualInteractions"] if i["target"] == one.name}
        known = one.fields("Column") | one.filtered().keys()
        for slicer in (s for s in shown if s.page["name"] == one.page["name"]):
            selection = slicer.visual["visual"]["objects"].get("selection")
            if selection and slicer.name not in apart:
                strict = selection[0]["properties"]["strictSingleSelect"]
                known |= (
                    slicer.fields("Column")
                    if strict["expr"]["Literal"]["Value"] == "true"
                    else set()
                )
        if ("Next session", "is_headline") in known:
            known.add(("Next session", "method"))  # one of a ticker; of several, where all have it
        for table, measure in one.fields("Measure"):
            node = model[table].of("measure")[measure]
            needed = re.findall(r"HASONEVALUE\(('[^']+'|\w+)\[(\w+)\]\)", node.line + node.text)
            for of, column in needed:
                guarded += 1
                assert (of.strip("'"), column) in known, (one.name, measure, of, column)
    assert guarded > 30


def test_a_measure_that_lacks_its_method_would_be_noticed(shown, model):
    (bare,) = (one for one in shown if one.name == "overview_05")
    without = Shown(bare.page, {k: v for k, v in bare.visual.items() if k != "filterConfig"})
    with pytest.raises(AssertionError, match="method"):
        test_a_measure_of_one_method_and_kind_is_shown_where_these_are_one([without], model)


def test_the_theme_is_where_the_report_looks_for_it():
    content = read(REPORT / "definition" / "report.json")
    chosen = content["themeCollection"]["customTheme"]
    (package,) = content["resourcePackages"]
    (item,) = package["items"]
    assert (item["name"], item["type"]) == (chosen["name"], "CustomTheme")
    theme = read(REPORT / "StaticResources" / package["name"] / item["path"])
    assert theme["name"]
    assert all(re.fullmatch("#[0-9A-F]{6}", colour) for colour in theme["dataColors"])


# ---- Tableau


def test_the_guide_for_tableau_names_views_and_columns_that_there_are(bi):
    guide = (DEPLOYMENT / "tableau" / "README.md").read_text(encoding="utf-8")
    views = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|.*\| (`.*) \|$", guide, re.MULTILINE)))
    columns = {column for view in bi.values() for column in view}
    assert len(set(views) - columns) > 12
    assert set(views) <= bi.keys() | columns
    used = set(
        re.findall(r"\[(\w+)\]", "".join(re.findall(r"```text\n(.*?)```", guide, re.DOTALL)))
    )
    assert {"method", "kind", "inside_80"} <= used
    assert used | set(re.findall(r"`(inside_\d+|direction_hit)`", guide)) <= (
        bi["forecast_history"].keys()
    )
