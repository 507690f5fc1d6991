"""What who only reads could write all the same: what PostgreSQL gives to everybody."""

from sqlalchemy import Engine, text

from stockbatch.database.address import redacted
from stockbatch.exceptions import ReadersMayWrite

_QUERY = text("""
SELECT has_database_privilege('stockbatch_reader', current_database(), 'TEMPORARY') AS tables,
    EXISTS (
        SELECT FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND proname ~ '^lo(_|read|write)'
            AND has_function_privilege('stockbatch_reader', oid, 'EXECUTE')
    ) AS objects
FROM pg_roles WHERE rolname = 'stockbatch_reader'
""")


def require_readers_only_read(engine: Engine) -> None:
    """Raise ReadersMayWrite where readers can fill the disk by what everybody may make."""
    with engine.connect() as connection:
        row = connection.execute(_QUERY).first()
    if row is None:
        return
    what = ["temporary tables"] * row.tables + ["large objects"] * row.objects
    if what:
        raise ReadersMayWrite(url=redacted(engine.url), what=" and ".join(what))
