"""Bearer tokens and what the role of the REST service may do."""

import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from jobs import cli
from stockbatch import database
from stockbatch.exceptions import AccessDenied, DuplicateToken, UnknownToken
from stockbatch.records import Reason
from stockbatch.store import models, promotions, tokens
from tests.support.ledger import listed, model_of, opened
from tests.support.market import fetch

READABLE = {
    "alembic_version",
    "api_tokens",
    "crowds",
    "market_inputs",
    "models_in_use",
    "promotions",
}


@pytest.fixture
def api(settings):
    made = database.engine(settings, role="api")
    yield made
    made.dispose()


def test_a_token_is_stored_as_its_hash(db):
    token = tokens.issue(db, "grafana", requests_per_minute=60)
    assert len(token) > 40
    rows = db.execute(text("SELECT * FROM stockbatch.api_tokens")).mappings().all()
    assert [row["sha256"] for row in rows] == [tokens.sha256(token)]
    assert token not in str(rows)
    found = tokens.valid(db)[tokens.sha256(token)]
    assert (found.name, found.requests_per_minute, found.expires_at) == ("grafana", 60, None)


def test_a_name_is_used_once_until_it_is_revoked(db):
    expires = datetime(2100, 1, 1, tzinfo=UTC)
    first = tokens.issue(db, "ann", requests_per_minute=1, expires_at=expires)
    with pytest.raises(DuplicateToken, match="ann"):
        tokens.issue(db, "ann", requests_per_minute=1)
    tokens.revoke(db, "ann")
    with pytest.raises(UnknownToken, match="ann"):
        tokens.revoke(db, "ann")
    second = tokens.issue(db, "ann", requests_per_minute=2)
    assert first != second
    assert list(tokens.valid(db)) == [tokens.sha256(second)]
    newest, oldest = tokens.everything(db)
    assert newest.revoked_at is None
    assert oldest.revoked_at - oldest.created_at < timedelta(minutes=1)
    assert oldest.expires_at == expires
    assert "sha256" not in newest._fields


def test_the_service_reads_what_it_needs_and_nothing_else(api, engine):
    relations = fetch(
        engine,
        "SELECT c.relnamespace::regnamespace::text AS schema, c.relname AS name FROM pg_class AS c"
        " WHERE c.relkind IN ('r', 'v', 'm', 'f') AND c.relnamespace::regnamespace::text"
        " NOT IN ('pg_catalog', 'information_schema')",
    )
    allowed = set()
    for relation in relations:
        query = text(f"SELECT * FROM {relation['schema']}.{relation['name']} LIMIT 1")
        with api.connect() as connection:
            try:
                connection.execute(query)
            except AccessDenied:
                continue
        allowed.add((relation["schema"], relation["name"]))
    views = {(r["schema"], r["name"]) for r in relations if r["schema"] == "bi"}
    assert views
    assert allowed == views | {("stockbatch", name) for name in READABLE}
    with pytest.raises(AccessDenied), api.connect() as connection:
        connection.execute(text("SELECT provider FROM stockbatch.instruments"))
    with pytest.raises(AccessDenied), api.connect() as connection:
        connection.execute(text("SELECT weights FROM stockbatch.models"))


def test_the_service_writes_nothing(api, engine):
    privileges = fetch(
        engine,
        "SELECT relname FROM pg_class AS c WHERE relkind IN ('r', 'v')"
        " AND relnamespace::regnamespace::text IN ('stockbatch', 'bi', 'public')"
        " AND (has_table_privilege('stockbatch_api', oid, 'INSERT, UPDATE, DELETE, TRUNCATE')"
        "   OR has_any_column_privilege('stockbatch_api', oid, 'INSERT, UPDATE'))",
    )
    assert privileges == []
    for statement in (
        "INSERT INTO stockbatch.api_tokens (name, sha256, requests_per_minute) VALUES ('x','x',1)",
        "UPDATE stockbatch.api_tokens SET revoked_at = NULL",
        "DELETE FROM stockbatch.models_in_use",
        "CREATE TABLE stockbatch.x ()",
        "CREATE TABLE bi.x ()",
        "CREATE TABLE public.x ()",
    ):
        with pytest.raises(AccessDenied), api.connect() as connection:
            connection.execute(text(statement))


def test_models_never_in_use_keep_their_weights_to_themselves(own_db, api):
    (aaa,) = listed(own_db, "AAA")
    run = opened(own_db)
    base = models.add_base(own_db, model_of(None), run, demo=False)
    used = models.add(own_db, {aaa.id: model_of("AAA")}, run, demo=False)[aaa.id]
    models.add(own_db, {aaa.id: model_of("AAA", fingerprint="other")}, run, demo=False)
    promotions.put_into_use(own_db, {aaa.id: used}, run.session, {aaa.id: Reason.NO_MODEL})
    own_db.commit()
    seen = fetch(api, "SELECT id FROM stockbatch.models_in_use")
    assert {row["id"] for row in seen} == {base.id, used}
    own_db.execute(text("UPDATE stockbatch.models SET weights = NULL"))
    own_db.commit()
    assert fetch(api, "SELECT id FROM stockbatch.models_in_use") == []


def test_tokens_on_the_command_line(settings, engine, monkeypatch, capsys):
    monkeypatch.setenv("STOCKBATCH_DATABASE_URL", settings.database_url.get_secret_value())

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stockbatch", "tokens", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    status, out, _ = call("add", "grafana", "--days", "30", "--per-minute", "120")
    assert status == 0
    (stored,) = fetch(engine, "SELECT *, expires_at - now() AS left FROM stockbatch.api_tokens")
    assert tokens.sha256(out.strip()) == stored["sha256"]
    assert timedelta(days=29) < stored["left"] < timedelta(days=31)
    assert call("add", "grafana") == (
        2, "", "error: There is a token grafana already: revoke it first, or choose another name\n",
    )  # fmt: skip
    assert "grafana  valid until" in call("list")[1]
    assert call("revoke", "grafana") == (0, "revoked: grafana\n", "")
    assert "grafana  revoked" in call("list")[1]
    assert call("revoke", "nobody")[0] == 2
