"""Connections of clients: how long they may take over what, and how many there may be.

Uvicorn has no time-out for a request on its way (its issue 157), none for an answer that nobody
takes, and no limit to a head; Hypercorn's begin anew with every byte, Granian's cover heads alone.
"""

import asyncio
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from jobs.api import problems

MOST = 500
"""Connections open at once."""
HEAD_SECONDS, BODY_SECONDS, ANSWER_SECONDS = 10.0, 30.0, 60.0
"""For the head of a request, for its body, and for taking a part of the answer."""
LARGEST_HEAD = 64 * 2**10
"""Bytes."""


class Connection(HttpToolsProtocol):
    """A connection that ends where its client takes too long.

    Where there are too many, the one goes that has been without a complete request for longest; if
    all have one, the new one is told to come again.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, and make room for it."""
        super().connection_made(transport)
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._in_head = self._in_body = False
        self._received = 0
        self._expect_head()
        if len(self.connections) > MOST:
            others = [one for one in self.connections if isinstance(one, Connection)]
            waiting = [one for one in others if one is not self and one.is_waiting]
            if waiting:
                min(waiting, key=lambda one: one.since)._turn_away(503, problems.BUSY)
            else:
                self.app = problems.busy()

    @property
    def is_waiting(self) -> bool:
        """Whether it has no request to answer: none, or not all of one."""
        on_its_way = self._in_head or self._in_body
        return on_its_way or self.cycle is None or self.cycle.response_complete

    def data_received(self, data: bytes) -> None:
        """Take a part of a request."""
        if not (self._in_head or self._in_body):
            self._expect_head()
        super().data_received(data)
        if self._in_head:
            self._received += len(data)
            if self._received > LARGEST_HEAD:
                self._turn_away(431, f"a head has at most {LARGEST_HEAD} bytes")

    def on_message_begin(self) -> None:
        """Expect a head: also that of a request which came in one piece with another."""
        super().on_message_begin()
        if not self._in_head:
            self._expect_head()

    def on_headers_complete(self) -> None:
        """Expect the body."""
        self._in_head, self._in_body = False, True
        self._after(BODY_SECONDS, self._late, "request")
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect nothing: it is our turn."""
        self._in_body = False
        self._cancel("request")
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the client to take the last of the answer."""
        super().on_response_complete()
        self.since = self.loop.time()
        if self.transport.is_closing():
            self._after(ANSWER_SECONDS, self.transport.abort, "end")

    def timeout_keep_alive_handler(self) -> None:
        """Close, once the client has taken what it was sent."""
        super().timeout_keep_alive_handler()
        self._after(ANSWER_SECONDS, self.transport.abort, "end")

    def pause_writing(self) -> None:
        """Wait for the client to take a part of the answer."""
        super().pause_writing()
        self._after(ANSWER_SECONDS, self.transport.abort, "answer")

    def resume_writing(self) -> None:
        """Go on with the answer."""
        super().resume_writing()
        self._cancel("answer")

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP, in the form of all other errors."""
        self._turn_away(400, msg.rstrip("."))

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        for name in list(self._timers):
            self._cancel(name)
        super().connection_lost(exc)

    def _expect_head(self) -> None:
        self._in_head, self._received, self.since = True, 0, self.loop.time()
        self._after(HEAD_SECONDS, self._late, "request")

    def _late(self) -> None:
        if self._in_head and not self._received:
            self.transport.abort()  # it has asked nothing
        else:
            self._turn_away(408, "the request took too long to come")

    def _turn_away(self, status: int, detail: str) -> None:
        """Answer with a problem, if no answer has begun, and close."""
        if self.transport.is_closing():
            return
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started:
                self.transport.abort()
                return
            self.cycle.disconnected = True  # what waits for the body, waits no more
            self.cycle.message_event.set()
        body = problems.body(status, detail)
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            f"content-type: {problems.MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + body)
        self.transport.close()
        self._after(ANSWER_SECONDS, self.transport.abort, "end")

    def _after(self, seconds: float, act: Callable[[], Any], name: str) -> None:
        self._cancel(name)
        self._timers[name] = self.loop.call_later(seconds, act)

    def _cancel(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()
