"""The settings as TOML: those in force, and a file to start from."""

import json
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr

from stockbatch.config import PREFIX, ExchangeSettings, ModelSettings, Settings

_ABOUT = f"""
# Settings of stockbatch: take the '# ' away from what you change.
#
# This file is read as stockbatch.toml in the folder STOCKBATCH_HOME, or where --config says.
# A variable wins over it ({PREFIX}THREADS=4, {PREFIX}MODEL__UNITS=32), and an option over both
# (--set threads=4). A secret is better kept in a file of its own that a variable names:
# {PREFIX}DATABASE_URL_FILE, {PREFIX}ALERT_URLS_FILE, {PREFIX}ALPHA_VANTAGE_KEY_FILE.
# 'stockbatch config check' says what is wrong with it, 'stockbatch config show' what is in force.
"""


def describe(settings: Settings) -> str:
    """Return the settings as TOML with what each is for; passwords and keys are hidden."""
    lines = []
    own = [(table, f"[exchanges.{json.dumps(c)}]") for c, table in settings.exchanges.items()]
    for owner, heading in ((settings, None), (settings.model, "[model]"), *own):
        lines += ["", heading] if heading else []
        for key, field in type(owner).model_fields.items():
            value = getattr(owner, key)
            if isinstance(value, BaseModel | dict):
                continue
            text = f"{key} = {_toml(value)}" if value is not None else f"# {key} is not set"
            lines.append(text.ljust(40) + f"  # {field.description or key}")
    return "\n".join(lines)


def template() -> str:
    """Return a settings file that changes nothing: every setting with its default, as a comment.

    A setting without a default that is everybody's has an example in its place.
    """
    tables: tuple[tuple[str, type[BaseModel]], ...] = (
        ("", Settings),
        ("[model]", ModelSettings),
        ("[exchanges.XTKS]", ExchangeSettings),
    )
    lines = [_ABOUT.strip()]
    for heading, table in tables:
        if heading:
            lines += ["", f"# {_line((table.__doc__ or '').splitlines()[0])}", f"# {heading}"]
        for key, field in table.model_fields.items():
            default = field.get_default()
            if isinstance(default, BaseModel | dict):
                continue
            value = field.examples[0] if field.examples else default
            lines += ["", f"# {_line(field.description or key)}", f"# {key} = {json.dumps(value)}"]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _toml(value: object) -> str:
    if isinstance(value, SecretStr):
        return json.dumps(_redacted(value.get_secret_value()))
    if isinstance(value, tuple):  # of secrets whose whole text may be one
        schemes = [one.get_secret_value().partition("://")[0] for one in value]
        return json.dumps([f"{scheme}://***" for scheme in schemes])
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _redacted(secret: str) -> str:
    """Return a URL without its password and without its query, of anything else nothing."""
    if "://" not in secret:
        return "***"
    parts = urlsplit(secret)
    login, at, host = parts.netloc.rpartition("@")
    user, colon, _ = login.partition(":")
    return urlunsplit((parts.scheme, f"{user}{colon and ':***'}{at}{host}", parts.path, "", ""))
