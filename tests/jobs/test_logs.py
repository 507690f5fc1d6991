"""What gets into the logs, and what never does."""

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from jobs import logs


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def stream(monkeypatch):
    """Logs as JSON into a text that the test reads; afterwards all is as before."""
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    monkeypatch.setattr(logs, "_handler", None)
    monkeypatch.setattr(logs, "_known", set())
    into = io.StringIO()
    logs.configure(logging.INFO, into)
    yield into
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.contextvars.clear_contextvars()


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_both_kinds_of_logger_give_the_same_lines(stream):
    logging.getLogger("jobs.plain").info("%d bars of %s", 3, "AAPL")
    structlog.get_logger("jobs.other").warning("held", session="2024-06-03", bars=3)
    plain, other = lines(stream)
    assert (plain["event"], plain["level"], plain["logger"]) == (
        "3 bars of AAPL",
        "info",
        "jobs.plain",
    )
    assert (other["event"], other["session"], other["bars"]) == ("held", "2024-06-03", 3)
    assert plain["timestamp"].endswith("Z")


def test_what_is_bound_stands_in_every_line(stream):
    with structlog.contextvars.bound_contextvars(run_id=7, ticker="AAPL"):
        logging.getLogger("jobs").info("inside")
    logging.getLogger("jobs").info("outside")
    inside, outside = lines(stream)
    assert (inside["run_id"], inside["ticker"]) == (7, "AAPL")
    assert "run_id" not in outside


def test_the_level_holds_and_a_new_call_replaces_the_old(stream):
    logging.getLogger("jobs").debug("not this")
    later = io.StringIO()
    logs.configure(logging.WARNING, later)
    logging.getLogger("jobs").info("nor this")
    logging.getLogger("jobs").warning("this")
    assert stream.getvalue() == ""
    assert [line["event"] for line in lines(later)] == ["this"]


def test_a_terminal_gets_text(stream):
    screen = Terminal()
    logs.configure(logging.INFO, screen)
    logging.getLogger("jobs").info("bars fetched")
    assert "bars fetched" in screen.getvalue()
    assert not screen.getvalue().startswith("{")


def test_a_traceback_is_one_line_of_json(stream):
    try:
        raise ValueError("at postgresql://me:hunter22@db/stocks")
    except ValueError:
        logging.getLogger("jobs").exception("failed")
    (line,) = lines(stream)
    assert "Traceback" in line["exception"]
    assert "hunter22" not in stream.getvalue()
    assert "postgresql://me:***@db/stocks" in line["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://writer:{}@db.example:5432/stocks?sslmode=require",
        "https://host/query?function=DAILY&apikey={}&symbol=AAPL",
        "https://host/query?api_key={}",
        'headers {{"Authorization": "Bearer {}"}}',
        "Authorization: Basic {}",
        "password={} host=db",
        "access_token: '{}'",
    ],
)
def test_secrets_of_any_shape_are_masked(stream, text):
    secret = "c0rrect-h0rse_battery"
    logging.getLogger("jobs").info(text.format(secret))
    logging.getLogger("jobs").info("see %s", text.format(secret))
    assert secret not in stream.getvalue()
    assert "***" in stream.getvalue()


def test_values_under_the_names_of_secrets_are_masked_however_deep(stream):
    structlog.get_logger("jobs").info("x", api_key="abc", inner={"password": "def", "rows": [1, 2]})
    (line,) = lines(stream)
    assert line["api_key"] == "***"
    assert line["inner"] == {"password": "***", "rows": [1, 2]}


@given(st.text(min_size=6).filter(lambda secret: "*" not in secret), st.text(), st.text())
def test_a_known_secret_never_gets_through(secret, before, after):
    logs.hide([secret])
    try:
        assert secret not in logs.redacted(before + secret + after)
    finally:
        logs._known.clear()


def test_ordinary_words_stay(stream):
    text = "XNYS 2024-06-03: 500 tokens of trade at http://localhost:9464/metrics, user me@host"
    assert logs.redacted(text) == text
