"""Bars of Parquet files: folders with keys, typed columns, what Spark and an object store have."""

import logging
import os
import shutil
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs

from stockbatch.config import Settings
from stockbatch.exceptions import BadFile, NoData, UnknownTicker, UnreadableFile
from stockbatch.market import sessions
from stockbatch.providers import parquet, registry
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.providers.parquet import provider as module
from stockbatch.providers.parquet.lake import Lake
from stockbatch.providers.parquet.provider import ParquetFiles
from stockbatch.records import ActionKind, BarRequest, FetchedBars, PriceBasis
from tests.support.buckets import object_store, refusing_store

DAYS = sessions.load("XNYS", date(2024, 12, 2)).window(date(2024, 6, 28), 120)
LAST = date(2024, 6, 28)


@pytest.fixture(scope="module")
def store():
    with object_store() as variables:
        yield variables


@pytest.fixture
def s3(store, monkeypatch):
    """Let the environment lead to an object store; return its file system."""
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    filesystem, _ = fs.FileSystem.from_uri("s3://lake")
    return filesystem


def made(*tickers, days=DAYS, **columns):
    """Return rows of made-up bars, by day and ticker, as a data frame."""
    frames = []
    for ticker in tickers:
        noise = np.random.default_rng(sum(map(ord, ticker))).normal(0, 0.01, len(DAYS))
        close = np.round(100 * np.exp(np.cumsum(noise)), 2)[-len(days) :]
        frames.append(
            pd.DataFrame(
                {
                    "date": days.tolist(),
                    "ticker": ticker,
                    "open": close,
                    "high": np.round(close + 1, 2),
                    "low": np.round(close - 1, 2),
                    "close": close,
                    "volume": np.arange(len(days)) + 1000,
                }
            )
        )
    return pd.concat(frames).assign(**columns).sort_values(["date", "ticker"], ignore_index=True)


def write(frame, path, filesystem=None, **options):
    if filesystem is None:
        path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        pa.Table.from_pandas(frame, preserve_index=False), path, filesystem=filesystem, **options
    )


def fetched(where, *tickers, first=None, last=LAST, calendar="XNYS"):
    source = where if isinstance(where, ParquetFiles) else ParquetFiles(str(where))
    asked = [BarRequest(symbol=t, first=first, last=last, calendar=calendar) for t in tickers]
    answers = list(source.fetch(asked))
    bars = {answer.symbol: answer for answer in answers if isinstance(answer, FetchedBars)}
    errors = iter(answer for answer in answers if not isinstance(answer, FetchedBars))
    return [bars.get(ticker) or next(errors) for ticker in tickers]


def same(answer, frame, ticker):
    """Compare the bars of an answer with the rows of a ticker."""
    assert isinstance(answer, FetchedBars), answer
    rows = frame[frame["ticker"] == ticker]
    assert answer.bars.sessions.tolist() == rows["date"].tolist()
    for name in ("open", "high", "low", "close", "volume"):
        assert getattr(answer.bars, name).tolist() == rows[name].astype(float).tolist()


def test_one_file_with_a_column_of_tickers(tmp_path):
    frame = made("AAPL", "MSFT")
    write(frame, tmp_path / "bars.parquet")
    source = ParquetFiles(str(tmp_path / "bars.parquet"))
    assert [one.ticker for one in source.listings()] == ["AAPL", "MSFT"]
    assert source.state() == "lists 2 tickers"
    assert source.price_basis is PriceBasis.SPLIT_ADJUSTED
    assert source.listing("AAPL").understood == (
        "prices adjusted for splits (no column states a split)"
    )
    aapl, msft = fetched(source, "AAPL", "MSFT")
    same(aapl, frame, "AAPL")
    same(msft, frame, "MSFT")
    (unknown,) = fetched(source, "APL")
    assert isinstance(unknown, UnknownTicker)
    assert str(unknown) == "parquet does not know APL: did you mean AAPL?"
    (nothing,) = fetched(source, "AAPL", first=date(2030, 1, 1), last=date(2030, 2, 1))
    assert isinstance(nothing, NoData)


@pytest.mark.parametrize("key", ["ticker", "symbol"])
def test_a_folder_for_each_ticker(tmp_path, key):
    frame = made("0005", "^GSPC")
    for ticker, name in (("0005", "0005"), ("^GSPC", "%5EGSPC")):
        rows = frame[frame["ticker"] == ticker].drop(columns="ticker")
        write(rows, tmp_path / f"{key}={name}" / "part-00000-3f2a.c000.snappy.parquet")
    source = ParquetFiles(str(tmp_path))
    assert [one.ticker for one in source.listings()] == ["0005", "^GSPC"]
    for ticker, answer in zip(("0005", "^GSPC"), fetched(source, "0005", "^GSPC"), strict=True):
        same(answer, frame, ticker)
    (alone,) = fetched(tmp_path / f"{key}=0005", "0005")
    same(alone, frame, "0005")


def test_a_file_named_after_each_ticker_some_of_them_broken(tmp_path):
    frame = made("AAPL", "MSFT")
    for ticker in ("AAPL", "MSFT"):
        rows = frame[frame["ticker"] == ticker].drop(columns="ticker")
        for year in ("2023", "2024"):
            of_year = rows[rows["date"].map(lambda day, year=year: str(day.year) == year)]
            write(of_year, tmp_path / f"year={year}" / f"{ticker}.parquet")
    (tmp_path / "year=2024" / "KO.parquet").write_bytes(b"PAR1 but not really PAR1")
    source = ParquetFiles(str(tmp_path))
    assert [getattr(one, "ticker", None) for one in source.listings()] == ["AAPL", None, "MSFT"]
    aapl, broken, msft = fetched(source, "AAPL", "KO", "MSFT")
    same(aapl, frame, "AAPL")
    same(msft, frame, "MSFT")
    assert isinstance(broken, BadFile)
    assert f"{tmp_path}/year=2024/KO.parquet, line 1, column 1: it is broken: " in str(broken)
    with pytest.raises(BadFile, match=r"KO\.parquet"):
        source.state()


def test_what_spark_leaves_beside_its_files_is_left_out(tmp_path):
    frame = made("AAPL")
    write(frame, tmp_path / "bars" / "part-00000-1b2c-c000.snappy.parquet")
    for name in ("_SUCCESS", "._SUCCESS.crc", "_temporary/0/part-00001.parquet", ".hidden.parquet"):
        (tmp_path / "bars" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bars" / name).write_bytes(b"")
    for where in (tmp_path / "bars", tmp_path / "*", tmp_path / "bars" / "*.parquet"):
        same(*fetched(where, "AAPL"), frame, "AAPL")


def test_links_that_lead_in_circles(tmp_path):
    frame = made("AAPL")
    write(frame, tmp_path / "lake" / "sub" / "1.parquet")
    write(made("MSFT"), tmp_path / "elsewhere" / "2.parquet")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "lake")
    (tmp_path / "lake" / "sub" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "lake" / "sub" / "none").symlink_to("none")
    for where in (tmp_path / "lake", tmp_path / "lake" / "s*"):
        for ticker, answer in zip(("AAPL", "MSFT"), fetched(where, "AAPL", "MSFT"), strict=True):
            assert isinstance(answer, FetchedBars)
            assert len(answer.bars) == len(frame), ticker


def test_a_pattern_looks_into_no_folder_that_does_not_fit(tmp_path, monkeypatch):
    frame = made("AAPL")
    write(frame, tmp_path / "bars" / "year=2024" / "1.parquet")
    for name in (".secret", "_temporary", "others"):
        (tmp_path / name).mkdir()
        write(made("MSFT"), tmp_path / name / "1.parquet")
    looked, scan = [], os.scandir

    def scanned(folder):
        looked.append(Path(folder).name)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", scanned)
    same(*fetched(tmp_path / "b*", "AAPL"), frame, "AAPL")
    assert looked == [tmp_path.name, "bars", "year=2024"]
    looked.clear()
    assert len(ParquetFiles(str(tmp_path)).listings()) == 2
    assert not {".secret", "_temporary"} & set(looked)


def test_a_folder_or_name_that_cannot_be_read_is_told(tmp_path):
    write(made("AAPL"), tmp_path / "1.parquet")
    with pytest.raises(UnreadableFile, match=f"{tmp_path}/no cannot be read: No such file"):
        ParquetFiles(f"{tmp_path}/no/*").state()
    other = tmp_path / os.fsdecode(b"\xff.parquet")
    shutil.copy(tmp_path / "1.parquet", other)
    with pytest.raises(UnreadableFile, match=r"/\\xff\.parquet cannot be read: its name is not"):
        ParquetFiles(str(tmp_path)).state()
    other.rename(other.with_suffix(".txt"))
    assert ParquetFiles(str(tmp_path)).state() == "lists 1 ticker"


def test_the_folder_of_a_delivery_does_not_say_which_days_its_bars_are_of(tmp_path):
    frame = made("AAPL", "MSFT").rename(columns={"date": "session"})
    write(frame[:100], tmp_path / "date=2024-06-27" / "bars.parquet")
    write(frame[100:], tmp_path / "date=2024-06-28" / "bars.parquet")
    for ticker, answer in zip(("AAPL", "MSFT"), fetched(tmp_path, "AAPL", "MSFT"), strict=True):
        same(answer, frame.rename(columns={"session": "date"}), ticker)


@pytest.mark.parametrize("column", ["date", "Date"])
def test_what_a_file_says_itself_counts_before_its_folders(tmp_path, column):
    frame = made("AAPL", "MSFT")
    for day, rows in frame.groupby("date"):
        folder = f"Year={day.year}/Month={day.month}/Day={day.day}"
        write(rows.rename(columns={"date": column}), tmp_path / "own" / folder / "part-0.parquet")
        write(rows.drop(columns="date"), tmp_path / "not" / folder / "part-0.parquet")
    for name in ("own", "not"):
        for ticker, answer in zip(
            ("AAPL", "MSFT"), fetched(tmp_path / name, "AAPL", "MSFT"), strict=True
        ):
            same(answer, frame, ticker)


def test_months_and_days_as_keys(tmp_path):
    frame = made("AAPL", "MSFT")
    for month, rows in frame.groupby(frame["date"].map(lambda day: (day.year, day.month))):
        write(rows, tmp_path / "months" / f"year={month[0]}" / f"month={month[1]}" / "x.parquet")
    for day, rows in frame.groupby("date"):
        folder = f"year={day.year}/month={day.month}/day={day.day}"
        write(rows.drop(columns="date"), tmp_path / "days" / folder / "part-0.parquet")
        write(rows.drop(columns="date"), tmp_path / "dates" / f"date={day}" / "part-0.parquet")
    for name in ("months", "days", "dates"):
        for ticker, answer in zip(
            ("AAPL", "MSFT"), fetched(tmp_path / name, "AAPL", "MSFT"), strict=True
        ):
            same(answer, frame, ticker)
    (some,) = fetched(tmp_path / "months" / "year=2024" / "month=[56]", "AAPL")
    assert {day.month for day in some.bars.sessions.tolist()} == {5, 6}


def test_columns_of_every_type(tmp_path):
    frame = made("AAPL", "MSFT")
    plain = [name for name in frame if name not in ("date", "ticker")]
    decimals = frame.assign(
        **{name: [Decimal(f"{value:.2f}") for value in frame[name]] for name in plain}
    )
    stamps = pd.to_datetime(frame["date"])
    kinds = {
        "categories": frame.assign(ticker=frame["ticker"].astype("category")),
        "decimals": decimals,
        "stamps": frame.assign(date=stamps),
        "new york": frame.assign(date=stamps.dt.tz_localize("America/New_York")),
        "utc": frame.assign(date=stamps.dt.tz_localize("UTC")),
        "closes": frame.assign(date=stamps.dt.tz_localize("UTC") + pd.Timedelta(hours=20)),
        "texts": frame.assign(date=frame["date"].map(str)),
        "numbers": frame.assign(date=[int(f"{day:%Y%m%d}") for day in frame["date"]]),
        "all texts": frame.astype(str),
        "floats": frame.assign(**{name: frame[name].astype("float32") for name in ["volume"]}),
        "shuffled": frame.sample(frac=1, random_state=1),
    }
    for name, rows in kinds.items():
        write(rows, tmp_path / name / "bars.parquet")
        for first in (None, date(2024, 6, 20)):
            expected = frame[frame["date"] >= (first or date(1990, 1, 1))]
            for ticker, answer in zip(
                ("AAPL", "MSFT"), fetched(tmp_path / name, "AAPL", "MSFT", first=first), strict=True
            ):
                same(answer, expected, ticker)


def with_column(frame, name, values):
    table = pa.Table.from_pandas(frame, preserve_index=False)
    at = table.schema.get_field_index(name)
    return table.append_column(name, values) if at < 0 else table.set_column(at, name, values)


def test_tickers_of_every_type(tmp_path):
    frame = made("5", "700")
    texts = pa.array(frame["ticker"], pa.string())
    numbers = pa.array(frame["ticker"].astype(int))
    kinds = {
        "bytes": texts.cast(pa.binary()),
        "views": texts.cast(pa.string_view()),
        "floats": numbers.cast(pa.float64()),
        "decimals": numbers.cast(pa.decimal128(20, 0)),
        "padded": pa.array([f"{text} " for text in frame["ticker"]]),
    }
    for name, values in kinds.items():
        (tmp_path / name).mkdir()
        pq.write_table(with_column(frame, "ticker", values), tmp_path / name / "1.parquet")
        for first in (None, date(2024, 6, 20)):
            expected = frame[frame["date"] >= (first or date(1990, 1, 1))]
            source = ParquetFiles(str(tmp_path / name))
            for ticker, answer in zip(
                ("5", "700"), fetched(source, "5", "700", first=first), strict=True
            ):
                same(answer, expected, ticker)


def test_columns_without_texts(tmp_path):
    frame = made("AAPL")
    alone, pairs = frame.drop(columns="ticker"), pa.array([{"a": 1}] * len(frame))
    periods = pd.PeriodIndex(pd.to_datetime(frame["date"]), freq="D")
    write_table = pq.write_table
    write_table(with_column(alone, "more", pairs), tmp_path / "AAPL.parquet")
    same(*fetched(tmp_path, "AAPL"), frame, "AAPL")
    for name, values in (("ticker", pairs), ("date", pairs)):
        write_table(with_column(frame, name, values), tmp_path / "AAPL.parquet")
        with pytest.raises(BadFile, match=f"column {name}: the column holds struct<a: int64>: a d"):
            ParquetFiles(str(tmp_path)).state()
    write(frame.assign(date=periods), tmp_path / "AAPL.parquet")
    with pytest.raises(BadFile, match="column date: the column holds extension<pandas"):
        ParquetFiles(str(tmp_path)).state()


def test_what_no_file_of_bars_is_keeps_no_other_out(tmp_path):
    frame = made("AAPL")
    write(frame.drop(columns="ticker"), tmp_path / "AAPL.parquet")
    write(pd.DataFrame({"note": ["x"]}), tmp_path / "notes.parquet")
    source = ParquetFiles(str(tmp_path))
    aapl, notes = fetched(source, "AAPL", "notes")
    same(aapl, frame, "AAPL")
    assert isinstance(notes, BadFile)
    assert str(notes).startswith(f"{tmp_path}/notes.parquet, line 1, column date: there is no such")
    assert [getattr(one, "ticker", None) for one in source.listings()] == ["AAPL", None]


def test_data_frames_as_pandas_and_yfinance_have_them(tmp_path):
    frame = made("AAPL", "MSFT")
    indexed = frame.assign(date=pd.to_datetime(frame["date"])).set_index("date")
    indexed[indexed["ticker"] == "AAPL"].rename_axis(None).to_parquet(tmp_path / "AAPL.parquet")
    same(*fetched(tmp_path, "AAPL"), frame, "AAPL")
    days = frame[frame["ticker"] == "AAPL"].set_index("date").drop(columns="ticker")
    days.rename_axis(None).to_parquet(tmp_path / "AAPL.parquet")
    same(*fetched(tmp_path, "AAPL"), frame, "AAPL")
    wide = indexed.pivot_table(index="date", columns="ticker")
    (tmp_path / "wide").mkdir()
    wide.to_parquet(tmp_path / "wide" / "all.parquet")
    aapl, msft = fetched(tmp_path / "wide", "AAPL", "MSFT")
    same(aapl, frame, "AAPL")
    same(msft, frame, "MSFT")
    assert aapl.price_basis is PriceBasis.TOTAL_RETURN  # as yf.download() writes them


def test_stamps_of_a_zone_are_asked_for_by_days_where_their_meaning_is_stated(tmp_path):
    frame = made("AAPL")
    stamps = pd.to_datetime(frame["date"]).dt.tz_localize("UTC") + pd.Timedelta(hours=20)
    write(frame.assign(date=stamps), tmp_path / "bars.parquet")
    (answer,) = fetched(f"{tmp_path}#dates=exchange", "AAPL", first=date(2024, 6, 20))
    same(answer, frame[frame["date"] >= date(2024, 6, 20)], "AAPL")


def test_files_whose_types_differ_are_one_table(tmp_path):
    frame = made("AAPL")
    early, late = frame[:60], frame[60:]
    write(early.astype({"volume": "int32"}), tmp_path / "1.parquet")
    write(late.astype({"volume": "float64"}).assign(more="x"), tmp_path / "2.parquet")
    same(*fetched(tmp_path, "AAPL"), frame, "AAPL")
    write(late.assign(close="x"), tmp_path / "3.parquet")
    with pytest.raises(BadFile, match="columns of one name and several types"):
        ParquetFiles(str(tmp_path)).state()


def test_only_what_is_asked_for_is_read(tmp_path, monkeypatch):
    frame = made("AAPL", "MSFT")
    write(frame.sort_values(["ticker", "date"]), tmp_path / "bars.parquet", row_group_size=40)
    read = []
    rows = Lake.rows

    def watched(self, tickers, first, last):
        table = rows(self, tickers, first, last)
        read.append((tickers, table.num_rows))
        return table

    monkeypatch.setattr(Lake, "rows", watched)
    (answer,) = fetched(tmp_path, "MSFT", first=date(2024, 6, 24))
    assert answer.bars.sessions.tolist() == [date(2024, 6, day) for day in range(24, 29)]
    assert read == [(["MSFT"], 5)]
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 130)
    read.clear()
    aapl, msft = fetched(tmp_path, "AAPL", "MSFT")
    same(aapl, frame, "AAPL")
    same(msft, frame, "MSFT")
    assert read == [(["AAPL"], 120), (["MSFT"], 120)]


def split_frame(*tickers, jump):
    """Return bars of which the last ticker's split by 2 on the 60th day is stated."""
    frame = made(*tickers)
    at = frame.index[frame["ticker"] == tickers[-1]][60]
    frame["split_ratio"] = 1.0
    frame.loc[at, "split_ratio"] = 2.0
    if jump:
        later = (frame["ticker"] == tickers[-1]) & (frame.index >= at)
        frame.loc[later, ["open", "high", "low", "close"]] /= 2
    return frame, frame["date"][at]


@pytest.mark.parametrize("jump", [True, False])
@pytest.mark.parametrize("first", [None, date(2024, 6, 20)])
def test_what_all_prices_tell_of_the_basis_holds_for_the_last_days_as_well(tmp_path, jump, first):
    frame, day = split_frame("AAPL", "MSFT", jump=jump)
    write(frame, tmp_path / "bars.parquet")
    frame.to_csv(tmp_path / "bars.csv", index=False)
    expected = PriceBasis.AS_TRADED if jump else PriceBasis.SPLIT_ADJUSTED
    assert CsvFiles(str(tmp_path / "bars.csv")).price_basis is expected
    (aapl, msft) = fetched(tmp_path / "bars.parquet", "AAPL", "MSFT", first=first)
    assert (aapl.price_basis, msft.price_basis) == (expected, expected)
    stated = [(one.session, one.kind, one.value) for one in msft.actions]
    assert stated == ([(day, ActionKind.SPLIT, 2.0)] if jump and first is None else [])
    listed = ParquetFiles(str(tmp_path / "bars.parquet")).listing("AAPL")
    assert listed.price_basis is expected
    assert "split_ratio" in listed.understood


def test_of_files_named_after_tickers_each_has_a_basis_of_its_own(tmp_path):
    for ticker, jump in (("AAPL", True), ("MSFT", False)):
        frame, day = split_frame(ticker, jump=jump)
        write(frame.drop(columns="ticker"), tmp_path / f"{ticker}.parquet")
    aapl, msft = fetched(tmp_path, "AAPL", "MSFT", first=date(2024, 6, 20))
    assert (aapl.price_basis, msft.price_basis) == (
        PriceBasis.AS_TRADED,
        PriceBasis.SPLIT_ADJUSTED,
    )
    same(msft, frame[frame["date"] >= date(2024, 6, 20)], "MSFT")
    listed = ParquetFiles(str(tmp_path)).listings()
    assert [one.price_basis for one in listed] == [aapl.price_basis, msft.price_basis]
    (whole,) = fetched(tmp_path, "AAPL")
    assert [(one.session, one.value) for one in whole.actions] == [(day, 2.0)]


def test_splits_that_only_an_adjusted_close_tells_of(tmp_path):
    frame, day = split_frame("AAPL", "MSFT", jump=True)
    split = frame["date"] < day
    of_msft = frame["ticker"] == "MSFT"
    frame["Adj Close"] = frame["close"].where(~(split & of_msft), frame["close"] / 2)
    write(frame.drop(columns="split_ratio"), tmp_path / "bars.parquet")
    for first in (None, day):
        aapl, msft = fetched(tmp_path, "AAPL", "MSFT", first=first)
        assert {aapl.price_basis, msft.price_basis} == {PriceBasis.AS_TRADED}
        assert [(one.session, one.value) for one in msft.actions] == [(day, 2.0)]


def test_a_column_says_the_basis_of_each_ticker(tmp_path):
    frame = made("AAPL", "MSFT")
    basis = frame["ticker"].map({"AAPL": "as_traded", "MSFT": "total_return"})
    write(frame.assign(price_basis=basis), tmp_path / "bars.parquet")
    aapl, msft = fetched(tmp_path, "AAPL", "MSFT")
    assert (aapl.price_basis, msft.price_basis) == (PriceBasis.AS_TRADED, PriceBasis.TOTAL_RETURN)
    source = ParquetFiles(str(tmp_path))
    assert source.listing("AAPL").understood == "prices as traded (as stated by price_basis)"
    same(aapl, frame, "AAPL")
    (stated,) = fetched(f"{tmp_path}#basis=split_adjusted", "MSFT")
    assert stated.price_basis is PriceBasis.SPLIT_ADJUSTED
    basis[len(basis) - 1] = "as_traded"
    write(frame.assign(price_basis=basis), tmp_path / "bars.parquet")
    with pytest.raises(BadFile, match="column price_basis: the prices of MSFT are on two bases"):
        source.listings()
    write(frame.assign(price_basis="raw"), tmp_path / "bars.parquet")
    with pytest.raises(BadFile, match="AAPL has 'raw': it may be as_traded or"):
        source.listings()
    basis[len(basis) - 1] = None
    write(frame.assign(price_basis=basis), tmp_path / "bars.parquet")
    with pytest.raises(BadFile, match="MSFT has nothing in some rows: it may be as_traded or"):
        source.listings()


def test_what_columns_do_not_tell_is_asked_for(tmp_path):
    frame = made("AAPL").drop(columns="ticker")
    write(frame, tmp_path / "part-00000-ab.parquet")
    with pytest.raises(UnreadableFile, match=r"part-00000-ab.parquet cannot be read: of which tic"):
        ParquetFiles(str(tmp_path)).listings()
    write(
        made("AAPL", "MSFT").rename(columns={"ticker": "paper"}), tmp_path / "part-00000-ab.parquet"
    )
    same(*fetched(f"{tmp_path}#ticker=paper", "AAPL"), made("AAPL"), "AAPL")
    write(frame.drop(columns="close"), tmp_path / "part-00000-ab.parquet")
    with pytest.raises(
        BadFile, match=r"there is no column close or .*; there are date, open, high"
    ):
        ParquetFiles(str(tmp_path)).state()
    write(frame.assign(close=datetime(2024, 1, 1, tzinfo=UTC)), tmp_path / "AAPL.parquet")
    (tmp_path / "part-00000-ab.parquet").unlink()
    (bad,) = fetched(tmp_path, "AAPL")
    assert isinstance(bad, BadFile)
    assert "column close: the column holds timestamp[us, tz=UTC]: numbers are needed" in str(bad)


def test_rows_that_have_no_place_are_told(tmp_path, caplog):
    frame = made("AAPL")
    frame.loc[3, "ticker"] = None
    frame.loc[7, "date"] = None
    write(frame, tmp_path / "bars.parquet")
    with caplog.at_level(logging.WARNING):
        (answer,) = fetched(tmp_path, "AAPL")
    assert len(answer.bars) == len(frame) - 2
    assert f"{tmp_path}: rows without a date or a ticker: 2" in caplog.messages


def test_a_broken_file_of_many_tickers_is_told_by_its_name(tmp_path):
    write(made("AAPL"), tmp_path / "1.parquet")
    (tmp_path / "2.parquet").write_bytes(b"")
    (answer,) = fetched(tmp_path, "AAPL")
    assert isinstance(answer, BadFile)
    assert str(answer).startswith(f"{tmp_path}/2.parquet, line 1, column 1: it is broken: ")
    write(made("MSFT"), tmp_path / "2.parquet")
    assert [type(one) for one in fetched(tmp_path, "AAPL", "MSFT")] == [FetchedBars] * 2


def test_a_file_whose_rows_are_broken_is_told_by_its_name(tmp_path):
    write(made("AAPL"), tmp_path / "1.parquet")
    write(made("MSFT"), tmp_path / "2.parquet", use_dictionary=False)
    content = bytearray((tmp_path / "2.parquet").read_bytes())
    content[100:3000] = b"?" * 2900
    (tmp_path / "2.parquet").write_bytes(content)
    for answer in fetched(tmp_path, "AAPL", "MSFT"):
        assert str(answer).startswith(f"{tmp_path}/2.parquet, line 1, column 1: it is broken: ")


def test_files_that_change_are_looked_at_again(tmp_path):
    frame = made("AAPL")
    write(frame[:100], tmp_path / "1.parquet")
    source = ParquetFiles(str(tmp_path))
    assert len(fetched(source, "AAPL")[0].bars) == 100
    write(frame[100:], tmp_path / "2.parquet")
    same(*fetched(source, "AAPL"), frame, "AAPL")
    write(made("MSFT"), tmp_path / "3.parquet")
    assert source.listing("MSFT").ticker == "MSFT"
    source.close()
    assert source.state() == "lists 2 tickers"


@pytest.mark.parametrize("becomes", ["another", "none"])
def test_a_file_that_is_replaced_while_it_is_read_is_not_called_broken(
    tmp_path, monkeypatch, becomes
):
    frame, file = made("AAPL", "MSFT"), tmp_path / "1.parquet"
    write(frame, file, compression="none", use_dictionary=False)
    source = ParquetFiles(str(tmp_path))
    rows = Lake.rows

    def replaced(self, tickers, first, last):
        monkeypatch.setattr(Lake, "rows", rows)
        file.unlink()
        if becomes == "another":
            write(frame[100:], file)
        return rows(self, tickers, first, last)

    monkeypatch.setattr(Lake, "rows", replaced)
    for answer in fetched(source, "AAPL", "MSFT"):
        assert str(answer).startswith(f"{tmp_path} cannot be read: "), becomes
        assert "its files were changed" in str(answer) or "no Parquet files" in str(answer)
    write(frame, file)
    same(*fetched(source, "AAPL"), frame, "AAPL")


@pytest.mark.parametrize(
    ("where", "reason"),
    [
        ("nothing", "there is no such file or folder"),
        ("empty", "it has no Parquet files: their names end in .parquet"),
        ("empty/*.parquet", "it fits no Parquet file"),
    ],
)
def test_places_without_files(tmp_path, where, reason):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFile, match=f"{where.replace('*', '.')} cannot be read: {reason}"):
        ParquetFiles(str(tmp_path / where)).state()


def test_specifications(tmp_path, monkeypatch):
    def create(specification):
        return registry.create(specification, Settings(home=tmp_path)).specification

    monkeypatch.chdir(tmp_path)
    assert create("parquet:bars") == f"parquet:{tmp_path}/bars"
    assert create(f"parquet:file://{tmp_path}/b%20c") == f"parquet:{tmp_path}/b c"
    assert create("parquet:s3://lake/bars/") == "parquet:s3://lake/bars"
    assert (
        create("parquet:s3://lake/b?region=x#ticker=A") == "parquet:s3://lake/b?region=x#ticker=A"
    )
    with pytest.raises(UnreadableFile, match="give a path or s3://BUCKET/PATH"):
        create("parquet:https://example.com/bars.parquet")
    with pytest.raises(UnreadableFile, match="set AWS_ACCESS_KEY_ID and AWS_SECRET_AC") as caught:
        create("parquet:s3://key:hunter2@lake/bars")
    assert "hunter2" not in str(caught.value)
    monkeypatch.setattr(parquet, "find_spec", lambda name: None)
    with pytest.raises(UnreadableFile, match="reading Parquet needs packages of the extra 'files'"):
        create("parquet:bars")


def test_a_lake_in_an_object_store(s3):
    frame = made("AAPL", "MSFT")
    for month, rows in frame.groupby(frame["date"].map(lambda day: day.month)):
        write(rows, f"lake/a b/month={month}/part-00000-ab.snappy.parquet", s3)
    with s3.open_output_stream("lake/a b/_SUCCESS"):
        pass
    for where in ("s3://lake/a b", "s3://lake/a b/month=*", "s3://lake/*/*/*.parquet"):
        for ticker, answer in zip(("AAPL", "MSFT"), fetched(where, "AAPL", "MSFT"), strict=True):
            same(answer, frame, ticker)
    source = ParquetFiles("s3://lake/a b")
    assert source.specification == "parquet:s3://lake/a b"
    (june,) = fetched("s3://lake/a b/month=6", "MSFT")
    assert {day.month for day in june.bars.sessions.tolist()} == {6}
    with s3.open_output_stream("lake/a b/month=6/bad.parquet") as stream:
        stream.write(b"no")
    (broken,) = fetched(source, "AAPL")
    assert str(broken).startswith("s3://lake/a b/month=6/bad.parquet, line 1, column 1: it is bro")


def test_object_stores_that_do_not_answer(s3, monkeypatch):
    with pytest.raises(UnreadableFile, match=r"s3://lake/none cannot be read: there is no such"):
        ParquetFiles("s3://lake/none").state()
    with pytest.raises(
        UnreadableFile, match=r"s3://nobucket/x/\* cannot be read: there is no such"
    ):
        ParquetFiles("s3://nobucket/x/*").state()
    with pytest.raises(UnreadableFile, match="query parameter"):
        ParquetFiles("s3://lake/x?password=1").state()
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(UnreadableFile, match="its server cannot be reached: see AWS_ENDPOINT_URL"):
        ParquetFiles("s3://lake/x").state()


@pytest.mark.parametrize(
    "code", ["AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken"]
)
def test_object_stores_that_refuse_the_keys(s3, monkeypatch, code):
    with refusing_store(code) as endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
        for where in ("s3://lake/x", "s3://lake/x/*"):
            source = ParquetFiles(where)
            with pytest.raises(UnreadableFile, match="access is denied: set AWS_ACCESS_KEY_ID and"):
                source.state()
