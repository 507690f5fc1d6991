"""The settings as TOML: those in force, and a file to start from."""

import json
import re
from collections.abc import Callable
from contextlib import suppress

from pydantic import BaseModel, SecretStr
from pydantic_core import PydanticUndefined

from stockbatch.config import PREFIX, ExchangeSettings, ModelSettings, ProviderModels, Settings
from stockbatch.exceptions import StockbatchError

_HIDDEN = "***"
_SCHEME = re.compile(r"([a-z0-9]{1,13})://", re.IGNORECASE)
"""As the schemes of Apprise are written. What is before any other :// may be a secret."""
_ABOUT = f"""
# Settings of stockbatch: take the '# ' away from what you change.
#
# This file is read as stockbatch.toml in the folder STOCKBATCH_HOME, or where --config says.
# A variable wins over it ({PREFIX}THREADS=4, {PREFIX}MODEL__UNITS=32), and an option over both
# (--set threads=4). A secret is better kept in a file of its own that a variable names:
# {PREFIX}DATABASE_URL_FILE, {PREFIX}ALERT_URLS_FILE,
# {PREFIX}PROVIDERS__ALPHA_VANTAGE__KEY_FILE.
# 'stockbatch config check' says what is wrong with it, 'stockbatch config show' what is in force.
"""


def scheme_of(url: str) -> str | None:
    """Return the scheme of a URL for alerts, which says nothing secret; None where it has none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else None


def _nothing(_secret: str) -> str:
    return _HIDDEN


def describe(
    settings: Settings, models: ProviderModels, shown: Callable[[str], str] = _nothing
) -> str:
    """Return the settings as TOML with what each is for; passwords and keys are hidden.

    `models` are those of the providers there are, with or without a table in the settings. `shown`
    tells what of the database's URL may be seen: only who connects by it can read it.
    """
    lines = _assignments(settings, shown)
    lines += ["", "[model]", *_assignments(settings.model)]
    for code, own in settings.exchanges.items():
        lines += ["", f"[exchanges.{json.dumps(code)}]", *_assignments(own)]
    for name, model in models.items():
        try:
            table = _of_provider(model(), settings.providers.get(name))
        except StockbatchError as error:
            lines += ["", f"# [providers.{name}]: {error}"]
            continue
        if assignments := _assignments(table):
            lines += ["", f"[providers.{name}]", *assignments]
    return "\n".join(lines)


def _of_provider(model: type[BaseModel], table: object) -> BaseModel:
    """Return a provider's settings; where none are given, its defaults, required ones left out."""
    return model.model_construct() if table is None else model.model_validate(table)


def _assignments(table: BaseModel, shown: Callable[[str], str] = _nothing) -> list[str]:
    lines = []
    for key, field in type(table).model_fields.items():
        value = getattr(table, key, None)
        if isinstance(value, BaseModel | dict):
            continue
        if isinstance(value, SecretStr):
            value = shown(value.get_secret_value())
        text = f"{key} = {_toml(value)}" if value is not None else f"# {key} is not set"
        lines.append(text.ljust(40) + f"  # {field.description or key}")
    return lines


def template(models: ProviderModels) -> str:
    """Return a settings file that changes nothing: every setting with its default, as a comment.

    A setting without a default that is everybody's has an example in its place. `models` are those
    of the providers there are; one that cannot be imported is left out.
    """
    tables: list[tuple[str, type[BaseModel]]] = [
        ("", Settings),
        ("[model]", ModelSettings),
        ("[exchanges.XTKS]", ExchangeSettings),
    ]
    for name, model in models.items():
        with suppress(StockbatchError):
            tables.append((f"[providers.{name}]", model()))
    lines = [_ABOUT.strip()]
    for heading, table in tables:
        if heading and table.model_fields:
            about = (table.__doc__ or "What can be set.").splitlines()[0]
            lines += ["", f"# {_line(about)}", f"# {heading}"]
        for key, field in table.model_fields.items():
            default = field.get_default()
            if isinstance(default, BaseModel | dict):
                continue
            value = field.examples[0] if field.examples else default
            lines += ["", f"# {_line(field.description or key)}", f"# {key} = {_toml(value)}"]
    return "\n".join(lines) + "\n"


def _line(text: str) -> str:
    return text[0].upper() + text[1:].rstrip(".") + "."


def _toml(value: object) -> str:
    """Return a value as TOML, which for what settings are made of is as JSON writes it."""
    if isinstance(value, SecretStr):
        return json.dumps(_HIDDEN)
    if isinstance(value, tuple) and all(isinstance(one, SecretStr) for one in value):
        # The whole text of each may be the secret.
        schemes = [scheme_of(one.get_secret_value()) for one in value]
        return json.dumps([f"{scheme}://***" if scheme else _HIDDEN for scheme in schemes])
    return json.dumps("" if value in (None, PydanticUndefined) else value, default=str)
