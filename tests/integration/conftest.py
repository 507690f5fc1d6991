from collections.abc import Iterator

import pytest
from ledger import listed
from loopback import YahooServer, serving
from market import calendar, session
from sqlalchemy.orm import Session

from stockbatch.records import Instrument
from stockbatch.store.calendar import extend


@pytest.fixture
def yahoo_server() -> Iterator[YahooServer]:
    server = YahooServer()
    with serving(server.answer) as port:
        server.port = port
        yield server


@pytest.fixture
def one(db: Session) -> Instrument:
    """The only ticker of a watchlist, on a calendar whose sessions are stored."""
    extend(db, calendar(), session(-300), session(30))
    (instrument,) = listed(db, "AAA")
    return instrument
