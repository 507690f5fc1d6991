"""Tell how far tickers, groups and portfolios may fall in the next session."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import partial
from itertools import groupby
from typing import Self

import numpy as np
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daily.risk_scores import score_risk, sum_up_risk
from jobs.side_by_side import side_by_side
from stockbatch.exceptions import DeadlinePassed
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods import risk
from stockbatch.methods.risk import Distribution, Sums, Ways
from stockbatch.records import Floats, GroupKind, Instrument, Kind, Run, Sessions, SubjectKind
from stockbatch.store import bi, headlines, holdings, instruments, returns, runs, stated
from stockbatch.store import risk as risk_store
from stockbatch.store.holdings import Position
from stockbatch.store.returns import Returns
from stockbatch.store.risk import RiskForecast, Subject
from stockbatch.store.stated import Measure
from stockbatch.text import counted, some_of

log = logging.getLogger(__name__)

AT_ONCE, FEWEST_AT_ONCE = 500, 100
"""Tickers that are simulated together: fewer where that is for many sessions, but so many."""
SESSIONS_AT_ONCE = 20
"""Sessions of a backtest that are told of while they are."""
EWMA = "ewma"
"""The method whose scales there are where the headline has not stated enough."""


def tell_risk(app: App, run: Run, calendar: TradingCalendar) -> int:
    """Score the risk told before, and tell that of the session after the run's; return how much.

    It is that of the whole watchlist, whichever part of it the run handled, of its groups, and of
    all portfolios of the calendar. Where nothing is forecast, as in a run that is held, nothing is
    told.
    """
    score_risk(app, run, calendar)
    sum_up_risk(app, run, calendar)
    with app.transaction() as db:
        method = headlines.of(db, calendar.next(run.session))
    return _tell_from(app, run, calendar, [run.session], method, Kind.LIVE)


def tell_past_risk(app: App, run: Run, calendar: TradingCalendar, origins: Sessions) -> int:
    """Tell the risk of the sessions after `origins` as backtests, and score it; return how much.

    From the forecasts that there are of them, by the headline of now.
    """
    with app.transaction() as db:
        method = headlines.order(db)[0]
    told = 0
    for start in range(0, len(origins), SESSIONS_AT_ONCE):
        app.checkpoint()
        part = [as_date(origin) for origin in origins[start : start + SESSIONS_AT_ONCE]]
        told += _tell_from(app, run, calendar, part, method, Kind.BACKTEST)
    score_risk(app, run, calendar, calendar.next(as_date(origins[0])))
    sum_up_risk(app, run, calendar)
    return told


def _tell_from(
    app: App,
    run: Run,
    calendar: TradingCalendar,
    origins: Sequence[date],
    method: str,
    kind: Kind,
) -> int:
    """Tell the risk of the sessions after some origins in a row; return how much of it is new."""
    with app.transaction() as db:
        runs.lock(db, run)
        stated.update(db, calendar.code, method, Measure.HALF_WIDTH)
    with app.transaction() as db:
        around = _Around.load(db, calendar, origins, method)
    size = max(AT_ONCE // max(len(around.nights), 1), FEWEST_AT_ONCE)
    starts = range(0, len(around.tickers) if around.nights else 0, size)
    parts = (slice(start, start + size) for start in starts)
    for part, made in side_by_side(partial(_simulated, app, around), parts):
        app.checkpoint()
        for night, (ways, of_tickers) in zip(around.nights, made, strict=True):
            night.told.extend(of_tickers)
            night.of_groups.add(_membership(around, night)[:, part], ways)
            night.of_portfolios.add(_shares(around, night)[:, part], ways)
    told = 0
    for night in around.nights:
        _finish(around, night)
        told += _save(app, replace(run, session=night.origin), night, kind)
    return told


def _save(app: App, run: Run, night: "_Night", kind: Kind) -> int:
    def save() -> int:
        with app.transaction() as db:
            runs.lock(db, run)
            now = app.clock()
            return risk_store.add(db, night.told, run, night.target, issued_at=now, kind=kind)

    try:
        return save()
    except DeadlinePassed as error:
        log.warning("%s %s: %s; saved again, as late", run.calendar, run.session, error)
        return save()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Portfolio:
    """What a portfolio holds at the close of the origin."""

    name: str
    positions: Sequence[Position]

    @property
    def values(self) -> Floats:
        """Quantity times close of each, NaN without a bar."""
        return np.array([(p.close or np.nan) * p.units for p in self.positions])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Night:
    """An origin, what is known from it, and what is told of the session after it."""

    origin: date
    target: date
    forecast: set[int]
    """Tickers of which something is forecast."""
    portfolios: Sequence[_Portfolio]
    of_groups: Sums
    of_portfolios: Sums
    told: list[RiskForecast] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Around:
    """What is told of, and from what."""

    tickers: Sequence[Instrument]
    places: Mapping[int, int]
    """Of the tickers, by id."""
    groups: Mapping[tuple[str, str], Sequence[Instrument]]
    method: str
    sessions: Sessions
    """Up to the last origin."""
    widths: Floats
    """Half those stated of these and of the session after, (tickers, sessions + 1)."""
    nights: Sequence[_Night]

    @classmethod
    def load(
        cls, db: Session, calendar: TradingCalendar, origins: Sequence[date], method: str
    ) -> Self:
        """Load it for origins in a row; those of which nothing is forecast are left out."""
        watched = instruments.active(db, calendar.code)
        sessions = calendar.window(origins[-1], risk.REACH + len(origins) - 1)
        after = np.datetime64(calendar.next(origins[-1]), "D")
        groups = _groups(db, calendar.code, watched)
        ids = [one.id for one in watched]
        nights = [_night(db, calendar, origin, ids, len(groups)) for origin in origins]
        return cls(
            tickers=watched,
            places={id_: place for place, id_ in enumerate(ids)},
            groups=groups,
            method=method,
            sessions=sessions,
            widths=stated.half_widths(db, watched, np.append(sessions, after), method),
            nights=[night for night in nights if night.forecast],
        )

    def until(self, night: _Night) -> slice:
        """Return the places of the sessions that a night looks back on."""
        end = int(np.searchsorted(self.sessions, np.datetime64(night.origin, "D"))) + 1
        return slice(max(end - risk.REACH, 0), end)


def _night(
    db: Session, calendar: TradingCalendar, origin: date, ids: Sequence[int], groups: int
) -> _Night:
    target = calendar.next(origin)
    positions = holdings.positions(db, calendar.code, origin)
    held = [
        _Portfolio(name=name, positions=list(of_one))
        for name, of_one in groupby(positions, lambda position: position.portfolio)
    ]
    lately = min(len(calendar.window(origin, risk.MOST)), risk.MOST)
    return _Night(
        origin=origin,
        target=target,
        forecast=risk_store.forecast(db, ids, target),
        portfolios=held,
        of_groups=Sums.nothing(groups, lately),
        of_portfolios=Sums.nothing(len(held), lately),
    )


def _groups(
    db: Session, calendar: str, watched: Sequence[Instrument]
) -> dict[tuple[str, str], list[Instrument]]:
    """Return who is in each group, demonstration aside."""
    real = {one.ticker: one for one in watched if not one.demo}
    named = bi.groups.members(db)
    named[GroupKind.EXCHANGE, calendar] = list(real)
    members = {key: [real[one] for one in of_one if one in real] for key, of_one in named.items()}
    return {key: of_one for key, of_one in members.items() if of_one}


def _simulated(
    app: App, around: _Around, part: slice
) -> tuple[slice, list[tuple[Ways, list[RiskForecast]]]]:
    """Return the places of some tickers and, by night, how they would move and what is told."""
    with app.transaction() as db:
        found = returns.load(db, around.tickers[part], around.sessions)
    return part, [_of_tickers(around, night, part, found) for night in around.nights]


def _of_tickers(
    around: _Around, night: _Night, part: slice, found: Returns
) -> tuple[Ways, list[RiskForecast]]:
    until = around.until(night)
    half_widths = around.widths[part, until.start : until.stop + 1]
    ways = risk.outcomes(found.known_at(until.stop - 1)[:, until], half_widths)
    ids = [one.id for one in around.tickers[part]]
    forecast = found.has_bar[:, until.stop - 1] & np.array([id_ in night.forecast for id_ in ids])
    ways = Ways(*(np.where(forecast[:, None], way, np.nan) for way in ways))
    made = risk.distribution(ways)
    told = [
        _forecast(around, Subject(SubjectKind.TICKER, None, ids[row]), made, row)
        for row in np.flatnonzero(np.isfinite(made.quantiles[:, 0])).tolist()
    ]
    return ways, told


def _membership(around: _Around, night: _Night) -> Floats:
    """Return 1 where a ticker is in a group and forecast, else 0, (groups, tickers)."""
    members = np.zeros((len(around.groups), len(around.tickers)))
    for row, of_one in enumerate(around.groups.values()):
        members[row, [around.places[one.id] for one in of_one if one.id in night.forecast]] = 1
    return members


def _shares(around: _Around, night: _Night) -> Floats:
    """Return what share of a portfolio's exposure a ticker is, else 0, (portfolios, tickers)."""
    shares = np.zeros((len(night.portfolios), len(around.tickers)))
    for row, one in enumerate(night.portfolios):
        for position, share in zip(one.positions, _of_exposure(one.values), strict=True):
            if position.instrument_id in around.places and np.isfinite(share):
                shares[row, around.places[position.instrument_id]] = share
    return shares


def _of_exposure(values: Floats) -> Floats:
    return values / np.nansum(np.abs(values)) if np.isfinite(values).any() else values


def _finish(around: _Around, night: _Night) -> None:
    """Tell of the groups of which enough members are forecast, and of all portfolios."""
    forecast = [
        [member.id for member in group if member.id in night.forecast]
        for group in around.groups.values()
    ]
    ways = night.of_groups.of_groups(np.array(list(map(len, forecast)), float))
    made = risk.distribution(ways, risk.FORGETTING)
    for row, ((kind, name), ids) in enumerate(zip(around.groups, forecast, strict=True)):
        enough = len(ids) >= risk.LEAST_OF_A_GROUP * len(around.groups[kind, name])
        if enough and np.isfinite(made.quantiles[row, 0]):
            equal = [1 / len(ids)] * len(ids)
            one = _forecast(around, Subject(kind, name), made, row, members=ids, weights=equal)
            night.told.append(one)
    held = np.array([len(one.positions) for one in night.portfolios], float)
    made = risk.distribution(night.of_portfolios.of_portfolios(held), risk.FORGETTING)
    for row, portfolio in enumerate(night.portfolios):
        night.told.append(_of_portfolio(around, night, portfolio, made, row))


def _of_portfolio(
    around: _Around, night: _Night, portfolio: _Portfolio, made: Distribution, row: int
) -> RiskForecast:
    values = portfolio.values
    whole = bool(np.isfinite(values).all())
    return _forecast(
        around,
        Subject(SubjectKind.PORTFOLIO, portfolio.name),
        made,
        row,
        reason=_lacking(night, portfolio) or _too_few(made, row),
        members=[position.instrument_id for position in portfolio.positions],
        weights=_of_exposure(values).tolist() if whole else None,
        exposure=float(np.abs(values).sum()) if whole else None,
    )


def _lacking(night: _Night, portfolio: _Portfolio) -> str:
    """Return why a portfolio cannot have a forecast, naming tickers; empty: it may."""
    without = [
        p.ticker
        for p in portfolio.positions
        if p.close is None or p.instrument_id not in night.forecast
    ]
    if without:
        return f"there is no forecast of {some_of(without)}"
    currencies = sorted({p.currency or "unknown" for p in portfolio.positions})
    if len(currencies) > 1:
        return f"its tickers have several currencies: {', '.join(currencies)}"
    return ""


def _too_few(made: Distribution, row: int) -> str:
    """Return why there are too few sessions to simulate from; empty: there are enough."""
    sessions = int(made.sessions[row])
    if sessions >= risk.FEWEST:
        return ""
    known = counted(sessions, "past session")
    return f"{known} known of all its tickers, and {risk.FEWEST} are needed"


def _forecast(
    around: _Around,
    subject: Subject,
    made: Distribution,
    row: int,
    *,
    reason: str = "",
    members: Sequence[int] | None = None,
    weights: Sequence[float] | None = None,
    exposure: float | None = None,
) -> RiskForecast:
    """Return what was made of one subject, or the reason why nothing is."""
    method = around.method if made.is_stated[row] else EWMA
    quantiles, shortfalls, unscaled = (
        None if reason else of_all[row].tolist()
        for of_all in (made.quantiles, made.shortfalls, made.unscaled_quantiles)
    )
    return RiskForecast(
        subject=subject,
        simulations=0 if reason else int(made.sessions[row]),
        method=None if reason else method,
        quantiles=quantiles,
        shortfalls=shortfalls,
        unscaled_quantiles=unscaled,
        reason=reason or None,
        exposure=exposure,
        members=members,
        weights=weights,
    )
