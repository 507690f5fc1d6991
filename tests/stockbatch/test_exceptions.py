import copy
import inspect
import pickle
import re
import string

import pytest

from stockbatch import exceptions
from stockbatch.exceptions import StockbatchError, UnknownInstrument

KINDS = [
    kind
    for _, kind in inspect.getmembers(exceptions, inspect.isclass)
    if issubclass(kind, StockbatchError)
]


def values_of(kind):
    """A value for every brace in the message, none like another."""
    names = [name for _, name, _, _ in string.Formatter().parse(kind.__doc__) if name is not None]
    return {name: f"<{name} value>" for name in names}


def drawn_tree():
    """Read (depth, name) pairs, in order, from the drawing in the module docstring."""
    lines = re.findall(r"^([│├└─ ]*)(\w+)$", exceptions.__doc__, flags=re.MULTILINE)
    return [(len(indent) // 4, name) for indent, name in lines]


def real_tree(kind=StockbatchError, depth=0):
    yield depth, kind.__name__
    for child in kind.__subclasses__():
        if child.__module__ == exceptions.__name__:
            yield from real_tree(child, depth + 1)


def test_the_drawn_tree_is_the_real_one():
    assert drawn_tree() == list(real_tree())
    assert {name for _, name in drawn_tree()} == {kind.__name__ for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_message_shows_all_its_values(kind):
    values = values_of(kind)
    error = kind(**values)
    message = str(error)
    assert error.values == values
    assert all(value in message for value in values.values())
    assert not re.search(r"[{}\n]|  ", message)
    assert "__doc__" in vars(kind), "a message is never inherited"


@pytest.mark.parametrize("kind", KINDS)
def test_pickling_and_copying_keep_kind_message_and_values(kind):
    error = kind(**values_of(kind))
    for other in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.values == error.values


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_ends_a_command_with_an_error(kind):
    assert 0 < kind.exit_code < 64


def test_values_are_shown_as_they_are():
    error = UnknownInstrument(ticker="{BRK.B}")
    assert str(error).startswith("{BRK.B} is not on the watchlist")
    assert error.values["ticker"] == "{BRK.B}"


def test_a_forgotten_value_is_a_programming_error():
    with pytest.raises(KeyError, match="ticker"):
        UnknownInstrument()
