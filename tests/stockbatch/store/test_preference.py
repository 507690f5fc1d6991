"""Which forecast goes first."""

from itertools import permutations

from sqlalchemy import text

from stockbatch.records import Kind
from stockbatch.store.preference import KIND_FIRST


def test_live_goes_before_late_and_late_before_backtest(db):
    query = f"SELECT kind FROM unnest(cast(:kinds AS text[])) AS v (kind) ORDER BY {KIND_FIRST}"
    for kinds in permutations(Kind):
        found = db.scalars(text(query), {"kinds": [str(kind) for kind in kinds]})
        assert found.all() == ["live", "late", "backtest"]
