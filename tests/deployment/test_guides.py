"""The README and the guides say what is true, as far as can be told without running it: links lead
somewhere, commands and modules exist, SQL runs, what programs write is current."""

import re
import shlex
from pathlib import Path
from urllib.parse import unquote

import pytest
import typer

from deployment.guides import configuration, drawings
from jobs import cli
from stockbatch.exceptions import MissingExtra
from tests.support.places import ROOT

FOLDER = ROOT / "deployment" / "guides"
README = ROOT / "README.md"
GUIDES = sorted(FOLDER.glob("*.md"))
PAGES = [
    README,
    *GUIDES,
    ROOT / ".github" / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "deployment").glob("*/README.md")),
]
PROGRAMS = {"stockbatch", ".venv/bin/stockbatch", "/opt/stockbatch/bin/stockbatch"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def read(page):
    return page.read_text(encoding="utf-8")


def blocks(page, language):
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", read(page), re.MULTILINE | re.DOTALL)


# ---- what there is, and how long it may be


def test_all_guides_are_there_and_the_readme_links_to_each():
    named = {Path(t.partition("#")[0]).name for t in links(README) if "guides/" in t and ".md" in t}
    assert named == {page.name for page in GUIDES}
    assert {
        *("how-to-read.md", "how-it-works.md", "operations.md", "providers-and-data-quality.md"),
        "csv-files.md",
        *("configuration.md", "security.md", "sql.md", "rest-and-files.md", "data-science.md"),
        *("cluster.md", "measurements.md", "architecture.md"),
    } <= named


@every_page
def test_a_page_is_short(page):
    most = {README: 8 * 1024}.get(page, 10 * 1024)
    assert len(page.read_bytes()) <= most


def test_a_picture_is_loaded_at_once():
    pictures = [ROOT / target for target in links(README) if target.endswith(".png")]
    assert pictures
    assert all(picture.stat().st_size < 200_000 for picture in pictures)


@every_page
def test_a_page_knows_no_other_machine(page):
    assert not re.search(r"\.\./shared|(?<![\w.])/(?:work|root)/", read(page))


def test_the_page_of_the_dashboard_stands_alone():
    assert links(FOLDER / "how-to-read.md") == []


# ---- links


def links(page):
    """Return the targets of the links and pictures of a page that lead to another place in it."""
    plain = re.sub(r"^```.*?^```|`[^`]*`", "", read(page), flags=re.MULTILINE | re.DOTALL)
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", plain)
    return [target for target in found if not re.match(r"[a-z]+:", target)]


def anchors(page):
    """Return the anchors that GitHub makes of the headings of a page."""
    plain = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    found = []
    for heading in re.findall(r"^#+ (.+)$", plain, re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
        again = sum(re.sub(r"-\d+$", "", one) == words for one in found)
        found.append(f"{words}-{again}" if again else words)
    return found


@every_page
def test_links_lead_somewhere(page):
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (page.parent / unquote(path)).resolve() if path else page
        assert file.is_relative_to(ROOT), target
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_a_link_that_leads_nowhere_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    fenced = "```\n[three](e)\n# F\n```\n"
    page.write_text(f"# A *b*: `c`\n\n[one](#a-b-c), `[two](#d)`\n\n{fenced}# A b c\n")
    assert (links(page), anchors(page)) == (["#a-b-c"], ["a-b-c", "a-b-c-1"])


@every_page
def test_files_that_are_named_are_there(page):
    roots = "deployment|jobs|migrations|stockbatch|tests"
    named = re.findall(rf"(?<![\w/.~:-])(?:{roots})/[\w./*-]*[\w*]/?", read(page))
    named = [name for name in named if "NAME" not in name and not name.endswith("secrets")]
    assert [name for name in named if not list(ROOT.glob(name))] == []


# ---- commands


def command_lines(page):
    """Return the arguments of every call of the program in a page's shell blocks."""
    found = []
    for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        if "stockbatch" not in line:
            continue
        words = shlex.shlex(line, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        call = None
        for word in words:
            if re.fullmatch(r"[();<>|&]+", word):
                call = None
            elif call is not None:
                call.append(word)
            elif word in PROGRAMS:
                call = []
                found.append(call)
    return [call for call in (_own(call) for call in found) if call]


def _own(call):
    """Return the arguments behind the last name of the program: before it may be a namespace's."""
    names = [place for place, word in enumerate(call) if word in PROGRAMS]
    return call[names[-1] + 1 :] if names else call


def parse(arguments):
    """Parse a command line without running it. Raises what Typer raises for one that is wrong."""
    command = typer.main.get_command(cli.app)
    name, context = "stockbatch", None
    while True:
        context = command.make_context(name, list(arguments), parent=context)
        if not isinstance(command, typer.core.TyperGroup):
            return
        arguments = [*context._protected_args, *context.args]
        if not arguments:  # a group that answers by itself
            return
        name, command, arguments = command.resolve_command(context, arguments)


CALLS = [
    pytest.param(call, id=f"{page.stem}: {' '.join(call)}")
    for page in (README, *GUIDES)
    for call in command_lines(page)
]


def test_there_are_commands_in_the_guides():
    called = {word for call in CALLS for word in call.values[0]}
    group = typer.main.get_command(cli.app)
    assert set(group.commands) <= called, "a command that no guide shows"


@pytest.mark.parametrize("call", CALLS)
def test_a_command_of_a_guide_can_be_parsed(call):
    if "--help" in call:
        call = [word for word in call if word != "--help"]
        assert "Missing argument" in str(wrong(call).format_message())
    else:
        parse(call)


def wrong(arguments):
    with pytest.raises(Exception) as caught:  # noqa: PT011 (Typer carries its own copy of Click)
        parse(arguments)
    return caught.value


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("stockbatch deamon", "UsageError"),
        ("cd x && .venv/bin/stockbatch run --sesion 2018-02-06", "NoSuchOption"),
        ("token=$(stockbatch tokens add)", "MissingParameter"),
        ("kubectl -n stockbatch exec x -- stockbatch tickers drop A", "UsageError"),
        ("stockbatch run --session yesterday  # stockbatch", "BadParameter"),
    ],
)
def test_a_wrong_command_is_noticed(tmp_path, line, error):
    page = tmp_path / "page.md"
    page.write_text(f"```sh\n{line}\n```\n")
    (call,) = command_lines(page)
    assert type(wrong(call)).__name__ == error


def test_what_installs_an_extra_removes_no_other_and_is_named_alike():
    """Without --inexact, `uv sync` takes away what its own line does not name."""
    texts = [*map(read, PAGES), str(MissingExtra(what="it", extra="api"))]
    named = {line for text in texts for line in re.findall(r"[\w./]*uv sync[\w -]*", text)}
    # A service has an environment of its own, which one line fills.
    assert {line for line in named if "--no-editable" not in line} == {
        ".venv/bin/uv sync --frozen --inexact --extra all",
        ".venv/bin/uv sync --frozen --all-extras",
    }


@every_page
def test_modules_that_are_run_exist(page):
    named = re.findall(r"python -m ((?:tests|deployment)[\w.]+)", read(page))
    assert [m for m in named if not (ROOT / m.replace(".", "/")).with_suffix(".py").exists()] == []


@pytest.mark.parametrize(("page", "count"), [("sql.md", 6), ("risk.md", 3)])
def test_statements_of_a_guide_run_as_the_reader(db, page, count):
    statements = ";".join(blocks(FOLDER / page, "sql")).split(";")
    asked = [one for one in statements if re.search(r"\bFROM bi\.", one)]
    assert len(asked) == count
    connection = db.connection()
    connection.exec_driver_sql("SET LOCAL ROLE stockbatch_reader")
    for statement in asked:
        assert connection.exec_driver_sql(statement).keys()


# ---- what programs write


def test_the_guide_to_the_settings_is_current():
    assert read(configuration.FILE) == configuration.guide(), (
        "python -m deployment.guides.configuration"
    )


def test_the_drawings_are_current():
    number = r"-?\d+(?:\.\d+)?"
    made = drawings.drawings()
    assert {file.name for file in FOLDER.glob("*.svg")} == set(made)
    for name, drawing in made.items():
        known = read(FOLDER / name)
        assert re.sub(number, "#", known) == re.sub(number, "#", drawing), name
        places, now = (list(map(float, re.findall(number, text))) for text in (known, drawing))
        assert now == pytest.approx(places, abs=0.11), name  # rounded, elsewhere perhaps otherwise
