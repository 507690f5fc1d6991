"""What every request is answered with, and what all that need a token have in common."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated

import anyio
from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import Engine

from jobs.api.cache import Cache
from jobs.api.problems import Refused
from jobs.api.security import Gate
from stockbatch.config import Settings

PREDICTIONS = 2
"""Predictions computed at once; others wait, and hold up no other question."""


@dataclass(kw_only=True)
class Surroundings:
    """What the service works with: `engine` has role stockbatch_api, clocks are for tests."""

    settings: Settings
    engine: Engine
    clock: Callable[[], datetime]
    timer: Callable[[], float] = time.monotonic
    cache: Cache = field(init=False)
    gate: Gate = field(init=False)
    predictions: anyio.CapacityLimiter = field(init=False)

    def __post_init__(self) -> None:
        self.cache = Cache(self.engine, self.timer)
        self.gate = Gate(self.cache, self.clock, self.timer)
        self.predictions = anyio.CapacityLimiter(PREDICTIONS)


_bearer = HTTPBearer(auto_error=False, description="made by 'stockbatch tokens add NAME'")


def surroundings(request: Request) -> Surroundings:
    """Return what the application was made with."""
    made: Surroundings = request.app.state.surroundings
    return made


async def entered(
    request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> None:
    """Let nobody past without a token, and no parameter that would do nothing."""
    await surroundings(request).gate.enter(sent.credentials if sent else None)
    if request.query_params:
        known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
        if not set(known).issuperset(request.query_params):
            raise Refused(422, f"parameters that are understood here: {', '.join(known) or 'none'}")
