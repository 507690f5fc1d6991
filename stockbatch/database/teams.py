"""Readers of one team: they see the tickers of one named watchlist, and nothing of the others.

A team is a schema, `team_NAME`, of views over those of `bi`, and a login that may read it and has
no right on `bi`. Which tickers are shown is looked up anew by each query. Row-level security would
not do: the views work with the rights of their owner, who bypasses it.

Two things keep a query from what is hidden. `security_barrier`: no function it brings along is
called with values of other rows. `OFFSET 0`: no condition of its own is tested on them either, of
which EXPLAIN ANALYZE would count how often it held. So each query reads all the rows of its team.

The schema's comment says which watchlist it is of; a migration makes the views anew from that.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from psycopg import sql
from sqlalchemy import URL, Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from stockbatch.config import Settings
from stockbatch.database import embedded_logins, embedded_server
from stockbatch.database.address import redacted
from stockbatch.database.connection import engine as connect
from stockbatch.database.connection import url as address
from stockbatch.database.migration import require_current
from stockbatch.exceptions import (
    AccessDenied,
    BadTeam,
    TeamViewsInUse,
    UnknownGroup,
    UnknownTeam,
    UnsuitableLogin,
)
from stockbatch.text import quoted

_TICKERS = """ANY (ARRAY(
    SELECT ticker FROM bi.groups WHERE group_kind = 'watchlist' AND group_name = {watchlist}))"""
_OWN = f"ticker = {_TICKERS}"
_CALENDARS = f"SELECT calendar FROM bi.instruments WHERE {_OWN}"  # noqa: S608 (constants)
_OF_CALENDAR = f"calendar = ANY (ARRAY({_CALENDARS}))"
# What is of a whole calendar, such as how well all its tickers were forecast, has no ticker.
_OWN_OR_WHOLE = f"{_OWN} OR ticker IS NULL AND {_OF_CALENDAR}"
SHOWN = {
    "accuracy": _OWN_OR_WHOLE,
    "data_freshness": _OWN,
    "data_issues": _OWN,
    "events": _OWN_OR_WHOLE,
    "forecast_history": _OWN,
    "forecast_reasons": _OWN,
    # Which other watchlists a ticker is on is no business of this team's.
    "groups": f"{_OWN} AND (group_kind <> 'watchlist' OR group_name = {{watchlist}})",
    "headlines": "true",
    "instruments": _OWN,
    "interval_coverage": _OWN_OR_WHOLE,
    "leaderboard": _OF_CALENDAR,
    "news": _OWN,
    "next_session_forecast": _OWN,
    "outcomes": _OWN,
    "price_and_forecast": _OWN,
    # Of a group or portfolio there is no ticker.
    "risk": _OWN,
    "risk_backtests": _OWN,
    "sentiment": _OWN,
    "sessions": _OF_CALENDAR,
    "splits": _OWN,
    "training_history": _OWN_OR_WHOLE,
}
"""By view of `bi`: the rows of it that a team sees. What is not named here, no team sees."""
WITHHELD = {
    "alerts": "their subjects and messages name any ticker",
    "archives": "folders are for whoever runs the jobs",
    "group_accuracy": "sums up, as of the last run, tickers that need not be the team's",
    "portfolio_forecasts": "reasons name any ticker",
    "portfolios": "what somebody holds is for those who hold it",
    "run_history": "messages name any ticker",
}
"""By view of `bi`: why no team sees it."""

_VIEW = "CREATE VIEW {} WITH (security_barrier) AS SELECT * FROM {} WHERE {} OFFSET 0"
_NAME = re.compile("[a-z][a-z0-9_]{0,29}")
_MARK = "Of the named watchlist, for a team to read: "
_TEAMS = text("""\
SELECT substr(nspname, 6) AS name,
    substr(obj_description(oid, 'pg_namespace'), char_length(:mark) + 1) AS watchlist,
    EXISTS (SELECT FROM pg_class WHERE relnamespace = n.oid AND relkind = 'v') AS has_views
FROM pg_namespace AS n
WHERE starts_with(nspname, 'team_') AND starts_with(obj_description(oid, 'pg_namespace'), :mark)
ORDER BY nspname""")
_COMMENTS = text("""\
SELECT c.relname AS view, a.attname AS column, col_description(c.oid, a.attnum) AS meaning
FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'bi'::regnamespace AND c.relname = ANY(:views)
UNION ALL
SELECT relname, NULL, obj_description(oid, 'pg_class') FROM pg_class
WHERE relnamespace = 'bi'::regnamespace AND relname = ANY(:views)""")
_VIEWS = text("SELECT viewname FROM pg_views WHERE schemaname = :schema ORDER BY viewname")
_WATCHLIST = text(
    "SELECT FROM bi.groups WHERE group_kind = 'watchlist' AND group_name = :name LIMIT 1"
)
_OWNS_BI = text("SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'bi'")
_SEES_MORE = text("""\
SELECT rolsuper OR rolcreaterole OR rolbypassrls
    OR EXISTS (SELECT FROM pg_auth_members WHERE member = r.oid)
    OR has_schema_privilege(r.oid, 'bi', 'USAGE')
    OR has_schema_privilege(r.oid, 'stockbatch', 'USAGE')
FROM pg_roles AS r WHERE rolname = :login""")
_USED = "2BP01"
"""State of an object that cannot be dropped because another needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team and the named watchlist whose tickers it sees."""

    name: str
    watchlist: str
    has_views: bool = False

    @property
    def schema(self) -> str:
        """The schema of its views."""
        return f"team_{self.name}"

    @property
    def login(self) -> str:
        """The login of its readers."""
        return f"{embedded_logins.TEAMS}{self.schema}"


def add(settings: Settings, name: str, watchlist: str) -> Team:
    """Make the views of a team, or make them anew, and let its login read them.

    The embedded server gets the login, too; on another an administrator has made it. Raises
    BadTeam, UnknownGroup, UnsuitableLogin, TeamViewsInUse, and AccessDenied unless the owner asks.
    """
    team = Team(name=name, watchlist=watchlist)
    if not _NAME.fullmatch(name):
        raise BadTeam(
            name=quoted(name),
            reason="write up to 30 small letters, digits and _, a letter first",
        )
    with _owner(settings) as owner:
        with owner.connect() as connection:
            if connection.execute(_WATCHLIST, {"name": watchlist}).first() is None:
                raise UnknownGroup(group=quoted(watchlist), hint="")
            _require_own_schema(connection, team)
        if settings.database_url is None:
            embedded_server.admit(settings.home, team.login)
        with owner.begin() as connection:
            _require_suitable(connection, team)
            _run(
                connection,
                sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(team.schema)),
                sql.SQL("COMMENT ON SCHEMA {} IS {}").format(
                    sql.Identifier(team.schema), sql.Literal(_MARK + watchlist)
                ),
            )
            _drop_views(connection, team)
            _make_views(connection, team)
            _let_in(connection, team)
    return team


def remove(settings: Settings, name: str) -> Team:
    """Take a team's views away, and its login's right to connect; the embedded server's login, too.

    Raises UnknownTeam, TeamViewsInUse, and AccessDenied unless the owner asks.
    """
    with _owner(settings) as owner:
        with owner.begin() as connection:
            team = _known(connection, name)
            _drop_views(connection, team)
            _run(connection, sql.SQL("DROP SCHEMA {}").format(sql.Identifier(team.schema)))
            if _is_there(connection, team):
                _run(connection, _on_database(connection, team, "REVOKE {} FROM {}"))
        if settings.database_url is None:
            embedded_server.dismiss(settings.home, team.login)
    return team


def everything(settings: Settings) -> list[Team]:
    """Return all teams. Raises AccessDenied unless the owner asks."""
    with _owner(settings) as owner, owner.connect() as connection:
        return _teams(connection)


def url(settings: Settings, name: str) -> URL:
    """Return the URL by which a team connects; its password is told by the embedded server alone.

    Raises UnknownTeam, and AccessDenied unless the owner asks.
    """
    with _owner(settings) as owner, owner.connect() as connection:
        login = _known(connection, name).login
    place = address(settings, "owner", create=False).set(username=login)._replace(password=None)
    if settings.database_url is not None:
        return place
    return place.set(password=embedded_server.start(settings.home).passwords[login])


@contextmanager
def set_aside(engine: Engine, *, changing: bool) -> Iterator[None]:
    """Take the views of all teams away while those of `bi` are `changing`, then make them anew.

    What a migration that was killed took away is made as well. Raises TeamViewsInUse.
    """
    with engine.begin() as connection:
        for team in _teams(connection) if changing else ():
            _drop_views(connection, team)
    try:
        yield
    finally:
        with engine.begin() as connection:
            for team in _teams(connection):
                if not team.has_views:
                    _make_views(connection, team)


@contextmanager
def _owner(settings: Settings) -> Iterator[Engine]:
    """Connect as the owner of the schemas. Raises AccessDenied for another login."""
    engine = connect(settings, "owner", create=False)
    try:
        require_current(engine)
        with engine.connect() as connection:
            if not connection.scalar(_OWNS_BI):
                reason = "teams are made by the owner of schema bi, the login that migrates"
                raise AccessDenied(url=redacted(engine.url), reason=reason)
        yield engine
    finally:
        engine.dispose()


def _teams(connection: Connection) -> list[Team]:
    return [Team(**row) for row in connection.execute(_TEAMS, {"mark": _MARK}).mappings()]


def _known(connection: Connection, name: str) -> Team:
    for team in _teams(connection):
        if team.name == name:
            return team
    raise UnknownTeam(name=quoted(name))


def _require_own_schema(connection: Connection, team: Team) -> None:
    is_there = text("SELECT FROM pg_namespace WHERE nspname = :schema")
    found = connection.execute(is_there, {"schema": team.schema}).first() is not None
    if found and team.name not in {one.name for one in _teams(connection)}:
        reason = f"the schema {team.schema} is there already, and no team's"
        raise BadTeam(name=quoted(team.name), reason=reason)


def _require_suitable(connection: Connection, team: Team) -> None:
    sees_more = connection.scalar(_SEES_MORE, {"login": team.login})
    reason = "it has other rights, or is a member of a role: take them from it" * bool(sees_more)
    if sees_more is None:
        reason = (
            f"it is not there: an administrator puts a file team_{team.name}_password to the"
            " secrets and runs deployment/logins.sql again"
        )
    if reason:
        raise UnsuitableLogin(login=team.login, reason=reason)


def _drop_views(connection: Connection, team: Team) -> None:
    views = connection.scalars(_VIEWS, {"schema": team.schema}).all()
    if not views:
        return
    named = sql.SQL(", ").join(sql.Identifier(team.schema, view) for view in views)
    try:
        _run(connection, sql.SQL("DROP VIEW {}").format(named))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _USED:
            raise
        detail = error.orig.diag.message_detail or ""  # type: ignore[union-attr]
        raise TeamViewsInUse(schema=team.schema, reason=detail.partition("\n")[0]) from None


def _make_views(connection: Connection, team: Team) -> None:
    there = set(connection.scalars(_VIEWS, {"schema": "bi"}))
    # Older schemas have no groups yet, and then no watchlist.
    views = sorted(SHOWN.keys() & there) if there >= {"groups", "instruments"} else []
    watchlist = sql.Literal(team.watchlist)
    made = [
        sql.SQL(_VIEW).format(
            sql.Identifier(team.schema, view),
            sql.Identifier("bi", view),
            sql.SQL(SHOWN[view]).format(watchlist=watchlist),
        )
        for view in views
    ]
    comments = connection.execute(_COMMENTS, {"views": views}).mappings()
    _run(connection, *made, *(_comment(team, **row) for row in comments))
    if _is_there(connection, team):
        _run(connection, _on_schema(team, "GRANT SELECT ON ALL TABLES IN SCHEMA {} TO {}"))


def _comment(team: Team, view: str, column: str | None, meaning: str) -> sql.Composed:
    kind, names = ("VIEW", (view,)) if column is None else ("COLUMN", (view, column))
    named = sql.Identifier(team.schema, *names)
    return sql.SQL("COMMENT ON {} {} IS {}").format(sql.SQL(kind), named, sql.Literal(meaning))


def _let_in(connection: Connection, team: Team) -> None:
    _run(connection, _on_schema(team, "GRANT USAGE ON SCHEMA {} TO {}"))
    may = text("SELECT has_database_privilege(:login, current_database(), 'CONNECT')")
    if not connection.scalar(may, {"login": team.login}):
        _run(connection, _on_database(connection, team, "GRANT {} TO {}"))


def _on_schema(team: Team, statement: str) -> sql.Composed:
    return sql.SQL(statement).format(sql.Identifier(team.schema), sql.Identifier(team.login))


def _on_database(connection: Connection, team: Team, statement: str) -> sql.Composed:
    name = sql.Identifier(str(connection.scalar(text("SELECT current_database()"))))
    right = sql.SQL("CONNECT ON DATABASE {}").format(name)
    return sql.SQL(statement).format(right, sql.Identifier(team.login))


def _is_there(connection: Connection, team: Team) -> bool:
    query = text("SELECT FROM pg_roles WHERE rolname = :login")
    return connection.execute(query, {"login": team.login}).first() is not None


def _run(connection: Connection, *statements: sql.Composed) -> None:
    """Run statements in one go; nothing in them is a parameter, whatever names have in them."""
    if statements:
        script = ";\n".join(statement.as_string() for statement in statements)
        connection.execution_options(no_parameters=True).exec_driver_sql(script)
