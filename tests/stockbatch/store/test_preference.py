"""Which forecast goes first."""

from itertools import permutations

from sqlalchemy import text

from stockbatch.methods import registry
from stockbatch.records import Kind
from stockbatch.store.preference import KIND_FIRST, METHOD_FIRST


def ordered(db, column, values, order):
    """Return the values in the order that PostgreSQL puts them in."""
    query = f"SELECT {column} FROM unnest(cast(:values AS text[])) AS v ({column}) ORDER BY {order}"
    return list(db.scalars(text(query), {"values": [str(value) for value in values]}))


def test_live_goes_before_late_and_late_before_backtest(db):
    for kinds in permutations(Kind):
        assert ordered(db, "kind", kinds, KIND_FIRST) == ["live", "late", "backtest"]


def test_the_headline_goes_before_all_other_methods(db):
    others = sorted({*registry.methods()} - {"lstm", "rolling_quantile"})
    expected = ["lstm", "rolling_quantile", *others]
    # Of the orders there are, those that begin and end with each pair.
    for first, last in permutations(expected, 2):
        between = [method for method in reversed(expected) if method not in (first, last)]
        methods = (first, *between, last)
        assert ordered(db, "method", methods, METHOD_FIRST) == expected
