"""Bars from the Parquet files of a lake: of a column of tickers, of folders or files of each."""

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import partial
from typing import NoReturn, TypeVar

import numpy as np
import pyarrow as pa

from stockbatch.exceptions import ProviderError, UnreadableFile
from stockbatch.places import hidden, named, opened, reason
from stockbatch.providers.base import answers, no_data, unknown_ticker
from stockbatch.providers.csv import OPTIONS
from stockbatch.providers.csv.basis import Understood, understand
from stockbatch.providers.csv.faults import Faults
from stockbatch.providers.csv.header import Reading
from stockbatch.providers.csv.lines import refuse
from stockbatch.providers.csv.parser import judged
from stockbatch.providers.csv.rows import gather
from stockbatch.providers.csv.table import Table
from stockbatch.providers.options import joined, split
from stockbatch.providers.parquet import columns
from stockbatch.providers.parquet.files import LakeFile, files_of
from stockbatch.providers.parquet.lake import Lake, open_lake
from stockbatch.records import BarRequest, FetchedBars, Floats, Listing, PriceBasis
from stockbatch.text import counted

T = TypeVar("T")
log = logging.getLogger(__name__)
ROWS_AT_ONCE = 2_000_000
"""About so many are in memory together."""


class ParquetFiles:
    """The bars of a Parquet file, of the files below a folder, or of those a pattern names.

    Columns, options and price basis are understood as those of CSV files. Of dates and tickers
    that nobody asks for, nothing is read where the files let it be told.
    """

    name = "parquet"
    corrects_overnight = False

    def __init__(self, argument: str) -> None:
        path, chosen = split(self.name, argument, OPTIONS)
        try:
            self._place = named(path)
        except ValueError as error:
            raise UnreadableFile(path=hidden(path), reason=error) from None
        self._reading = Reading.of(chosen)
        self.specification = f"parquet:{joined(self._place, chosen, OPTIONS)}"
        self._seen: tuple[list[LakeFile], Lake] | None = None
        self._basis: Understood | None = None

    @property
    def price_basis(self) -> PriceBasis:
        """Tell what prices are adjusted for, of the first ticker; each answer has its own.

        Raises BadFile and UnreadableFile.
        """
        lake = self._lake()
        return self._understood(lake, next(iter(lake.tickers))).basis

    def state(self) -> str:
        """Say how many tickers there are; raises what is wrong with a file."""
        lake = self._lake()
        for error in lake.errors.values():
            raise error
        return f"lists {counted(len(lake.tickers), 'ticker')}"

    def listings(self) -> list[Listing | ProviderError]:
        """Return every ticker, and what is wrong with the files of others; raises if all are so."""
        lake = self._lake()
        found: dict[str, Listing | ProviderError] = {**lake.errors}
        for ticker in lake.tickers.keys() - found.keys():
            try:
                found[ticker] = self._listing(lake, ticker)
            except ProviderError as error:
                found[ticker] = error
        if not any(isinstance(one, Listing) for one in found.values()):
            raise next(error for error in found.values() if isinstance(error, ProviderError))
        return [one for _, one in sorted(found.items())]

    def listing(self, ticker: str) -> Listing:
        """Return one ticker; raises UnknownTicker, or what is wrong with the files."""
        # Asked for many tickers, one by one: the files are not looked through for each.
        lake = self._seen[1] if self._seen else self._lake()
        if ticker not in lake.tickers and ticker not in lake.errors:
            lake = self._lake()
        if ticker in lake.errors or ticker not in lake.tickers:
            self._refuse(lake, ticker)
        return self._listing(lake, ticker)

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request, reading the rows of many tickers together."""
        try:
            lake = self._lake()
            groups = self._groups(lake, requests)
        except ProviderError as error:
            yield from answers(requests, _raising(error))
            return
        known = {request.symbol for group in groups for request in group}
        others = [request for request in requests if request.symbol not in known]
        yield from answers(others, lambda request: self._refuse(lake, request.symbol))
        for group in groups:
            try:
                table = self._table(lake, group)
            except ProviderError as error:
                yield from answers(group, _raising(error))
                continue
            yield from answers(group, partial(self._bars, table))

    def close(self) -> None:
        """Forget what was seen of the files."""
        self._seen = self._basis = None

    def _lake(self) -> Lake:
        """Return the files as they are now; raises BadFile and UnreadableFile."""
        with self._explained():
            place = opened(self._place)
            files = files_of(place)
            if self._seen is not None and self._seen[0] == files:
                return self._seen[1]
            self.close()
            lake = open_lake(place, files, self._reading)
        with self._explained(lake):
            if lost := lake.nowhere():
                log.warning("%s: rows without a date or a ticker: %d", self._place, lost)
            if not lake.tickers and not lake.errors:
                refuse(self._place, 1, 1, "there are no rows below the header")
        self._seen = files, lake
        return lake

    @contextmanager
    def _explained(self, lake: Lake | None = None) -> Iterator[None]:
        """Raise UnreadableFile for what a file system or a file refuses, naming the file."""
        try:
            yield
        except (OSError, ValueError, pa.ArrowException) as error:
            if lake and self._changed():
                why = "its files were changed while they were read: run again"
                raise UnreadableFile(path=self._place, reason=why) from None
            broken = lake.broken() if lake else None
            raise broken or UnreadableFile(path=self._place, reason=reason(error)) from None

    def _changed(self) -> bool:
        """Tell whether the files are others than those that were looked at."""
        with self._explained():
            return self._seen is not None and self._seen[0] != files_of(opened(self._place))

    def _refuse(self, lake: Lake, ticker: str) -> NoReturn:
        """Raise why there are no bars of a ticker: a file is broken, or it is unknown."""
        raise lake.errors.get(ticker) or unknown_ticker(self.name, ticker, lake.tickers)

    def _listing(self, lake: Lake, ticker: str) -> Listing:
        found = self._understood(lake, ticker)
        return Listing(
            ticker=ticker, symbol=ticker, price_basis=found.basis, understood=found.words
        )

    def _understood(self, lake: Lake, ticker: str) -> Understood:
        """Tell how the prices of a ticker are to be taken."""
        with self._explained(lake):
            if not lake.header.names_tickers:  # each file has a basis of its own
                return self._by_prices(lake, [[ticker]])
            if self._reading.basis is None and ticker in lake.bases:
                column = lake.basis_column
                assert column is not None
                reading = replace(self._reading, basis=lake.bases[ticker], basis_by=column)
                return _by_columns(lake, reading)
            if self._basis is None:
                self._basis = self._by_prices(lake, self._telling(lake))
            return self._basis

    def _by_prices(self, lake: Lake, groups: Iterable[Sequence[str]]) -> Understood:
        """Tell the basis by the columns, and by all prices of as many tickers as show it."""
        found = _by_columns(lake, self._reading)
        for tickers in groups:
            if tickers and (table := self._read(lake, tickers, None, None, self._reading)):
                found = Understood(table.basis, table.understood, table.basis_stated)
            if found.stated:
                break
        return found

    def _telling(self, lake: Lake) -> Iterable[Sequence[str]]:
        """Return the tickers whose prices tell the basis: what a few days show is nothing."""
        if self._reading.basis is None and "split" in lake.header.columns:
            return [lake.with_splits()]
        if self._reading.basis is None and "adjusted" in lake.header.columns:
            return _pieces(list(lake.tickers), self._most(lake, ()))
        return ()

    def _groups(self, lake: Lake, requests: Sequence[BarRequest]) -> list[Sequence[BarRequest]]:
        """Return the requests that can be answered, those together that are read together."""
        there = lake.tickers.keys() - lake.errors.keys()
        known = [request for request in requests if request.symbol in there]
        if not lake.header.names_tickers:
            return [[request] for request in known]
        by_basis: dict[PriceBasis, list[BarRequest]] = {}
        for request in known:
            basis = self._understood(lake, request.symbol).basis
            by_basis.setdefault(basis, []).append(request)
        return [
            group
            for alike in by_basis.values()
            for group in _pieces(alike, self._most(lake, alike))
        ]

    def _most(self, lake: Lake, asked: Sequence[BarRequest]) -> int:
        """Return of how many tickers the rows are read together."""
        if lake.header.by_ticker:
            return len(lake.tickers)
        rows: int = lake.dataset.count_rows() // max(1, len(lake.tickers))
        first = _first(asked)
        if first is not None and self._has_days(lake):
            rows = min(rows, (max(request.last for request in asked) - first).days + 5)
        return max(1, ROWS_AT_ONCE // max(1, rows))

    def _has_days(self, lake: Lake) -> bool:
        return lake.has_days(zone_known=self._reading.dates is not None)

    def _table(self, lake: Lake, group: Sequence[BarRequest]) -> Table | None:
        """Read what a group asks for; None where there is nothing of it."""
        if not lake.header.names_tickers:
            return self._read(lake, [group[0].symbol], None, None, self._reading)
        understood = self._understood(lake, group[0].symbol)
        reading = replace(self._reading, basis=understood.basis)
        first, last = _first(group), max(request.last for request in group)
        tickers = [request.symbol for request in group]
        # Splits that only an adjusted close tells of stand between a row and the one before it.
        derived = "adjusted" in lake.header.columns and "split" not in lake.header.columns
        if not self._has_days(lake) or (derived and reading.basis is PriceBasis.AS_TRADED):
            return self._read(lake, tickers, None, None, reading)
        return self._read(lake, tickers, first, last, reading)

    def _read(
        self,
        lake: Lake,
        tickers: Sequence[str],
        first: date | None,
        last: date | None,
        reading: Reading,
    ) -> Table | None:
        with self._explained(lake):
            rows = lake.rows(tickers, first, last)
        if not rows.num_rows:
            return None
        faults = Faults()
        block = columns.block(self._place, rows, lake.header, reading, faults)
        gathered = gather([block], lake.header, tickers[0])
        return judged(self._place, gathered, lake.header, reading, faults)

    def _bars(self, table: Table | None, request: BarRequest) -> FetchedBars:
        if table is None or request.symbol not in table.tickers:
            raise no_data(self.name, request)
        found = table.answer(request)
        if not len(found.bars):
            raise no_data(self.name, request)
        return found


def _by_columns(lake: Lake, reading: Reading) -> Understood:
    """Tell the basis by the columns there are, without any row."""
    none: Floats = np.empty(0)
    numbers = dict.fromkeys(lake.header.numbers.values(), none)
    return understand(lake.header, numbers, none.astype("M8[D]"), none.astype(bool), reading)


def _first(group: Sequence[BarRequest]) -> date | None:
    """Return the first day that any of them asks for; None for the beginning."""
    days = [request.first for request in group if request.first is not None]
    return min(days) if days and len(days) == len(group) else None


def _pieces(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), size):
        yield things[start : start + size]


def _raising(error: ProviderError) -> Callable[[BarRequest], FetchedBars]:
    def answer(_request: BarRequest) -> FetchedBars:
        raise error

    return answer
