"""Who may ask, and how often."""

import math
from collections.abc import Callable
from datetime import datetime

from jobs.api.cache import Cache
from jobs.api.problems import Refused
from stockbatch.records import Token
from stockbatch.store import tokens
from stockbatch.text import counted


class Gate:
    """Lets requests with a valid bearer token through, each token at its own pace.

    A token saves up the requests it does not use, a minute's worth at most. Every process counts
    for itself.
    """

    def __init__(
        self, cache: Cache, clock: Callable[[], datetime], timer: Callable[[], float]
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._timer = timer
        self._saved: dict[str, tuple[float, float]] = {}

    async def enter(self, bearer: str | None) -> Token:
        """Return the token sent. Raises Refused without a valid one, or where it asks too often."""
        if bearer is None:
            raise Refused(401, "a bearer token is needed: 'stockbatch tokens add NAME' makes one")
        sha256 = tokens.sha256(bearer)
        token = (await self._cache.get("tokens", tokens.valid)).get(sha256)
        if token is None or (token.expires_at is not None and token.expires_at <= self._clock()):
            raise Refused(401, "this token is unknown, revoked or expired")
        wait = self._spend(sha256, token.requests_per_minute)
        if wait > 0:
            reason = f"more than {counted(token.requests_per_minute, 'request')} a minute"
            raise Refused(429, reason, retry_after=math.ceil(wait))
        return token

    def _spend(self, sha256: str, per_minute: int) -> float:
        """Take one of a token's saved requests; return 0, or the seconds until there is one."""
        now = self._timer()
        saved, at = self._saved.get(sha256, (per_minute, now))
        # Requests come back with time, and no more than a minute's worth of them.
        saved = min(saved + (now - at) * per_minute / 60, per_minute)
        spent = saved >= 1
        self._saved[sha256] = (saved - spent, now)
        return 0.0 if spent else (1 - saved) * 60 / per_minute
