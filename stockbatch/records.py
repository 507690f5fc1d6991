"""Frozen value objects passed between the modules; arrays are NumPy, oldest session first."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from enum import StrEnum
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID, uuid4

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Floats = NDArray[np.float64]
Sessions = NDArray[np.datetime64]
"""Trading dates, dtype datetime64[D]."""

LSTM = "lstm"
GRU = "gru"
ATTENTION = "attention"
"""Name of the method whose models are trained networks."""
COMBINED = "combined"
"""Name of the method that averages the networks with the pooled model of scale."""
HAR, HAR_EVENTS = "har", "har_events"
"""Names of the methods of the pooled model of scale, without and with events."""
POINT_BASELINE = "naive"
"""Name of the method that point forecasts are compared with."""
QUANTILE_BASELINE = "rolling_quantile"
"""Name of the method that quantiles are compared with."""

QUANTILES: tuple[float, ...] = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99)
"""The levels every probabilistic forecast states, lowest first."""
SCORED = slice(1, -1)
"""Places among them of the levels whose pinball loss is stored and compared, 0.025 to 0.975: there
were no others before, and losses and skills of then and now are of one measure."""
MEDIAN = QUANTILES.index(0.5)
"""Place of the median among them."""


class PriceBasis(StrEnum):
    """What a provider's prices were already adjusted for."""

    AS_TRADED = "as_traded"
    SPLIT_ADJUSTED = "split_adjusted"
    TOTAL_RETURN = "total_return"
    """Adjusted for splits and dividends: the closes alone tell the total return."""


class BarState(StrEnum):
    """How far a stored bar can be relied on."""

    PROVISIONAL = "provisional"
    FINAL = "final"
    QUARANTINED = "quarantined"


class Severity(StrEnum):
    """What became of the bar a finding is about: kept, set aside or refused."""

    WARNING = "warning"
    QUARANTINED = "quarantined"
    REJECTED = "rejected"


class Decision(StrEnum):
    """What somebody decided on a finding: to use the bar after all, or to leave it out."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"


class Check(StrEnum):
    """What looked at the data and found something: the name of a finding."""

    UNDATED = "undated"
    BEFORE_CALENDAR = "before_calendar"
    OFF_CALENDAR = "off_calendar"
    MISSING_SESSION = "missing_session"
    CONFLICTING_BARS = "conflicting_bars"
    DUPLICATE_BAR = "duplicate_bar"
    IDENTICAL_BARS = "identical_bars"
    PRICE_UNKNOWN = "price_unknown"
    PRICE_IMPOSSIBLE = "price_impossible"
    HIGH_BELOW_LOW = "high_below_low"
    OUTSIDE_RANGE = "outside_range"
    ZERO_VOLUME = "zero_volume"
    BAD_VOLUME = "bad_volume"
    UNREADABLE_LINE = "unreadable_line"
    BAD_SPLIT = "bad_split"
    BAD_DIVIDEND = "bad_dividend"
    SPLIT_NOT_SHOWN = "split_not_shown"
    ANOTHER_COMPANY = "another_company"
    OFF_CALENDAR_ACTION = "off_calendar_action"
    RESTATED_BAR = "restated_bar"
    RESTATED_HISTORY = "restated_history"
    CHANGED_CURRENCY = "changed_currency"
    PROVIDERS_APART = "providers_apart"
    SUSPECTED_DELISTED = "suspected_delisted"
    JUMP_PENDING = "jump_pending"
    JUMP_SPLIT_LIKE = "jump_split_like"
    JUMP_UNIT_LIKE = "jump_unit_like"
    JUMP_SPLIT_STATED = "jump_split_stated"
    JUMP_TENFOLD = "jump_tenfold"
    JUMP_REVERSED = "jump_reversed"
    JUMP_RELEASED = "jump_released"
    JUMP_CONFIRMED = "jump_confirmed"
    IMPLAUSIBLE_FORECAST = "implausible_forecast"
    NO_FORECAST = "no_forecast"


class ActionKind(StrEnum):
    """What happened to shares, or to their prices."""

    SPLIT = "split"
    DIVIDEND = "dividend"
    RESTATEMENT = "restatement"
    """Dividends have lowered all earlier prices of a provider that adjusts for them."""


ADJUSTED_FOR: Mapping[PriceBasis, frozenset[ActionKind]] = {
    PriceBasis.AS_TRADED: frozenset(),
    PriceBasis.SPLIT_ADJUSTED: frozenset({ActionKind.SPLIT}),
    PriceBasis.TOTAL_RETURN: frozenset({ActionKind.SPLIT, ActionKind.DIVIDEND}),
}
"""The actions that prices of a basis contain."""


class Condition(StrEnum):
    """What an alert is about."""

    MISSED_DEADLINE = "missed_deadline"
    FAILED_RUN = "failed_run"
    LOW_DATA_COVERAGE = "low_data_coverage"
    INTERVAL_COVERAGE = "interval_coverage"
    NEGATIVE_SKILL = "negative_skill"
    PROVIDER_QUOTA = "provider_quota"
    CLOCKS_APART = "clocks_apart"
    LATE_COMMIT = "late_commit"
    TEST = "test"


class EventKind(StrEnum):
    """What kinds of events a forecast knows; others may be kept, and are shown only."""

    EARNINGS = "earnings"


class Timing(StrEnum):
    """When on its date an event becomes known, by the hours of the exchange."""

    BEFORE_OPEN = "before_open"
    DURING = "during"
    AFTER_CLOSE = "after_close"
    UNKNOWN = "unknown"


class AlertEvent(StrEnum):
    """What a message tells of an alert."""

    RAISED = "raised"
    CLEARED = "cleared"


class Kind(StrEnum):
    """When a forecast was made: in time, after its deadline, or in a simulation of the past.

    Of several forecasts of one session, the first kind in this order counts.
    """

    LIVE = "live"
    LATE = "late"
    BACKTEST = "backtest"


class GroupKind(StrEnum):
    """What tickers have in common that are looked at together."""

    EXCHANGE = "exchange"
    SECTOR = "sector"
    INDUSTRY = "industry"
    TAG = "tag"
    WATCHLIST = "watchlist"
    """A named watchlist: for looking at, whereas *the* watchlist is what is fetched."""


LABELS = (GroupKind.TAG, GroupKind.WATCHLIST)
"""Kinds of groups of which a ticker may be in any number."""


class SubjectKind(StrEnum):
    """What risk is told of, beside the groups of GroupKind."""

    TICKER = "ticker"
    PORTFOLIO = "portfolio"


class ScoreStatus(StrEnum):
    """What became of a forecast; a masked one's return is not to be trusted."""

    SCORED = "scored"
    MASKED = "masked"
    NO_SESSION = "no_session"


class RunStatus(StrEnum):
    """How far a run has come; a stopped one is resumed, a skipped one was too old to be made up."""

    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    STOPPED = "stopped"
    SKIPPED = "skipped"


class Trigger(StrEnum):
    """What began a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    CATCH_UP = "catch_up"
    BACKFILL = "backfill"


class Chore(StrEnum):
    """What the daemon does by a crontab, the setting of that name."""

    BASE_REFIT = "base_refit"
    MAINTENANCE = "maintenance"
    EVENT_REFRESH = "event_refresh"


class Action(StrEnum):
    """What a run did for one ticker."""

    TRAINED = "trained"
    REUSED = "reused"
    BASE = "base"
    NAIVE = "naive"
    NONE = "none"


class ModelKind(StrEnum):
    """What a model was trained for: a whole calendar, or one ticker."""

    BASE = "base"
    TICKER = "ticker"


class Verdict(StrEnum):
    """What became of a model when it was trained."""

    PROMOTED = "promoted"
    BASE_KEPT = "base_kept"
    CHAMPION_KEPT = "champion_kept"


class Reason(StrEnum):
    """Why a run did it."""

    NO_MODEL = "no_model"
    EXPIRED = "expired"
    CONFIGURATION_CHANGED = "configuration_changed"
    HISTORY_RESTATED = "history_restated"
    FORCED = "forced"
    BASE_CHANGED = "base_changed"
    UNIVERSE_CHANGED = "universe_changed"
    DRIFT = "drift"
    FRESH = "fresh"
    SHORT_HISTORY = "short_history"
    DIVERGED = "diverged"
    NO_BAR = "no_bar"
    BAR_REFUSED = "bar_refused"
    FETCH_FAILED = "fetch_failed"
    RATE_LIMITED = "rate_limited"
    HELD = "held"
    DEADLINE = "deadline"
    FAILED = "failed"
    SKIPPED = "skipped"


class ManualReason(StrEnum):
    """Why somebody put a model into use by hand."""

    MANUAL = "manual"
    ROLLBACK = "rollback"


class MoveReason(StrEnum):
    """What makes an expected move larger or smaller than the ticker's usual one."""

    OWN_MOVES = "own_moves"
    """Sizes of its own last moves."""
    LEVEL = "level"
    """Its own level of the last year."""
    MARKET_MOVES = "market_moves"
    """Sizes of the market's last moves."""
    DIRECTION = "direction"
    """Which way its own price and the market went."""
    TURNOVER = "turnover"
    REPORTS = "reports"
    NEWS = "news"
    LSTM = "lstm"
    """What the network adds."""
    CALIBRATION = "calibration"
    """What past intervals missed."""
    LAST_YEAR = "last_year"
    """The shape of the last year's returns, which the usual move is told by: all that is left."""


class ForecastOrder(StrEnum):
    """What a list of forecasts of many tickers begins with."""

    TICKER = "ticker"
    LARGEST_EXPECTED_MOVE = "largest_expected_move"
    MOST_UNUSUAL = "most_unusual"
    LARGEST_DOWNSIDE = "largest_downside"
    MOST_PROBABLE_RISE = "most_probable_rise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What a provider says about one of its tickers."""

    ticker: str
    symbol: str
    name: str | None = None
    calendar: str | None = None
    """None where the provider does not say."""
    currency: str | None = None
    asset_class: str = "equity"
    sector: str | None = None
    industry: str | None = None
    price_basis: PriceBasis | None = None
    """None where only the bars themselves tell."""
    understood: str | None = None
    """How its bars are read, in words: from which columns, and what prices are adjusted for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Where an instrument's bars come from: a provider's specification, and its symbol there."""

    provider: str
    symbol: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """A ticker of the watchlist; `provider` is the specification it is fed by, as typed."""

    id: int
    ticker: str
    symbol: str
    provider: str
    calendar: str
    name: str | None = None
    currency: str | None = None
    asset_class: str = "equity"
    active: bool = True
    demo: bool = False
    price_basis: PriceBasis | None = None
    """As understood when it was added, as `understood` says in words; None: the provider's own."""
    understood: str | None = None
    fallbacks: tuple[Source, ...] = ()
    """Asked in this order where its own provider fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """Daily bars of one ticker, all arrays of shape (sessions,); unknown values are NaN."""

    sessions: Sessions
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.sessions)

    def where(self, keep: NDArray[np.bool_]) -> "Bars":
        """Return the bars for which `keep`, of shape (sessions,), is true."""
        return Bars(
            sessions=self.sessions[keep],
            open=self.open[keep],
            high=self.high[keep],
            low=self.low[keep],
            close=self.close[keep],
            volume=self.volume[keep],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CorporateAction:
    """A split (new shares per old one) or a cash dividend (per share, basis of its ex-session).

    Or a restatement: what divides the prices stored before its session to give those of today.
    """

    session: date
    kind: ActionKind
    value: float
    in_prices: bool = False
    """Whether the prices beside it are adjusted for it, so that no return counts it again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What a source states of an event that moves prices."""

    symbol: str
    date: date
    """By the exchange's clock."""
    kind: str = EventKind.EARNINGS
    timing: Timing = Timing.UNKNOWN
    known_at: datetime | None = None
    """Since when it could be known, where the source says so."""
    projected: bool = False
    """Whether it is a guess from the past dates of the same company."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewsItem:
    """What a source says of one item of news about a ticker."""

    symbol: str
    published_at: datetime
    title: str
    source: str
    """Who brings it."""
    url: str | None = None
    relevance: float | None = None
    """How much it is about the ticker, 0 to 1."""
    score: float | None = None
    """How it sounds, -1 bad to 1 good, as `scored_by` says; None: nobody has scored it."""
    scored_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class News:
    """What was known of news as of each session, arrays of (tickers, sessions).

    Each session knows what was published by its close and seen before its own forecasts were made.
    """

    items: Floats
    """How many there were since the close before."""
    scored: Floats
    """How many of them have a score."""
    total: Floats
    """Sum of their scores; 0 where there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reports:
    """What was known of companies' reports as of each session, arrays of (tickers, sessions).

    Each session knows what was seen before its own forecasts were made, and nothing later.
    """

    due: NDArray[np.bool_]
    """One moves the next session, or may: its date is that session where its hour is unknown."""
    came: NDArray[np.bool_]
    """One moved this session, or may have."""
    lingering: NDArray[np.bool_]
    """One of unknown hour is dated this session, so that it may as well move the next."""
    covered: NDArray[np.bool_]
    """Whether anything is known of the ticker's reports; where not, that none is due says nothing.
    """
    expected: NDArray[np.bool_]
    """By the rhythm of past years one moves the next session, and none of this quarter is stated.
    """

    @classmethod
    def unknown(cls, tickers: int, sessions: int) -> "Reports":
        """Return that nothing is known of any."""
        never = np.zeros((tickers, sessions), np.bool_)
        return cls(due=never, came=never, lingering=never, covered=never, expected=never)


@dataclass(frozen=True, slots=True, kw_only=True)
class BarRequest:
    """Bars wanted of one symbol, both sessions included; `first` None means all there are."""

    symbol: str
    first: date | None
    last: date
    calendar: str | None = None
    """Whose days are meant where a provider has instants; None: the days as they are written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedBars:
    """What a provider delivered for one request, unchecked and in the provider's order."""

    symbol: str
    bars: Bars
    actions: tuple[CorporateAction, ...] = ()
    currency: str | None = None
    """As stated with these bars; None where the provider does not say."""
    price_basis: PriceBasis | None = None
    """What these prices are adjusted for; None: what the provider's always are."""
    findings: tuple["Finding", ...] = ()
    """What the provider saw that is no bar: a line that cannot be read, say."""

    def understood(self, usual: PriceBasis) -> "FetchedBars":
        """Return the same with its basis, `usual` where it states none, on it and its actions."""
        basis = self.price_basis or usual
        contained = ADJUSTED_FOR[basis]
        actions = tuple(replace(a, in_prices=a.kind in contained) for a in self.actions)
        return replace(self, price_basis=basis, actions=actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBars:
    """The last usable bars of one ticker as they are stored, arrays of shape (sessions,)."""

    bars: Bars
    """Their volumes are not told."""
    final: NDArray[np.bool_]
    own: NDArray[np.bool_]
    """True for those that came from the provider now asked."""
    basis: tuple[PriceBasis, ...]
    newest: date
    """The last usable session there is, which may be later than the last of these."""
    restatements: tuple[CorporateAction, ...] = ()
    """Those of sessions after the first of these."""

    @property
    def sessions(self) -> Sessions:
        """Return the sessions of the bars."""
        return self.bars.sessions

    def where(self, keep: NDArray[np.bool_]) -> "StoredBars":
        """Return those for which `keep`, of shape (sessions,), is true."""
        return StoredBars(
            bars=self.bars.where(keep),
            final=self.final[keep],
            own=self.own[keep],
            basis=tuple(compress(self.basis, keep)),
            newest=self.newest,
            restatements=self.restatements,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a check saw in one ticker's data."""

    check: Check
    severity: Severity
    message: str
    session: date | None = None
    observed: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Accepted bars of many tickers on one calendar's sessions.

    Prices and volumes are as stored, of shape (tickers, sessions), NaN where there is no bar;
    `split` is 1 and `dividend` 0 where nothing happened. Both hold for the session they go ex.
    `confirmed` is True where a second provider, or a person, has said that the session's return, a
    jump, is right.
    """

    tickers: tuple[str, ...]
    sessions: Sessions
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    split: Floats
    dividend: Floats
    confirmed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """What all tickers of a calendar did in each session, arrays of shape (sessions,).

    NaN where too few tickers had a bar.
    """

    sessions: Sessions
    absolute_return: Floats
    """Median size of the log returns."""
    median_return: Floats
    """Median log return."""


Cut = TypeVar("Cut", bound="DataclassInstance")


def cut(record: Cut, sessions: slice) -> Cut:
    """Return a record with its arrays copied for some of their sessions: of two axes the second."""
    arrays = {name: getattr(record, name) for name in record.__dataclass_fields__}
    return replace(
        record,
        **{
            name: np.ascontiguousarray(array[sessions] if array.ndim == 1 else array[:, sessions])
            for name, array in arrays.items()
            if isinstance(array, np.ndarray)
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Mean pinball losses on the sessions that chose between models."""

    loss: float
    """Of the model just trained."""
    base_loss: float
    champion_loss: float | None
    """Of the ticker's own model in use before; None where there was none to compare with."""
    gain_error: float
    """Standard error of base_loss - loss, paired by session."""

    @property
    def gain(self) -> float:
        """Return how much better than its base the model is."""
        return self.base_loss - self.loss


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """Weights with all that is needed to use, judge and reproduce them."""

    method: str = LSTM
    """The method that works with it."""
    kind: ModelKind
    ticker: str | None
    """None for a base model."""
    first_session: date
    last_session: date
    """Last session anything in the model was learned from."""
    fingerprint: str
    """SHA-256 of the data it was trained on."""
    configuration: str
    """SHA-256 of the settings and the feature version it was trained with."""
    parameters: Mapping[str, object]
    seed: int
    weights: Mapping[str, NDArray[np.float32]]
    """Arrays by name; of a base model also the moments of what it has seen."""
    best_epoch: int | None = None
    training_loss: tuple[float, ...] = ()
    validation_loss: tuple[float, ...] = ()
    initial_loss: float | None = None
    """Validation loss of the weights it started from."""
    comparison: Comparison | None = None
    tickers: int = 1
    """How many it learned from."""
    libraries: Mapping[str, str] = field(default_factory=dict)
    reason: Reason = Reason.NO_MODEL
    verdict: Verdict = Verdict.PROMOTED
    parent_id: int | None = None
    """The base model it started from."""
    id: int | None = None
    """None until stored."""

    def age(self, sessions: Sessions) -> int:
        """Return how many of `sessions` came after all that it learned from."""
        return int(np.sum(sessions > np.datetime64(self.last_session)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """What the past intervals of all tickers of a calendar teach the next ones, of one method."""

    logs: Floats
    """Logarithms of the factors that the quantiles' distances from the median are multiplied by,
    (levels but the median, learners)."""
    losses: Floats
    """By learner, how well it has done."""
    sessions: int
    """How many it has learned from."""
    tickers: int
    """That had a say in the last of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What one method says at `origin_session` about one ticker's `target_session`."""

    instrument_id: int
    method: str
    origin_session: date
    target_session: date
    deadline_at: datetime
    origin_close: float
    close: float
    log_return: float
    quantiles: tuple[float, ...] | None
    """Of the log return, one per level of QUANTILES; None for the naive forecast."""
    probability_of_rise: float | None = None
    fingerprint: str
    raw_quantiles: tuple[float, ...] | None = None
    """The network's own, before calibration."""
    volatility: float | None = None
    """Standard deviation of the log return known at the origin."""
    shrinkage: float | None = None
    """Share of the median return the point forecast keeps: 0 is the naive forecast."""
    dissimilarity: float | None = None
    """Distance of the inputs from those trained on; above 1: unlike 99 % of them."""
    probability_of_fall: float | None = None
    """Not the rest to that of a rise: of a share that hardly trades, to stand still is likely."""
    probability_of_move_2: float | None = None
    """Of a change of more than 2 % of the price, up or down."""
    probability_of_move_5: float | None = None
    usual_move: float | None = None
    """Half of the 80 % interval of the ticker's own last returns, as a share of the price."""
    reasons: Mapping[MoveReason, float] | None = None
    """Logarithms whose sum is that of the expected move over the usual one; None: not stated."""
    horizon: int = 1
    uses_model: bool = False
    """Whether a trained model made it; its id is known once the model is stored."""
    model_id: int | None = None
    id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a run did for one ticker, why, and how long its batch took per ticker."""

    instrument_id: int
    action: Action
    reason: Reason
    message: str = ""
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The right to use the REST service."""

    name: str
    requests_per_minute: int
    expires_at: datetime | None
    """None: never."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """The right to write the results of one calendar's session; `owner` is its token."""

    id: int | None
    """None for a backtest or a mere fetch, which are no runs."""
    calendar: str
    session: date
    attempt: int
    owner: UUID
    tries: int = 1
    """How often it was begun: more than once after failures and interruptions."""
    before: Mapping[str, Any] | None = None
    """What opening it changed, if it was finished already."""

    def for_others(self) -> "Run":
        """Return what another process needs to write for it."""
        return replace(self, before=None)

    @classmethod
    def unrecorded(cls, calendar: str, session: date) -> "Run":
        """Return what stands for a run where there is none, and the calendar's lease protects."""
        return cls(id=None, calendar=calendar, session=session, attempt=0, owner=uuid4())


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition that holds for an exchange: what was seen, and the limit it broke."""

    condition: Condition
    subject: str
    message: str
    session: date | None = None
    observed: float | None = None
    threshold: float | None = None
