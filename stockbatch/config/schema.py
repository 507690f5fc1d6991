"""Every setting, with its default, its limits and what it is for."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stockbatch.config.address import LOOPBACK, Address
from stockbatch.exceptions import ConfigurationError
from stockbatch.text import without_secrets

PREFIX = "STOCKBATCH_"
WEEK = 7 * 24 * 60
"""Minutes: the most of any."""
ProviderModels = Mapping[str, Callable[[], type[BaseModel]]]
"""By the name of a provider, what returns the model of its table; called when that is needed."""


def state_folder() -> Path:
    """Return where state is kept unless a setting says otherwise."""
    if base := os.environ.get("XDG_STATE_HOME"):
        return Path(base) / "stockbatch"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 (where there is none, it stays ~)
    if not home.is_absolute():
        reason = "it names no folder, and nor does the system: set STOCKBATCH_HOME to one"
        raise ConfigurationError(source="environment", key="HOME", reason=reason)
    return home / ".local" / "state" / "stockbatch"


def expanded(path: Path) -> Path:
    """Return a path from the root on, ~ being somebody's home; raises ValueError."""
    try:
        found = path.expanduser().absolute()
    except RuntimeError:
        raise ValueError("nobody knows which folder ~ is: write it from / on") from None
    except FileNotFoundError:
        raise ValueError("the current folder is gone: write it from / on") from None
    try:
        str(found).encode()
    except UnicodeEncodeError:
        raise ValueError("its name is not UTF-8: choose another") from None
    return found


_LATER = ("optimizer", "weight_decay", "loss", "news")
"""Engine settings there were none of when models were first stored."""


class ModelSettings(BaseModel):
    """The engine: a change of any of these retrains every ticker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    network: Literal["lstm", "gru", "attention"] = Field(
        "lstm", description="kind of network; models of each are kept apart"
    )
    units: int = Field(12, ge=1, le=1024, description="units of every layer")
    layers: int = Field(1, ge=1, le=4, description="layers on top of each other")
    lookback: int = Field(60, ge=1, le=1000, description="steps of history before a scored step")
    scored_steps: int = Field(60, ge=1, le=1000, description="scored steps of a training window")
    dropout: float = Field(
        0.1, ge=0, lt=1, description="share of a network's outputs dropped in training"
    )
    clip_norm: float = Field(1.0, gt=0, le=1e6, description="largest gradient norm of one network")
    seed: int = Field(1, ge=0, lt=2**32, description="seed of everything drawn at random")
    history_sessions: int = Field(1260, ge=100, le=20_000, description="sessions trained on")
    stopping_sessions: int = Field(
        21, ge=1, le=20_000, description="sessions of a block of those that stop the training"
    )
    comparison_sessions: int = Field(
        63, ge=1, le=20_000, description="newest sessions, which choose the model"
    )
    minimum_history: int = Field(
        300, ge=60, le=20_000, description="bars a ticker needs to be trained"
    )
    base_tickers: int = Field(
        600, ge=1, le=1_000_000, description="at most so many tickers make the base model"
    )
    base_learning_rate: float = Field(1e-3, gt=0, le=1, description="step size of the base model")
    base_epochs: int = Field(10, ge=1, le=10_000, description="at most so many passes for the base")
    base_batch: int = Field(128, ge=1, le=65536, description="most windows in a step of the base")
    base_patience: int = Field(
        2, ge=1, le=10_000, description="epochs without improvement end the base"
    )
    learning_rate: float = Field(5e-4, gt=0, le=1, description="step size of a ticker model")
    epochs: int = Field(6, ge=1, le=10_000, description="at most so many passes for a ticker")
    batch: int = Field(4, ge=1, le=4096, description="windows per ticker in a training step")
    patience: int = Field(
        2, ge=1, le=10_000, description="epochs without improvement stop a ticker"
    )
    anchor: float = Field(10.0, ge=0, le=1e6, description="pull of a ticker model towards its base")
    optimizer: Literal["adam", "adamw", "rmsprop"] = Field("adam", description="how steps are made")
    weight_decay: float = Field(
        0.01, ge=0, le=1e6, description="pull of all weights towards zero, by adamw alone"
    )
    loss: Literal["pinball", "smoothed_pinball"] = Field(
        "pinball", description="what training makes small; the pinball loss stops and compares"
    )
    news: bool = Field(
        False, description="whether har_events, and so combined, looks at news of tickers"
    )

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
        ge=0,
        le=WEEK,
        description="minutes from its close until its bars are asked for",
        examples=[90],
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
        default_factory=state_folder,
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
        20, ge=1, le=100_000, description="sessions after which a ticker is retrained"
    )
    base_after_sessions: int = Field(
        60, ge=1, le=100_000, description="sessions after which the base is refitted"
    )
    chunk_tickers: int = Field(64, ge=1, le=4096, description="tickers trained in one stack")
    threads: int = Field(0, ge=0, le=4096, description="threads for training; 0: one per core")
    workers: int = Field(
        0,
        ge=0,
        le=1024,
        description="processes of this machine that chunks are shared out to; 0: none",
    )
    cluster_ca_file: Path | None = Field(
        None,
        description="certificate of who signs those of a cluster",
        examples=["/etc/stockbatch/tls/ca.crt"],
    )
    cluster_certificate_file: Path | None = Field(
        None,
        description="own certificate towards a cluster",
        examples=["/etc/stockbatch/tls/tls.crt"],
    )
    cluster_key_file: Path | None = Field(
        None,
        description="private key of that certificate",
        examples=["/etc/stockbatch/tls/tls.key"],
    )
    cluster_plaintext: bool = Field(
        False,
        description="let tcp:// leave this machine, where whoever can reach it can run anything",
    )
    cluster: str = Field(
        "",
        description="address of a Dask scheduler whose workers chunks are shared out to",
        examples=["tls://scheduler.example:8786"],
    )
    api_address: str = Field("127.0.0.1:8765", description="HOST:PORT of the REST service")
    close_delay_minutes: int = Field(
        45, ge=0, le=WEEK, description="minutes from a close until its bars are asked for"
    )
    deadline_margin_minutes: int = Field(
        15, ge=0, le=WEEK, description="minutes before a forecast is due at which training ends"
    )
    catch_up_sessions: int = Field(
        10, ge=0, le=100_000, description="missed sessions of an exchange that are made up for"
    )
    training_memory_mib: int = Field(
        4096,
        ge=0,
        le=2**30,
        description="training that takes more MiB of memory is ended; 0: no limit",
    )
    training_silence_minutes: int = Field(
        20,
        ge=1,
        le=WEEK,
        description="training that finishes no epoch for so many minutes is ended",
    )
    stop_grace_seconds: int = Field(
        60, gt=0, le=86_400, description="seconds that a daemon told to stop has for its batch"
    )
    base_refit: str = Field(
        "0 6 * * sat", description="crontab in UTC: when a base about to expire is refitted"
    )
    maintenance: str = Field("0 8 1 * *", description="crontab in UTC: when the database is tidied")
    event_refresh: str = Field(
        "0 7 * * sun", description="crontab in UTC: when dates of reports are asked for again"
    )
    event_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        ("yahoo",),
        description="who is asked for dates of reports; yahoo: of tickers it feeds"
        " only; the word none: nobody; in a variable, spaces between",
        examples=[["yahoo", "alpha_vantage", "edgar"]],
    )
    edgar_contact: str = Field(
        "",
        pattern=r"^[^\r\n]*$",
        description="name and e-mail address that the SEC is told, which answers nobody else",
        examples=["Jane Doe jane@example.com"],
    )
    monitoring_address: str = Field(
        "127.0.0.1:9464", description="HOST:PORT of /healthz, /readyz, /metrics; empty: none"
    )
    alert_urls: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (),
        description="where alerts go, as Apprise URLs; in a variable or a file, spaces between",
        examples=[["mailto://user:password@mail.example", "slack://token/token/token"]],
    )
    events_assumed_sessions: int = Field(
        5,
        ge=0,
        le=250,
        description="sessions ahead that a report date is taken as known whose file or source does"
        " not say since when",
    )
    news_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="whom `stockbatch news refresh` asks; in a variable, spaces between",
        examples=[["yahoo", "alpha_vantage", "feeds"]],
    )
    news_feeds: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="RSS and Atom feeds: URLs with {ticker} in them, or TICKER=URL for one ticker",
        examples=[["https://feeds.example/rss?s={ticker}", "AAPL=https://example.com/news.xml"]],
    )
    news_scorer: str = Field(
        "vader",
        description="who scores titles that come without a score: vader, words:FILE; empty: nobody",
        examples=["words:/etc/stockbatch/words.csv"],
    )
    keep_retired_models: int = Field(
        2,
        ge=1,
        le=100_000,
        description="models beside the one in use whose weights `prune` keeps, per ticker",
    )
    keep_news_days: int = Field(
        3650, ge=1, le=100_000, description="days that `prune` keeps news after they were published"
    )
    model: ModelSettings = ModelSettings()
    exchanges: dict[str, ExchangeSettings] = Field(
        {}, description="by calendar code: what differs from the settings above"
    )
    # Only a provider's own package knows which of its settings are secrets: none is ever printed
    # from here, neither by repr() nor by a dump.
    providers: dict[str, dict[str, Any]] = Field(
        {},
        repr=False,
        exclude=True,
        description="by provider: its own settings, which its own package knows",
    )

    @field_validator("alert_urls", "event_sources", "news_feeds", "news_sources", mode="before")
    @classmethod
    def _separated(cls, several: Any) -> Any:
        return tuple(several.split()) if isinstance(several, str) else several

    @field_validator("event_sources", mode="after")
    @classmethod
    def _some(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(name for name in names if name != "none")  # an empty variable counts as unset

    @field_validator("news_feeds", mode="after")
    @classmethod
    def _addresses(cls, feeds: tuple[str, ...]) -> tuple[str, ...]:
        for feed in feeds:
            shown = without_secrets(feed)
            owner, equals, url = feed.partition("=")
            own = bool(equals) and "://" not in owner
            if not (url if own else feed).startswith(("http://", "https://")):
                raise ValueError(f"{shown!r} is no URL such as https://…, nor TICKER=URL")
            if not own and "{ticker}" not in feed:
                raise ValueError(
                    f"{shown!r} names no ticker: write {{ticker}} in it, or TICKER=URL"
                )
        return feeds

    @field_validator("api_address", "monitoring_address", mode="after")
    @classmethod
    def _host_and_port(cls, address: str, about: ValidationInfo) -> str:
        if address or about.field_name != "monitoring_address":  # empty: it is not served
            Address.parse(address)
        return address

    @field_validator(
        "home", "cluster_ca_file", "cluster_certificate_file", "cluster_key_file", mode="after"
    )
    @classmethod
    def _absolute(cls, path: Path | None) -> Path | None:
        return None if path is None else expanded(path)

    @field_validator("cluster", mode="after")
    @classmethod
    def _protected(cls, address: str, about: ValidationInfo) -> str:
        if not address:
            return address
        given = about.data
        if given.get("workers"):
            raise ValueError("there are workers of this machine already: set workers to 0")
        protocol, _, where = address.partition("://")
        host, port = Address.parse(where)
        if not port:
            raise ValueError("name the port of the scheduler")
        files = ("cluster_ca_file", "cluster_certificate_file", "cluster_key_file")
        if protocol == "tls":
            if lacking := [name for name in files if given.get(name) is None]:
                raise ValueError(f"tls:// needs {', '.join(lacking)}")
        elif protocol != "tcp":
            raise ValueError("write tls://HOST:PORT")
        elif not (host in LOOPBACK or given.get("cluster_plaintext")):
            raise ValueError(
                "tcp:// beyond this machine lets everybody who can reach it run anything: use"
                " tls://, or set cluster_plaintext"
            )
        return address

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
        """Return the SHA-256 of the settings whose change retrains every ticker.

        The network is none of them: each kind has models of its own, told apart by their method.
        What came later counts where it is set, so that models of before stay in use.
        """
        depends_on = self.model.model_dump(mode="json", exclude={"network"})
        for name in _LATER:
            if depends_on[name] == ModelSettings.model_fields[name].default:
                del depends_on[name]
        canonical = json.dumps(depends_on, sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


SECRETS = tuple(
    key for key, field in Settings.model_fields.items() if "SecretStr" in repr(field.annotation)
)
"""Settings that may be in a file of their own instead."""
