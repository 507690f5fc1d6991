"""Readers of one team, as their own login: what they see, and all they cannot."""

import shutil

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from jobs import watchlist
from stockbatch import database
from stockbatch.config import Settings
from stockbatch.database import embedded_server, teams
from stockbatch.exceptions import (
    AccessDenied,
    BadTeam,
    SchemaOutOfDate,
    TeamViewsInUse,
    UnknownGroup,
    UnknownTeam,
    UnsuitableLogin,
)
from stockbatch.methods import risk
from stockbatch.records import GroupKind
from stockbatch.store import labels
from tests.support.ledger import listed
from tests.support.market import CODE, Market, run, session
from tests.support.superuser import superuser

WATCHLIST = "50% o'Neill\\s {banks} :x"
OTHERS = {"BBB", "CCC"}
WHOLE = {"accuracy", "events", "interval_coverage", "training_history"}
"""Views whose rows without a ticker are of a whole calendar."""
OF_TICKERS = sorted(teams.SHOWN.keys() - {"headlines", "leaderboard", "sessions"})
RECORDED = """
INSERT INTO stockbatch.data_issues (instrument_id, session, check_name, severity, message, found_at)
SELECT id, '2024-06-03', 'jump', 'warning', 'of ' || ticker, now() FROM stockbatch.instruments;
INSERT INTO stockbatch.events (instrument_id, calendar, kind, date, session, timing, source,
    known_at, assumed, projected)
SELECT id, calendar, kind, '2024-06-03'::date, '2024-06-03'::date, 'unknown', source, now(), false,
    false
FROM (
    SELECT id, NULL, 'earnings', 'of ' || ticker FROM stockbatch.instruments
    UNION ALL SELECT NULL, code, 'rates', 'of all' FROM unnest(ARRAY['XNYS', 'XLON']) AS c (code)
) AS e (id, calendar, kind, source);
INSERT INTO stockbatch.news (instrument_id, session, source, published_at, seen_at, assumed,
    title, url, url_hash, score, scored_by)
SELECT id, '2024-06-03', 'feed', now(), now(), false, 'of ' || ticker, 'https://example.com',
    md5(ticker), 0.5, 'x' FROM stockbatch.instruments;
INSERT INTO stockbatch.corporate_actions (instrument_id, session, kind, value, in_prices, source_id)
SELECT id, '2024-05-31', 'split', 2, false, source_id
FROM stockbatch.instruments AS i,
    LATERAL (SELECT source_id FROM stockbatch.bars WHERE instrument_id = i.id LIMIT 1) AS b;
UPDATE stockbatch.forecasts SET reasons = '{"level": 0.5}';
"""
LEAKY = """
CREATE FUNCTION public.tell(said text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql
    AS $$ BEGIN RAISE NOTICE '%', said; RETURN true; END $$
"""


def execute(url, statement):
    with psycopg.connect(database.for_clients(url), autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="module")
def app(make_app_of_own, tmp_path_factory):
    """An App with a few sessions forecast and scored, and rows in every view."""
    app = make_app_of_own(Market(tmp_path_factory.mktemp("market") / "market.csv"))
    watchlist.tag(app, ["AAA"], [(GroupKind.WATCHLIST, WATCHLIST), (GroupKind.TAG, "one")])
    watchlist.tag(app, ["AAA", "BBB", "CCC"], [(GroupKind.WATCHLIST, "secret")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(risk, "FEWEST", 60)  # of a history that is short
        for offset in range(3):
            run(app, session(offset))
    execute(owner_url(app), RECORDED)
    execute(owner_url(app), "ANALYZE")
    return app


def owner_url(app):
    return database.url(app.settings)


@pytest.fixture(scope="module")
def team(app, own_server):
    """A team that sees AAA alone."""
    execute(superuser(own_server), "CREATE ROLE stockbatch_team_banks LOGIN PASSWORD 'x'")
    return teams.add(app.settings, "banks", WATCHLIST)


@pytest.fixture
def reader(app, team):
    """A connection of the team's login."""
    url = teams.url(app.settings, "banks").set(password="x")
    with psycopg.connect(database.for_clients(url), autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(app):
    with psycopg.connect(database.for_clients(owner_url(app)), autocommit=True) as connection:
        yield connection


def rows(connection, query):
    cursor = connection.execute(query)
    names = [column.name for column in cursor.description]
    return sorted((dict(zip(names, row, strict=True)) for row in cursor), key=repr)


def belongs(view, row):
    """Tell plainly whether a team of AAA alone sees a row."""
    if view == "groups":
        foreign = row["group_kind"] == "watchlist" and row["group_name"] != WATCHLIST
        return row["ticker"] == "AAA" and not foreign
    if "ticker" in row:
        is_whole = view in WHOLE and row["ticker"] is None and row["calendar"] == CODE
        return row["ticker"] == "AAA" or is_whole
    return row.get("calendar", CODE) == CODE


def test_of_every_view_it_is_decided_what_a_team_sees(owner):
    views = {row["viewname"] for row in rows(owner, "SELECT * FROM pg_views")
             if row["schemaname"] == "bi"}  # fmt: skip
    assert teams.SHOWN.keys() | teams.WITHHELD.keys() == views
    assert not teams.SHOWN.keys() & teams.WITHHELD.keys()


@pytest.mark.parametrize("view", teams.SHOWN)
def test_a_team_sees_the_rows_of_its_tickers_and_no_others(owner, reader, view):
    everything = rows(owner, f"SELECT * FROM bi.{view}")
    found = rows(reader, f"SELECT * FROM team_banks.{view}")
    # What is reckoned from now on changes from one query to the next.
    for row in (*everything, *found):
        row.pop("age_hours", None)
    assert found == [row for row in everything if belongs(view, row)]
    assert found
    told = rows(reader, f"SELECT v::text AS row FROM team_banks.{view} AS v")
    assert not [row for row in told for other in (*OTHERS, "secret") if other in row["row"]]


def test_the_names_alone_are_enough_and_say_what_they_mean(owner, reader, team):
    reader.execute("SET search_path = team_banks")  # as logins.sql lets the login have it
    assert rows(reader, "SELECT ticker FROM instruments") == [{"ticker": "AAA"}]
    undescribed = """
        SELECT c.relname, a.attname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE relnamespace = 'team_banks'::regnamespace AND a.attnum > 0
            AND (col_description(c.oid, a.attnum) IS NULL OR obj_description(c.oid) IS NULL)"""
    assert rows(owner, undescribed) == []


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM bi.accuracy",
        "SELECT * FROM bi.instruments WHERE ticker = 'AAA'",
        "SELECT * FROM stockbatch.bars",
        "SELECT * FROM stockbatch.instruments",
        "INSERT INTO stockbatch.labels (kind, name, instrument_id) VALUES ('watchlist', 'x', 1)",
        "CREATE VIEW team_banks.x AS SELECT 1",
        "CREATE FUNCTION public.x(text) RETURNS boolean LANGUAGE sql RETURN true",
        "CREATE TEMPORARY TABLE x (y int)",
        "SET ROLE stockbatch_reader",
        "ALTER VIEW team_banks.instruments RESET (security_barrier)",
    ],
)
def test_a_team_has_no_other_right(reader, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement)


@pytest.mark.parametrize("view", teams.WITHHELD)
def test_what_is_withheld_is_not_there(reader, view):
    with pytest.raises(psycopg.errors.UndefinedTable):
        reader.execute(f"SELECT * FROM team_banks.{view}")


def test_what_is_put_on_the_watchlist_later_is_seen(app, reader):
    query = "SELECT DISTINCT ticker FROM team_banks.forecast_history"
    assert rows(reader, query) == [{"ticker": "AAA"}]
    watchlist.tag(app, ["CCC"], [(GroupKind.WATCHLIST, WATCHLIST)])
    assert rows(reader, query) == [{"ticker": "AAA"}, {"ticker": "CCC"}]
    watchlist.leave(app, WATCHLIST, ["CCC"])
    assert rows(reader, query) == [{"ticker": "AAA"}]


@pytest.fixture
def careless(owner):
    """Views of the same rows, for the login too, of which each lacks a safeguard."""
    own = "SELECT * FROM bi.news WHERE ticker = ANY (ARRAY(SELECT 'AAA'))"
    owner.execute(LEAKY)
    owner.execute("CREATE SCHEMA careless; GRANT USAGE ON SCHEMA careless TO PUBLIC")
    owner.execute(f"CREATE VIEW careless.plain AS {own}")
    owner.execute(f"CREATE VIEW careless.barrier WITH (security_barrier) AS {own}")
    owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA careless TO PUBLIC")
    yield
    owner.execute("DROP SCHEMA careless CASCADE; DROP FUNCTION public.tell")


def test_no_function_is_called_with_what_is_hidden(reader, careless):
    told = []
    reader.add_notice_handler(lambda notice: told.append(notice.message_primary))

    def asked(view):
        told.clear()
        found = reader.execute(f"SELECT ticker FROM {view} WHERE public.tell(ticker)").fetchall()
        assert found == [("AAA",)]
        return set(told)

    assert asked("careless.plain") == {"AAA", "BBB", "CCC"}  # so the attack works elsewhere
    assert asked("careless.barrier") == asked("team_banks.news") == {"AAA"}


def test_no_error_repeats_what_is_hidden(reader, careless):
    query = "SELECT ticker FROM {} WHERE 1 = CASE ticker WHEN 'AAA' THEN 1 ELSE ticker::int END"
    for view in ("careless.barrier", "team_banks.news"):
        assert reader.execute(query.format(view)).fetchall() == [("AAA",)]


def plan(reader, view, column, value):
    """Return how often what was done to look for a value, which is left out of it."""
    asked = "EXPLAIN (ANALYZE, TIMING off, SUMMARY off, BUFFERS off)"
    lines = reader.execute(f"{asked} SELECT * FROM {view} WHERE {column} = '{value}'")
    # How often the heap was looked at depends on who looked before.
    return [line.replace(value, "?") for (line,) in lines if "Heap Fetches" not in line]


@pytest.mark.parametrize("view", OF_TICKERS)
def test_no_plan_tells_whether_something_hidden_is_there(reader, view):
    view = f"team_banks.{view}"
    assert plan(reader, view, "ticker", "BBB") == plan(reader, view, "ticker", "ZZZ")


def test_a_barrier_alone_would_let_plans_tell_what_is_hidden(reader, careless):
    there, nowhere = "of BBB", "of ZZZ"
    barrier, own = "careless.barrier", "team_banks.news"
    assert plan(reader, barrier, "title", there) != plan(reader, barrier, "title", nowhere)
    assert plan(reader, own, "title", there) == plan(reader, own, "title", nowhere)


def test_making_it_again_changes_nothing_and_brings_new_columns(app, owner, reader, team):
    definition = "SELECT viewname, definition FROM pg_views WHERE schemaname = 'team_banks'"
    before = rows(owner, definition)
    assert teams.add(app.settings, "banks", WATCHLIST) == team
    assert rows(owner, definition) == before
    old = owner.execute("SELECT pg_get_viewdef('bi.splits'::regclass)").fetchone()[0]
    owner.execute(
        f"CREATE OR REPLACE VIEW bi.splits AS SELECT *, 1 AS added FROM ({old[:-1]}) AS v"
    )
    assert "added" not in rows(reader, "SELECT * FROM team_banks.splits")[0]
    teams.add(app.settings, "banks", WATCHLIST)
    assert rows(reader, "SELECT added FROM team_banks.splits") == [{"added": 1}]


def test_another_watchlist_takes_the_place_of_the_first(app, reader):
    teams.add(app.settings, "banks", "secret")
    assert len(rows(reader, "SELECT ticker FROM team_banks.instruments")) == 3
    assert [one.watchlist for one in teams.everything(app.settings)] == ["secret"]
    teams.add(app.settings, "banks", WATCHLIST)
    assert rows(reader, "SELECT ticker FROM team_banks.instruments") == [{"ticker": "AAA"}]


# ---- upgrades


REPLACING = """
from alembic import op

revision, down_revision = "{revision}", "{below}"


def upgrade() -> None:
    op.execute("DROP VIEW bi.splits")
    op.execute("CREATE VIEW bi.splits AS SELECT ticker, {value} AS changed FROM bi.instruments")
"""


@pytest.fixture
def upgraded(app, team, make_app_of_own):
    """A copy of the App's database, whose views are to be replaced."""
    copy = make_app_of_own(None, like=app)
    copy.engine.dispose()
    return copy.settings


@pytest.fixture
def newer(tmp_path, monkeypatch):
    """Let this program have a newer migration for each value of a column."""

    def add(*values):
        folder, below = tmp_path / "migrations", database.head()
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(database.migrations_folder(), folder, ignore=ignored)
        for number, value in enumerate(values):
            revision = f"{9000 + number}"
            source = REPLACING.format(revision=revision, below=below, value=value)
            (folder / "versions" / f"{revision}.py").write_text(source)
            below = revision
        monkeypatch.setattr("stockbatch.database.migration.migrations_folder", lambda: folder)
        database.head.cache_clear()

    yield add
    monkeypatch.undo()
    database.head.cache_clear()


def read(settings, query):
    url = database.url(settings).set(username="stockbatch_team_banks", password="x")
    with psycopg.connect(database.for_clients(url), autocommit=True) as connection:
        return rows(connection, query)


def test_a_migration_replaces_the_views_of_teams_with_those_of_bi(upgraded, newer):
    assert "changed" not in read(upgraded, "SELECT * FROM team_banks.splits")[0]
    newer("17")
    database.migrate(upgraded)
    assert read(upgraded, "SELECT * FROM team_banks.splits") == [{"ticker": "AAA", "changed": 17}]
    assert read(upgraded, "SELECT count(*) > 0 AS there FROM team_banks.accuracy")[0]["there"]
    # With nothing left to do, whoever reads them is left alone.
    query = "SELECT oid FROM pg_class WHERE relnamespace = 'team_banks'::regnamespace"
    before = read(upgraded, query)
    database.migrate(upgraded)
    assert read(upgraded, query) == before


def test_a_migration_that_fails_leaves_teams_with_what_is_there(upgraded, newer):
    newer("17", "1 / 0 AS never, no_such_column")
    with pytest.raises(DBAPIError, match="no_such_column"):
        database.migrate(upgraded)
    assert read(upgraded, "SELECT * FROM team_banks.splits") == [{"ticker": "AAA", "changed": 17}]


def test_what_a_killed_migration_took_away_is_made_by_the_next(upgraded):
    views = ", ".join(f"team_banks.{view}" for view in teams.SHOWN)
    execute(database.url(upgraded), f"DROP VIEW {views}")
    with pytest.raises(psycopg.errors.UndefinedTable):
        read(upgraded, "SELECT * FROM team_banks.instruments")
    database.migrate(upgraded)
    assert read(upgraded, "SELECT ticker FROM team_banks.instruments") == [{"ticker": "AAA"}]


def test_views_that_something_else_needs_stop_a_migration_before_it_begins(upgraded, newer):
    execute(database.url(upgraded), "CREATE VIEW public.mine AS SELECT * FROM team_banks.splits")
    for attempt in (lambda: teams.add(upgraded, "banks", WATCHLIST),
                    lambda: teams.remove(upgraded, "banks")):  # fmt: skip
        with pytest.raises(TeamViewsInUse, match="view mine depends on view team_banks"):
            attempt()
    newer("17")
    with pytest.raises(TeamViewsInUse, match="team_banks have to be made anew"):
        database.migrate(upgraded)
    assert "changed" not in read(upgraded, "SELECT * FROM team_banks.splits")[0]
    with pytest.raises(SchemaOutOfDate):
        teams.add(upgraded, "banks", WATCHLIST)


# ---- made and removed


@pytest.mark.parametrize("name", ["", "Banks", "1st", "a-b", "x" * 31, "a; DROP", "b\u0430nks"])
def test_a_name_that_is_none_is_refused(app, name):
    with pytest.raises(BadTeam, match="small letters, digits and _, a letter first"):
        teams.add(app.settings, name, WATCHLIST)


def test_what_is_not_there_is_told(app, owner):
    with pytest.raises(UnknownGroup, match="no group 'nowhere'"):
        teams.add(app.settings, "banks", "nowhere")
    with pytest.raises(UnsuitableLogin, match=r"stockbatch_team_others .* team_others_password"):
        teams.add(app.settings, "others", WATCHLIST)
    assert rows(owner, "SELECT FROM pg_namespace WHERE nspname = 'team_others'") == []
    with pytest.raises(UnknownTeam, match="no team 'others'"):
        teams.remove(app.settings, "others")
    owner.execute("CREATE SCHEMA team_theirs")
    with pytest.raises(BadTeam, match="team_theirs is there already, and no team's"):
        teams.add(app.settings, "theirs", WATCHLIST)
    owner.execute("DROP SCHEMA team_theirs")


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("GRANT stockbatch_reader TO {}", "REVOKE stockbatch_reader FROM {}"),
        ("GRANT USAGE ON SCHEMA bi TO {}", "REVOKE USAGE ON SCHEMA bi FROM {}"),
        ("GRANT USAGE ON SCHEMA stockbatch TO {}", "REVOKE USAGE ON SCHEMA stockbatch FROM {}"),
        ("ALTER ROLE {} BYPASSRLS", "ALTER ROLE {} NOBYPASSRLS"),
    ],
)
def test_a_login_that_sees_more_is_refused(app, owner, team, given, taken):
    owner.execute(given.format(team.login))
    with pytest.raises(UnsuitableLogin, match="it has other rights"):
        teams.add(app.settings, "banks", WATCHLIST)
    owner.execute(taken.format(team.login))


def test_only_the_owner_makes_teams(app, team, own_server):
    writer = own_server.url("writer").set(database=app.engine.url.database)
    for url in (writer, teams.url(app.settings, "banks").set(password="x")):
        theirs = app.settings.model_copy(
            update={"database_url": Settings(database_url=database.for_clients(url)).database_url}
        )
        with pytest.raises(AccessDenied):
            teams.add(theirs, "banks", WATCHLIST)


def test_a_removed_team_reads_nothing(upgraded):
    team = teams.remove(upgraded, "banks")
    assert (team.name, teams.everything(upgraded)) == ("banks", [])
    with pytest.raises(psycopg.errors.UndefinedTable):
        read(upgraded, "SELECT * FROM team_banks.instruments")
    query = "SELECT FROM pg_namespace WHERE nspname = 'team_banks'"
    assert read(upgraded, query) == []
    teams.add(upgraded, "banks", WATCHLIST)
    assert read(upgraded, "SELECT ticker FROM team_banks.instruments") == [{"ticker": "AAA"}]


def test_the_embedded_server_keeps_the_logins_of_teams(cluster, programs):
    settings = Settings(home=cluster)
    embedded_server.start(cluster, programs=programs)
    database.migrate(settings)
    owner = database.engine(settings, "owner")
    with Session(owner) as db, db.begin():
        first, _ = listed(db, "AAA", "BBB")
        labels.put(db, GroupKind.WATCHLIST, WATCHLIST, [first.id])
    owner.dispose()
    teams.add(settings, "banks", WATCHLIST)
    url = teams.url(settings, "banks")
    assert len(url.password) == 32

    def seen():
        with psycopg.connect(database.for_clients(url), autocommit=True) as connection:
            assert connection.execute("SHOW default_transaction_read_only").fetchone() == ("on",)
            return connection.execute("SELECT ticker FROM instruments").fetchall()

    assert seen() == [("AAA",)]

    def spoil():
        with psycopg.connect(database.for_clients(url), autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(f"ALTER ROLE {url.username} SET search_path = x")
            connection.execute(f"ALTER ROLE {url.username} PASSWORD 'mine'")

    spoil()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        seen()
    teams.add(settings, "banks", WATCHLIST)
    assert seen() == [("AAA",)]
    spoil()
    embedded_server.stop(cluster)
    embedded_server.start(cluster, programs=programs)
    assert seen() == [("AAA",)]
    teams.remove(settings, "banks")
    assert url.password not in (cluster / "postgres/pgpass").read_text()
    assert (cluster / "postgres/pgpass").stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        seen()
    said = "".join(file.read_text() for file in (cluster / "postgres").glob("log*"))
    assert url.password not in said
