"""Bars from CSV files."""

from stockbatch.providers.base import BarProvider, ProviderKind, Setup
from stockbatch.records import PriceBasis

OPTIONS: dict[str, tuple[str, ...]] = {
    "ticker": (),
    "decimal": ("point", "comma"),
    "dates": ("exchange", "written"),
    "basis": tuple(PriceBasis),
}
"""What a specification may say about how files are read, and the values that can have."""


def _make(setup: Setup) -> BarProvider:
    from stockbatch.providers.csv.provider import CsvFiles  # and with it pandas

    return CsvFiles(setup.argument)


KIND = ProviderKind(
    make=_make,
    argument="PATH",
    about="your files: 'stockbatch providers csv FILE' shows how one is understood",
    options=OPTIONS,
)
