"""What orders have in common: what has to be the same wherever one is done, and their halves."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from sqlalchemy import Engine, text

from stockbatch.config import Settings
from stockbatch.methods import registry

DECISIVE = ("model", "retrain_after_sessions", "base_after_sessions", "events_assumed_sessions")
"""Settings by which rows differ."""
_DATABASE = text("""
SELECT c.system_identifier || ' ' || d.oid
FROM pg_control_system() AS c, pg_database AS d WHERE d.datname = current_database()
""")


def decisive(settings: Settings) -> dict[str, Any]:
    """Return the settings that decide what is written, where they are not those of the caller."""
    return {name: getattr(settings, name) for name in DECISIVE}


def agreed(settings: Settings, engine: Engine, *, any_settings: bool = False) -> dict[str, str]:
    """Return by name what all who work together have to have alike.

    With `any_settings` those do not count, because every order brings them.
    """
    with engine.connect() as connection:
        database = str(connection.scalar(_DATABASE))
    return {
        "version": version("stockbatch"),
        "methods": " ".join(name for name, *_ in registry.described()),
        "database": database,
        **({} if any_settings else stated(settings)),
    }


def stated(settings: Settings) -> dict[str, str]:
    """Return the decisive settings as texts, those of `[model]` one by one: few of them differ."""
    compared = decisive(settings)
    model = compared.pop("model").model_dump()
    compared |= {f"model.{name}": value for name, value in model.items()}
    return {name: str(value) for name, value in compared.items()}


def unlike(own: Mapping[str, str], expected: Mapping[str, str]) -> str:
    """Return in words what of one's own is not as expected, empty where all of it is."""
    return "; ".join(
        f"{key} is {own.get(key)} there and {value} here"
        for key, value in expected.items()
        if own.get(key) != value
    )


def halved(ids: tuple[int, ...], *, again: bool = True) -> list[tuple[int, ...]]:
    """Return both halves of the tickers of an order; of a single one itself, unless `again`.

    Who has died of it once may have died of anything.
    """
    middle = len(ids) // 2
    if middle:
        return [ids[:middle], ids[middle:]]
    return [] if again else [ids]
