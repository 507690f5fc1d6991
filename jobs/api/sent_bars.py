"""Forecast the next session from bars that somebody sends, with the model stored for the ticker."""

from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
from sqlalchemy.orm import Session

from stockbatch.config import ModelSettings, Settings
from stockbatch.engine.learning import configuration
from stockbatch.engine.material import prepare, sessions_needed
from stockbatch.exceptions import BarsRefused, NoForecast, NoModel, SessionNotClosed
from stockbatch.market import quality, sessions
from stockbatch.market.quality import Checked
from stockbatch.market.sessions import TradingCalendar, as_date
from stockbatch.methods import registry
from stockbatch.methods.base import PAST, Given
from stockbatch.methods.forecasts import calibrated, forecasts
from stockbatch.records import (
    ActionKind,
    FetchedBars,
    Finding,
    Forecast,
    Instrument,
    Market,
    Panel,
    Sessions,
    Severity,
    TrainedModel,
)
from stockbatch.store import bi, crowds, market, models
from stockbatch.store import forecasts as forecast_store


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedForecast:
    """A forecast, the model it came from, and what there is to be said about the bars."""

    forecast: Forecast
    model: TrainedModel
    market_through: date | None
    """Last session of which it was known what the other tickers did."""
    findings: tuple[Finding, ...]


def predict(
    db: Session, settings: Settings, instrument: Instrument, fetched: FetchedBars, now: datetime
) -> ExplainedForecast:
    """Forecast the session after the last bar, as a run for that session would have done.

    Bars are as traded, their splits and dividends beside them. What a run knows of other tickers
    and of earlier forecasts comes from the database, and so does the model: that in use at the
    last bar. Raises SessionError, BarsRefused, NoModel, NoForecast.
    """
    calendar = sessions.load(instrument.calendar, now.date())
    checked = _check(instrument, fetched, calendar, now)
    origin = as_date(checked.accepted.sessions[-1])
    model, base = _models(db, instrument, origin, settings)
    # By the settings it was trained with, which need not be those of today.
    own = ModelSettings.model_validate(model.parameters)
    window = calendar.window(origin, sessions_needed(settings.model_copy(update={"model": own})))
    known = market.load(db, calendar.code, window)
    network = registry.methods()[model.method]
    targets_before = window[-PAST:]
    past = {
        method: forecast_store.past_quantiles(db, [instrument], targets_before, method)
        for method in network.needs_past
    }

    confirmed = np.array(bi.findings.confirmed_jumps(db, instrument.ticker), "datetime64[D]")
    panel = _panel(instrument, checked, window, confirmed)
    material = prepare([instrument], panel, known)
    given = Given(material=material, settings=own, past=past, models={0: model}, base=base)
    target = calendar.next(origin)
    targets = {origin: (target, calendar.deadline(target))}
    # The newest word of the crowd: a run of the session would have had it, too.
    heard = crowds.newest(
        db, calendar.code, network.name, as_date(targets_before[0]), origin, demo=instrument.demo
    )
    taught = {network.name: [heard[1]]} if heard else {}
    stated = calibrated({network.name: network.forecast(given)}, material, taught)
    for forecast in forecasts(material, stated, targets):
        return ExplainedForecast(
            forecast=forecast,
            model=model,
            market_through=_last_known(known),
            findings=checked.findings + material.findings[0],
        )
    raise NoForecast(ticker=instrument.ticker, session=origin, bars=len(checked.accepted))


def _check(
    instrument: Instrument, fetched: FetchedBars, calendar: TradingCalendar, now: datetime
) -> Checked:
    """Check bars as they are checked when fetched; nothing refused is left out silently."""
    last = as_date(fetched.bars.sessions.max())
    close = calendar.close(last)
    if close > now:
        raise SessionNotClosed(session=last, calendar=calendar.code, close=close)
    checked = quality.check(fetched, calendar.sessions, last)
    refused = [found for found in checked.findings if found.severity is not Severity.WARNING]
    if refused:
        raise BarsRefused(ticker=instrument.ticker, count=len(refused), findings=refused)
    return checked


def _models(
    db: Session, instrument: Instrument, origin: date, settings: Settings
) -> tuple[TrainedModel, TrainedModel]:
    """Return the model in use at `origin`, and the base that was."""
    network = settings.model.network
    model = models.champions(db, [instrument], network, origin).get(instrument.id)
    about = (network, instrument.calendar, origin)
    base = models.newest_of_calendar(db, *about, demo=instrument.demo)
    if model is None or base is None:
        raise NoModel(ticker=instrument.ticker, when=f" for forecasts from {origin}")
    own = settings.model_copy(update={"model": ModelSettings.model_validate(model.parameters)})
    if model.configuration != configuration(own):
        when = " of this version of the program"
        raise NoModel(ticker=instrument.ticker, when=when)
    return model, base


def _panel(
    instrument: Instrument, checked: Checked, window: Sessions, confirmed: Sessions
) -> Panel:
    """Lay the bars and actions of one ticker out on the sessions of a window."""
    shape = (1, len(window))
    column, inside = sessions.columns(window, checked.accepted.sessions)
    prices = {name: np.full(shape, np.nan) for name in ("open", "high", "low", "close", "volume")}
    for name, price in prices.items():
        price[0, column[inside]] = getattr(checked.accepted, name)[inside]
    actions = {ActionKind.SPLIT: np.ones(shape), ActionKind.DIVIDEND: np.zeros(shape)}
    for action in checked.actions:
        column, inside = sessions.columns(window, np.array([action.session], "datetime64[D]"))
        actions[action.kind][0, column[inside]] = action.value
    return Panel(
        tickers=(instrument.ticker,),
        sessions=window,
        confirmed=np.isin(window, confirmed)[np.newaxis],
        split=actions[ActionKind.SPLIT],
        dividend=actions[ActionKind.DIVIDEND],
        **prices,
    )


def _last_known(known: Market) -> date | None:
    held = known.sessions[np.isfinite(known.absolute_return)]
    return as_date(held[-1]) if len(held) else None
