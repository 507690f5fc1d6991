"""Tell how far tickers, groups and portfolios may fall in the next session."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daily.risk_scores import score_risk, sum_up_risk
from stockbatch.exceptions import DeadlinePassed
from stockbatch.market.sessions import TradingCalendar
from stockbatch.methods import risk
from stockbatch.methods.risk import Distribution, Sums, Ways
from stockbatch.records import Floats, GroupKind, Instrument, Run, SubjectKind
from stockbatch.store import bi, headlines, holdings, instruments, returns, runs
from stockbatch.store import risk as risk_store
from stockbatch.store import widths as width_store
from stockbatch.store.holdings import Position
from stockbatch.store.risk import RiskForecast, Subject
from stockbatch.store.widths import Widths
from stockbatch.text import counted

log = logging.getLogger(__name__)

AT_ONCE = 500
"""Tickers whose returns are held in memory together."""
EWMA = "ewma"
"""The method whose scales there are where the headline has not stated enough."""
NAMED = 5
"""Tickers that a reason names."""


def tell_risk(app: App, run: Run, calendar: TradingCalendar) -> int:
    """Score the risk told before, and tell that of the session after the run's; return how much.

    It is that of the whole watchlist, whichever part of it the run handled, of its groups, and of
    all portfolios of the calendar. Where nothing is forecast, as in a run that is held, nothing is
    told.
    """
    score_risk(app, run, calendar)
    sum_up_risk(app, run, calendar)
    target = calendar.next(run.session)
    with app.transaction() as db:
        method = headlines.of(db, target)
        runs.lock(db, run)
        width_store.update(db, calendar.code, method)
    with app.transaction() as db:
        around = _Around.load(db, run, calendar, target, method)
    if not around.forecast:
        return 0
    told = list(_tell(app, around))
    try:
        return _save(app, run, target, told)
    except DeadlinePassed as error:
        log.warning("%s %s: %s; saved again, as late", run.calendar, run.session, error)
        return _save(app, run, target, told)


def _save(app: App, run: Run, target: date, told: Sequence[RiskForecast]) -> int:
    with app.transaction() as db:
        runs.lock(db, run)
        return risk_store.add(db, told, run, target, issued_at=app.clock())


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
class _Around:
    """What is told of, and from what."""

    tickers: Sequence[Instrument]
    """The watchlist, and what else is held."""
    forecast: set[int]
    """Those of which something is forecast."""
    groups: dict[tuple[str, str], list[Instrument]]
    portfolios: Sequence[_Portfolio]
    method: str
    widths: Widths
    sessions: NDArray[np.datetime64]
    """Up to the origin."""

    @classmethod
    def load(
        cls, db: Session, run: Run, calendar: TradingCalendar, target: date, method: str
    ) -> Self:
        """Load it as of a run's session."""
        watched = instruments.active(db, calendar.code)
        sessions = calendar.window(run.session, risk.REACH)
        positions = holdings.positions(db, calendar.code, run.session)
        held = groupby(positions, lambda position: position.portfolio)
        return cls(
            tickers=watched,
            forecast=risk_store.forecast(db, [one.id for one in watched], target),
            groups=_groups(db, calendar.code, watched),
            portfolios=[_Portfolio(name=name, positions=list(of_one)) for name, of_one in held],
            method=method,
            widths=Widths(
                db, calendar.code, method, np.append(sessions, np.datetime64(target, "D"))
            ),
            sessions=sessions,
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


def _tell(app: App, around: _Around) -> Iterator[RiskForecast]:
    """Yield what is simulated of every ticker, group and portfolio."""
    groups = np.array(list(map(len, around.groups.values())), float)
    lately = min(len(around.sessions), risk.MOST)
    of_groups = Sums.nothing(len(groups), lately)
    of_portfolios = Sums.nothing(len(around.portfolios), lately)
    places = {one.id: place for place, one in enumerate(around.tickers)}
    in_groups = _membership(around, places)
    shares = _shares(around, places)
    for start in range(0, len(around.tickers), AT_ONCE):
        app.checkpoint()
        some = slice(start, start + AT_ONCE)
        ways = _outcomes(app, around, around.tickers[some])
        yield from _of_tickers(around, around.tickers[some], ways)
        of_groups.add(in_groups[:, some], ways)
        of_portfolios.add(shares[:, some], ways)
    yield from _of_groups(around, of_groups)
    yield from _of_portfolios(around, of_portfolios)


def _outcomes(app: App, around: _Around, part: Sequence[Instrument]) -> Ways:
    """Return what past sessions would do to some tickers, NaN where nothing is forecast of one."""
    with app.transaction() as db:
        found = returns.load(db, part, around.sessions)
    ways = risk.outcomes(found.log_returns, around.widths.of(part))
    forecast = found.has_bar & np.array([one.id in around.forecast for one in part])
    return Ways(*(np.where(forecast[:, None], way, np.nan) for way in ways))


def _membership(around: _Around, places: dict[int, int]) -> Floats:
    """Return 1 where a ticker is in a group and forecast, else 0, (groups, tickers)."""
    members = np.zeros((len(around.groups), len(places)))
    for row, of_one in enumerate(around.groups.values()):
        members[row, [places[one.id] for one in of_one if one.id in around.forecast]] = 1
    return members


def _shares(around: _Around, places: dict[int, int]) -> Floats:
    """Return what share of a portfolio's exposure a ticker is, else 0, (portfolios, tickers)."""
    shares = np.zeros((len(around.portfolios), len(places)))
    for row, one in enumerate(around.portfolios):
        for position, share in zip(one.positions, _of_exposure(one.values), strict=True):
            if position.instrument_id in places and np.isfinite(share):
                shares[row, places[position.instrument_id]] = share
    return shares


def _of_exposure(values: Floats) -> Floats:
    return values / np.nansum(np.abs(values)) if np.isfinite(values).any() else values


def _of_tickers(around: _Around, part: Sequence[Instrument], ways: Ways) -> Iterator[RiskForecast]:
    made = risk.distribution(ways)
    for row in np.flatnonzero(np.isfinite(made.quantiles[:, 0])).tolist():
        yield _forecast(around, Subject(SubjectKind.TICKER, None, part[row].id), made, row)


def _of_groups(around: _Around, sums: Sums) -> Iterator[RiskForecast]:
    """Yield what is simulated of groups of which enough members are forecast."""
    forecast = [
        [m.id for m in group if m.id in around.forecast] for group in around.groups.values()
    ]
    made = risk.distribution(sums.of_groups(np.array(list(map(len, forecast)), float)))
    for row, ((kind, name), ids) in enumerate(zip(around.groups, forecast, strict=True)):
        enough = len(ids) >= risk.LEAST_OF_A_GROUP * len(around.groups[kind, name])
        if enough and np.isfinite(made.quantiles[row, 0]):
            equal = [1 / len(ids)] * len(ids)
            yield _forecast(around, Subject(kind, name), made, row, members=ids, weights=equal)


def _of_portfolios(around: _Around, sums: Sums) -> Iterator[RiskForecast]:
    held = np.array([len(one.positions) for one in around.portfolios], float)
    made = risk.distribution(sums.of_portfolios(held))
    for row, one in enumerate(around.portfolios):
        ids = [position.instrument_id for position in one.positions]
        values = one.values
        whole = bool(np.isfinite(values).all())
        yield _forecast(
            around,
            Subject(SubjectKind.PORTFOLIO, one.name),
            made,
            row,
            reason=_lacking(around, one) or _too_few(made, row),
            members=ids,
            weights=_of_exposure(values).tolist() if whole else None,
            exposure=float(np.abs(values).sum()) if whole else None,
        )


def _lacking(around: _Around, portfolio: _Portfolio) -> str:
    """Return why a portfolio cannot have a forecast, naming tickers; empty: it may."""
    without = [
        p.ticker
        for p in portfolio.positions
        if p.close is None or p.instrument_id not in around.forecast
    ]
    if without:
        more = f" and {len(without) - NAMED} more" if len(without) > NAMED else ""
        return f"there is no forecast of {', '.join(without[:NAMED])}{more}"
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
