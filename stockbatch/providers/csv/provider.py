"""Bars from CSV files: long ones with a ticker column, a folder or an archive of one per ticker."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from stockbatch.exceptions import (
    BadFile,
    ProviderError,
    UnknownTicker,
    UnreadableFile,
)
from stockbatch.providers.base import answers, no_data, unknown_ticker
from stockbatch.providers.csv import OPTIONS, containers
from stockbatch.providers.csv.containers import Stamp
from stockbatch.providers.csv.folder import files_of, order, tables_in
from stockbatch.providers.csv.header import Reading, read_header, ticker_of
from stockbatch.providers.csv.joining import united
from stockbatch.providers.csv.parser import read
from stockbatch.providers.csv.table import Table
from stockbatch.providers.options import joined, split
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis
from stockbatch.text import counted, wrong_symbol

log = logging.getLogger(__name__)
NAMED = 10
"""So many bad files are named in the log, the others counted."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A file, in an archive or not, that has bars."""

    path: Path
    tickers: tuple[str, ...]
    understood: tuple[PriceBasis, str] | None
    """None where the file's name is the ticker, and nothing but its headings was looked at."""


@dataclass(frozen=True, slots=True)
class _Known:
    """What is remembered of a file while its stamp stays the same."""

    stamp: Stamp
    parts: tuple[_Part, ...]


@dataclass(slots=True)
class _Contents:
    """Which files hold which ticker, in their order; by their names, what is wrong with others."""

    files: dict[str, tuple[Path, ...]]
    parts: dict[Path, _Part]
    errors: dict[str, ProviderError]

    def of(self, ticker: str) -> tuple[Path, ...]:
        """Return the files of a ticker; raises UnknownTicker, or what is wrong with its file."""
        if ticker in self.errors:
            raise self.errors[ticker]
        if ticker not in self.files:
            # Whoever cannot read a file does not know which tickers are in it.
            for error in self.errors.values():
                raise error
            raise self._unknown(ticker)
        return self.files[ticker]

    def _unknown(self, ticker: str) -> UnknownTicker:
        """Return the error; of a single file named after something else, with how to name it."""
        if len(self.files) == 1:
            ((only, (*_, path)),) = self.files.items()
            if self.parts[path].understood is None:
                hint = f": by its name {path.name} has the bars of {only}; if they are of "
                hint += f"{ticker}, name it {ticker}.csv"
                return UnknownTicker(provider=CsvFiles.name, ticker=ticker, hint=hint)
        return unknown_ticker(CsvFiles.name, ticker, self.files)


class CsvFiles:
    """The bars of a file, of the files of a folder or archive, or of those a pattern with * names.

    Of a ticker in several files with a column of tickers, the later file's bar of a session counts.
    Each file has prices on a basis of its own. The file read last stays in memory.
    """

    name = "csv"
    corrects_overnight = False

    def __init__(self, argument: str) -> None:
        path, chosen = split(self.name, argument, OPTIONS)
        self._path = Path(os.path.normpath(os.path.abspath(os.path.expanduser(path))))  # noqa: PTH100, PTH111
        if not _is_text(str(self._path)):
            raise UnreadableFile(path=self._path, reason="its name is not UTF-8: rename it")
        self._reading = Reading.of(chosen)
        self.specification = f"csv:{joined(str(self._path), chosen, OPTIONS)}"
        self._known: dict[Path, _Known] = {}
        self._last: tuple[Path, Stamp, Table] | None = None
        self._seen: tuple[Stamp | None, _Contents] | None = None
        self._basis: PriceBasis | None = self._reading.basis
        self._told: set[str] = set()

    @property
    def price_basis(self) -> PriceBasis:
        """Tell by the first good file; raises BadFile or UnreadableFile where there is none.

        Each answer says its own.
        """
        if self._basis is None:
            self._basis = next(t.basis for _, t in self.tables() if isinstance(t, Table))
        return self._basis

    def state(self) -> str:
        """Say how many tickers there are; raises what is wrong with a file."""
        contents = self._contents()
        for error in contents.errors.values():
            raise error
        return f"lists {counted(len(contents.files), 'ticker')}"

    def listings(self) -> list[Listing | ProviderError]:
        """Return every ticker, and what is wrong with bad files; raises that if all are bad."""
        contents = self._contents()
        found: dict[str, Listing | ProviderError] = {**contents.errors}
        for path, tickers in _by_file(contents.files).items():
            last = [ticker for ticker in tickers if contents.files[ticker][-1] == path]
            last = [ticker for ticker in last if ticker not in contents.errors]
            if not last:
                continue
            try:
                basis, words = contents.parts[path].understood or self._understood(path)
            except ProviderError as error:
                found[last[0]] = error
                continue
            for one in last:
                found[one] = Listing(ticker=one, symbol=one, price_basis=basis, understood=words)
        if not any(isinstance(one, Listing) for one in found.values()):
            raise next(error for error in found.values() if isinstance(error, ProviderError))
        return [one for _, one in sorted(found.items())]

    def listing(self, ticker: str) -> Listing:
        """Return one ticker; raises UnknownTicker, or what is wrong with the file it may be in."""
        # Asked for many tickers, one by one: the folder is not looked through for each.
        now = _stamp_of_folder(self._path)
        if self._seen is None or self._seen[0] != now:
            self._contents()
        assert self._seen is not None
        basis, words = self._understood(self._seen[1].of(ticker)[-1])
        return Listing(ticker=ticker, symbol=ticker, price_basis=basis, understood=words)

    def tables(self) -> Iterator[tuple[Path, Table | ProviderError]]:
        """Yield each file with its bars or what is wrong with it; raises that if all are bad."""
        contents = self._contents()
        found = False
        for path in _by_file(contents.files):
            try:
                table = self._table(path)
            except ProviderError as error:
                contents.errors.setdefault(str(path), error)
                continue
            found = True
            yield path, table
        for bad in contents.errors.values():
            if not found:
                raise bad
            yield Path(bad.values["path"]), bad

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, file by file."""
        try:
            contents = self._contents()
        except ProviderError as error:
            contents = _Contents({}, {}, {request.symbol: error for request in requests})
        self._tell(contents, requests)
        # File by file, so that each is read once although only one is in memory.
        by_file: dict[Path | None, list[BarRequest]] = {}
        several: list[BarRequest] = []
        for request in requests:
            files = contents.files.get(request.symbol, ())
            if len(files) > 1 and request.symbol not in contents.errors:
                several.append(request)
            else:
                by_file.setdefault(files[0] if files else None, []).append(request)
        for of_one in by_file.values():
            yield from answers(of_one, partial(self._bars, contents))
        yield from self._joined(contents, several)

    def _tell(self, contents: _Contents, requests: Sequence[BarRequest]) -> None:
        """Log once what is wrong with files in which no ticker asked for is known to be."""
        asked = {request.symbol for request in requests}
        others = {str(error) for name, error in contents.errors.items() if name not in asked}
        new = sorted(others - self._told)
        for error in new[:NAMED]:
            log.warning("%s", error)
        if len(new) > NAMED:
            log.warning("%s: files not read beside these: %d", self._path, len(new) - NAMED)
        self._told |= others

    def close(self) -> None:
        """Forget the file read last."""
        self._last = None
        containers.forget()

    def _bars(self, contents: _Contents, request: BarRequest) -> FetchedBars:
        file = contents.of(request.symbol)[-1]
        found = self._table(file).answer(request)
        if not len(found.bars):
            raise no_data(self.name, request)
        return found

    def _joined(
        self, contents: _Contents, requests: Sequence[BarRequest]
    ) -> Iterator[FetchedBars | ProviderError]:
        """Yield the answers of tickers that are in several files, of which each is read once."""
        asked = {request.symbol: request for request in requests}
        parts: dict[str, dict[Path, FetchedBars]] = {symbol: {} for symbol in asked}
        errors: dict[str, ProviderError] = {}
        for file, symbols in _by_file({s: contents.files[s] for s in asked}).items():
            try:
                table = self._table(file)
            except ProviderError as error:
                errors |= dict.fromkeys(symbols, error)
                continue
            # A file of two sessions without a split does not tell what others do.
            stated = self._reading.basis or table.basis_stated
            for symbol in symbols:
                try:
                    part = table.answer(asked[symbol])
                except ProviderError as error:
                    errors[symbol] = error
                    continue
                if len(part.bars):
                    # Copied: a view would keep the whole file in memory.
                    bars = part.bars.where(np.ones(len(part.bars), bool))
                    basis = part.price_basis if stated else None
                    parts[symbol][file] = replace(part, bars=bars, price_basis=basis)

        def answer(request: BarRequest) -> FetchedBars:
            found = parts.pop(request.symbol)
            if request.symbol in errors:
                raise errors[request.symbol]
            if not found:
                raise no_data(self.name, request)
            return united(found)

        yield from answers(requests, answer)

    def _contents(self) -> _Contents:
        """Look which files hold which ticker, reading no more than that takes."""
        now = _stamp_of_folder(self._path)
        files: dict[str, tuple[Path, ...]] = {}
        errors: dict[str, ProviderError] = {}
        named: set[str] = set()
        parts: dict[Path, _Part] = {}
        for part in self._parts(errors):
            parts[part.path] = part
            for ticker in part.tickers:
                others = files.get(ticker, ())
                if others and (part.understood is None or ticker in named):
                    reason = f"{ticker} is in {others[-1]} already"
                    errors[ticker] = BadFile(path=part.path, line=1, column=1, reason=reason)
                files[ticker] = (*others, part.path)
                if part.understood is None:
                    named.add(ticker)
        if not files:
            raise next(iter(errors.values()))
        contents = _Contents(files, parts, errors)
        self._seen = now, contents
        return contents

    def _parts(self, errors: dict[str, ProviderError]) -> Iterator[_Part]:
        """Yield the good files, in the order of their names; put what others lack in `errors`."""
        for file in files_of(self._path):
            try:
                stamp = containers.stamp(file)
                known = self._known.get(file)
                if known is None or known.stamp != stamp:
                    self._known.pop(file, None)
                    bad = len(errors)
                    parts = []
                    for path in tables_in(file):
                        try:
                            parts.append(self._look(path))
                        except ProviderError as error:
                            errors[ticker_of(path)] = error
                    known = _Known(stamp, tuple(parts))
                    if len(errors) == bad:  # rights may be given without a trace on the file
                        self._known[file] = known
                yield from known.parts
            except ProviderError as error:
                errors[ticker_of(file)] = error

    def _look(self, path: Path) -> _Part:
        """Look into a file as far as it takes to tell its tickers."""
        header = read_header(path, self._reading)
        if header.names_tickers:
            return _Part(path, self._table(path).tickers, self._understood(path))
        ticker = ticker_of(path)
        if wrong := wrong_symbol(ticker):
            reason = f"its name is to be its ticker, and that cannot be: {wrong}: rename it"
            raise UnreadableFile(path=path, reason=reason)
        return _Part(path, (ticker,), None)

    def _understood(self, file: Path) -> tuple[PriceBasis, str]:
        table = self._table(file)
        return table.basis, table.understood

    def _table(self, file: Path) -> Table:
        stamp = containers.stamp(file)
        if self._last is None or self._last[:2] != (file, stamp):
            self._last = None  # two are never in memory
            self._last = file, stamp, read(file, self._reading)
        return self._last[2]


def _by_file(files: Mapping[str, Sequence[Path]]) -> dict[Path, list[str]]:
    """Return the tickers of every file, the files in their order."""
    by_file: dict[Path, list[str]] = {}
    for ticker, paths in files.items():
        for path in paths:
            by_file.setdefault(path, []).append(ticker)
    return dict(sorted(by_file.items(), key=lambda pair: order(pair[0])))


def _is_text(name: str) -> bool:
    """Tell whether a name is UTF-8: else nothing can print or store it."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _stamp_of_folder(path: Path) -> Stamp | None:
    try:
        return containers.stamp(path)
    except UnreadableFile:  # a pattern
        return None
