"""Settings: option > `STOCKBATCH_*` environment > `stockbatch.toml` > default.

A secret can be in a file that the environment names: `STOCKBATCH_DATABASE_URL_FILE` for
`database_url`, as containers and systemd hand secrets over.

This is the only module that reads the environment.
"""

import getpass
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from stockbatch.exceptions import ConfigurationError

PREFIX = "STOCKBATCH_"
_ANY_EXCHANGE = re.compile("^EXCHANGES__.+?__")


def _state_folder() -> Path:
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "stockbatch"


class ModelSettings(BaseModel):
    """The engine: a change of any of these retrains every ticker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    units: int = Field(12, ge=1, le=1024, description="units of every LSTM layer")
    layers: int = Field(1, ge=1, le=4, description="LSTM layers on top of each other")
    lookback: int = Field(60, ge=1, le=1000, description="steps of history before a scored step")
    scored_steps: int = Field(60, ge=1, le=1000, description="scored steps of a training window")
    dropout: float = Field(0.1, ge=0, lt=1, description="share of LSTM outputs dropped in training")
    clip_norm: float = Field(1.0, gt=0, description="largest gradient norm of one network")
    seed: int = Field(1, ge=0, lt=2**32, description="seed of everything drawn at random")
    history_sessions: int = Field(1260, ge=100, le=20_000, description="sessions trained on")
    stopping_sessions: int = Field(
        21, ge=1, description="sessions of a block of those that stop the training"
    )
    comparison_sessions: int = Field(
        63, ge=1, description="newest sessions, which choose the model"
    )
    minimum_history: int = Field(300, ge=60, description="bars a ticker needs to be trained")
    base_tickers: int = Field(600, ge=1, description="at most so many tickers make the base model")
    base_learning_rate: float = Field(1e-3, gt=0, le=1, description="step size of the base model")
    base_epochs: int = Field(10, ge=1, le=10_000, description="at most so many passes for the base")
    base_batch: int = Field(128, ge=1, le=65536, description="most windows in a step of the base")
    base_patience: int = Field(2, ge=1, description="epochs without improvement end the base")
    learning_rate: float = Field(5e-4, gt=0, le=1, description="step size of a ticker model")
    epochs: int = Field(6, ge=1, le=10_000, description="at most so many passes for a ticker")
    batch: int = Field(4, ge=1, le=4096, description="windows per ticker in a training step")
    patience: int = Field(2, ge=1, description="epochs without improvement stop a ticker")
    anchor: float = Field(10.0, ge=0, description="pull of a ticker model towards its base")

    def for_base(self) -> "ModelSettings":
        """Return the settings that train the base model as one network without an anchor."""
        return self.model_copy(
            update={
                "learning_rate": self.base_learning_rate,
                "epochs": self.base_epochs,
                "batch": self.base_batch,
                "patience": self.base_patience,
                "anchor": 0.0,
            }
        )


class ExchangeSettings(BaseModel):
    """What one exchange has in its own way, in the table `[exchanges.CODE]`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    close_delay_minutes: int = Field(
        ge=0, description="minutes from its close until its bars are asked for", examples=[90]
    )


class Settings(BaseSettings):
    """All settings; engine settings live in the table `[model]`."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    home: Path = Field(
        default_factory=_state_folder,
        description="state and embedded database",
        examples=["/var/lib/stockbatch"],
    )
    database_url: SecretStr | None = Field(
        None,
        description="URL of an external server, postgresql://…; none: the embedded one",
        examples=["postgresql://stockbatch@db.example/stockbatch?sslmode=verify-full"],
    )
    provider: str = Field("yfinance", description="provider of tickers added without one")
    exchange: str | None = Field(
        None,
        description="calendar of a run that names none; none: all of the watchlist",
        examples=["XNYS"],
    )
    retrain_after_sessions: int = Field(
        20, ge=1, description="sessions after which a ticker is retrained"
    )
    base_after_sessions: int = Field(
        60, ge=1, description="sessions after which the base is refitted"
    )
    chunk_tickers: int = Field(64, ge=1, le=4096, description="tickers trained in one stack")
    threads: int = Field(0, ge=0, description="threads for training; 0: one per core")
    api_address: str = Field("127.0.0.1:8765", description="HOST:PORT of the REST service")
    close_delay_minutes: int = Field(
        45, ge=0, description="minutes from a close until its bars are asked for"
    )
    yfinance_requests_per_second: float = Field(
        1.0, gt=0, le=100, description="requests to Yahoo a second"
    )
    yfinance_workers: int = Field(3, ge=1, le=8, description="requests to Yahoo under way at once")
    yfinance_patience_minutes: float = Field(
        60.0,
        ge=0,
        description="minutes to wait in all while Yahoo refuses, then the rest is given up",
    )
    alpha_vantage_key: SecretStr | None = Field(
        None, description="key of Alpha Vantage", examples=["YOURKEY"]
    )
    alpha_vantage_key_file: Path | None = Field(
        None,
        description="file that holds the key of Alpha Vantage instead",
        examples=["/run/secrets/alpha_vantage_key"],
    )
    alpha_vantage_premium: bool = Field(
        False,
        description="that key is a premium one: whole history, splits and dividends",
    )
    alpha_vantage_format: Literal["json", "csv"] = Field(
        "json", description="form of Alpha Vantage's answers"
    )
    alpha_vantage_requests_per_second: float = Field(
        0.8, gt=0, le=100, description="requests to Alpha Vantage a second"
    )
    alpha_vantage_requests_per_day: int = Field(
        25, ge=0, description="requests to Alpha Vantage a day; 0: no limit"
    )
    deadline_margin_minutes: int = Field(
        15, ge=0, description="minutes before a forecast is due at which training ends"
    )
    catch_up_sessions: int = Field(
        10, ge=0, description="missed sessions of an exchange that are made up for"
    )
    training_memory_mib: int = Field(
        4096, ge=0, description="training that takes more MiB of memory is ended; 0: no limit"
    )
    training_silence_minutes: int = Field(
        20, ge=1, description="training that finishes no epoch for so many minutes is ended"
    )
    stop_grace_seconds: int = Field(
        60, gt=0, description="seconds that a daemon told to stop has for its batch"
    )
    base_refit: str = Field(
        "0 6 * * sat", description="crontab in UTC: when a base about to expire is refitted"
    )
    maintenance: str = Field("0 8 1 * *", description="crontab in UTC: when the database is tidied")
    monitoring_address: str = Field(
        "127.0.0.1:9464", description="HOST:PORT of /healthz, /readyz, /metrics; empty: none"
    )
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="where alerts go, as Apprise URLs; in a variable or a file, spaces between",
        examples=[["mailto://user:password@mail.example", "slack://token/token/token"]],
    )
    keep_retired_models: int = Field(
        2, ge=1, description="models beside the one in use whose weights `prune` keeps, per ticker"
    )
    model: ModelSettings = ModelSettings()
    exchanges: dict[str, ExchangeSettings] = Field(
        {}, description="by calendar code: what differs from the settings above"
    )

    @field_validator("alert_urls", mode="before")
    @classmethod
    def _separated(cls, urls: Any) -> Any:
        return tuple(urls.split()) if isinstance(urls, str) else urls

    @field_validator("monitoring_address", mode="after")
    @classmethod
    def _host_and_port(cls, address: str) -> str:
        host, _, port = address.rpartition(":")
        if address and not (host and port.isdecimal() and int(port) < 2**16):
            raise ValueError("write it as HOST:PORT, e.g. 127.0.0.1:9464")
        return address

    @field_validator("home", "alpha_vantage_key_file", mode="after")
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

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

    @field_validator("exchanges", mode="after")
    @classmethod
    def _upper_case(cls, exchanges: dict[str, ExchangeSettings]) -> dict[str, ExchangeSettings]:
        # Keys that come from variables are in lower case.
        return {code.upper(): own for code, own in exchanges.items()}

    def close_delay(self, calendar: str) -> timedelta:
        """Return how long after the close of an exchange its bars are asked for."""
        own = self.exchanges.get(calendar.upper())
        return timedelta(minutes=own.close_delay_minutes if own else self.close_delay_minutes)

    def engine_hash(self) -> str:
        """Return the SHA-256 of the settings whose change retrains every ticker."""
        canonical = json.dumps(self.model.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


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


_ABOUT = f"""
# Settings of stockbatch: take the '# ' away from what you change.
#
# This file is read as stockbatch.toml in the folder STOCKBATCH_HOME, or where --config says.
# A variable wins over it ({PREFIX}THREADS=4, {PREFIX}MODEL__UNITS=32), and an option over both
# (--set threads=4). A secret is better kept in a file of its own that a variable names:
# {PREFIX}DATABASE_URL_FILE, {PREFIX}ALERT_URLS_FILE, {PREFIX}ALPHA_VANTAGE_KEY_FILE.
# 'stockbatch config check' says what is wrong with it, 'stockbatch config show' what is in force.
"""

_SECRETS = tuple(
    key
    for key, field in Settings.model_fields.items()
    if "SecretStr" in repr(field.annotation) and f"{key}_file" not in Settings.model_fields
)
"""Settings that may be in a file; one that has a setting for its file reads that itself."""


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


def child_environment(threads: int) -> dict[str, str]:
    """Return the environment of a training child: no database, quiet, this many threads."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    return inherited | {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_NUM_INTEROP_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": "1",  # stacks train side by side, operations do not split
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def user() -> str:
    """Return the name of whoever runs this program, as the system knows it."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def environment(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of this process with `variables` set as well."""
    return {**os.environ, **variables}


class ServiceManager(NamedTuple):
    """Where systemd wants to be told how a service is, and how often; None: it does not."""

    address: str | None
    watchdog_seconds: float | None


def service_manager() -> ServiceManager:
    """Return what systemd asks of this process."""
    address = os.environ.get("NOTIFY_SOCKET")
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
    wanted = address and mine and microseconds.isdigit()
    return ServiceManager(address, int(microseconds) / 1e6 if wanted else None)


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


def _find_file(config: Path | None) -> Path | None:
    """Return the named file, else the one in the state folder, else None."""
    if config is not None:
        if not config.is_file():
            raise ConfigurationError(source="--config", key=config, reason="there is no such file")
        return config
    home = os.environ.get(f"{PREFIX}HOME")
    default = (Path(home).expanduser() if home else _state_folder()) / "stockbatch.toml"
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
