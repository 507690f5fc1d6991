"""The revision of the schema, and how it becomes the newest one.

Alembic is imported where something is to be migrated: whoever finds the schema in order is spared.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.schema import CreateSchema

from stockbatch.config import Settings
from stockbatch.database.address import redacted
from stockbatch.database.connection import engine as connect
from stockbatch.exceptions import DatabaseBusy, MigrationInProgress, SchemaOutOfDate, SchemaTooNew

if TYPE_CHECKING:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

SCHEMAS = ("stockbatch", "bi")
PATIENCE = "120s"
"""How long a process waits for another one's migration."""
# No reader and no job may take it, and it lets the rows of the table be changed.
_LOCK = text("LOCK TABLE stockbatch.alembic_version IN SHARE UPDATE EXCLUSIVE MODE")
_MADE_BY_ANOTHER = ("23505", "42P06", "42P07")
"""States of what another process has made in the same instant."""


def migrate(settings: Settings) -> None:
    """Bring the schema to the newest revision.

    Another process that is at it is waited for. Raises MigrationInProgress where that takes too
    long, and SchemaTooNew.
    """
    from alembic import command

    owner = connect(settings, role="owner")
    try:
        _refuse_unknown(owner, revision(owner))
        command.upgrade(alembic_config(owner), "head")
    finally:
        owner.dispose()


def create_roles(connection: Connection) -> None:
    """Make the group roles that are missing, as the migrations do."""
    script = _scripts().get_revision("0003")
    connection.execute(text(script.module.CREATE_ROLES))


@cache
def head() -> str:
    """Return the newest revision this program carries: the files of all begin with their names."""
    files = (migrations_folder() / "versions").glob("[0-9]*.py")
    return max(file.stem.partition("_")[0] for file in files)


def revision(engine: Engine) -> str | None:
    """Return the revision of the schema, None where there is none."""
    with engine.connect() as connection:
        if not _has_version_table(connection):
            return None
        found = connection.scalar(text("SELECT version_num FROM stockbatch.alembic_version"))
        return None if found is None else str(found)


def require_current(engine: Engine) -> None:
    """Raise SchemaOutOfDate or SchemaTooNew unless the schema is the one of this program."""
    found, expected = revision(engine), head()
    if found != expected:
        _refuse_unknown(engine, found)
        raise SchemaOutOfDate(url=redacted(engine.url), found=found or "none", expected=expected)


@contextmanager
def migration_lock(connection: Connection) -> Iterator[None]:
    """Be the only migrator of this database, after those before. Raises MigrationInProgress.

    It is a lock of Alembic's table, which its owner alone can take, and ends with the transaction
    of this connection: migrations need another one.
    """
    try:
        while not _has_version_table(connection):
            _make_version_table(connection)
        _be_patient(connection)
        connection.execute(_LOCK)
    except DatabaseBusy:
        raise MigrationInProgress(url=redacted(connection.engine.url)) from None
    try:
        yield
    finally:
        connection.rollback()


def _has_version_table(connection: Connection) -> bool:
    return inspect(connection).has_table("alembic_version", schema="stockbatch")


def _be_patient(connection: Connection) -> None:
    connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))


def _make_version_table(connection: Connection) -> None:
    """Make the schemas and Alembic's table; of several processes one does, the others wait."""
    from alembic.runtime.migration import MigrationContext

    _be_patient(connection)
    try:
        for schema in SCHEMAS:
            if not inspect(connection).has_schema(schema):
                connection.execute(CreateSchema(schema))
        options = {"version_table_schema": "stockbatch"}
        MigrationContext.configure(connection, opts=options).stamp(_scripts(), "base")
        connection.commit()
    except DBAPIError as error:
        connection.rollback()
        if getattr(error.orig, "sqlstate", None) not in _MADE_BY_ANOTHER:
            raise


def migrations_folder() -> Path:
    """Return the migrations: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config(engine: Engine) -> "Config":
    """Return the configuration with which Alembic's commands work on `engine`."""
    from alembic.config import Config

    # Alembic takes else what was the output when it was imported, which may be closed by now.
    configuration = Config(stdout=sys.stdout)
    configuration.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    configuration.attributes["engine"] = engine
    return configuration


def _scripts() -> "ScriptDirectory":
    from alembic.script import ScriptDirectory

    return ScriptDirectory(str(migrations_folder()))


def _refuse_unknown(engine: Engine, found: str | None) -> None:
    from alembic.util import CommandError

    try:
        _scripts().get_revision(found or "base")
    except CommandError:
        raise SchemaTooNew(url=redacted(engine.url), found=found) from None
