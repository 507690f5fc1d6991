"""What has to be the same wherever a piece of one work is done: else its rows would differ."""

from collections.abc import Mapping
from importlib.metadata import version

from sqlalchemy import text

from jobs.app import App
from stockbatch.methods import registry

_DATABASE = text("""
SELECT c.system_identifier || ' ' || d.oid
FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()
""")


def agreed(app: App) -> dict[str, str]:
    """Return by name what all who work together have to have alike."""
    settings = app.settings
    with app.engine.connect() as connection:
        database = str(connection.scalar(_DATABASE))
    return {
        "version": version("stockbatch"),
        "model": settings.engine_hash(),
        "retrain_after_sessions": str(settings.retrain_after_sessions),
        "events_assumed_sessions": str(settings.events_assumed_sessions),
        "methods": " ".join(name for name, *_ in registry.described()),
        "database": database,
    }


def unlike(own: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Return in words what of one's own is not as expected, empty where all of it is."""
    return "; ".join(
        f"{key} is {own.get(key)} there and {value} here"
        for key, value in expected.items()
        if own.get(key) != value
    )
