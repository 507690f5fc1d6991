"""Alembic's environment, for the `alembic` command and for `stockbatch migrate`.

One process at a time, each migration in a transaction of its own. The schemas come with the lock,
which is one of Alembic's own table; no migration creates or drops them.
"""

import logging
from collections.abc import Mapping

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, Engine

from stockbatch import config, database
from stockbatch.database import migration, teams
from stockbatch.database.tables import Base


def is_ours(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Tell whether Alembic compares this object: tables of ours that have a mapped class."""
    if kind == "table":
        return f"{parents['schema_name']}.{name}" in Base.metadata.tables
    return kind != "schema" or name in migration.SCHEMAS


def migrate(connection: Connection) -> None:
    """Run the migrations that the command asks for."""
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        version_table_schema="stockbatch",
        include_schemas=True,
        include_name=is_ours,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
    )
    with context.begin_transaction():
        context.run_migrations()


def run(engine: Engine) -> None:
    """Migrate alone, after whoever is at it. Raises MigrationInProgress, TeamViewsInUse.

    The views of teams need those of `bi`, which a migration may have to replace.
    """
    with (
        engine.connect() as guard,
        database.migration_lock(guard),
        teams.set_aside(engine, changing=database.revision(engine) != database.head()),
        engine.connect() as connection,
    ):
        migrate(connection)


if context.is_offline_mode():
    raise CommandError("--sql is not supported: migrations look at the database")
if (given := context.config.attributes.get("engine")) is not None:
    run(given)
else:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("alembic.runtime.migration").setLevel(logging.INFO)
    own = database.engine(config.load(), role="owner")
    try:
        run(own)
    finally:
        own.dispose()
