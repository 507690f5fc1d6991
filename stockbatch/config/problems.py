"""What is wrong with settings, in our words: where each was set, and what would be right."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from stockbatch.config.schema import (
    PREFIX,
    SECRETS,
    ExchangeSettings,
    ModelSettings,
    ProviderModels,
    Settings,
)
from stockbatch.exceptions import ConfigurationError, StockbatchError

_TABLES = ("model", "exchanges", "providers")
_ANY_EXCHANGE = re.compile("^EXCHANGES__.+?__")
_OF_A_PROVIDER = re.compile("^PROVIDERS__.+?__.")
"""What follows is known to the provider's model only, which reads it as it reads a file."""
_GONE = ("alpha_vantage_format", "yfinance_workers")
"""Settings of version 0.1 for which nothing else can be set now."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What settings are read from, besides the environment."""

    file: Path | None
    options: Mapping[str, Any]

    def error(self, path: Sequence[str], reason: object) -> ConfigurationError:
        """Return an error that names the source whose value at `path` was taken."""
        key, variable = ".".join(path), variable_of(path)
        names = [name.upper() for name in os.environ]
        if _holds(self.options, path):
            return ConfigurationError(source="options", key=key, reason=reason)
        if any(name == variable or name.startswith(f"{variable}__") for name in names):
            return ConfigurationError(source="environment", key=variable, reason=reason)
        # Where there is no file, it is a setting that lacks.
        return ConfigurationError(source=self.file or "settings", key=key, reason=reason)


def variable_of(path: Sequence[str]) -> str:
    """Return the environment variable that sets what is at `path`."""
    return PREFIX + "__".join(path).upper()


def of_validation(
    error: ValidationError, sources: Sources, models: ProviderModels, *table: str
) -> Iterator[ConfigurationError]:
    """Yield an error for everything pydantic found wrong with the settings, or with one `table`."""
    for problem in error.errors(include_url=False, include_input=False):
        path = [*table, *(str(part) for part in problem["loc"])]
        unknown = problem["type"] == "extra_forbidden"
        yield sources.error(path, _unknown(path, models) if unknown else in_words(problem["msg"]))


def in_words(message: str) -> str:
    """Return what pydantic says is wrong; of a validator of ours, its own words."""
    return message.removeprefix("Value error, ")


def of_providers(
    tables: Mapping[str, Mapping[str, Any]], sources: Sources, models: ProviderModels
) -> Iterator[ConfigurationError]:
    """Yield what each provider's own model finds wrong with its table.

    A provider that cannot be imported is passed over: it says so to whoever asks for its bars, and
    keeps nobody else from theirs.
    """
    for name, table in tables.items():
        path = ("providers", name)
        if name not in models:
            yield sources.error(path, _unknown(path, models))
            continue
        try:
            models[name]().model_validate(table)
        except ValidationError as error:
            yield from of_validation(error, sources, models, *path)
        except StockbatchError:
            continue


def of_variables(models: ProviderModels) -> Iterator[ConfigurationError]:
    """Yield what is wrong with a `STOCKBATCH_*` variable that pydantic would ignore."""
    # Pydantic refuses unknown keys of a file, but passes over variables that it does not know.
    known = {key.upper() for key in Settings.model_fields if key not in _TABLES}
    known |= {f"{key}_FILE".upper() for key in SECRETS}
    known |= {f"MODEL__{key.upper()}" for key in ModelSettings.model_fields}
    known |= {f"EXCHANGES__CODE__{key.upper()}" for key in ExchangeSettings.model_fields}
    for name in os.environ:
        if not name.upper().startswith(PREFIX):
            continue
        key = _ANY_EXCHANGE.sub("EXCHANGES__CODE__", name.upper().removeprefix(PREFIX))
        if key not in known and not _OF_A_PROVIDER.match(key):
            reason = _unknown_variable(key, known, models)
            yield ConfigurationError(source="environment", key=name, reason=reason)
        twice = name.removesuffix("_FILE")
        if twice != name and key.removesuffix("_FILE").lower() in SECRETS and os.environ.get(twice):
            reason = f"{twice} is set as well: keep one of the two"
            yield ConfigurationError(source="environment", key=name, reason=reason)


def _unknown_variable(key: str, known: Iterable[str], models: ProviderModels) -> str:
    if key.lower() in _GONE:
        return "no longer a setting: take it away"
    if moved := _moved(key.lower(), models):
        return f"unknown; it is {variable_of(moved)} now"
    if close := get_close_matches(key, known, 1):
        return f"unknown; did you mean {PREFIX}{close[0]}?"
    return "unknown; 'stockbatch config show' lists them"


def _unknown(path: Sequence[str], models: ProviderModels) -> str:
    """Say what might have been meant by a key that there is not."""
    if path[-1] in _GONE:
        return "no longer a setting: take it away"
    if len(path) == 1 and (moved := _moved(path[0], models)):
        return f"unknown; it is {'.'.join(moved)} now"
    close = get_close_matches(path[-1], _known_beside(path, models), 1)
    if close:
        return f"unknown; did you mean {close[0]}?"
    if path[0] == "providers" and len(path) == 2:
        return f"unknown; there are {', '.join(models)}"
    return "unknown"


def _known_beside(path: Sequence[str], models: ProviderModels) -> Iterable[str]:
    """Return the keys there are where the last one of `path` is not one."""
    match path:
        case ["model", _, *_]:
            return ModelSettings.model_fields
        case ["exchanges", _, *_]:
            return ExchangeSettings.model_fields
        case ["providers", _]:
            return models
        case ["providers", name, *_]:
            return models[name]().model_fields
        case _:
            return Settings.model_fields


def _moved(key: str, models: ProviderModels) -> tuple[str, ...] | None:
    """Return where a setting of a provider is now that had the provider's name before its own.

    Until version 0.1, what is `requests_per_second` in the table `[providers.yfinance]` was
    `yfinance_requests_per_second` outside all tables.
    """
    for name, model in models.items():
        own = key.removeprefix(f"{name}_")
        with suppress(StockbatchError):
            if own != key and own in model().model_fields:
                return "providers", name, own
    return None


def _holds(options: Any, path: Sequence[str]) -> bool:
    """Tell whether nested mappings have a value at `path`."""
    for part in path:
        if not isinstance(options, Mapping) or part not in options:
            return False
        options = options[part]
    return True
