"""Bars from CSV files."""

from stockbatch.providers.base import BarProvider, ProviderKind, Setup


def _make(setup: Setup) -> BarProvider:
    from stockbatch.providers.csv.provider import CsvFiles  # and with it pandas

    return CsvFiles(setup.argument)


KIND = ProviderKind(make=_make, argument="PATH")
