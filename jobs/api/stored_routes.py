"""Questions about what is stored: forecasts, how good they were, models.

Pages are cut by key, so that rows added meanwhile neither repeat nor hide others.
"""

from collections.abc import Callable, Hashable, Sequence
from datetime import date
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel
from sqlalchemy.orm import Session

from jobs.api import risk_schemas, schemas
from jobs.api.cache import Body
from jobs.api.problems import documented
from jobs.api.surroundings import entered, surroundings
from stockbatch import database
from stockbatch.records import ForecastOrder, GroupKind, Kind, SubjectKind
from stockbatch.store import bi, serving
from stockbatch.text import LONGEST_NAME, LONGEST_SYMBOL

Entry = TypeVar("Entry", bound=BaseModel)

open_router = APIRouter(tags=["health"])
router = APIRouter(prefix="/v1", dependencies=[Depends(entered)], tags=["stored"])

LONGEST_GROUP = LONGEST_NAME + 1 + max(map(len, GroupKind))

LONGEST_PLACE = 4 * LONGEST_NAME
"""Of a row among those of its session: see `bi.risk.place`."""
PRINTABLE = r"^[^\x00-\x1f\x7f]*$"

UNCHANGED: dict[int | str, dict[str, Any]] = {
    304: {"description": "The answer has the ETag named in If-None-Match."}
}
READING = UNCHANGED | documented(401, 422, 429, 503)
READING_ONE = READING | documented(404)

TickerPath = Annotated[schemas.Ticker, Path(description="ticker of the watchlist")]
After = Annotated[
    str, Query(max_length=64, pattern=PRINTABLE, description="tickers after this one")
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
        pattern=PRINTABLE,
        description="only of the tickers of a sector, industry, tag, named watchlist or exchange: "
        "its name, or kind:name",
    ),
]
Order = Annotated[ForecastOrder, Query(description="what comes first")]
Limit = Annotated[int, Query(ge=1, le=500, description="entries of a page")]
First = Annotated[schemas.Day, Query(alias="from", description="first session")]
Before = Annotated[schemas.Day, Query(description="sessions before this one")]
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
    first: First = date.min,
    before: Before = date.max,
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
    first: First = date.min,
    before: Before = date.max,
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


@router.get("/risk", response_model=risk_schemas.RiskPage, responses=READING_ONE)
async def risk(
    request: Request,
    subject_kind: SubjectKind | GroupKind | None = None,
    subject: Annotated[
        risk_schemas.Portfolio | None, Query(description="ticker, or name of a group or portfolio")
    ] = None,
    ticker: schemas.Ticker | None = None,
    kind: Kind | None = None,
    level: Annotated[
        risk_schemas.Level | None, Query(description="percent of sessions that should lose more")
    ] = None,
    first: First = date.min,
    before: Before = date.max,
    after: Annotated[
        str,
        Query(
            max_length=LONGEST_PLACE,
            pattern=PRINTABLE,
            description="and, of that one, what comes after this: `next_after` of a page",
        ),
    ] = "",
    limit: Limit = 100,
) -> Response:
    """Return how much tickers, groups and portfolios may lose, and what came, newest first."""
    given = {
        "subject_kind": subject_kind,
        "subject": subject,
        "ticker": ticker,
        "kind": kind,
        "level_pct": level,
    }
    only = {column: value for column, value in given.items() if value is not None}

    def make(db: Session) -> BaseModel:
        if ticker is not None:
            bi.instruments.require(db, ticker)
        rows = bi.risk.page(db, only, first, before, after, limit + 1).rows()
        items, last = _page(risk_schemas.Risk, rows, limit)
        following = (last.session, bi.risk.place(last.model_dump())) if last else (None, None)
        return risk_schemas.RiskPage(items=items, next=following[0], next_after=following[1])

    key = "risk", *given.values(), first, before, after, limit
    return await _answer(request, key, make)


@router.get("/portfolios", response_model=risk_schemas.HoldingPage, responses=READING)
async def portfolios(
    request: Request,
    after: Annotated[
        str,
        Query(
            max_length=LONGEST_NAME,
            pattern=PRINTABLE,
            description="this portfolio and those after it",
        ),
    ] = "",
    after_ticker: Annotated[
        str,
        Query(
            max_length=LONGEST_SYMBOL,
            pattern=PRINTABLE,
            description="but, of that one, tickers after this",
        ),
    ] = "",
    limit: Limit = 100,
) -> Response:
    """Return what all portfolios hold, in the order of portfolios and tickers."""

    def make(db: Session) -> BaseModel:
        rows = bi.portfolios.page(db, after, after_ticker, limit + 1).rows()
        items, last = _page(risk_schemas.Holding, rows, limit)
        following = (last.portfolio, last.ticker) if last else (None, None)
        return risk_schemas.HoldingPage(items=items, next=following[0], next_ticker=following[1])

    return await _answer(request, ("portfolios", after, after_ticker, limit), make)


@router.get(
    "/portfolios/{portfolio:path}/forecasts",
    response_model=risk_schemas.PortfolioForecastPage,
    responses=READING_ONE,
)
async def portfolio_forecasts(
    request: Request,
    portfolio: Annotated[risk_schemas.Portfolio, Path(description="name of a portfolio")],
    first: First = date.min,
    before: Before = date.max,
    before_kind: Annotated[
        Kind | None, Query(description="and, of that one, kinds after this: live, late, backtest")
    ] = None,
    limit: Limit = 100,
) -> Response:
    """Return what was forecast of one portfolio, or why nothing was, and what came."""

    def make(db: Session) -> BaseModel:
        rows = bi.portfolios.forecasts(
            db, portfolio, first, before, before_kind or "", limit + 1
        ).rows()
        items, last = _page(risk_schemas.PortfolioForecast, rows, limit)
        following = (last.session, last.kind) if last else (None, None)
        return risk_schemas.PortfolioForecastPage(
            items=items, next=following[0], next_kind=following[1]
        )

    key = "portfolio", portfolio, first, before, before_kind, limit
    return await _answer(request, key, make)


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
