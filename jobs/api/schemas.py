"""What the service takes and gives. Names are those of the `bi` views."""

import re
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    StringConstraints,
    WithJsonSchema,
)

from stockbatch.methods import registry
from stockbatch.records import ActionKind, Kind, ModelKind, ScoreStatus, Timing
from stockbatch.text import LONGEST_SYMBOL

MOST_BARS = 5000
LARGEST_BODY = 2 * 2**20
"""Bytes; so many bars with every digit written out are less."""


_DAY = re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")


def _written_out(value: Any) -> Any:
    # Pydantic takes ten digits, too, for seconds since 1970.
    if isinstance(value, str) and not _DAY.fullmatch(value):
        raise ValueError("write it as YYYY-MM-DD")
    if isinstance(value, int | float):
        raise ValueError("write it as a string, YYYY-MM-DD")
    return value


Day = Annotated[date, BeforeValidator(_written_out)]


Ticker = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_SYMBOL, pattern=r"^[^\x00-\x1f\x7f]+$"),
]
"""One to look for: what cannot be a symbol is on no watchlist, which is answered by 404."""
Percent = float | None
Positive = Annotated[float, Field(ge=1e-15, le=1e15, strict=True)]
"""A price, a dividend or a ratio: products and quotients of some stay finite."""


METHODS = {name: f"{title}: {sentence}" for name, title, sentence in registry.described()}


def _installed(method: str) -> str:
    if method not in METHODS:
        raise ValueError(f"the methods are {', '.join(METHODS)}")
    return method


Method = Annotated[
    str,
    AfterValidator(_installed),
    WithJsonSchema({"type": "string", "enum": list(METHODS)}),
]
"""What may be asked for; answers may name a method that is not installed any more."""


class Statement(BaseModel):
    """What is forecast, and between which prices the close will be, how likely (null: not said)."""

    ticker: str
    currency: str | None
    session: date = Field(description="session the forecast is about")
    origin_session: date = Field(description="last session whose bar it used")
    origin_close: float
    expected_move_pct: Percent = Field(
        description="half of the 80 % interval: four closes of five move about so far or less"
    )
    downside_pct: Percent = Field(description="change at the 5 % level")
    upside_pct: Percent = Field(description="change at the 95 % level")
    probability_of_rise_pct: Percent
    probability_of_fall_pct: Percent = Field(
        description="with that of a rise less than 100 where the close may well stand still"
    )
    probability_of_move_2_pct: Percent = Field(description="of more than 2 %, up or down")
    probability_of_move_5_pct: Percent = Field(description="of more than 5 %, up or down")
    forecast_close: float = Field(
        description="most often the last close: past prices say next to nothing about the direction"
    )
    forecast_return_pct: float
    median_close: float | None
    close_low_50: float | None
    close_high_50: float | None
    close_low_80: float | None
    close_high_80: float | None
    close_low_90: float | None
    close_high_90: float | None
    close_low_95: float | None
    close_high_95: float | None
    close_low_98: float | None
    close_high_98: float | None
    volatility_pct: Percent = Field(description="of the return, known at the origin")
    shrinkage: float | None = Field(
        description="share of the median return the point forecast kept; 0: the naive forecast"
    )
    dissimilarity: float | None = Field(
        description="of the inputs from those trained on; above 1: unlike 99 % of them"
    )
    is_trusted: bool | None = Field(description="false: inputs unlike those trained on")
    model_id: int | None


class Compared(Statement):
    """A stored forecast, which knows what is usual of its ticker."""

    usual_move_pct: Percent = Field(
        description="the same of the ticker's own last 250 returns, as they were known then"
    )
    move_ratio: float | None = Field(
        description="expected_move_pct / usual_move_pct; 1.6: larger than usual by 60 %"
    )


class Forecast(Compared):
    """The latest forecast of one ticker by one method."""

    name: str | None
    method: str
    kind: Kind = Field(
        description="live: made in time; late: after the deadline; backtest: a simulation"
    )
    is_current: bool | None = Field(description="the session has not closed yet")
    is_headline: bool = Field(description="the one of its ticker that is shown first")
    event: str | None = Field(
        description="what is known to move the session, e.g. reports after the close"
    )
    why: str | None = Field(
        description="what makes the expected move other than usual: its largest reasons, in words"
    )
    session_close_at: AwareDatetime | None
    issued_at: AwareDatetime
    deadline_at: AwareDatetime
    updated_at: AwareDatetime


class Event(BaseModel):
    """What one source states of an event that moves prices: one version of it."""

    session: date = Field(description="session whose return it moves")
    event_id: int = Field(description="of this version")
    kind: str = Field(description="earnings, or what else its source calls it")
    event_date: date = Field(description="day of it, by the clock of the exchange")
    timing: Timing
    event: str = Field(description="what it is, in words")
    source: str = Field(description="who states it")
    known_at: AwareDatetime = Field(description="first seen, or since when its source says")
    is_assumed: bool = Field(description="seen only after the fact")
    is_projected: bool = Field(description="nobody has stated it: a guess from past dates")
    withdrawn_at: AwareDatetime | None = Field(description="since when it is stated no longer")
    is_current: bool = Field(description="stated still, and what counts of what several state")
    updated_at: AwareDatetime


class PastForecast(Compared):
    """A forecast and what became of it."""

    method: str
    kind: Kind
    score_status: ScoreStatus | Literal["open"]
    actual_close: float | None
    actual_return_pct: Percent
    error: float | None = Field(description="actual - forecast close")
    absolute_error: float | None
    error_pct: Percent
    pinball: float | None
    direction_hit: bool | None
    inside_50: bool | None
    inside_80: bool | None
    inside_90: bool | None
    inside_95: bool | None
    inside_98: bool | None
    issued_at: AwareDatetime
    updated_at: AwareDatetime


class Accuracy(BaseModel):
    """One metric of one method and kind, of a ticker, a group or a calendar."""

    session: date = Field(description="last target session of the window")
    ticker: str | None = Field(description="null: all of the group or calendar")
    group: str | None = Field(default=None, description="kind:name; null: of no group")
    calendar: str
    method: str
    kind: Kind
    window_sessions: int
    metric: str
    n: int = Field(description="scored forecasts behind it")
    value: float | None
    baseline: float | None
    skill_pct: Percent = Field(description="percent better than the baseline; below 0: worse")
    updated_at: AwareDatetime


class Model(BaseModel):
    """The model in use of one ticker."""

    ticker: str
    in_use_from: date = Field(description="first session forecast from with it")
    in_use_because: str
    model_id: int
    kind: ModelKind = Field(description="base: shared by tickers of the calendar")
    base_model_id: int | None
    first_session: date
    last_session: date = Field(description="last session it learned anything from")
    trained_at: AwareDatetime
    trained_because: str
    verdict: str
    tickers: int = Field(description="tickers it learned from")
    best_epoch: int | None
    training_loss: float | None
    validation_loss: float | None
    comparison_loss: float | None
    base_comparison_loss: float | None
    gain: float | None = Field(description="base_comparison_loss - comparison_loss")
    gain_error: float | None = Field(description="standard error of gain")
    seed: int
    parameters: dict[str, JsonValue]
    libraries: dict[str, JsonValue]
    fingerprint: str
    configuration: str
    weights_sha256: str


class ForecastPage(BaseModel):
    """Forecasts in the order asked for."""

    items: list[Forecast]
    next: str | None = Field(description="`after` of the next page; null: this was the last")


class ForecastList(BaseModel):
    """The forecasts of one ticker, one per method."""

    items: list[Forecast]


class HistoryPage(BaseModel):
    """Forecasts of one ticker, the newest first."""

    items: list[PastForecast]
    next: date | None = Field(description="`before` of the next page; null: this was the last")


class EventPage(BaseModel):
    """Events of one ticker, those that move the latest sessions first."""

    items: list[Event]
    next: date | None = Field(description="`before` of the next page; null: this was the last")
    next_id: int | None = Field(description="and its `before_id`")


class AccuracyList(BaseModel):
    """All metrics of a ticker, of a group or of the calendars, over one window."""

    items: list[Accuracy]


class ModelPage(BaseModel):
    """Models in use in the order of tickers."""

    items: list[Model]
    next: str | None = Field(description="`after` of the next page; null: this was the last")


class Sent(BaseModel):
    """What clients send; nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid")


class SentBar(Sent):
    """One session's bar, as traded."""

    session: Day
    open: Positive
    high: Positive
    low: Positive
    close: Positive
    volume: Annotated[float, Field(ge=0, le=1e18, strict=True)] | None = None


class SentAction(Sent):
    """A split (new shares per old one) or a dividend (cash per share, as of that session)."""

    session: Day
    kind: ActionKind
    value: Positive


class SentBars(Sent):
    """Bars of a ticker of the watchlist, to be forecast from."""

    ticker: Ticker
    bars: Annotated[list[SentBar], Field(min_length=1, max_length=MOST_BARS)]
    actions: Annotated[list[SentAction], Field(max_length=MOST_BARS)] = []


class Remark(BaseModel):
    """Something a check saw in the bars."""

    session: date | None
    check: str
    message: str


class Prediction(Statement):
    """The stored model's forecast of the session after the last bar."""

    model_kind: ModelKind
    model_last_session: date = Field(description="last session the model learned from")
    market_through: date | None = Field(
        description="last session of which it was known what other tickers did; null: none"
    )
    remarks: list[Remark]


class Health(BaseModel):
    """The service and its database answer."""

    status: Literal["ok"] = "ok"
    revision: str = Field(description="of the database's schema")
