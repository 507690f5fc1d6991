"""Bars from CSV files: one long file with a ticker column, or a folder with a file per ticker."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from stockbatch.exceptions import BadFile, NoData, ProviderError, UnreadableFile
from stockbatch.providers import answers, unknown_ticker
from stockbatch.providers.csv_table import Header, Table, read, read_header, ticker_of
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

SUFFIXES = (".csv", ".csv.gz")

Content = TypeVar("Content")
Stamp = tuple[int, int]
"""When a file was last changed, and its size."""


@dataclass(frozen=True, slots=True)
class _Contents:
    """Which file holds which ticker, or what is wrong with the file."""

    files: Mapping[str, Path | ProviderError]
    as_traded: bool

    def file_of(self, ticker: str) -> Path:
        file = self.files.get(ticker)
        if file is None:
            bad = [error for error in self.files.values() if isinstance(error, ProviderError)]
            raise bad[0] if bad else unknown_ticker(CsvFiles.name, ticker, self.files)
        if isinstance(file, ProviderError):
            raise file
        return file


class CsvFiles:
    """The bars of a file or of the CSV files of a folder, parsed once and again when they change.

    A file that states its splits holds prices as traded; the prices of any other are taken to be
    adjusted for splits. A folder holds one kind only.
    """

    name = "csv"

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.normpath(Path(path).expanduser().absolute()))
        self.specification = f"csv:{self._path}"
        self._headers: dict[Path, tuple[Stamp, Header]] = {}
        self._tables: dict[Path, tuple[Stamp, Table]] = {}

    @property
    def price_basis(self) -> PriceBasis:
        """Tell by the first good file; raises BadFile or UnreadableFile where there is none."""
        as_traded = self._contents().as_traded
        return PriceBasis.AS_TRADED if as_traded else PriceBasis.SPLIT_ADJUSTED

    def state(self) -> str:
        """Say how many tickers there are; raises what `listings` raises."""
        return f"lists {len(self.listings())} tickers"

    def listings(self) -> list[Listing]:
        """Return every ticker; raises BadFile or UnreadableFile if one of the files is bad."""
        contents = self._contents()
        tickers = sorted(contents.files)
        for ticker in tickers:
            contents.file_of(ticker)
        return [Listing(ticker=ticker, symbol=ticker) for ticker in tickers]

    def listing(self, ticker: str) -> Listing:
        """Return one ticker; raises UnknownTicker, or what is wrong with the file it may be in."""
        self._contents().file_of(ticker)
        return Listing(ticker=ticker, symbol=ticker)

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, in their order."""
        try:
            contents = self._contents()
        except ProviderError as error:
            contents = _Contents({request.symbol: error for request in requests}, as_traded=False)
        yield from answers(requests, partial(self._bars, contents))

    def _bars(self, contents: _Contents, request: BarRequest) -> FetchedBars:
        file = contents.file_of(request.symbol)
        table = self._table(file)
        if table.as_traded != contents.as_traded:
            reason = "some files of the folder have a column of splits and some have none"
            raise BadFile(path=file, line=1, column=1, reason=reason)
        rows = table.rows(request.symbol, request.first, request.last)
        if rows.start == rows.stop:
            first = request.first or "the beginning"
            raise NoData(provider=self.name, ticker=request.symbol, first=first, last=request.last)
        bars, actions = table.bars(rows), table.actions(rows)
        return FetchedBars(symbol=request.symbol, bars=bars, actions=actions)

    def _contents(self) -> _Contents:
        """Look which file holds which ticker, reading no more than that takes."""
        files: dict[str, Path | ProviderError] = {}
        bases = []
        for file in self._files():
            stem = ticker_of(file)
            try:
                header = self._header(file)
                bases.append(header.as_traded)
                tickers = self._table(file).tickers if "ticker" in header.columns else (stem,)
            except ProviderError as error:
                files[stem] = error
                continue
            for ticker in tickers:
                reason = f"{ticker} is in {files.get(ticker)} already"
                twice = BadFile(path=file, line=1, column=1, reason=reason)
                files[ticker] = twice if ticker in files else file
        if not bases:
            raise next(error for error in files.values() if isinstance(error, ProviderError))
        return _Contents(files, as_traded=bases[0])

    def _files(self) -> list[Path]:
        if not self._path.is_dir():
            return [self._path]
        try:
            files = [f for f in self._path.iterdir() if f.name.lower().endswith(SUFFIXES)]
        except OSError as error:
            raise UnreadableFile(path=self._path, reason=error.strerror) from None
        if not files:
            raise UnreadableFile(path=self._path, reason="it has no CSV files")
        return sorted(files)

    def _header(self, file: Path) -> Header:
        return _fresh(self._headers, file, read_header)

    def _table(self, file: Path) -> Table:
        return _fresh(self._tables, file, read)


def _fresh(
    held: dict[Path, tuple[Stamp, Content]], file: Path, load: Callable[[Path], Content]
) -> Content:
    """Return what `load` made of the file, loading again if it has changed since."""
    try:
        status = file.stat()
    except OSError as error:
        raise UnreadableFile(path=file, reason=error.strerror) from None
    stamp = (status.st_mtime_ns, status.st_size)
    if file not in held or held[file][0] != stamp:
        held[file] = stamp, load(file)
    return held[file][1]
