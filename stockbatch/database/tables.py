"""The tables that are written as mapped classes; each docstring is the table's comment, its grain.

Tables that are written by bulk COPY and SQL alone have no class here: the migrations say what they
are, comments included. A test compares the classes with what the migrations make, and every list in
a CHECK of any table with its enum.
"""

import inspect
import uuid
from collections.abc import Iterable
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    CheckConstraint,
    Date,
    DateTime,
    Double,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Text,
    UniqueConstraint,
    func,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from stockbatch.records import (
    LABELS,
    Action,
    ActionKind,
    BarState,
    Chore,
    Decision,
    ModelKind,
    PriceBasis,
    Reason,
    RunStatus,
    Severity,
    Timing,
    Trigger,
    Verdict,
)

SCHEMA = "stockbatch"
NOW = func.clock_timestamp()


class Base(DeclarativeBase):
    """Tables of schema `stockbatch`."""

    metadata = MetaData(
        schema=SCHEMA,
        naming_convention={
            "pk": "%(table_name)s_pkey",
            "fk": "%(table_name)s_%(column_0_name)s_fkey",
            "uq": "%(table_name)s_%(column_0_N_name)s_key",
            "ck": "%(table_name)s_%(constraint_name)s_check",
            "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        },
    )
    type_annotation_map = {  # noqa: RUF012 (read by SQLAlchemy)
        int: Integer,
        str: Text,
        float: Double,
        date: Date,
        datetime: DateTime(timezone=True),
        bytes: LargeBinary,
        dict[str, Any]: JSONB,
        list[float]: ARRAY(Double),
    }

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.metadata.tables[f"{SCHEMA}.{cls.__tablename__}"].comment = inspect.cleandoc(
            cls.__doc__ or ""
        )


def _id() -> Mapped[int]:
    return mapped_column(
        BigInteger, Identity(always=True), primary_key=True, comment="surrogate key"
    )


def _instrument(**options: Any) -> Mapped[Any]:
    target = ForeignKey("stockbatch.instruments.id", ondelete="RESTRICT")
    return mapped_column(target, comment="instrument", **options)


def _method(comment: str) -> Mapped[str]:
    target = ForeignKey("stockbatch.methods.name", ondelete="RESTRICT")
    return mapped_column(target, comment=comment)


def _run() -> Mapped[int | None]:
    target = ForeignKey("stockbatch.runs.id", ondelete="RESTRICT")
    return mapped_column(BigInteger, target, comment="run that wrote the row; NULL: none did")


def _one_of(column: str, values: Iterable[StrEnum]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=column)


def _finite(*columns: str) -> CheckConstraint:
    """Refuse NaN and both infinities: in PostgreSQL, NaN sorts above infinity."""
    tests = [f"({c} > '-Infinity' AND {c} < 'Infinity')" for c in columns]
    return CheckConstraint(" AND ".join(tests), name="finite")


class MethodRow(Base):
    """One row per way to forecast that was ever used, installed now or not."""

    __tablename__ = "methods"

    name: Mapped[str] = mapped_column(primary_key=True, comment="name used in every table")
    title: Mapped[str] = mapped_column(comment="what people call it")
    sentence: Mapped[str] = mapped_column(comment="what it does")
    added_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was first used")


class InstrumentRow(Base):
    """One row per ticker ever put on the watchlist; removing deactivates, history stays."""

    __tablename__ = "instruments"
    __table_args__ = (
        UniqueConstraint("ticker"),
        # As `wrong_symbol` says more closely; of one that was removed nothing is asked.
        CheckConstraint(
            "NOT active OR (char_length(ticker) BETWEEN 1 AND 64"
            " AND ticker !~ '[[:cntrl:]]' AND ticker = btrim(ticker))",
            name="ticker",
        ),
        _one_of("price_basis", PriceBasis),
    )

    id: Mapped[int] = mapped_column(
        Integer, Identity(always=True), primary_key=True, comment="surrogate key"
    )
    ticker: Mapped[str] = mapped_column(comment="name used everywhere in this database")
    symbol: Mapped[str] = mapped_column(comment="what the provider calls it")
    provider: Mapped[str] = mapped_column(comment="provider specification, e.g. csv:/data/bars.csv")
    calendar: Mapped[str] = mapped_column(comment="code of its exchange calendar, e.g. XNYS")
    name: Mapped[str | None] = mapped_column(comment="long name")
    currency: Mapped[str | None] = mapped_column(comment="ISO 4217 code of its prices")
    asset_class: Mapped[str] = mapped_column(comment="equity, index, currency, crypto, …")
    sector: Mapped[str | None] = mapped_column(
        comment="sector, in the words of the list it is from"
    )
    industry: Mapped[str | None] = mapped_column(comment="industry, likewise")
    price_basis: Mapped[str | None] = mapped_column(
        comment="what its prices were adjusted for when it was added; null: the provider's own"
    )
    understood: Mapped[str | None] = mapped_column(
        comment="how its file was read when it was added"
    )
    active: Mapped[bool] = mapped_column(server_default="true", comment="handled by runs")
    demo: Mapped[bool] = mapped_column(
        server_default="false", comment="demonstration data: never due, in no metric over ALL"
    )
    active_since: Mapped[datetime] = mapped_column(
        server_default=NOW, comment="when it was last put on the watchlist"
    )


class FallbackRow(Base):
    """One row per instrument and position: a provider that is asked where those before it fail."""

    __tablename__ = "fallbacks"
    __table_args__ = (CheckConstraint("position >= 1", name="position"),)

    instrument_id: Mapped[int] = _instrument(primary_key=True)
    position: Mapped[int] = mapped_column(
        primary_key=True, autoincrement=False, comment="1 is asked after the instrument's own"
    )
    provider: Mapped[str] = mapped_column(comment="provider specification")
    symbol: Mapped[str] = mapped_column(comment="what that provider calls the instrument")


class RenameRow(Base):
    """One row per time an instrument got another ticker; its history goes on under the new one."""

    __tablename__ = "renames"

    id: Mapped[int] = _id()
    instrument_id: Mapped[int] = _instrument()
    old_ticker: Mapped[str] = mapped_column(comment="ticker it had")
    old_symbol: Mapped[str] = mapped_column(comment="what its provider called it")
    new_ticker: Mapped[str] = mapped_column(comment="ticker it got")
    renamed_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was renamed")


class MembershipRow(Base):
    """One row per stay of an instrument on the watchlist."""

    __tablename__ = "memberships"
    __table_args__ = (CheckConstraint("removed_at >= added_at", name="order"),)

    instrument_id: Mapped[int] = _instrument(primary_key=True)
    added_at: Mapped[datetime] = mapped_column(primary_key=True, comment="when it began")
    removed_at: Mapped[datetime | None] = mapped_column(comment="when it ended; NULL: it has not")


class LabelRow(Base):
    """One row per instrument and tag that it has, or named watchlist that it is in."""

    __tablename__ = "labels"
    __table_args__ = (
        _one_of("kind", LABELS),
        # As `wrong_name` says more closely.
        CheckConstraint(
            "char_length(name) BETWEEN 1 AND 100 AND name !~ '[[:cntrl:]]' AND name = btrim(name)",
            name="name",
        ),
    )

    kind: Mapped[str] = mapped_column(primary_key=True, comment="tag or watchlist")
    name: Mapped[str] = mapped_column(primary_key=True, comment="name, as somebody chose it")
    instrument_id: Mapped[int] = _instrument(primary_key=True)
    added_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was added")


class SourceRow(Base):
    """One row per source that was ever asked for bars.

    Bars name it by its number: there are millions of them, and a path is long.
    """

    __tablename__ = "sources"
    __table_args__ = (UniqueConstraint("specification"),)

    id: Mapped[int] = mapped_column(
        Integer, Identity(always=True), primary_key=True, comment="surrogate key"
    )
    specification: Mapped[str] = mapped_column(
        comment="provider specification without options, e.g. csv:/data/bars.csv"
    )


class BarRow(Base):
    """One row per instrument and session: the bar as it is known now."""

    __tablename__ = "bars"
    __table_args__ = (
        # A millionth is left for prices that a provider has rounded one by one.
        CheckConstraint(
            "open > 0 AND low > 0 AND open < 'Infinity' AND high < 'Infinity'"
            " AND low < 'Infinity' AND close < 'Infinity'"
            " AND low <= least(open, close) * 1.000001"
            " AND high >= greatest(open, close) * 0.999999",
            name="prices",
        ),
        CheckConstraint("volume >= 0 AND volume < 'Infinity'", name="volume"),
        _one_of("state", BarState),
        _one_of("price_basis", PriceBasis),
        Index(
            "bars_close_idx",  # moving averages read this alone
            *("instrument_id", "session"),
            postgresql_include=["close"],
            postgresql_where="state <> 'quarantined'",
        ),
    )

    instrument_id: Mapped[int] = _instrument(primary_key=True)
    session: Mapped[date] = mapped_column(primary_key=True, comment="trading date")
    open: Mapped[float] = mapped_column(comment="first price")
    high: Mapped[float] = mapped_column(comment="highest price")
    low: Mapped[float] = mapped_column(comment="lowest price")
    close: Mapped[float] = mapped_column(comment="last price")
    volume: Mapped[float | None] = mapped_column(comment="units traded; NULL: unknown")
    price_basis: Mapped[str] = mapped_column(comment="as_traded, or what could not be undone")
    state: Mapped[str] = mapped_column(comment="provisional, final or quarantined")
    # No foreign key: checking it for each of millions of bars would cost what inserting them does.
    source_id: Mapped[int] = mapped_column(comment="source that delivered it")
    revision: Mapped[int] = mapped_column(server_default="1", comment="1, then one per restatement")
    fetched_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it came")


class CorporateActionRow(Base):
    """One row per instrument, ex-session and kind of action."""

    __tablename__ = "corporate_actions"
    __table_args__ = (
        _one_of("kind", ActionKind),
        CheckConstraint("value > 0 AND value < 'Infinity'", name="value"),
    )

    instrument_id: Mapped[int] = _instrument(primary_key=True)
    session: Mapped[date] = mapped_column(primary_key=True, comment="first session without it")
    kind: Mapped[str] = mapped_column(
        primary_key=True, comment="split, dividend or restatement of adjusted prices"
    )
    value: Mapped[float] = mapped_column(
        comment="split: new shares per old one; dividend: cash per share on that session's basis;"
        " restatement: what divides the prices stored before it"
    )
    source_id: Mapped[int] = mapped_column(
        ForeignKey("stockbatch.sources.id", ondelete="RESTRICT"), comment="source that reported it"
    )
    first_seen_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it came")
    retracted_at: Mapped[datetime | None] = mapped_column(comment="when the provider withdrew it")
    in_prices: Mapped[bool] = mapped_column(
        server_default="false",
        comment="whether prices are adjusted for it: then no return counts it again",
    )


class EventRow(Base):
    """One row per event and version of what one source states of it: the date it had meanwhile."""

    __tablename__ = "events"
    __table_args__ = (
        CheckConstraint("(instrument_id IS NULL) <> (calendar IS NULL)", name="subject"),
        CheckConstraint("kind ~ '^[a-z][a-z0-9_]{0,31}$'", name="kind"),
        _one_of("timing", Timing),
        CheckConstraint("session >= date", name="session"),
        CheckConstraint("withdrawn_at >= known_at", name="order"),
        Index(None, "instrument_id", "date"),
        Index(None, "instrument_id", "session"),
        Index(
            "events_stated_key",
            *("instrument_id", "calendar", "source", "kind", "date"),
            unique=True,
            postgresql_where="withdrawn_at IS NULL",
            postgresql_nulls_not_distinct=True,
        ),
    )

    id: Mapped[int] = _id()
    instrument_id: Mapped[int | None] = mapped_column(
        ForeignKey("stockbatch.instruments.id", ondelete="RESTRICT"),
        comment="instrument; NULL: all of a calendar",
    )
    calendar: Mapped[str | None] = mapped_column(
        comment="exchange calendar code; NULL: of one instrument"
    )
    kind: Mapped[str] = mapped_column(comment="earnings, or what else its source calls it")
    day: Mapped[date] = mapped_column("date", comment="day of it, by the clock of the exchange")
    timing: Mapped[str] = mapped_column(comment="before_open, during, after_close or unknown")
    session: Mapped[date] = mapped_column(comment="session whose return it moves")
    source: Mapped[str] = mapped_column(comment="who states it")
    known_at: Mapped[datetime] = mapped_column(
        comment="first seen, or since when it was known as its source says"
    )
    assumed: Mapped[bool] = mapped_column(
        comment="seen only after the fact: known some sessions ahead by assumption"
    )
    projected: Mapped[bool] = mapped_column(
        comment="nobody has stated it: a guess from dates of the past"
    )
    recorded_at: Mapped[datetime] = mapped_column(
        server_default=NOW, comment="when this row was written, by the database's clock"
    )
    withdrawn_at: Mapped[datetime | None] = mapped_column(
        comment="when its source was seen to state it no longer, or otherwise; NULL: it does"
    )


class NewsRow(Base):
    """One row per instrument and item of news, whoever brought it; titles, no texts."""

    __tablename__ = "news"
    __table_args__ = (
        UniqueConstraint("instrument_id", "url_hash"),
        CheckConstraint("published_at <= seen_at", name="order"),
        CheckConstraint("length(title) BETWEEN 1 AND 500", name="title"),
        CheckConstraint("url ~ '^https?://' AND length(url) <= 2000", name="url"),
        CheckConstraint("relevance BETWEEN 0 AND 1", name="relevance"),
        CheckConstraint("score BETWEEN -1 AND 1", name="score"),
        CheckConstraint("(score IS NULL) = (scored_by IS NULL)", name="scored_by"),
        Index(None, "instrument_id", "published_at"),
        Index(None, "published_at"),
    )

    id: Mapped[int] = _id()
    instrument_id: Mapped[int] = mapped_column(
        ForeignKey("stockbatch.instruments.id", ondelete="RESTRICT"),
        comment="instrument it is about",
    )
    published_at: Mapped[datetime] = mapped_column(
        comment="when it was published, as its source says"
    )
    session: Mapped[date] = mapped_column(
        comment="first session that closed no earlier than it was published"
    )
    seen_at: Mapped[datetime] = mapped_column(comment="when it was first seen")
    assumed: Mapped[bool] = mapped_column(
        comment="history of a file: taken as known since it was published"
    )
    source: Mapped[str] = mapped_column(comment="who brought it first")
    title: Mapped[str] = mapped_column(comment="title, as plain text")
    url: Mapped[str | None] = mapped_column(comment="where it stands; NULL: not stated")
    url_hash: Mapped[str] = mapped_column(
        comment="SHA-256 of the URL, or of instant and title where there is none"
    )
    relevance: Mapped[float | None] = mapped_column(
        comment="how much it is about the instrument, 0 to 1; NULL: not stated"
    )
    score: Mapped[float | None] = mapped_column(
        comment="how it sounds, -1 bad to 1 good; NULL: not scored"
    )
    scored_by: Mapped[str | None] = mapped_column(comment="source or scorer that gave the score")
    recorded_at: Mapped[datetime] = mapped_column(
        server_default=NOW, comment="when this row was written, by the database's clock"
    )


class DataIssueRow(Base):
    """One row per instrument, session and check that found something."""

    __tablename__ = "data_issues"
    __table_args__ = (
        UniqueConstraint(
            "instrument_id", "session", "check_name", postgresql_nulls_not_distinct=True
        ),
        _one_of("severity", Severity),
        _finite("observed", "threshold"),
    )

    id: Mapped[int] = _id()
    instrument_id: Mapped[int] = _instrument()
    session: Mapped[date | None] = mapped_column(comment="trading date; NULL: the whole series")
    check_name: Mapped[str] = mapped_column(comment="check that found it")
    severity: Mapped[str] = mapped_column(comment="warning (kept), quarantined or rejected")
    message: Mapped[str] = mapped_column(comment="what was seen, in words")
    observed: Mapped[float | None] = mapped_column(comment="value seen")
    threshold: Mapped[float | None] = mapped_column(comment="limit it broke")
    run_id: Mapped[int | None] = _run()
    found_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was found")


class DecisionRow(Base):
    """One row per time somebody decided on a finding; of several, the newest counts.

    A decision on a bar holds as long as the bar has these prices.
    """

    __tablename__ = "decisions"
    __table_args__ = (
        Index(None, "instrument_id", "session"),
        _one_of("decision", Decision),
        CheckConstraint("(open IS NULL) = (close IS NULL)", name="bar"),
    )

    id: Mapped[int] = _id()
    issue_id: Mapped[int] = mapped_column(
        BigInteger,
        ForeignKey("stockbatch.data_issues.id", ondelete="RESTRICT"),
        comment="finding decided on",
    )
    instrument_id: Mapped[int] = _instrument()
    session: Mapped[date | None] = mapped_column(comment="trading date; NULL: the whole series")
    decision: Mapped[str] = mapped_column(comment="accepted or rejected")
    decided_by: Mapped[str] = mapped_column(comment="who decided")
    decided_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when")
    open: Mapped[float | None] = mapped_column(comment="first price; NULL: there was no bar")
    high: Mapped[float | None] = mapped_column(comment="highest price")
    low: Mapped[float | None] = mapped_column(comment="lowest price")
    close: Mapped[float | None] = mapped_column(comment="last price")


class RunRow(Base):
    """One row per calendar, session and attempt: an execution of the daily job."""

    __tablename__ = "runs"
    __table_args__ = (
        UniqueConstraint("calendar", "session", "attempt"),
        _one_of("status", RunStatus),
        _one_of("trigger", Trigger),
    )

    id: Mapped[int] = _id()
    calendar: Mapped[str] = mapped_column(comment="exchange calendar code")
    session: Mapped[date] = mapped_column(comment="origin session of its forecasts")
    attempt: Mapped[int] = mapped_column(comment="1; more for reprocessing only")
    trigger: Mapped[str] = mapped_column(comment="what started it")
    status: Mapped[str] = mapped_column(
        comment="running, finished, failed, stopped (is resumed) or skipped (too old)"
    )
    owner: Mapped[uuid.UUID] = mapped_column(comment="token of the process allowed to write")
    started_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="first start")
    heartbeat_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="last commit")
    finished_at: Mapped[datetime | None] = mapped_column(comment="end; NULL: not finished")
    instruments: Mapped[int] = mapped_column(server_default="0", comment="final outcomes")
    trained: Mapped[int] = mapped_column(server_default="0", comment="outcomes: newly trained")
    reused: Mapped[int] = mapped_column(server_default="0", comment="outcomes: model reused")
    base: Mapped[int] = mapped_column(
        server_default="0", comment="outcomes: base model, no training"
    )
    naive: Mapped[int] = mapped_column(server_default="0", comment="outcomes: baselines only")
    none: Mapped[int] = mapped_column(server_default="0", comment="outcomes: no forecast")
    message: Mapped[str | None] = mapped_column(comment="why it failed")
    code_version: Mapped[str] = mapped_column(comment="version of this program")
    engine_hash: Mapped[str] = mapped_column(comment="SHA-256 of the engine settings")
    tries: Mapped[int] = mapped_column(
        server_default="1", comment="how often it was begun; a stop that was asked for counts none"
    )
    tried_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="last start")


class OutcomeRow(Base):
    """One row per instrument, session and try; exactly one of them is final."""

    __tablename__ = "outcomes"
    __table_args__ = (
        UniqueConstraint("instrument_id", "session", "try_number"),
        Index(
            "outcomes_final_key",
            "instrument_id",
            "session",
            unique=True,
            postgresql_where="is_final",
        ),
        Index(None, "session"),
        _one_of("action", Action),
        _one_of("reason", Reason),
    )

    id: Mapped[int] = _id()
    instrument_id: Mapped[int] = _instrument()
    session: Mapped[date] = mapped_column(comment="origin session")
    try_number: Mapped[int] = mapped_column(comment="1 for the first try, …")
    is_final: Mapped[bool] = mapped_column(comment="the one that counts; earlier tries are history")
    run_id: Mapped[int | None] = _run()
    action: Mapped[str] = mapped_column(comment="what was done")
    reason: Mapped[str] = mapped_column(comment="why")
    message: Mapped[str] = mapped_column(server_default="", comment="more about it, in words")
    seconds: Mapped[float | None] = mapped_column(comment="its share of its batch's wall time")
    recorded_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was written")


MODEL_KEY = (
    *("method", "kind", "instrument_id", "calendar", "demo", "last_session"),
    *("configuration", "fingerprint", "parent_id"),
)
"""Columns that make a model what it is; if pruned, the same with other weights is another."""


class ModelRow(Base):
    """One row per trained version of a model; pruning empties `weights`, never removes the row.

    A base model belongs to a calendar, any other to an instrument.
    """

    __tablename__ = "models"
    __table_args__ = (
        UniqueConstraint(
            *MODEL_KEY,
            "weights_sha256",
            name="models_key",
            postgresql_nulls_not_distinct=True,
        ),
        Index(None, "instrument_id", "last_session"),
        _one_of("kind", ModelKind),
        _one_of("reason", Reason),
        _one_of("verdict", Verdict),
        CheckConstraint("(kind = 'base') = (instrument_id IS NULL)", name="owner"),
        CheckConstraint(
            "weights IS NULL OR weights_sha256 = encode(sha256(weights), 'hex')", name="weights"
        ),
    )

    id: Mapped[int] = _id()
    method: Mapped[str] = _method("method that works with it")
    kind: Mapped[str] = mapped_column(comment="base (of a calendar) or ticker")
    calendar: Mapped[str] = mapped_column(comment="exchange calendar code")
    demo: Mapped[bool] = mapped_column(comment="of demonstration instruments")
    instrument_id: Mapped[int | None] = _instrument(nullable=True)
    parent_id: Mapped[int | None] = mapped_column(
        ForeignKey("stockbatch.models.id", ondelete="RESTRICT"), comment="base it started from"
    )
    first_session: Mapped[date] = mapped_column(comment="first session it was trained on")
    last_session: Mapped[date] = mapped_column(comment="last session it learned anything from")
    fingerprint: Mapped[str] = mapped_column(comment="SHA-256 of the data it was trained on")
    configuration: Mapped[str] = mapped_column(comment="SHA-256 of settings and feature version")
    parameters: Mapped[dict[str, Any]] = mapped_column(comment="engine settings used")
    libraries: Mapped[dict[str, Any]] = mapped_column(comment="library versions")
    seed: Mapped[int] = mapped_column(BigInteger, comment="seed of the settings")
    weights: Mapped[bytes | None] = mapped_column(comment="safetensors; NULL once pruned")
    weights_sha256: Mapped[str] = mapped_column(comment="SHA-256 of `weights`")
    reason: Mapped[str] = mapped_column(comment="why it was trained")
    tickers: Mapped[int] = mapped_column(comment="tickers it learned from")
    best_epoch: Mapped[int | None] = mapped_column(
        comment="epoch whose weights were kept, from 1; 0: those it started from"
    )
    training_loss: Mapped[float | None] = mapped_column(comment="pinball loss at that epoch")
    validation_loss: Mapped[float | None] = mapped_column(
        comment="pinball loss at that epoch on the sessions that stopped it"
    )
    initial_loss: Mapped[float | None] = mapped_column(
        comment="the same before the first epoch, of the weights it started from"
    )
    comparison_loss: Mapped[float | None] = mapped_column(
        comment="pinball loss on the sessions that chose between models"
    )
    base_loss: Mapped[float | None] = mapped_column(comment="the same of the base model")
    champion_loss: Mapped[float | None] = mapped_column(comment="the same of the champion before")
    gain: Mapped[float | None] = mapped_column(comment="base_loss - comparison_loss")
    gain_error: Mapped[float | None] = mapped_column(comment="standard error of `gain`, paired")
    verdict: Mapped[str] = mapped_column(comment="promoted, or what was kept in its place")
    run_id: Mapped[int | None] = _run()
    trained_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was stored")


class TrainingCurveRow(Base):
    """One row per model: its loss after every epoch."""

    __tablename__ = "training_curves"

    model_id: Mapped[int] = mapped_column(
        ForeignKey("stockbatch.models.id", ondelete="RESTRICT"), primary_key=True, comment="model"
    )
    training_loss: Mapped[list[float]] = mapped_column(
        comment="pinball loss per epoch, fitted part"
    )
    validation_loss: Mapped[list[float]] = mapped_column(comment="pinball loss per epoch, held out")


QUANTILE_COLUMNS = ("q01", "q025", "q05", "q10", "q25", "q50", "q75", "q90", "q95", "q975", "q99")
"""Columns of the quantiles, in the order of records.QUANTILES."""


RAW_QUANTILE_COLUMNS = tuple(f"raw_{column}" for column in QUANTILE_COLUMNS)


class ApiTokenRow(Base):
    """One row per bearer token of the REST service ever made."""

    __tablename__ = "api_tokens"
    __table_args__ = (
        UniqueConstraint("sha256"),
        Index(
            "api_tokens_valid_name_key", "name", unique=True, postgresql_where="revoked_at IS NULL"
        ),
        CheckConstraint("requests_per_minute > 0", name="requests_per_minute"),
    )

    id: Mapped[int] = _id()
    name: Mapped[str] = mapped_column(comment="who it was given to")
    sha256: Mapped[str] = mapped_column(comment="SHA-256 of the token, which nobody keeps")
    requests_per_minute: Mapped[int] = mapped_column(comment="answered at most")
    created_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was made")
    expires_at: Mapped[datetime | None] = mapped_column(comment="when it ends; NULL: never")
    revoked_at: Mapped[datetime | None] = mapped_column(comment="when it was revoked")


class PauseRow(Base):
    """One row per exchange calendar that the daemon leaves alone; ALL stands for every one."""

    __tablename__ = "pauses"

    calendar: Mapped[str] = mapped_column(primary_key=True, comment="calendar code, or ALL")
    paused_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="since when")


class LeaseRow(Base):
    """One row per thing that one process at a time may do, while one does it."""

    __tablename__ = "leases"
    __table_args__ = (UniqueConstraint("token"),)

    name: Mapped[str] = mapped_column(primary_key=True, comment="daemon, or run and the calendar")
    token: Mapped[uuid.UUID] = mapped_column(comment="of the holder")
    expires_at: Mapped[datetime] = mapped_column(
        comment="by the database's clock; every few seconds the holder moves it on"
    )


class EventRefreshRow(Base):
    """One row per instrument and source of events: when it was last asked, and what came of it."""

    __tablename__ = "event_refreshes"

    instrument_id: Mapped[int] = mapped_column(
        ForeignKey("stockbatch.instruments.id", ondelete="RESTRICT"),
        primary_key=True,
        comment="instrument asked about",
    )
    source: Mapped[str] = mapped_column(primary_key=True, comment="who was asked")
    asked_at: Mapped[datetime] = mapped_column(comment="when it was last asked")
    answered_at: Mapped[datetime | None] = mapped_column(comment="when it last answered")
    history_at: Mapped[datetime | None] = mapped_column(
        comment="when its answer last had the events of the past"
    )
    waits: Mapped[bool] = mapped_column(
        comment="refused for now, or out of reach: asked again before its turn"
    )
    problem: Mapped[str | None] = mapped_column(comment="what was wrong last; NULL: nothing")


class CrowdRow(Base):
    """One row per calendar, session and calibrated method: what its tickers' intervals teach."""

    __tablename__ = "crowds"
    __table_args__ = (
        CheckConstraint("sessions > 0", name="sessions"),
        CheckConstraint("instruments > 0", name="instruments"),
    )

    calendar: Mapped[str] = mapped_column(primary_key=True, comment="calendar code")
    session: Mapped[date] = mapped_column(primary_key=True, comment="last session learned from")
    method: Mapped[str] = mapped_column(
        ForeignKey("stockbatch.methods.name", ondelete="RESTRICT"),
        primary_key=True,
        comment="whose quantiles are stretched",
    )
    is_demo: Mapped[bool] = mapped_column(
        primary_key=True, comment="whether of the demonstration's tickers, or of all others"
    )
    instruments: Mapped[int] = mapped_column(comment="tickers that had a say in the session")
    sessions: Mapped[int] = mapped_column(comment="how many it has learned from")
    logs: Mapped[list[float]] = mapped_column(
        comment="logarithms of the factors, by level but the median, then by learner"
    )
    losses: Mapped[list[float]] = mapped_column(comment="by learner, how well it has done")
    digest: Mapped[str] = mapped_column(comment="SHA-256 of logs and losses")
    recorded_at: Mapped[datetime] = mapped_column(server_default=NOW, comment="when it was stored")


class ChoreRow(Base):
    """One row per chore of the daemon and exchange calendar; ALL: of the database."""

    __tablename__ = "chores"
    __table_args__ = (_one_of("chore", Chore),)

    chore: Mapped[str] = mapped_column(
        primary_key=True, comment="base_refit, event_refresh or maintenance"
    )
    calendar: Mapped[str] = mapped_column(primary_key=True, comment="calendar code, or ALL")
    done_at: Mapped[datetime] = mapped_column(comment="when it was last done")
