"""Clients that take their time, or too many connections: they keep nobody else from an answer."""

import asyncio
import json
import re
import socket
import threading
import time

import pytest

from jobs.api import connections
from jobs.api.listening import server
from jobs.api.problems import MEDIA_TYPE

HELLO = b"GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"GET /hello HTTP/1.1\r\nHost: x\r\n"
POST = b"POST /hello HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"


GO = threading.Event()
"""Lets slow answers go."""


async def application(scope, receive, send):
    """Answer with the length of the body; `/slow` after a while, `/large` with a lot."""
    if scope["type"] == "lifespan":
        return
    length, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        length, more = length + len(message["body"]), message["more_body"]
    while scope["path"] == "/slow" and not GO.is_set():
        await asyncio.sleep(0.02)
    answer = b"x" * 2**25 if scope["path"] == "/large" else b"%d" % length
    headers = [(b"content-length", b"%d" % len(answer))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


@pytest.fixture
def address(monkeypatch):
    """A server of few connections."""
    monkeypatch.setattr(connections, "MOST", 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = server(application)
        thread = threading.Thread(target=made.run, args=[[listener]], daemon=True)
        thread.start()
        while not made.started:
            time.sleep(0.01)
        yield listener.getsockname()
        made.should_exit = True
        thread.join(20)


@pytest.fixture
def hasty(address, monkeypatch):
    """One that has little patience, too."""
    for name in ("HEAD", "BODY", "ANSWER"):
        monkeypatch.setattr(connections, f"{name}_SECONDS", 0.3)
    return address


def connect(address, sent=b""):
    client = socket.create_connection(address, timeout=10)
    client.sendall(sent)
    return client


def trickle(client, part):
    for _ in range(200):
        client.sendall(part)
        time.sleep(0.05)


def rest(client):
    """Return all that a server sends until it closes."""
    parts = []
    try:
        while part := client.recv(2**16):
            parts.append(part)
    except ConnectionResetError:
        parts.append(b"reset")
    client.close()
    return b"".join(parts)


def answer(client):
    """Return status, head and body of the next answer."""
    said = b""
    while b"\r\n\r\n" not in said:
        said += client.recv(2**16)
    head, _, body = said.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head.lower())[1])
    while len(body) < length:
        body += client.recv(2**16)
    return int(head.split()[1]), head.decode(), body


def problem(client, status):
    """Assert that a server closes with a problem of this status."""
    head, _, body = rest(client).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    assert f"content-type: {MEDIA_TYPE}" in head.decode().lower()
    assert json.loads(body)["status"] == status
    return json.loads(body)["detail"]


def test_a_connection_serves_one_request_after_the_other(address):
    with connect(address, HELLO) as client:
        for _ in range(3):
            assert answer(client)[0] == 200
            client.sendall(HELLO[:9])
            time.sleep(0.05)
            client.sendall(HELLO[9:])
        assert answer(client)[2] == b"0"
        client.sendall(HELLO + POST + b"x" * 100)
        said = b""
        while said.count(b"HTTP/1.1 200") < 2 or not said.endswith(b"100"):
            said += client.recv(2**16)


@pytest.mark.parametrize("half", [HALF, POST, POST + b"x", b"\r\n", b"G"])
def test_a_request_that_takes_too_long_is_given_up(hasty, half):
    assert problem(connect(hasty, half), 408) == "the request took too long to come"


@pytest.mark.parametrize("before", [b"", HELLO])
def test_to_trickle_gains_no_time(hasty, before):
    client = connect(hasty, before)
    if before:
        assert answer(client)[0] == 200
    with client, pytest.raises(OSError, match=r"Broken pipe|reset"):
        trickle(client, b"\r\n" if before else b"X")


def test_a_client_that_asks_nothing_is_left(hasty):
    assert rest(connect(hasty)) in (b"", b"reset")


def test_a_head_has_an_end(address):
    client = connect(address, HALF)
    for _ in range(3):
        client.sendall(b"X-Long: " + b"x" * 30_000 + b"\r\n")
        time.sleep(0.05)
    assert "a head has at most 65536 bytes" in problem(client, 431)


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"]
)  # fmt: skip
def test_what_is_no_http_is_answered_with_a_problem(address, garbage):
    assert problem(connect(address, garbage), 400) == "Invalid HTTP request received"


@pytest.mark.parametrize("half", [HALF, POST, b""])
def test_half_a_request_on_every_connection_locks_nobody_out(address, half):
    idle = [connect(address, half) for _ in range(60)]
    for _ in range(3):
        with connect(address, HELLO) as client:  # long before any of the others is too late
            assert answer(client)[0] == 200
    assert problem(idle[0], 503) == "too many connections"
    for client in idle:
        client.close()


def test_where_all_are_at_work_the_next_one_is_told_to_come_again(address):
    GO.clear()
    slow = [connect(address, HELLO.replace(b"hello", b"slow")) for _ in range(20)]
    time.sleep(0.5)  # until all have come
    client = connect(address, HELLO)
    status, head, body = answer(client)
    assert (status, json.loads(body)["detail"]) == (503, "too many connections")
    assert MEDIA_TYPE in head
    assert "retry-after: 5" in head.lower()
    assert rest(client) == b""
    GO.set()
    for one in slow:
        with one:
            assert answer(one)[0] == 200


def test_an_answer_that_nobody_takes_is_given_up(hasty):
    client = connect(hasty, HELLO.replace(b"hello", b"large"))
    time.sleep(1)
    assert len(rest(client)) < 2**25
