"""The revision of the schema, and how it becomes the newest one."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect, text

from stockbatch.config import Settings
from stockbatch.database.address import redacted
from stockbatch.database.connection import engine as connect
from stockbatch.exceptions import MigrationInProgress, SchemaOutOfDate, SchemaTooNew

MIGRATION_LOCK = 0x73746F636B  # "stock": the key of the advisory lock of migrations


def migrate(settings: Settings) -> None:
    """Bring the schema to the newest revision.

    Raises MigrationInProgress at once if another process is at it, and SchemaTooNew.
    """
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
def head() -> str | None:
    """Return the newest revision this program carries."""
    return _scripts().get_current_head()


def revision(engine: Engine) -> str | None:
    """Return the revision of the schema, None where there is none."""
    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version", schema="stockbatch"):
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
    """Be the only migrator of this database, or raise MigrationInProgress at once."""
    lock = {"key": MIGRATION_LOCK}
    if not connection.scalar(text("SELECT pg_try_advisory_lock(:key)"), lock):
        raise MigrationInProgress(url=redacted(connection.engine.url))
    connection.commit()
    try:
        yield
    finally:
        connection.rollback()
        connection.execute(text("SELECT pg_advisory_unlock(:key)"), lock)
        connection.commit()


def migrations_folder() -> Path:
    """Return the migrations: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def alembic_config(engine: Engine) -> Config:
    """Return the configuration with which Alembic's commands work on `engine`."""
    configuration = Config()
    configuration.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    configuration.attributes["engine"] = engine
    return configuration


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(migrations_folder()))


def _refuse_unknown(engine: Engine, found: str | None) -> None:
    try:
        _scripts().get_revision(found or "base")
    except CommandError:
        raise SchemaTooNew(url=redacted(engine.url), found=found) from None
