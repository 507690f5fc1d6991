"""Alembic's environment, for the `alembic` command and for `stockbatch migrate`.

One process at a time, each migration in a transaction of its own. The schemas are made here because
one holds Alembic's own table; no migration creates or drops them.
"""

import logging
from collections.abc import Mapping

from alembic import context
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.schema import CreateSchema

from stockbatch import config, database
from stockbatch.database.tables import Base

SCHEMAS = ("stockbatch", "bi")


def is_ours(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Tell whether Alembic compares this object: tables of ours that have a mapped class."""
    if kind == "table":
        return f"{parents['schema_name']}.{name}" in Base.metadata.tables
    return kind != "schema" or name in SCHEMAS


def migrate(connection: Connection) -> None:
    """Run the migrations that the command asks for."""
    for schema in SCHEMAS:
        if not inspect(connection).has_schema(schema):
            connection.execute(CreateSchema(schema))
    connection.commit()
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
    """Migrate alone; raise MigrationInProgress if another process is at it."""
    with engine.connect() as connection, database.migration_lock(connection):
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
