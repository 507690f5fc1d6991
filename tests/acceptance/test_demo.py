"""The first command a user types: an empty home, the embedded server, a real network."""

import json
import re

import pytest

from tests.support.demonstration import PROGRAM
from tests.support.terminal import COLUMNS, typed, width

pytestmark = pytest.mark.slow


def test_the_demonstration_shows_forecasts_and_scores(demonstration):
    stockbatch, first = demonstration.stockbatch, demonstration.said
    runs = re.findall(r"^XNYS (\S+) finished: 2 outcomes: (.+)$", first, re.MULTILINE)
    assert len(runs) == 21
    assert runs[0][1] == "2 trained (no_model)"
    assert {what for _, what in runs[1:]} <= {"2 reused (fresh)", "2 trained (expired)"}
    _, _, last_screen = first.partition("\n\n")
    assert re.match(r"forecasts of \S+, which is over \(not investment advice\)\n", last_screen)
    for ticker in (r"\^GSPC", r"\^IXIC"):
        assert re.search(rf"^{ticker} +± \d+\.\d\d ", last_screen, re.MULTILINE)
        said = rf"^better than rolling quantiles by .*{ticker} [+-]\d+\.\d % \(20 late\)"
        assert re.search(said, last_screen, re.MULTILINE)
    assert len(last_screen.splitlines()) <= 13
    (url,) = re.findall(r"^connect: +(postgresql://reader:\S+)$", first, re.MULTILINE)

    again = stockbatch("demo")
    assert len(re.findall(r"^XNYS \S+ finished already", again, re.MULTILINE)) == 21
    shown, shown_before = (said.partition("\n\n")[2] for said in (again, first))
    # The commands it names at the end are called as it was called itself.
    assert shown.partition("look on:")[0] == shown_before.partition("look on:")[0]

    assert stockbatch("db", "url").strip() == url
    forecasts = json.loads(stockbatch("forecasts", "--format", "json"))
    assert [(row["ticker"], row["method"]) for row in forecasts] == [
        ("^GSPC", "combined"),
        ("^IXIC", "combined"),
    ]
    for row in forecasts:
        assert row["close_low_95"] < row["close_low_80"] < row["median_close"]
        assert row["median_close"] < row["close_high_80"] < row["close_high_95"]
        assert 0.5 < row["close_low_95"] / row["origin_close"] < 1

    home = {"STOCKBATCH_HOME": str(demonstration.home), **demonstration.settings}
    status, screen = typed([PROGRAM, "demo"], home)
    assert status == 0
    wide = [line for line in screen.partition("\n\n")[2].splitlines() if width(line) > COLUMNS]
    assert [line.split()[0] for line in wide] in ([], ["connect:"])  # what is copied has no breaks

    assert stockbatch("db", "stop") == "stopped\n"
    assert stockbatch("db", "stop") == "it was not running\n"
