"""Bars from Parquet files, of a folder or an object store."""

from importlib.util import find_spec

from stockbatch.exceptions import MissingExtra, UnreadableFile
from stockbatch.providers.base import BarProvider, ProviderKind, Setup
from stockbatch.providers.csv import OPTIONS


def _make(setup: Setup) -> BarProvider:
    if find_spec("pyarrow") is None:
        lacking = MissingExtra(what="reading Parquet", extra="files")
        raise UnreadableFile(path=setup.argument, reason=lacking)
    from stockbatch.providers.parquet.provider import ParquetFiles  # and with it pandas

    return ParquetFiles(setup.argument)


KIND = ProviderKind(
    make=_make,
    argument="PATH",
    about="your lake: a file, a folder with its key=value folders, a pattern, or s3://BUCKET/PATH",
    options=OPTIONS,
)
