"""Errors as `application/problem+json` (RFC 9457)."""

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stockbatch.exceptions import (
    BarsRefused,
    DatabaseError,
    NoForecast,
    NoModel,
    SessionError,
    StockbatchError,
    UnknownGroup,
    UnknownInstrument,
    UnknownPortfolio,
)
from stockbatch.text import counted

log = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
STATUS: dict[type[StockbatchError], int] = {
    UnknownInstrument: 404,
    UnknownGroup: 404,
    UnknownPortfolio: 404,
    NoModel: 404,
    SessionError: 422,
    BarsRefused: 422,
    NoForecast: 422,
}
MOST_ERRORS = 100
BUSY = "too many connections"


class Fault(BaseModel):
    """One thing that is wrong with what was sent."""

    where: str = Field(description="parameter, path in the body, or session")
    what: str


class Problem(BaseModel):
    """Why there is no answer."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[Fault] = Field(default=[], description=f"at most {MOST_ERRORS}")


class Refused(Exception):  # noqa: N818 (says what happened)
    """A request that was turned away."""

    def __init__(self, status: int, detail: str, *, retry_after: int | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.retry_after = status, detail, retry_after


class BodyLimit:
    """Middleware that reads no body beyond `most` bytes, declared or not: the answer is 413.

    FastAPI's own limit answers in plain text.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app, self._most = app, most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand a request on."""
        headers = Headers(scope=scope) if scope["type"] == "http" else {}
        declared = headers.get("Content-Length", "")
        # Told by its length already, not a byte of it is read; a body may also lie, or not say.
        is_longer = declared.isdecimal() and int(declared) > self._most
        left = -1 if is_longer else self._most

        async def limited() -> Message:
            nonlocal left
            message: Message = await receive() if left >= 0 else {}
            left -= len(message.get("body", b""))
            if left < 0:
                raise HTTPException(413, f"a body has at most {self._most} bytes")
            return message

        await self._app(scope, limited, send)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what OpenAPI says of these statuses."""
    content = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": content}
        for status in statuses
    }


def handle(app: FastAPI) -> None:
    """Let every error of `app` be answered by a Problem."""
    handlers: dict[Any, Any] = {
        Refused: _refused,
        RequestValidationError: _invalid,
        HTTPException: _http,
        StockbatchError: _known,
        OperationalError: _database,
        NoConnection: _database,
        Exception: _unexpected,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)


def body(status: int, detail: str, errors: Sequence[Fault] = ()) -> bytes:
    """Return a Problem as it is sent."""
    title = HTTPStatus(status).phrase
    problem = Problem(title=title, status=status, detail=detail, errors=list(errors[:MOST_ERRORS]))
    return problem.model_dump_json().encode()


def busy() -> Response:
    """Return the application that answers every request with 503, and closes the connection."""
    return _answer(503, BUSY, headers={"Retry-After": "5", "Connection": "close"})


def _answer(
    status: int,
    detail: str,
    errors: Sequence[Fault] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    return Response(body(status, detail, errors), status, headers, MEDIA_TYPE)


def _refused(_request: Request, error: Refused) -> Response:
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return _answer(error.status, error.detail, headers=headers)


def _invalid(_request: Request, error: RequestValidationError) -> Response:
    """Name what is wrong, never repeat it: what was sent may be anything."""
    faults = [
        Fault(where=".".join(str(part) for part in fault["loc"]), what=fault["msg"])
        for fault in error.errors()
    ]
    return _answer(422, f"{counted(len(faults), 'fault')} in the request", faults)


def _http(_request: Request, error: HTTPException) -> Response:
    return _answer(error.status_code, error.detail, headers=error.headers)


def _known(request: Request, error: StockbatchError) -> Response:
    if isinstance(error, DatabaseError):
        return _database(request, error)
    for kind, status in STATUS.items():
        if isinstance(error, kind):
            findings = error.values.get("findings", ())
            faults = [Fault(where=f"{f.session}", what=f"{f.check}: {f.message}") for f in findings]
            return _answer(status, str(error), faults)
    return _unexpected(request, error)


def _database(request: Request, error: Exception) -> Response:
    log.error("%s %s: %s", request.method, request.url.path, error)
    return _answer(503, "the database cannot answer now", headers={"Retry-After": "5"})


def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _answer(500, "this should not happen: the service's log says more")
