"""Bulk reads and writes."""

import os
from datetime import date

import numpy as np
import pytest
from sqlalchemy import select, text

from stockbatch.database.tables import InstrumentRow
from stockbatch.exceptions import (
    AccessDenied,
    DatabaseBusy,
    DatabaseFailed,
    DatabaseFull,
    DatabaseReadOnly,
    DatabaseSlow,
    DatabaseUnavailable,
)
from stockbatch.store.bulk import (
    among,
    by_one_process,
    cursor_of,
    matrix,
    stage,
    stage_arrays,
)
from tests.support.disk import small_disk
from tests.support.ledger import listed

QUERY = """
SELECT i AS whole, i / 3.0::float8 AS broken, CASE WHEN mod(i, 4) > 0 THEN -i END AS sometimes,
    %(shift)s + i AS shifted
FROM generate_series(1, %(count)s) AS i
"""


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_a_matrix_holds_what_fetchall_returns(db, count):
    parameters = {"count": count, "shift": 0.5}
    found = matrix(db, QUERY, parameters)
    named = QUERY.replace("%(shift)s", ":shift").replace("%(count)s", ":count")
    rows = db.execute(text(named), parameters).fetchall()
    expected = np.array([[np.nan if v is None else float(v) for v in row] for row in rows])
    assert found.shape == (count, 4)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, expected.reshape(count, 4))


def test_a_matrix_keeps_every_bit_and_the_order(db):
    values = [0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, float("inf"), float("nan")]
    query = "SELECT v FROM unnest(%(values)s::float8[]) WITH ORDINALITY AS t (v, n) ORDER BY n"
    found = matrix(db, query, {"values": values})[:, 0]
    assert found.tobytes() == np.array(values).tobytes()


def test_staged_rows_are_there_until_the_next_ones(db):
    columns = (("number", "int4"), ("day", "date"), ("price", "float8"), ("word", "text"))
    first = [(1, date(2024, 6, 3), 1.5, "ä, \t\\N"), (2, None, None, None)]
    stage(db, "staged_test", columns, first)
    found = db.execute(text("SELECT * FROM staged_test ORDER BY number")).all()
    assert [tuple(row) for row in found] == first
    stage(db, "staged_test", columns, [(3, None, float("nan"), "")])
    (row,) = db.execute(text("SELECT number, price, word FROM staged_test")).all()
    assert row.number == 3
    assert np.isnan(row.price)
    assert row.word == ""


def test_the_staging_table_ends_with_the_transaction(own_db):
    stage(own_db, "staged_test", (("number", "int4"),), [(1,)])
    own_db.commit()
    assert own_db.scalar(text("SELECT to_regclass('pg_temp.staged_test')")) is None


def test_staged_arrays_are_read_back_as_they_were(db, monkeypatch):
    monkeypatch.setattr("stockbatch.store.bulk._SLICE", 7)
    rng = np.random.default_rng(0)
    count = 100
    days = np.datetime64("1990-01-01", "D") + rng.integers(0, 20_000, count)
    arrays = {
        "small": rng.integers(-30_000, 30_000, count),
        "whole": rng.integers(-(2**31), 2**31, count),
        "large": rng.integers(-(2**63), 2**63, count),
        "day": days,
        "number": np.where(rng.random(count) < 0.1, np.nan, rng.normal(0, 1e9, count)),
    }
    kinds = ("int2", "int4", "int8", "date", "float8")
    columns = tuple(zip(arrays, kinds, strict=True))
    for size in (count, 0, 1):
        stage_arrays(db, "staged", columns, {n: a[:size] for n, a in arrays.items()})
        found = db.execute(text("SELECT * FROM staged")).all()
        expected = zip(*(a[:size].tolist() for a in arrays.values()), strict=True)
        assert list(map(repr, map(tuple, found))) == list(map(repr, expected))


def test_the_servers_refusals_are_told_as_by_any_other_statement(own_db):
    own_db.execute(text("SET LOCAL statement_timeout = 1"))
    with pytest.raises(DatabaseSlow, match="statement timeout"):
        matrix(own_db, "SELECT 1 AS one FROM pg_sleep(60)", {})


def test_a_bulk_write_where_only_reading_is_allowed(own_db):
    columns = (("number", "int4"),)
    own_db.execute(text("CREATE TABLE public.kept (number int4)"))
    own_db.commit()
    own_db.execute(text("SET TRANSACTION READ ONLY"))
    with (
        pytest.raises(DatabaseReadOnly, match="read-only transaction"),
        cursor_of(own_db) as cursor,
        cursor.copy("COPY public.kept FROM STDIN"),
    ):
        pass
    own_db.rollback()
    stage(own_db, "staged_test", columns, [(1,)])


def test_a_connection_lost_while_rows_are_written(own_db, engine):
    def rows():
        yield (1,)
        with engine.connect() as other:
            other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
        yield from ((number,) for number in range(1_000_000))

    pid = own_db.scalar(text("SELECT pg_backend_pid()"))
    with pytest.raises(DatabaseUnavailable, match=r"terminat|closed|lost"):
        stage(own_db, "staged_test", (("number", "int4"),), rows())
    own_db.rollback()
    assert own_db.scalar(text("SELECT pg_backend_pid()")) != pid


def test_a_disk_that_is_full_during_a_copy(own_db, engine, server):
    columns = (("number", "int4"),)
    with (
        small_disk(server.folder.parent / "disk", "512k") as disk,
        engine.connect().execution_options(isolation_level="AUTOCOMMIT") as owner,
    ):
        space = disk / "space"
        space.mkdir()
        os.chown(space, *[server.folder.stat().st_uid] * 2)
        owner.execute(text(f"CREATE TABLESPACE small LOCATION '{space}'"))
        try:
            for fill in (stage, stage_arrays):
                own_db.execute(text("SET LOCAL temp_tablespaces = small"))
                count = 1_000_000
                rows = {"number": np.arange(count)} if fill is stage_arrays else zip(range(count))
                with pytest.raises(DatabaseFull, match="No space left on device") as raised:
                    fill(own_db, "staged_test", columns, rows)
                assert "\n" not in str(raised.value)
                own_db.rollback()
            stage(own_db, "staged_test", columns, [(1,)])
            own_db.rollback()
        finally:
            own_db.close()
            owner.execute(text("DROP TABLESPACE small"))


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("25006", DatabaseReadOnly),
        ("42501", AccessDenied),
        ("53100", DatabaseFull),
        ("53200", DatabaseFailed),
        ("55P03", DatabaseBusy),
        ("57014", DatabaseSlow),
        ("58030", DatabaseFailed),
    ],
)
def test_what_ends_a_copy_is_the_same_class_as_anywhere_else(own_db, state, kind):
    own_db.execute(text("CREATE TABLE public.kept (number int4)"))
    own_db.execute(
        text(
            "CREATE FUNCTION public.fail() RETURNS trigger LANGUAGE plpgsql AS"
            f" $$ BEGIN RAISE EXCEPTION 'it failed' USING ERRCODE = '{state}'; END $$"
        )
    )
    own_db.execute(
        text(
            "CREATE TRIGGER fail BEFORE INSERT ON public.kept"
            " FOR EACH ROW EXECUTE FUNCTION public.fail()"
        )
    )
    own_db.commit()
    with pytest.raises(kind, match="it failed"):
        own_db.execute(text("INSERT INTO public.kept VALUES (1)"))
    own_db.rollback()
    with (
        pytest.raises(kind, match="it failed"),
        cursor_of(own_db) as cursor,
        cursor.copy("COPY public.kept FROM STDIN") as copy,
    ):
        copy.write("1\n" * 100_000)
    own_db.rollback()
    assert own_db.scalar(text("SELECT count(*) FROM public.kept")) == 0


def test_ids_are_one_parameter_however_many_they_are(db):
    one, two = listed(db, "AAA", "BBB")
    most = 2**16  # parameters that a statement of PostgreSQL may have
    ids = [two.id, one.id, *range(-most, 0)]
    found = db.scalars(select(InstrumentRow.ticker).where(among(InstrumentRow.id, ids)))
    assert sorted(found) == ["AAA", "BBB"]
    assert not db.scalars(select(InstrumentRow.id).where(among(InstrumentRow.id, []))).all()


def test_other_processes_of_the_server_help_with_the_next_transaction_again(own_db):
    before = own_db.scalar(text("SHOW max_parallel_workers_per_gather"))
    by_one_process(own_db)
    assert own_db.scalar(text("SHOW max_parallel_workers_per_gather")) == "0"
    own_db.commit()
    assert own_db.scalar(text("SHOW max_parallel_workers_per_gather")) == before != "0"


def test_what_is_asked_often_is_planned_for_its_own_values(own_db):
    for shift in range(15):
        matrix(own_db, QUERY, {"count": 3, "shift": float(shift)})
    plans = "SELECT sum(generic_plans), sum(custom_plans) FROM pg_prepared_statements"
    anyhow, own = own_db.execute(text(plans)).one()
    assert (anyhow, own) == (0, 10)  # the driver prepares from the sixth time on
