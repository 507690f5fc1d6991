from collections.abc import Iterator

import pytest
from loopback import YahooServer, serving


@pytest.fixture
def yahoo_server() -> Iterator[YahooServer]:
    server = YahooServer()
    with serving(server.answer) as port:
        server.port = port
        yield server
