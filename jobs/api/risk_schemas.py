"""What the service takes and gives of risk and portfolios. Names are those of the `bi` views."""

from datetime import date
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    Field,
    StringConstraints,
    WithJsonSchema,
)

from jobs.api.schemas import Percent
from stockbatch.records import GroupKind, Kind, ScoreStatus, SubjectKind
from stockbatch.store.bi.risk import LEVELS
from stockbatch.text import LONGEST_NAME

Portfolio = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00-\x1f\x7f]+$"),
]


def _told(level: float) -> float:
    if level not in LEVELS.values():
        raise ValueError(f"the levels are {', '.join(f'{one:g}' for one in LEVELS.values())}")
    return level


Level = Annotated[
    float,
    AfterValidator(_told),
    WithJsonSchema(
        {
            "type": "number",
            "enum": [int(one) if one == int(one) else one for one in LEVELS.values()],
        }
    ),
]


class Risk(BaseModel):
    """How much one ticker, group or portfolio may lose in a session, at one level; and what came.

    Losses are above 0, in percent of the gross exposure.
    """

    session: date = Field(description="session the forecast is about")
    subject_kind: SubjectKind | GroupKind
    subject: str = Field(description="ticker, or name within its kind")
    ticker: str | None = Field(description="null: a group or portfolio")
    calendar: str
    currency: str | None
    kind: Kind
    level_pct: float = Field(description="of sessions that should lose more: 1, 2.5 or 5")
    origin_session: date
    method: str = Field(description="whose widths are the scales")
    simulations: int = Field(description="past sessions that it is made of")
    members: int = Field(description="tickers that it is made of")
    exposure: float | None = Field(description="of a portfolio, at the close of the origin")
    value_at_risk_pct: float
    expected_shortfall_pct: float = Field(description="mean loss of the outcomes beyond it")
    value_at_risk: float | None = Field(description="of a portfolio, in its currency")
    expected_shortfall: float | None = Field(description="of a portfolio, in its currency")
    score_status: ScoreStatus | Literal["open"]
    actual_return_pct: Percent
    actual_result: float | None = Field(description="profit or loss of a portfolio that came")
    is_breach: bool | None = Field(description="the loss was larger than the value at risk")
    issued_at: AwareDatetime
    updated_at: AwareDatetime


class Holding(BaseModel):
    """What a portfolio holds of one ticker now, at the last close there is."""

    portfolio: str
    ticker: str
    name: str | None
    calendar: str
    currency: str | None
    from_day: date = Field(description="day of the statement that counts")
    stated_quantity: float
    quantity: float = Field(description="after the splits since; below 0: owed")
    session: date | None = Field(description="of the close; null: there is none")
    close: float | None
    value: float | None
    exposure_pct: Percent = Field(description="of the gross exposure; below 0: owed")
    is_active: bool = Field(description="false: removed from the watchlist: there is no forecast")
    updated_at: AwareDatetime


class PortfolioForecast(BaseModel):
    """What a session may do to a portfolio, or why that is not told; and what came.

    Returns are simple ones, in percent of the gross exposure.
    """

    session: date = Field(description="session the forecast is about")
    portfolio: str
    calendar: str
    currency: str | None
    kind: Kind
    origin_session: date
    members: int | None = Field(description="tickers held")
    exposure: float | None = Field(description="at the close of the origin, in the currency")
    reason: str | None = Field(description="why there is no forecast; null: there is one")
    method: str | None = Field(description="whose widths are the scales")
    simulations: int = Field(description="past sessions, common to all tickers held")
    median_return_pct: Percent
    return_low_80_pct: Percent
    return_high_80_pct: Percent
    return_low_90_pct: Percent
    return_high_90_pct: Percent
    return_low_95_pct: Percent
    return_high_95_pct: Percent
    return_low_98_pct: Percent
    return_high_98_pct: Percent
    score_status: ScoreStatus | Literal["open"]
    actual_return_pct: Percent
    actual_result: float | None = Field(description="profit or loss that came, in the currency")
    pinball: float | None
    unscaled_pinball: float | None = Field(description="of the past as it was, without scales")
    inside_80: bool | None
    inside_95: bool | None
    issued_at: AwareDatetime
    updated_at: AwareDatetime


class RiskPage(BaseModel):
    """Risk, the newest sessions first; those of one in the order of subjects."""

    items: list[Risk]
    next: date | None = Field(description="`before` of the next page; null: this was the last")
    next_after: str | None = Field(description="and its `after`")


class HoldingPage(BaseModel):
    """Holdings in the order of portfolios and tickers."""

    items: list[Holding]
    next: str | None = Field(description="`after` of the next page; null: this was the last")
    next_ticker: str | None = Field(description="and its `after_ticker`")


class PortfolioForecastPage(BaseModel):
    """Forecasts of one portfolio, the newest first."""

    items: list[PortfolioForecast]
    next: date | None = Field(description="`before` of the next page; null: this was the last")
    next_kind: Kind | None = Field(description="and its `before_kind`")
