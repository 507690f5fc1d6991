"""Bars from Yahoo Finance."""

from stockbatch.providers.base import BarProvider, ProviderKind, Setup
from stockbatch.providers.yahoo.settings import YahooSettings


def _make(setup: Setup) -> BarProvider:
    # Here, because yfinance takes a second to import.
    from stockbatch.providers.pacing import TokenBucket
    from stockbatch.providers.yahoo.asking import PacedSession
    from stockbatch.providers.yahoo.provider import Yahoo

    settings: YahooSettings = setup.settings
    session = PacedSession(TokenBucket(settings.requests_per_second, waiting=setup.waiting))
    patience = 60 * settings.patience_minutes
    return Yahoo(setup.folder, session, patience=patience, waiting=setup.waiting)


KIND = ProviderKind(make=_make, settings=YahooSettings, about="Yahoo's bars, by yfinance")
