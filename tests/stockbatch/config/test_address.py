"""HOST:PORT as it is written, and as a socket takes it."""

import socket

import pytest

from stockbatch.config import Address


@pytest.mark.parametrize(
    ("written", "host", "port", "family"),
    [
        ("127.0.0.1:9464", "127.0.0.1", 9464, socket.AF_INET),
        ("db-1.example:0", "db-1.example", 0, socket.AF_INET),
        ("[::1]:8765", "::1", 8765, socket.AF_INET6),
        ("[fe80::1%eth0]:65535", "fe80::1%eth0", 65535, socket.AF_INET6),
    ],
)
def test_an_address_is_read_and_written(written, host, port, family):
    address = Address.parse(written)
    assert address == (host, port)
    assert address.family is family
    assert str(address) == written


@pytest.mark.parametrize(
    "text",
    [
        *("", "9464", ":9464", "localhost", "localhost:", "host:port", "host:99999", "host:-1"),
        *("::1:9464", "[::1]", "[::1:9464", "[host]:1", "http://host:1", "a b:1", "host:1 "),
    ],
)
def test_what_is_no_address_is_refused(text):
    with pytest.raises(ValueError, match="write it as HOST:PORT"):
        Address.parse(text)
