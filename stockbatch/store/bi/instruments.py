"""Which tickers there are."""

from sqlalchemy.orm import Session

from stockbatch.exceptions import UnknownInstrument
from stockbatch.store.bi.query import ask


def require(db: Session, ticker: str, *, active: bool = False) -> None:
    """Raise UnknownInstrument unless a ticker ever was on the watchlist, or `active` still is."""
    query = "SELECT is_active FROM bi.instruments WHERE ticker = :ticker"
    found = ask(db, query, ticker=ticker).rows()
    if not found or (active and not found[0]["is_active"]):
        raise UnknownInstrument(ticker=ticker)
