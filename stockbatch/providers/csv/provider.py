"""Bars from CSV files: one long file with a ticker column, or a folder with a file per ticker."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stockbatch.exceptions import BadFile, ProviderError, UnreadableFile
from stockbatch.providers.base import answers, no_data, unknown_ticker
from stockbatch.providers.csv.header import ticker_of
from stockbatch.providers.csv.parser import read
from stockbatch.providers.csv.table import Table
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

SUFFIXES = (".csv", ".csv.gz")
"""Of the files of a folder; a pattern may name any."""

Stamp = tuple[int, int]
"""When a file was last changed, and its size."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a file while its stamp stays the same."""

    stamp: Stamp
    as_traded: bool
    tickers: tuple[str, ...]


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
    """The bars of a file, of the CSV files of a folder, or of the files a pattern with * names.

    A file that states its splits holds prices as traded; the prices of any other are taken to be
    adjusted for splits. All files are of one kind. The one read last stays in memory.
    """

    name = "csv"
    corrects_overnight = False

    def __init__(self, path: str) -> None:
        self._path = Path(os.path.normpath(Path(path).expanduser().absolute()))
        self.specification = f"csv:{self._path}"
        self._known: dict[Path, _Known] = {}
        self._last: tuple[Path, Stamp, Table] | None = None

    @property
    def price_basis(self) -> PriceBasis:
        """Tell by the first good file; raises BadFile or UnreadableFile where there is none."""
        as_traded = self._contents().as_traded
        return PriceBasis.AS_TRADED if as_traded else PriceBasis.SPLIT_ADJUSTED

    def state(self) -> str:
        """Say how many tickers there are; raises what is wrong with a file."""
        listed = self.listings()
        for one in listed:
            if isinstance(one, ProviderError):
                raise one
        return f"lists {len(listed)} tickers"

    def listings(self) -> list[Listing | ProviderError]:
        """Return every ticker, and what is wrong with bad files; raises that if all are bad."""
        return [
            file if isinstance(file, ProviderError) else Listing(ticker=ticker, symbol=ticker)
            for ticker, file in sorted(self._contents().files.items())
        ]

    def listing(self, ticker: str) -> Listing:
        """Return one ticker; raises UnknownTicker, or what is wrong with the file it may be in."""
        self._contents().file_of(ticker)
        return Listing(ticker=ticker, symbol=ticker)

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, file by file."""
        try:
            contents = self._contents()
        except ProviderError as error:
            contents = _Contents({request.symbol: error for request in requests}, as_traded=False)
        # File by file, so that each is read once although only one is in memory.
        by_file: dict[Path | ProviderError | None, list[BarRequest]] = {}
        for request in requests:
            by_file.setdefault(contents.files.get(request.symbol), []).append(request)
        for of_one in by_file.values():
            yield from answers(of_one, partial(self._bars, contents))

    def close(self) -> None:
        """Forget the file read last."""
        self._last = None

    def _bars(self, contents: _Contents, request: BarRequest) -> FetchedBars:
        file = contents.file_of(request.symbol)
        table = self._table(file).on(request.calendar)
        if table.as_traded != contents.as_traded:
            reason = "some files of the folder have a column of splits and some have none"
            raise BadFile(path=file, line=1, column=1, reason=reason)
        rows = table.rows(request.symbol, request.first, request.last)
        if rows.start == rows.stop:
            raise no_data(self.name, request)
        bars, actions = table.bars(rows), table.actions(rows)
        return FetchedBars(
            symbol=request.symbol,
            bars=bars,
            actions=actions,
            findings=table.findings.get(request.symbol, ()),
        )

    def _contents(self) -> _Contents:
        """Look which file holds which ticker, reading no more than that takes."""
        files: dict[str, Path | ProviderError] = {}
        bases = []
        for file in self._files():
            stem = ticker_of(file)
            try:
                known = self._look(file)
                bases.append(known.as_traded)
            except ProviderError as error:
                files[stem] = error
                continue
            for ticker in known.tickers:
                reason = f"{ticker} is in {files.get(ticker)} already"
                twice = BadFile(path=file, line=1, column=1, reason=reason)
                files[ticker] = twice if ticker in files else file
        if not bases:
            raise next(error for error in files.values() if isinstance(error, ProviderError))
        return _Contents(files, as_traded=bases[0])

    def _files(self) -> list[Path]:
        if self._path.is_dir():
            files = [f for f in _content(self._path) if f.name.lower().endswith(SUFFIXES)]
            lacking = "it has no CSV files"
        elif set("*?[") & set(str(self._path)) and not self._path.exists():
            pattern = str(self._path.relative_to(self._path.anchor))
            files = [file for file in Path(self._path.anchor).glob(pattern) if file.is_file()]
            lacking = "it fits no file"
        else:
            return [self._path]
        if not files:
            raise UnreadableFile(path=self._path, reason=lacking)
        return sorted(files)

    def _look(self, file: Path) -> _Known:
        """Return what is known of a file, looking into it if it has changed."""
        known = self._known.get(file)
        stamp = _stamp(file)
        if known is None or known.stamp != stamp:
            table = self._table(file)
            self._known[file] = known = _Known(stamp, table.as_traded, table.tickers)
        return known

    def _table(self, file: Path) -> Table:
        stamp = _stamp(file)
        if self._last is None or self._last[:2] != (file, stamp):
            self._last = None  # two are never in memory
            self._last = file, stamp, read(file)
        return self._last[2]


def _content(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError as error:
        raise UnreadableFile(path=folder, reason=error.strerror) from None


def _stamp(file: Path) -> Stamp:
    try:
        status = file.stat()
    except OSError as error:
        raise UnreadableFile(path=file, reason=error.strerror) from None
    return status.st_mtime_ns, status.st_size
