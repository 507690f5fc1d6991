"""Where settings come from: option > `STOCKBATCH_*` environment > `stockbatch.toml` > default.

A secret can be in a file that the environment names: `STOCKBATCH_DATABASE_URL_FILE` for
`database_url`, as containers and systemd hand secrets over.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from stockbatch.config.schema import (
    PREFIX,
    ExchangeSettings,
    ModelSettings,
    Settings,
    state_folder,
)
from stockbatch.exceptions import ConfigurationError

_ANY_EXCHANGE = re.compile("^EXCHANGES__.+?__")


def load(config: Path | None = None, **options: Any) -> Settings:
    """Read the settings; `config` names the file, `options` win over everything.

    Raises ConfigurationError naming the key for anything unknown or out of range.
    """
    answer = _read(config, options)
    if isinstance(answer, Settings):
        return answer
    raise answer[0]


def problems(config: Path | None = None, **options: Any) -> list[ConfigurationError]:
    """Return all that is wrong with what `load` would read, at once."""
    answer = _read(config, options)
    return [] if isinstance(answer, Settings) else answer


def _read(config: Path | None, options: Mapping[str, Any]) -> Settings | list[ConfigurationError]:
    """Return the settings, or everything that is wrong with them."""
    options = {key: value for key, value in options.items() if value is not None}
    found = list(_unknown_variables())
    try:
        file = _find_file(config)
    except ConfigurationError as error:
        return [*found, error]

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
            return init_settings, env_settings, _SecretFiles(settings_cls), from_file

    try:
        settings = FromFile(**options)
    except ConfigurationError as error:
        found.append(error)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        found.append(ConfigurationError(source=file, key="syntax", reason=error))
    except OSError as error:
        found.append(ConfigurationError(source=file, key="file", reason=error.strerror))
    except ValidationError as error:
        found += [_problem(one, file, options) for one in error.errors(include_url=False)]
    return found or settings


def secrets(settings: Settings) -> set[str]:
    """Return every secret of the settings, and the passwords inside those that are URLs."""
    values = (getattr(settings, key) for key in type(settings).model_fields)
    found = set()
    for value in values:
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, SecretStr):
                secret = one.get_secret_value()
                found.add(secret)
                with suppress(ValueError):
                    password = urlsplit(secret).password or ""
                    found |= {password, unquote(password)}
    return found - {""}


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets from the files that `STOCKBATCH_…_FILE` variables name."""

    def __call__(self) -> dict[str, Any]:
        found = {}
        for key in _SECRETS:
            variable = f"{PREFIX}{key}_FILE".upper()
            if not (named := os.environ.get(variable)):
                continue
            try:
                found[key] = Path(named).expanduser().read_text(encoding="utf-8").strip()
            except (OSError, UnicodeDecodeError) as error:
                reason = f"{named}: {getattr(error, 'strerror', None) or error}"
                raise ConfigurationError(
                    source="environment", key=variable, reason=reason
                ) from None
        return found

    def get_field_value(self, _field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return nothing: `__call__` reads all fields at once."""
        return None, field_name, False


_SECRETS = tuple(
    key
    for key, field in Settings.model_fields.items()
    if "SecretStr" in repr(field.annotation) and f"{key}_file" not in Settings.model_fields
)
"""Settings that may be in a file; one that has a setting for its file reads that itself."""


def _find_file(config: Path | None) -> Path | None:
    """Return the named file, else the one in the state folder, else None."""
    if config is not None:
        if not config.is_file():
            raise ConfigurationError(source="--config", key=config, reason="there is no such file")
        return config
    home = os.environ.get(f"{PREFIX}HOME")
    default = (Path(home).expanduser() if home else state_folder()) / "stockbatch.toml"
    return default if default.is_file() else None


def _unknown_variables() -> Iterator[ConfigurationError]:
    """Yield what is wrong with a `STOCKBATCH_*` variable that pydantic would ignore."""
    known = {key.upper() for key in Settings.model_fields if key not in ("model", "exchanges")}
    known |= {f"{key}_FILE".upper() for key in _SECRETS}
    known |= {f"MODEL__{key.upper()}" for key in ModelSettings.model_fields}
    known |= {f"EXCHANGES__CODE__{key.upper()}" for key in ExchangeSettings.model_fields}
    for name in os.environ:
        if not name.upper().startswith(PREFIX):
            continue
        key = _ANY_EXCHANGE.sub("EXCHANGES__CODE__", name.upper().removeprefix(PREFIX))
        if key not in known:
            close = get_close_matches(key, known, 1)
            hint = (
                f"did you mean {PREFIX}{close[0]}?"
                if close
                else "'stockbatch config show' lists them"
            )
            yield ConfigurationError(source="environment", key=name, reason=f"unknown; {hint}")
        twice = name.removesuffix("_FILE")
        if (
            twice != name
            and key.removesuffix("_FILE").lower() in _SECRETS
            and os.environ.get(twice)
        ):
            reason = f"{twice} is set as well: keep one of the two"
            yield ConfigurationError(source="environment", key=name, reason=reason)


def _problem(problem: Any, file: Path | None, options: Mapping[str, Any]) -> ConfigurationError:
    """Return what pydantic found wrong in our words: where it was set, and what would be right."""
    path = [str(part) for part in problem["loc"]]
    reason = problem["msg"]
    if problem["type"] == "extra_forbidden":
        tables: dict[str, type[BaseModel]]
        tables = {"model": ModelSettings, "exchanges": ExchangeSettings}
        fields = tables[path[0]].model_fields if len(path) > 1 else Settings.model_fields
        close = get_close_matches(path[-1], fields, 1)
        reason = f"unknown; did you mean {close[0]}?" if close else "unknown"
    variable = PREFIX + "__".join(path).upper()
    if _holds(options, path):
        return ConfigurationError(source="options", key=".".join(path), reason=reason)
    if variable in {name.upper() for name in os.environ}:
        return ConfigurationError(source="environment", key=variable, reason=reason)
    return ConfigurationError(source=file, key=".".join(path), reason=reason)


def _holds(options: Any, path: Sequence[str]) -> bool:
    """Tell whether nested mappings have a value at `path`."""
    for part in path:
        if not isinstance(options, Mapping) or part not in options:
            return False
        options = options[part]
    return True
