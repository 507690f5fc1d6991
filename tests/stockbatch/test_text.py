import doctest

import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from sqlalchemy import URL

from stockbatch import database, text
from stockbatch.exceptions import ConfigurationError, UnknownInstrument
from stockbatch.text import LONGEST_NAME, LONGEST_SYMBOL, printable, wrong_name, wrong_symbol


def test_the_examples_are_true():
    assert doctest.testmod(text).failed == 0


@given(st.text())
def test_nothing_that_is_printed_steers_a_terminal(written):
    shown = printable(written)
    shown.encode()
    assert all(letter.isprintable() or letter in "\n\t" or ord(letter) > 0x9F for letter in shown)
    assert not set(shown) & set("\x1b\x9b\x07\r\x08\u202e\u2066")
    assert printable(shown) == shown


def test_an_error_steers_nothing():
    assert str(UnknownInstrument(ticker="A\x1b[2J\u202e")).startswith("A\\x1b[2J\\u202e is not on")


@pytest.mark.parametrize(
    "symbol", ["A", "BRK-B", "^GSPC", "EURUSD=X", "7203.T", "600519", "M&M.NS", "[bold]", "日本"]
)
def test_symbols_are_taken(symbol):
    assert wrong_symbol(symbol) is None


@pytest.mark.parametrize(
    "symbol",
    [
        *("", " ", "A ", "\tA", "A\nB", "A\0", "\x1b[31mA", "A\u202eB", "A\u200b", "\udcff"),
        *("\ufffdA", "--", "A" * (LONGEST_SYMBOL + 1), "A" * 10_000),
    ],
)
def test_what_nobody_can_name_is_no_symbol(symbol):
    assert wrong_symbol(symbol)


@pytest.mark.parametrize("name", ["Öl & Gas", "3D printing", "Banks [north]", "בנקים", "銀行"])
def test_names_of_groups_are_taken(name):
    assert wrong_name(name) is None


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "a ", "=cmd|' /C calc'!A0", "+1", "-1", "@x", "＝1", "[red]", "a\nb"),  # noqa: RUF001
        *("a\u202eb", "a\u200fb", "a\x1b[2Jb", "\udcff", "A" * (LONGEST_NAME + 1), "A" * 10_000),
    ],
)
def test_what_would_act_is_no_name_of_a_group(name):
    assert wrong_name(name)


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)


@given(TEXT, TEXT, TEXT, TEXT)
def test_libpq_reads_what_is_written(user, password, name, folder):
    url = URL.create(
        "postgresql+psycopg", user, password, "db.example", 5433, name, {"passfile": folder}
    )
    assert conninfo_to_dict(database.for_clients(url)) == {
        "user": user, "password": password, "host": "db.example", "port": "5433", "dbname": name,
        "passfile": folder,
    }  # fmt: skip


@pytest.mark.parametrize("host", ["::1", "fe80::1%eth0"])
def test_libpq_reads_addresses(host):
    url = URL.create("postgresql+psycopg", "me", "x", host, None, "d")
    assert conninfo_to_dict(database.for_clients(url))["host"] == host


def test_what_cannot_be_read_is_not_shown():
    with pytest.raises(ConfigurationError):
        database.address.external("postgresql://me:hun/ter2@host/db")
    assert database.shown("postgresql://me:hun/ter2@host/db") == "***"
    assert database.shown("postgresql://me:hun#ter2@host/db?oauth_client_secret=x") == (
        "postgresql://me:***@host/db"
    )
