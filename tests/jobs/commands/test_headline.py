"""`stockbatch headline`: what is shown first, and from when on."""

from datetime import timedelta

import pytest

from stockbatch.exceptions import UnsuitableHeadline
from tests.support.market import fetch, run, session


def first_shown(app):
    query = "SELECT DISTINCT method FROM bi.next_session_forecast WHERE is_headline"
    return {row["method"] for row in fetch(app.engine, query)}


def test_it_is_listed_and_set_from_the_next_session_on(app, stockbatch):
    run(app, session(0))
    assert first_shown(app) == {"combined"}
    since = session(1) + timedelta(days=1)
    assert stockbatch("headline", "set", "ewma").output == f"ewma is shown first from {since} on\n"
    assert first_shown(app) == {"combined"}
    listed = stockbatch("headline", "list").output.strip()
    assert [line.split()[:3] for line in listed.splitlines()[-2:]] == [
        ["the", "beginning", "combined"],
        [str(since), "ewma", "EWMA"],
    ]
    run(app, session(1))
    assert first_shown(app) == {"ewma"}


def test_it_is_set_from_a_session_on(app, stockbatch):
    run(app, session(0))
    said = stockbatch("headline", "set", "har", "--from", session(5)).output
    assert said == f"har is shown first from {session(5)} on\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["naive"], "naive cannot be the headline: it states no intervals; choose one of lstm, "),
        (["prophet"], "prophet cannot be the headline: it is not installed; choose one of lstm, "),
        (["lstm", "--from", session(1)], f"lstm cannot be the headline from {session(1)} on: "),
    ],
)
def test_what_cannot_be_shown_first_is_said_in_a_line(app, stockbatch, arguments, message):
    run(app, session(0))
    error = stockbatch("headline", "set", *arguments).exception
    assert isinstance(error, UnsuitableHeadline)
    assert str(error).startswith(message)
    assert error.exit_code == 2
    assert len(fetch(app.engine, "SELECT FROM bi.headlines")) == 1
