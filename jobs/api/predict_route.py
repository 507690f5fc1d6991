"""`POST /v1/predict`: bars in, the forecast of the stored model out."""

import anyio
import numpy as np
from fastapi import APIRouter, Depends, Request
from sqlalchemy.orm import Session

from jobs.api import schemas
from jobs.api.problems import documented
from jobs.api.sent_bars import ExplainedForecast, predict
from jobs.api.surroundings import Surroundings, entered, surroundings
from stockbatch import metrics
from stockbatch.methods import distribution
from stockbatch.records import MEDIAN, Bars, CorporateAction, FetchedBars
from stockbatch.store import serving

router = APIRouter(prefix="/v1", dependencies=[Depends(entered)], tags=["prediction"])


@router.post("/predict", responses=documented(400, 401, 404, 413, 422, 429, 503))
async def prediction(request: Request, sent: schemas.SentBars) -> schemas.Prediction:
    """Forecast the session after the last bar with the model stored for the ticker.

    Bars are as traded, the last one of a session that has closed; a thousand or more make it what a
    run would have said. They are checked like those a run fetches, and refused with a reason each.
    What other tickers did comes from the stored series. Nothing is stored.
    """
    inside = surroundings(request)
    return await anyio.to_thread.run_sync(_predict, inside, sent, limiter=inside.predictions)


def _predict(inside: Surroundings, sent: schemas.SentBars) -> schemas.Prediction:
    with Session(inside.engine) as db:
        instrument = serving.instrument(db, sent.ticker)
        made = predict(db, inside.settings, instrument, _bars(sent), inside.clock())
    return _prediction(made, instrument.ticker, instrument.currency)


def _bars(sent: schemas.SentBars) -> FetchedBars:
    columns = {
        name: np.array([getattr(bar, name) for bar in sent.bars], dtype=np.float64)
        for name in ("open", "high", "low", "close", "volume")
    }
    days = np.array([bar.session for bar in sent.bars], dtype="datetime64[D]")
    actions = tuple(CorporateAction(**action.model_dump()) for action in sent.actions)
    return FetchedBars(symbol="", bars=Bars(sessions=days, **columns), actions=actions)


def _percent(share: float | None) -> float | None:
    return None if share is None else 100 * share


def _prediction(made: ExplainedForecast, ticker: str, currency: str | None) -> schemas.Prediction:
    """Return a prediction in the terms of the `bi` views."""
    forecast, model = made.forecast, made.model
    assert forecast.quantiles is not None
    closes = forecast.origin_close * np.exp(forecast.quantiles)
    ends = {percent: metrics.interval(closes, percent) for percent in metrics.COVERAGES}
    down, up = np.expm1(metrics.interval(np.array(forecast.quantiles), 90))
    assert forecast.volatility is not None
    assert forecast.dissimilarity is not None
    return schemas.Prediction(
        ticker=ticker,
        currency=currency,
        session=forecast.target_session,
        origin_session=forecast.origin_session,
        origin_close=forecast.origin_close,
        expected_move_pct=100 * float(distribution.expected_move(np.array(forecast.quantiles))),
        downside_pct=100 * float(down),
        upside_pct=100 * float(up),
        probability_of_rise_pct=_percent(forecast.probability_of_rise),
        probability_of_fall_pct=_percent(forecast.probability_of_fall),
        probability_of_move_2_pct=_percent(forecast.probability_of_move_2),
        probability_of_move_5_pct=_percent(forecast.probability_of_move_5),
        forecast_close=forecast.close,
        forecast_return_pct=100 * float(np.expm1(forecast.log_return)),
        median_close=float(closes[MEDIAN]),
        **{f"close_low_{percent}": float(low) for percent, (low, _) in ends.items()},
        **{f"close_high_{percent}": float(high) for percent, (_, high) in ends.items()},
        volatility_pct=100 * forecast.volatility,
        shrinkage=forecast.shrinkage,
        dissimilarity=forecast.dissimilarity,
        is_trusted=forecast.dissimilarity <= 1,
        model_id=model.id,
        model_kind=model.kind,
        model_last_session=model.last_session,
        market_through=made.market_through,
        remarks=[
            schemas.Remark(session=found.session, check=found.check, message=found.message)
            for found in made.findings
        ],
    )
