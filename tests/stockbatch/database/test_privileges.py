"""What each role may do, for every relation there is: a new table without an entry here fails."""

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from stockbatch import database
from stockbatch.exceptions import AccessDenied, ReadersMayWrite
from stockbatch.store import forecasts
from tests.support.ledger import forecast_of, listed, opened
from tests.support.market import NOW, fetch

READ, ADD, KEEP = {"SELECT"}, {"SELECT", "INSERT"}, {"SELECT", "INSERT", "UPDATE"}
CHANGE = KEEP | {"DELETE"}
WRITER = {
    "alembic_version": READ,
    "alert_messages": KEEP,
    "alerts": KEEP,
    "api_tokens": ADD,
    "archives": READ,
    "averages": CHANGE,
    "bar_revisions": ADD,
    "bars": CHANGE,
    "corporate_actions": CHANGE,
    "crowds": ADD,
    "data_issues": CHANGE,
    "decisions": ADD,
    "event_refreshes": KEEP,
    "events": ADD,
    "fallbacks": CHANGE,
    "false_skips": READ,
    "forecasts": READ,
    "group_metrics": CHANGE,
    "headlines": ADD,
    "holdings": ADD,
    "instruments": CHANGE,
    "labels": ADD | {"DELETE"},
    "leases": CHANGE,
    "market_inputs": CHANGE,
    "memberships": KEEP,
    "methods": ADD,
    "metrics": CHANGE,
    "models": ADD,
    "models_in_use": READ,
    "news": ADD | {"DELETE"},
    "outcomes": ADD,
    "chores": ADD | {"UPDATE"},
    "pauses": ADD | {"DELETE"},
    "promotions": ADD,
    "provider_requests": KEEP,
    "renames": ADD,
    "risk_forecasts": ADD,
    "risk_metrics": KEEP,
    "risk_scores": ADD,
    "risk_subjects": ADD,
    "runs": CHANGE,
    "scores": ADD,
    "sessions": CHANGE,
    "sources": ADD,
    "stated": KEEP,
    "sums": CHANGE,
    "ticker_metrics": CHANGE,
    "split_ratios": READ,
    "training_curves": ADD,
    "unscored": ADD | {"DELETE"},
    "unsummed": ADD | {"DELETE"},
}
"""What the jobs may do to whole tables of schema stockbatch."""
CHANGEABLE = {
    "api_tokens": {"revoked_at"},
    "events": {"withdrawn_at"},
    "models": {"weights"},
    "news": {"score", "scored_by"},
}
"""The only columns they may change in tables that they otherwise only add to."""
SET_BY_THE_DATABASE = {"id", "recorded_at", "deadline_at"}
"""Columns of a forecast that they cannot even fill."""

RELATIONS = """
    SELECT c.oid, n.nspname AS schema, c.relname AS name FROM pg_class AS c
    JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"""
ON_TABLES = """
    SELECT r.schema, r.name, p.privilege FROM ({relations}) AS r,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'])
            AS p (privilege)
    WHERE has_table_privilege('{role}', r.oid, p.privilege)"""
ON_COLUMNS = """
    SELECT r.schema, r.name, a.attname AS column, p.privilege
    FROM ({relations}) AS r
    JOIN pg_attribute AS a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'REFERENCES']) AS p (privilege)
    WHERE has_column_privilege('{role}', r.oid, a.attnum, p.privilege)
        AND NOT has_table_privilege('{role}', r.oid, p.privilege)"""


def privileges(engine, role):
    """Return the privileges on each relation, and those on single columns of it."""
    asked = {"relations": RELATIONS.replace("'S'", "'r'"), "role": role}
    tables, columns = {}, {}
    for row in fetch(engine, ON_TABLES.format(**asked)):
        tables.setdefault((row["schema"], row["name"]), set()).add(row["privilege"])
    for row in fetch(engine, ON_COLUMNS.format(**asked)):
        key = (row["schema"], row["name"], row["privilege"])
        columns.setdefault(key, set()).add(row["column"])
    return tables, columns


@pytest.fixture
def roles(settings, request):
    """Make engines by role."""

    def make(role):
        engine = database.engine(settings, role=role)
        request.addfinalizer(engine.dispose)
        return engine

    return make


def test_the_writer_has_what_the_jobs_need_and_no_more(engine):
    tables, columns = privileges(engine, "stockbatch_writer")
    views = {key for key in tables if key[0] == "bi"}
    assert {key: held for key, held in tables.items() if key not in views} == {
        ("stockbatch", name): held for name, held in WRITER.items()
    }
    assert all(tables[view] == READ for view in views)
    filled = columns.pop(("stockbatch", "forecasts", "INSERT"))
    assert columns == {("stockbatch", t, "UPDATE"): names for t, names in CHANGEABLE.items()}
    every = fetch(
        engine,
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_schema = 'stockbatch' AND table_name = 'forecasts'",
    )
    assert {row["column_name"] for row in every} - filled == SET_BY_THE_DATABASE


def test_the_reader_has_the_views_and_nothing_else(engine):
    tables, columns = privileges(engine, "stockbatch_reader")
    assert columns == {}
    views = fetch(engine, "SELECT viewname FROM pg_views WHERE schemaname = 'bi'")
    assert tables == {("bi", row["viewname"]): READ for row in views}
    assert len(tables) > 10


@pytest.mark.parametrize("role", ["writer", "reader", "api"])
def test_no_role_of_a_process_owns_or_makes_anything(engine, roles, role):
    name = f"stockbatch_{role}"
    owned = fetch(
        engine, f"SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) = '{name}'"
    )
    assert owned == []
    (rights,) = fetch(
        engine,
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls, rolcanlogin"
        f" FROM pg_roles WHERE rolname = '{name}'",
    )
    assert not any(rights.values())
    passed_on = fetch(
        engine,
        "SELECT table_name FROM information_schema.table_privileges"
        f" WHERE grantee = '{name}' AND is_grantable = 'YES'",
    )
    assert passed_on == []
    limited = roles(role)
    for statement in (
        "CREATE TABLE stockbatch.x ()",
        "CREATE TABLE bi.x ()",
        "CREATE TABLE public.x ()",
        "CREATE SCHEMA x",
        "CREATE ROLE x",
        "COPY bi.accuracy TO PROGRAM 'cat'",
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT * FROM pg_authid",
        "ALTER VIEW bi.accuracy RENAME TO x",
    ):
        with limited.connect() as connection, pytest.raises(AccessDenied):
            connection.execute(text(statement))


def test_one_function_lends_its_owners_rights_and_nobody_can_call_it(engine):
    lending = fetch(
        engine,
        "SELECT p.oid, proname, proconfig FROM pg_proc AS p"
        " JOIN pg_namespace AS n ON n.oid = pronamespace"
        " WHERE prosecdef AND nspname !~ '^pg_' AND nspname <> 'information_schema'",
    )
    assert [row["proname"] for row in lending] == ["number_outcome"]
    assert lending[0]["proconfig"] == ["search_path=pg_catalog, pg_temp"]
    for role in ("stockbatch_writer", "stockbatch_reader", "stockbatch_api"):
        asked = f"SELECT has_function_privilege('{role}', {lending[0]['oid']}, 'EXECUTE') AS may"
        assert fetch(engine, asked) == [{"may": False}]


@pytest.mark.parametrize(
    ("grant", "what"),
    [
        ("TEMPORARY ON DATABASE {}", "temporary tables"),
        ("EXECUTE ON FUNCTION lo_create(oid)", "large objects"),
    ],
)
def test_what_everybody_may_make_is_found(engine, grant, what):
    database.require_readers_only_read(engine)
    with engine.begin() as connection:
        right = grant.format(engine.url.database)
        connection.execute(text(f"GRANT {right} TO PUBLIC"))
    with pytest.raises(ReadersMayWrite, match=f"can make {what} there"):
        database.require_readers_only_read(engine)


def test_migrating_takes_temporary_tables_from_everybody_but_the_jobs(empty_settings):
    owner = database.engine(empty_settings, role="owner")
    with owner.begin() as connection:
        connection.execute(text(f"GRANT TEMPORARY ON DATABASE {owner.url.database} TO PUBLIC"))
    database.migrate(empty_settings)
    query = "SELECT has_database_privilege(:role, current_database(), 'TEMPORARY') AS may"
    found = {role: fetch(owner, query, role=f"stockbatch_{role}") for role in ("writer", "reader")}
    assert found == {"writer": [{"may": True}], "reader": [{"may": False}]}
    owner.dispose()


# ---- the ledger, with rows in it

REWRITES = [
    "UPDATE stockbatch.forecasts SET close = 1",
    "UPDATE stockbatch.forecasts SET recorded_at = '2000-01-01'",
    "DELETE FROM stockbatch.forecasts",
    "TRUNCATE stockbatch.forecasts CASCADE",
    "INSERT INTO stockbatch.forecasts (recorded_at) VALUES ('2000-01-01')",
    "UPDATE stockbatch.scores SET error = 0",
    "DELETE FROM stockbatch.scores",
    "UPDATE stockbatch.outcomes SET action = 'trained'",
    "UPDATE stockbatch.outcomes SET is_final = false",
    "INSERT INTO stockbatch.forecasts (deadline_at) VALUES ('infinity')",
    "DELETE FROM stockbatch.outcomes",
    "INSERT INTO stockbatch.archives (calendar) VALUES ('XNYS')",
    "DELETE FROM stockbatch.archives",
    "UPDATE stockbatch.models SET fingerprint = 'x'",
    "UPDATE stockbatch.models SET weights = 'x', weights_sha256 = encode(sha256('x'), 'hex')",
    "DELETE FROM stockbatch.models",
    "UPDATE stockbatch.promotions SET reason = 'manual'",
    "DELETE FROM stockbatch.promotions",
    "UPDATE stockbatch.bar_revisions SET close = 1",
    "DELETE FROM stockbatch.bar_revisions",
    "DELETE FROM stockbatch.training_curves",
    "UPDATE stockbatch.decisions SET decided_by = 'me'",
    "DELETE FROM stockbatch.decisions",
    "UPDATE stockbatch.events SET date = date - 1",
    "UPDATE stockbatch.events SET known_at = '2000-01-01'",
    "UPDATE stockbatch.events SET recorded_at = '2000-01-01'",
    "DELETE FROM stockbatch.events",
    "UPDATE stockbatch.headlines SET method = 'naive'",
    "DELETE FROM stockbatch.headlines",
    "UPDATE stockbatch.holdings SET quantity = 0",
    "DELETE FROM stockbatch.holdings",
    "UPDATE stockbatch.risk_forecasts SET kind = 'live'",
    "DELETE FROM stockbatch.risk_forecasts",
    "UPDATE stockbatch.risk_scores SET breach_05 = false",
    "DELETE FROM stockbatch.risk_scores",
    "DELETE FROM stockbatch.renames",
    "DELETE FROM stockbatch.alerts",
    "DELETE FROM stockbatch.provider_requests",
    "UPDATE stockbatch.api_tokens SET requests_per_minute = 1000000",
    "DELETE FROM stockbatch.api_tokens",
    "UPDATE stockbatch.alembic_version SET version_num = '0001'",
]
LOSSES = ["DELETE FROM stockbatch.instruments", "DELETE FROM stockbatch.runs"]


@pytest.fixture
def writer(own_db, roles):
    """The jobs' engine of a database with a forecast in it."""
    (one,) = listed(own_db, "AAA")
    forecasts.add(own_db, [forecast_of(one)], opened(own_db), issued_at=NOW)
    own_db.commit()
    return roles("writer")


def test_the_writer_cannot_alter_what_was_recorded(writer):
    with writer.connect() as connection:
        for statement in REWRITES:
            with pytest.raises(AccessDenied, match="permission denied"):
                connection.execute(text(statement))
            connection.rollback()


def test_the_ledger_is_not_lost_with_what_it_refers_to(writer):
    with writer.connect() as connection:
        for statement in LOSSES:
            with pytest.raises(IntegrityError, match="violates"):
                connection.execute(text(statement))
            connection.rollback()
