"""Questions about what is stored: forecasts, how good they were, models.

Pages are cut by key, so that rows added meanwhile neither repeat nor hide others.
"""

from collections.abc import Callable, Hashable, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from jobs.api import schemas
from jobs.api.cache import Body
from jobs.api.problems import documented
from jobs.api.surroundings import entered, surroundings
from stockbatch import database
from stockbatch.records import ForecastOrder, GroupKind
from stockbatch.store import bi, serving
from stockbatch.text import LONGEST_NAME

Entry = TypeVar("Entry", bound=BaseModel)

open_router = APIRouter(tags=["health"])
router = APIRouter(prefix="/v1", dependencies=[Depends(entered)], tags=["stored"])

LONGEST_GROUP = LONGEST_NAME + 1 + max(map(len, GroupKind))

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer has the ETag named in If-None-Match."}
}
READING = UNCHANGED | documented(401, 422, 429, 503)
READING_ONE = READING | documented(404)

TickerPath = Annotated[schemas.Ticker, Path(description="ticker of the watchlist")]
After = Annotated[
    str, Query(max_length=64, pattern=r"^[^\x00-\x1f\x7f]*$", description="tickers after this one")
]
Method = Annotated[
    schemas.Method | None,
    Query(
        description=". ".join(
            (
                "default: the one shown first",
                *(f"{name}: {said}" for name, said in schemas.METHODS.items()),
            )
        )
    ),
]
Group = Annotated[
    str | None,
    Query(
        min_length=1,
        max_length=LONGEST_GROUP,
        pattern=r"^[^\x00-\x1f\x7f]*$",
        description="only of the tickers of a sector, industry, tag, named watchlist or exchange: "
        "its name, or kind:name",
    ),
]
Order = Annotated[ForecastOrder, Query(description="what comes first")]
Limit = Annotated[int, Query(ge=1, le=500, description="entries of a page")]
Window = Annotated[int, Query(ge=1, le=100_000, description="sessions looked back at")]


@open_router.get("/health", response_model=schemas.Health, responses=UNCHANGED | documented(503))
async def health(request: Request) -> Response:
    """Tell whether service and database answer; needs no token."""

    def make(_db: Session) -> BaseModel:
        database.require_current(surroundings(request).engine)
        return schemas.Health(revision=database.head())

    return await _answer(request, "health", make)


@router.get("/forecasts", response_model=schemas.ForecastPage, responses=READING_ONE)
async def forecasts(
    request: Request,
    method: Method = None,
    group: Group = None,
    after: After = "",
    limit: Limit = 100,
    order: Order = ForecastOrder.TICKER,
) -> Response:
    """Return the latest forecast of every ticker, in the order of tickers or another one."""

    def make(db: Session) -> BaseModel:
        among = None if group is None else bi.groups.tickers(db, group)
        rows = bi.forecasts.latest_by(db, method, after, limit + 1, order, tickers=among).rows()
        items, following = _page(schemas.Forecast, rows, limit)
        return schemas.ForecastPage(items=items, next=following and following.ticker)

    return await _answer(request, ("forecasts", method, group, after, limit, order), make)


@router.get("/forecasts/{ticker:path}", response_model=schemas.ForecastList, responses=READING_ONE)
async def forecast(request: Request, ticker: TickerPath) -> Response:
    """Return the latest forecasts of one ticker, one per method."""

    def make(db: Session) -> BaseModel:
        bi.instruments.require(db, ticker, active=True)
        rows = bi.forecasts.of_ticker(db, ticker).rows()
        return schemas.ForecastList(items=[schemas.Forecast.model_validate(row) for row in rows])

    return await _answer(request, ("forecast", ticker), make)


@router.get("/history/{ticker:path}", response_model=schemas.HistoryPage, responses=READING_ONE)
async def history(
    request: Request,
    ticker: TickerPath,
    method: Method = None,
    first: Annotated[schemas.Day, Query(alias="from", description="first session")] = date.min,
    before: Annotated[schemas.Day, Query(description="sessions before this one")] = date.max,
    limit: Limit = 100,
) -> Response:
    """Return what was forecast for past sessions and what came, the newest first."""

    def make(db: Session) -> BaseModel:
        bi.instruments.require(db, ticker)
        rows = bi.forecasts.history(db, ticker, method, first, before, limit + 1).rows()
        items, following = _page(schemas.PastForecast, rows, limit)
        return schemas.HistoryPage(items=items, next=following and following.session)

    return await _answer(request, ("history", ticker, method, first, before, limit), make)


@router.get("/events/{ticker:path}", response_model=schemas.EventPage, responses=READING_ONE)
async def events(
    request: Request,
    ticker: TickerPath,
    first: Annotated[schemas.Day, Query(alias="from", description="first session")] = date.min,
    before: Annotated[schemas.Day, Query(description="sessions before this one")] = date.max,
    before_id: Annotated[
        int, Query(ge=0, lt=2**63, description="and, of that one, versions before this")
    ] = 0,
    limit: Limit = 100,
) -> Response:
    """Return the events that move sessions of a ticker, those ahead first, with all versions."""

    def make(db: Session) -> BaseModel:
        bi.instruments.require(db, ticker)
        rows = bi.events.page(db, ticker, first, before, before_id, limit + 1).rows()
        items, last = _page(schemas.Event, rows, limit)
        following, version = (last.session, last.event_id) if last else (None, None)
        return schemas.EventPage(items=items, next=following, next_id=version)

    return await _answer(request, ("events", ticker, first, before, before_id, limit), make)


@router.get("/accuracy", response_model=schemas.AccuracyList, responses=READING_ONE)
async def accuracy_of_calendars(
    request: Request, window: Window = 250, group: Group = None
) -> Response:
    """Return how good the forecasts of all tickers of a calendar or group were together."""

    def make(db: Session) -> BaseModel:
        if group is None:
            rows = bi.accuracy.of_calendars(db, window).rows()
        else:
            rows = bi.groups.metrics(db, group, window)
        return schemas.AccuracyList(items=[schemas.Accuracy.model_validate(row) for row in rows])

    return await _answer(request, ("accuracy of all", group, window), make)


@router.get("/accuracy/{ticker:path}", response_model=schemas.AccuracyList, responses=READING_ONE)
async def accuracy(request: Request, ticker: TickerPath, window: Window = 250) -> Response:
    """Return how good the forecasts of one ticker were, by every method and metric."""

    def make(db: Session) -> BaseModel:
        bi.instruments.require(db, ticker)
        rows = bi.accuracy.of_ticker(db, ticker, window).rows()
        return schemas.AccuracyList(items=[schemas.Accuracy.model_validate(row) for row in rows])

    return await _answer(request, ("accuracy", ticker, window), make)


@router.get("/models", response_model=schemas.ModelPage, responses=READING)
async def models(request: Request, after: After = "", limit: Limit = 100) -> Response:
    """Return what is known of the models in use, in the order of tickers."""

    def make(db: Session) -> BaseModel:
        network = surroundings(request).settings.model.network
        rows = serving.models(db, network, after, limit + 1)
        items, following = _page(schemas.Model, rows, limit)
        return schemas.ModelPage(items=items, next=following and following.ticker)

    return await _answer(request, ("models", after, limit), make)


@router.get("/models/{ticker:path}", response_model=schemas.Model, responses=READING_ONE)
async def model(request: Request, ticker: TickerPath) -> Response:
    """Return what is known of the model in use of one ticker."""

    def make(db: Session) -> BaseModel:
        network = surroundings(request).settings.model.network
        return schemas.Model.model_validate(serving.model(db, ticker, network))

    return await _answer(request, ("model", ticker), make)


def _page(
    kind: type[Entry], rows: Sequence[dict[str, Any]], limit: int
) -> tuple[list[Entry], Entry | None]:
    """Return the entries of a page, and the last of them where more follow."""
    # One row more was asked for than a page has: it only tells that there is another page.
    items = [kind.model_validate(row) for row in rows[:limit]]
    return items, items[-1] if len(rows) > limit else None


async def _answer(
    request: Request, key: Hashable, make: Callable[[Session], BaseModel]
) -> Response:
    """Answer from the cache, or that nothing has changed since the client asked last."""
    cache = surroundings(request).cache
    body = await cache.get(key, lambda db: Body(make(db).model_dump_json().encode()))
    headers = {"ETag": body.etag, "Cache-Control": "private, no-cache", "Vary": "Authorization"}
    known = request.headers.get("If-None-Match", "")
    if known == "*" or body.etag in (tag.strip().removeprefix("W/") for tag in known.split(",")):
        return Response(status_code=304, headers=headers)
    return Response(body.content, headers=headers, media_type="application/json")
