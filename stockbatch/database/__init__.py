"""The database: the way into it, its tables, its revision, and the server that comes along."""

from stockbatch.database.address import for_clients, redacted, secrets, shown
from stockbatch.database.connection import (
    engine,
    for_programs,
    programs,
    psql,
    url,
)
from stockbatch.database.migration import (
    alembic_config,
    create_roles,
    head,
    migrate,
    migration_lock,
    migrations_folder,
    require_current,
    revision,
)
from stockbatch.database.readers import require_readers_only_read

__all__ = [
    "alembic_config",
    "create_roles",
    "engine",
    "for_clients",
    "for_programs",
    "head",
    "migrate",
    "migration_lock",
    "migrations_folder",
    "programs",
    "psql",
    "redacted",
    "require_current",
    "require_readers_only_read",
    "revision",
    "secrets",
    "shown",
    "url",
]
