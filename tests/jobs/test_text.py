"""What others wrote is shown as text, wherever it is shown."""

import os
import re
import subprocess
import sys

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from jobs import watchlist
from jobs.commands import context, tables
from jobs.commands.tables import words
from jobs.daemon import alerts
from jobs.pictures.dashboard.page import escaped
from jobs.watchlist import Fallback, Wanted
from jobs.words import cell
from stockbatch.config.text import scheme_of
from stockbatch.exceptions import BadSymbol
from stockbatch.records import Listing
from stockbatch.store import instruments
from tests.support.market import fetch

BAD = ["", "A" * 10_000, "A\x1b[2J", " A", "A\n"]


@pytest.mark.parametrize("name", ["[bold]x[/bold]", "[/red]", "[link=http://x]y", ":smile:", "\\["])
def test_a_table_shows_brackets(capsys, name):
    tables.show(name, [words("name")], [{"name": name}], ("name",))
    assert capsys.readouterr().out.count(name) == 2


def test_a_table_steers_no_terminal(capsys):
    row = {"name": "a\x1b]0;owned\x07\x9b2J\u202eb\nc"}
    tables.show("x", [words("name")], [row], ("name",))
    for say in (context.say, context.answer, context.warn):
        say("a\x1b[2Jb")
    shown = capsys.readouterr().out
    assert not re.search("[\x07\x1b\x9b\u202e]", shown)
    assert "a\\x1b[2Jb" in shown


@pytest.mark.parametrize("formula", ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(1)", "\t=1", "＝1"])  # noqa: RUF001
def test_a_text_is_no_formula(formula):
    assert cell(formula) == f"'{formula}"


@pytest.mark.parametrize("value", [-1.5, None, 3, "AAPL", "^GSPC", True])
def test_numbers_and_names_stay(value):
    assert cell(value) is value


def test_markdown_is_text():
    message = "![x](http://evil/x.png) <b> :red[x] $x$ `x` https://evil | # a\n- b"
    shown = escaped(message)
    assert "\n" not in shown
    # But for the word joiners that keep addresses from being links.
    assert re.sub(r"\\([^\w\s])", "", shown).replace("\u2060", "").isprintable()
    assert not re.search(r"(?<!\\)[!\[\]()<>:$`#|*_.-]", shown)


@pytest.mark.parametrize("bad", BAD)
def test_every_entrance_checks_symbols(app, bad):
    given = Listing(ticker="GOOD", symbol="GOOD", calendar="XNYS")
    with pytest.raises(BadSymbol), app.transaction() as db:
        instruments.add(db, [Listing(ticker=bad, symbol="A", calendar="XNYS")], provider="demo")
    with app.transaction() as db:
        instruments.add(db, [given], provider="demo")
    with pytest.raises(BadSymbol):
        watchlist.rename(app, "GOOD", bad)
    told = {"calendar": "XNYS"}
    wanted = [Wanted(ticker=bad, provider="demo", told=told)]
    wanted.append(Wanted(ticker="FINE", provider="demo", told=told))
    added = watchlist.add(app, wanted)
    assert [one.ticker for one in added.listings] == ["FINE"]
    assert isinstance(added.failures[0], BadSymbol)
    if bad:
        with pytest.raises(BadSymbol):
            watchlist.add(app, wanted[1:], [Fallback(provider="demo", symbol=bad)])
    query = text("UPDATE stockbatch.instruments SET ticker = :bad WHERE ticker = 'GOOD'")
    with pytest.raises(IntegrityError), app.transaction() as db:
        db.execute(query, {"bad": bad})


def test_what_steers_in_a_name_is_spelled_out(app):
    with app.transaction() as db:
        named = Listing(ticker="GOOD", symbol="GOOD", calendar="XNYS", name="a\x1b[2J\0b")
        instruments.add(db, [named], provider="demo")
    query = "SELECT name FROM stockbatch.instruments WHERE ticker = 'GOOD'"
    assert fetch(app.engine, query) == [{"name": "a\\x1b[2J\\x00b"}]


def test_channels_say_nothing_of_their_urls(app):
    urls = ("MAILTO://me:pa://ss@host", "xoxb-hunter2", "json:hunter2", "secret.x://y")
    from pydantic import SecretStr

    chosen = {"alert_urls": tuple(map(SecretStr, urls))}
    app.settings = app.settings.model_copy(update=chosen)
    assert list(alerts._channels(app)) == ["mailto 1", "channel 2", "channel 3", "channel 4"]
    assert scheme_of("slack://x") == "slack"


def _main(*arguments, **changes):
    options = {"capture_output": True, "text": True, "timeout": 120} | changes
    return subprocess.run([sys.executable, *arguments], check=False, **options)


def test_without_docstrings_it_says_what_to_do():
    done = _main("-OO", "-m", "jobs", "config", "show")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "start it without -OO" in done.stderr


def test_without_streams_it_works():
    script = (
        "import os\nfor n in (0, 1, 2): os.close(n)\nos.execv({0!r}, [{0!r}, '-m', 'jobs'] + {1})"
    )
    for arguments, status in ((["config", "show"], 0), (["config", "shew"], 2)):
        done = _main("-c", script.format(sys.executable, arguments), env=dict(os.environ))
        assert done.returncode == status
