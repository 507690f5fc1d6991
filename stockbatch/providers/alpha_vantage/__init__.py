"""Bars from Alpha Vantage."""

from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.providers.base import BarProvider, ProviderKind, Setup


def _make(setup: Setup) -> BarProvider:
    from stockbatch.providers.alpha_vantage.provider import AlphaVantage

    return AlphaVantage(setup.settings, setup.quota, waiting=setup.waiting)


KIND = ProviderKind(
    make=_make,
    settings=AlphaVantageSettings,
    about="as traded, with a key; a free one asks 25 times a day",
)
