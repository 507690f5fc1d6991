"""The Parquet files of a place as one table, of which only what is asked for is read."""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import cached_property, reduce
from operator import and_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from stockbatch.exceptions import BadFile, ProviderError, UnreadableFile
from stockbatch.places import Place, reason
from stockbatch.providers.csv.header import FIRST_ROWS, Header, Reading, ticker_of
from stockbatch.providers.csv.lines import refuse
from stockbatch.providers.csv.names import NAMES, REQUIRED, plain
from stockbatch.providers.parquet import columns
from stockbatch.providers.parquet.files import LakeFile
from stockbatch.records import PriceBasis
from stockbatch.text import wrong_symbol

AT_ONCE = 16
"""So many files are looked at together: an object store answers each late, but many at once."""
BASIS = "pricebasis"
"""What a column is called that says what the prices of a ticker are adjusted for."""
AROUND = timedelta(days=2)
"""A stamp's day may be another one in the zone of its exchange."""

_OF_ENGINES = re.compile(r"part[-.]\d.*|data[-_]\d.*|\d{6}_\d.*|[0-9a-f]{8}-[0-9a-f-]{27}.*")
"""What Spark, Hive, DuckDB and others call their files: no ticker."""


@dataclass(frozen=True, kw_only=True)
class Lake:
    """The files of a place as they were at one time, and what their columns hold."""

    place: str
    """As it is shown."""
    dataset: Any
    names: tuple[str, ...]
    """What the columns are called in the files; `header` may call them otherwise."""
    header: Header
    errors: Mapping[str, ProviderError]
    """By ticker, what is wrong with a file that is its own."""

    @cached_property
    def tickers(self) -> dict[str, tuple[Any, ...]]:
        """How each is written in the column of tickers; of one that a file is named after, where.

        Of tickers that have columns of their own, nothing.
        """
        found: dict[str, tuple[Any, ...]] = {}
        if self.header.by_ticker:
            return dict.fromkeys(self.header.by_ticker, ())
        if (name := self.name("ticker")) is None:
            pairs = [(ticker_of(Path(path)), path) for path in self._files]
        else:
            batches = self.dataset.to_batches(columns=[name])
            parts = [batch.column(0).unique() for batch in batches]
            written = pa.chunked_array(parts, self._type(name)).unique()
            texts = zip(columns.texts(written), written.to_pylist(), strict=True)
            stripped = [(text.strip(), value) for text, value in texts]
            pairs = [(ticker, value) for ticker, value in stripped if not wrong_symbol(ticker)]
        for ticker, value in sorted(pairs, key=str):
            found[ticker] = (*found.get(ticker, ()), value)
        return found

    @cached_property
    def bases(self) -> dict[str, PriceBasis]:
        """What a column says the prices of each ticker are; nothing where there is none.

        Raises BadFile where it says what no basis is called, or two of one ticker.
        """
        ticker_column = self.name("ticker")
        if self.basis_column is None or ticker_column is None:
            return {}
        pairs: set[tuple[Any, Any]] = set()
        for batch in self.dataset.to_batches(columns=[ticker_column, self.basis_column]):
            one = pa.table(batch).group_by(batch.schema.names).aggregate([])
            pairs.update(zip(*(column.to_pylist() for column in one.columns), strict=True))
        whose = {value: ticker for ticker, values in self.tickers.items() for value in values}
        found: dict[str, PriceBasis] = {}
        for value, word in sorted(pairs, key=str):
            if (ticker := whose.get(value)) is None:
                continue
            if word not in tuple(PriceBasis):
                said = "nothing in some rows" if word is None else repr(word)
                why = f"{ticker} has {said}: it may be {' or '.join(PriceBasis)}"
                refuse(self.place, 1, self.basis_column, why)
            if found.setdefault(ticker, PriceBasis(word)) != word:
                why = f"the prices of {ticker} are on two bases: say which is right by --basis"
                refuse(self.place, 1, self.basis_column, why)
        return found

    @property
    def basis_column(self) -> str | None:
        """What the column of `bases` is called."""
        return next((name for name in self.names if plain(name) == BASIS), None)

    def name(self, key: str) -> str | None:
        """Return what the files call a column; None where there is none."""
        at = self.header.columns.get(key)
        return None if at is None else self.names[at]

    def nowhere(self) -> int:
        """Count the rows without a date or a ticker, which no question finds."""
        names = [name for key in ("session", "ticker") if (name := self.name(key))]
        lacking = [pc.field(name).is_null() for name in names]
        count: int = self.dataset.count_rows(filter=reduce(lambda one, other: one | other, lacking))
        return count

    def with_splits(self) -> list[str]:
        """Return the tickers of which a column states a split."""
        split, ticker = self.name("split"), self.name("ticker")
        assert split is not None
        if ticker is None or not pa.types.is_primitive(self._type(split)):
            return list(self.tickers)
        stated = (pc.field(split) != 0) & (pc.field(split) != 1)
        found = self.dataset.to_table(columns=[ticker], filter=stated)
        held = set(found.column(0).unique().to_pylist())
        return [one for one, written in self.tickers.items() if held & set(written)]

    def rows(self, tickers: Sequence[str], first: date | None, last: date | None) -> pa.Table:
        """Return the rows of some tickers, with the columns of `columns.used`.

        Where there are dates, those of the days between them, and perhaps some more.
        """
        names = [self.names[at] for at in columns.used(self.header)]
        written = [value for ticker in tickers for value in self.tickers[ticker]]
        dataset, conditions = self.dataset, self._days(first, last)
        if (name := self.name("ticker")) is not None:
            conditions.append(pc.field(name).isin(pa.array(written, self._type(name))))
        elif not self.header.by_ticker:
            kept = [self._files[path] for path in written]
            dataset = ds.FileSystemDataset(kept, dataset.schema, dataset.format, dataset.filesystem)
        condition = reduce(and_, conditions) if conditions else None
        try:
            return dataset.to_table(columns=names, filter=condition)
        except pa.ArrowNotImplementedError:  # the statistics of some types cannot be asked
            if condition is None:
                raise
        batches = dataset.to_batches(columns=names)
        nothing = dataset.schema.empty_table().select(names)
        return pa.concat_tables([nothing, *(pa.table(one).filter(condition) for one in batches)])

    def broken(self) -> ProviderError | None:
        """Return what is wrong with the first file whose rows cannot be read, if any."""
        used = {self.names[at] for at in columns.used(self.header)}
        for file in self._files.values():
            try:
                file.to_table(columns=[one for one in file.physical_schema.names if one in used])
            except (OSError, pa.ArrowInvalid) as error:
                return _wrong(file.path, error)
        return None

    def has_days(self, *, zone_known: bool) -> bool:
        """Tell whether the type of the dates lets some be asked for without the others."""
        session = self.name("session")
        kind = self._type(session)
        if pa.types.is_timestamp(kind):
            # All stamps together tell whether midnight of UTC is a day or an instant.
            return zone_known or kind.tz is None
        return bool(pa.types.is_date(kind))

    def _days(self, first: date | None, last: date | None) -> list[Any]:
        name = self.name("session")
        kind = self._type(name)
        found = []
        if first is not None:
            found.append(pc.field(name) >= pa.scalar(first - AROUND, pa.date32()).cast(kind))
        if last is not None:
            found.append(pc.field(name) <= pa.scalar(last + AROUND, pa.date32()).cast(kind))
        return found

    @cached_property
    def _files(self) -> dict[str, Any]:
        return {file.path: file for file in self.dataset.get_fragments()}

    def _type(self, name: str | None) -> Any:
        return self.dataset.schema.field(name).type


def open_lake(place: Place, files: Sequence[LakeFile], reading: Reading) -> Lake:
    """Look at the columns and statistics of files; raises BadFile and UnreadableFile.

    A file that cannot be read keeps those of other tickers in only where it tells its ticker.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        looked = list(pool.map(lambda file: _look(place, file), files))
    pairs = list(zip(files, looked, strict=True))
    good = [(file, one) for file, one in pairs if not isinstance(one, ProviderError)]
    bad = [(file, one) for file, one in pairs if isinstance(one, ProviderError)]
    if not good:
        raise bad[0][1]
    dataset = _dataset(place, good)
    names = tuple(dataset.schema.names)
    first = _first_rows(dataset)
    header = columns.header(place.name, first, reading)
    if "ticker" in header.columns:
        cells = ["" if plain(cell) == BASIS else cell for cell in header.cells]
        header = replace(header, cells=tuple(cells))  # it is not ignored
    column = header.columns.get("ticker")
    errors = {}
    for file, error in bad:
        ticker = file.keys.get(names[column]) if column is not None else _name_of(file)
        if ticker is None or header.by_ticker:
            raise error
        errors[ticker] = error
    if not header.names_tickers:
        for file in files:
            _require_ticker(file, names)
        needed = [names[header.columns[key]] for key in REQUIRED]
        for file, fragment in good:
            own = {*fragment.physical_schema.names, *file.keys}
            if lacking := [name for name in needed if name not in own]:
                errors[_name_of(file)] = BadFile(
                    path=shown_path(file.path),
                    line=1,
                    column=lacking[0],
                    reason="there is no such column, as the files beside it have",
                )
    return Lake(place=place.name, dataset=dataset, names=names, header=header, errors=errors)


def _first_rows(dataset: Any) -> Any:
    """Return the first rows of the first file that has any; raises BadFile, UnreadableFile.

    Of one file at a time: the whole would look ahead into files that nobody may want.
    """
    rows = dataset.schema.empty_table()
    for file in dataset.get_fragments():
        alone = ds.FileSystemDataset([file], dataset.schema, dataset.format, dataset.filesystem)
        try:
            rows = alone.head(FIRST_ROWS)
        except (OSError, pa.ArrowInvalid) as error:
            raise _wrong(file.path, error) from None
        if rows.num_rows:
            break
    return rows


def _look(place: Place, file: LakeFile) -> Any:
    """Return a file with its metadata, or what is wrong with it."""
    form = ds.ParquetFileFormat()
    try:
        fragment = form.make_fragment(file.path, place.filesystem, _condition(file.keys))
        fragment.ensure_complete_metadata()
        keys = _keys_beside(file, fragment)
        if keys != file.keys:
            fragment = form.make_fragment(file.path, place.filesystem, _condition(keys))
            fragment.ensure_complete_metadata()
    except (OSError, pa.ArrowInvalid) as error:
        return _wrong(file.path, error)
    return fragment


def _keys_beside(file: LakeFile, fragment: Any) -> dict[str, str | None]:
    """Return what the folders above a file say and no column of it: what it says itself counts."""
    own = {plain(name) for name in fragment.physical_schema.names}
    days = {plain(one.name) for one in fragment.physical_schema if pa.types.is_date(one.type)}
    if days & {*NAMES["session"]}:  # its folder may tell on which day it was delivered
        own |= {*NAMES["session"]}
    return {name: value for name, value in file.keys.items() if plain(name) not in own}


def _wrong(path: str, error: Exception) -> ProviderError:
    """Return the error for a file that is broken, or that its file system does not give."""
    text = " ".join(str(error).split()).rpartition(f"'{path}': ")[2]
    of_system = isinstance(error, OSError) and (error.errno is not None or "AWS Error" in text)
    if not of_system:
        return BadFile(path=shown_path(path), line=1, column=1, reason=f"it is broken: {text}")
    return UnreadableFile(path=shown_path(path), reason=reason(error))


def shown_path(path: str) -> str:
    """Return how a file within a place is shown: as its own path or URL."""
    return path if path.startswith("/") else f"s3://{path}"


def _condition(keys: Mapping[str, str | None]) -> Any:
    conditions = [
        pc.field(name).is_null() if value is None else pc.field(name) == value
        for name, value in keys.items()
    ]
    return reduce(and_, conditions) if conditions else None


def _dataset(place: Place, looked: Sequence[tuple[LakeFile, Any]]) -> Any:
    fragments = [fragment for _, fragment in looked]
    try:
        schema = pa.unify_schemas(
            [_plain_types(one.physical_schema) for one in fragments], promote_options="permissive"
        )
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        text = " ".join(str(error).split())
        why = f"its files have columns of one name and several types: {text}"
        raise BadFile(path=place.name, line=1, column=1, reason=why) from None
    for name in dict.fromkeys(name for pair in looked for name in _keys_beside(*pair)):
        if name not in schema.names:
            schema = schema.append(pa.field(name, pa.string()))
    return ds.FileSystemDataset(fragments, schema, fragments[0].format, place.filesystem)


def _plain_types(schema: pa.Schema) -> pa.Schema:
    """Return a schema without dictionaries and views, in which no text could be asked for."""
    return pa.schema([field.with_type(_plain_type(field.type)) for field in schema])


def _plain_type(kind: pa.DataType) -> pa.DataType:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.string() if pa.types.is_string_view(value) else value


def _name_of(file: LakeFile) -> str:
    return ticker_of(Path(file.path))


def _require_ticker(file: LakeFile, names: Sequence[str]) -> None:
    """Raise UnreadableFile where a file's name is to be its ticker, and is none."""
    name = _name_of(file)
    why = wrong_symbol(name)
    if _OF_ENGINES.fullmatch(name):
        why = f"its name is none, and no column or folder names it; there are {', '.join(names)}"
    if why:
        raise UnreadableFile(path=shown_path(file.path), reason=f"of which ticker? {why}")
