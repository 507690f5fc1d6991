"""Where settings come from: option > `STOCKBATCH_*` environment > `stockbatch.toml` > default.

A secret can be in a file that the environment names: `STOCKBATCH_DATABASE_URL_FILE` for
`database_url`, as containers and systemd hand secrets over.
"""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from stockbatch.config.problems import Sources, of_providers, of_validation, of_variables
from stockbatch.config.schema import (
    PREFIX,
    SECRETS,
    ProviderModels,
    Settings,
    expanded,
    state_folder,
)
from stockbatch.exceptions import ConfigurationError, StockbatchError

_PARTS = re.compile(r"[/:@?&=#\s]")
_HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+\.?|localhost|[a-z]{1,11}", re.IGNORECASE)
"""A machine's name or address, or a plain word, of which messages would be full of holes."""


def load(
    config: Path | None = None, models: ProviderModels | None = None, /, **options: Any
) -> Settings:
    """Read the settings; `config` names the file, `options` win over everything.

    Raises ConfigurationError naming the key for anything unknown or out of range. `models` read the
    tables of the providers; without them, only a provider that is created reads its own.
    """
    answer = _read(config, models, options)
    if isinstance(answer, Settings):
        return answer
    raise answer[0]


def problems(
    config: Path | None = None, models: ProviderModels | None = None, /, **options: Any
) -> list[ConfigurationError]:
    """Return all that is wrong with what `load` would read, at once."""
    answer = _read(config, models, options)
    return [] if isinstance(answer, Settings) else answer


def _read(
    config: Path | None, models: ProviderModels | None, options: Mapping[str, Any]
) -> Settings | list[ConfigurationError]:
    """Return the settings, or everything that is wrong with them."""
    options = {key: value for key, value in options.items() if value is not None}
    found = list(of_variables(models or {}))
    try:
        file = _find_file(config)
    except ConfigurationError as error:
        return [*found, error]
    sources = Sources(file, options)

    # A class per call, because pydantic takes the name of the file from the class.
    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            """Let options beat the environment, and the environment the file."""
            from_file = TomlConfigSettingsSource(settings_cls)
            empty, files = _EmptyVariables(settings_cls), _SecretFiles(settings_cls)
            return init_settings, empty, env_settings, files, from_file

        @field_validator("providers", mode="after")
        @classmethod
        def _read_by_their_models(cls, tables: dict[str, Any]) -> dict[str, Any]:
            # Collected here, where all sources are joined, and not raised: pydantic goes on to
            # whatever else is wrong.
            if models is not None:
                found.extend(of_providers(tables, sources, models))
            return tables

    try:
        settings = FromFile(**options)
    except ConfigurationError as error:
        found.append(error)
    except OSError as error:
        found.append(ConfigurationError(source=file, key="file", reason=error.strerror))
    except ValidationError as error:
        found += of_validation(error, sources, models or {})
    except RecursionError:
        reason = "tables or lists within others, deeper than can be read"
        found.append(ConfigurationError(source=file or "settings", key="syntax", reason=reason))
    except SettingsError as error:  # a table from one variable, as JSON
        found.append(ConfigurationError(source="environment", key="syntax", reason=error))
    except ValueError as error:  # no TOML, no UTF-8, or a number of thousands of digits
        found.append(ConfigurationError(source=file, key="syntax", reason=error))
    return found or settings


def secrets(settings: Settings, models: ProviderModels) -> set[str]:
    """Return every secret of the settings, and what may be one in the URLs for alerts.

    `models` tell which settings of the providers are secrets.
    """
    tables: list[BaseModel] = [settings]
    for name, table in settings.providers.items():
        with suppress(StockbatchError, ValidationError):
            tables.append(models[name]().model_validate(table))
    found = set(_secrets(tables))
    for url in settings.alert_urls:
        # Each service has its token in another place; of a host alone, nothing is made a secret.
        for part in _PARTS.split(url.get_secret_value().partition("://")[2]):
            found |= set() if _HOST.fullmatch(part) else {part, unquote(part)}
    return found - {""}


def _secrets(value: object) -> Iterator[str]:
    """Yield the secrets in a value of settings, however deep."""
    if isinstance(value, SecretStr):
        yield value.get_secret_value()
    elif isinstance(value, BaseModel):
        for key in type(value).model_fields:
            yield from _secrets(getattr(value, key))
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _secrets(one)
    elif isinstance(value, Mapping):
        yield from _secrets(list(value.values()))


class _AtOnce(PydanticBaseSettingsSource):
    """A source whose `__call__` reads all fields at once."""

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing."""
        return None, field_name, False


class _SecretFiles(_AtOnce):
    """Secrets from the files that `STOCKBATCH_…_FILE` variables name."""

    def __call__(self) -> dict[str, Any]:
        found = {}
        for key in SECRETS:
            variable = f"{PREFIX}{key}_FILE".upper()
            if not (named := os.environ.get(variable)):
                continue
            try:
                found[key] = expanded(Path(named)).read_text(encoding="utf-8").strip()
            except (OSError, ValueError) as error:
                reason = f"{named}: {getattr(error, 'strerror', None) or error}"
                raise ConfigurationError(
                    source="environment", key=variable, reason=reason
                ) from None
        return found


class _EmptyVariables(_AtOnce):
    """Variables that are set to nothing, of settings for which that means something.

    Of any other setting such a variable counts as not set: files of containers set many so.
    """

    def __call__(self) -> dict[str, Any]:
        unset = {name.upper() for name, value in os.environ.items() if not value}
        return {
            key: ""
            for key, field in Settings.model_fields.items()
            if f"{PREFIX}{key}".upper() in unset and "empty: " in (field.description or "")
        }


def _find_file(config: Path | None) -> Path | None:
    """Return the named file, else the one in the state folder, else None."""
    if config is not None:
        return _require_file(config, "--config")
    home = os.environ.get(f"{PREFIX}HOME")
    try:
        default = (expanded(Path(home)) if home else state_folder()) / "stockbatch.toml"
        return _require_file(default, "settings") if default.exists() else None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        key = f"{PREFIX}HOME" if home else "home"
        raise ConfigurationError(source="environment", key=key, reason=reason) from None


def _require_file(path: Path, source: str) -> Path:
    if not path.is_file():
        reason = "that is no file" if path.exists() else "there is no such file"
        raise ConfigurationError(source=source, key=path, reason=reason)
    return path
