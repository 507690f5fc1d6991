"""Whatever comes from outside: only our own exceptions come out, and no bar that was not in it."""

import csv
import io
import json
import math
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from stockbatch.exceptions import BadAnswer, BadFile, ProviderError
from stockbatch.providers.alpha_vantage import answers
from stockbatch.providers.alpha_vantage.client import Client
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.providers.csv.cells import as_number, decimal_mark
from stockbatch.providers.csv.dates import as_session
from stockbatch.providers.csv.parser import read
from stockbatch.providers.yahoo import chart as yahoo_chart
from stockbatch.records import BarRequest

LAST = date(2024, 12, 31)
REQUEST = BarRequest(symbol="TEST", first=None, last=LAST)
COLUMNS = ("Open", "High", "Low", "Close", "Volume", "Stock Splits", "Dividends", "Adj Close")

GOOD = st.floats(0.01, 1e6).map(lambda value: round(value, 4))
ODD = st.one_of(
    st.none(),
    st.sampled_from([math.nan, math.inf, -math.inf, 0, -1, 1e308, 1e-320, "", "12", "x", "1,5"]),
    st.text(max_size=4),
    st.booleans(),
    st.lists(st.integers(), max_size=2),
    st.just(pd.NaT),
)


@st.composite
def frames(draw):
    """A frame as yfinance might make one: good rows, odd cells, odd columns, odd dates."""
    size = draw(st.integers(0, 6))
    zone = draw(st.sampled_from(["America/New_York", "Pacific/Auckland", "UTC", None]))
    days = draw(
        st.lists(
            st.one_of(
                st.dates(date(2024, 1, 1), date(2025, 2, 1)).map(pd.Timestamp),
                st.just(pd.NaT),
            ),
            min_size=size,
            max_size=size,
        )
    )
    cells = draw(st.sampled_from([GOOD, st.one_of(GOOD, ODD)]))
    columns = draw(st.permutations(COLUMNS))[: draw(st.sampled_from([8, 8, 8, 7, 0]))]
    values = {
        name: draw(st.lists(cells, min_size=size, max_size=size))
        if name not in ("Stock Splits", "Dividends")
        else draw(
            st.lists(
                st.one_of(st.just(0.0), st.sampled_from([2.0, 0.5, math.nan]), cells),
                min_size=size,
                max_size=size,
            )
        )
        for name in columns
    }
    index = pd.DatetimeIndex(days, tz=zone) if draw(st.booleans()) or size == 0 else days
    frame = pd.DataFrame(values, index=pd.Index(index))
    return frame if draw(st.booleans()) else frame.astype(object)


@settings(max_examples=120)
@given(frames(), st.sampled_from([{}, {"currency": 3}, {"instrumentType": ["x"]}]))
def test_frames(frame, about):
    try:
        fetched = yahoo_chart.fetched_bars(REQUEST, frame, about)
    except BadAnswer:
        lacking = set(COLUMNS) - {"Adj Close"} - set(frame.columns)
        assert lacking or not isinstance(frame.index, pd.DatetimeIndex)
        return
    stated = {pd.Timestamp(moment).date() for moment in frame.index if not pd.isna(moment)}
    found = fetched.bars.sessions.tolist()
    assert set(found) <= {day for day in stated if day <= LAST}
    assert found == sorted(found)
    assert {action.session for action in fetched.actions} <= stated
    assert not any(action.value == 0 or math.isnan(action.value) for action in fetched.actions)
    assert fetched.currency is None or isinstance(fetched.currency, str)
    splits = [a for a in fetched.actions if a.kind == "split"]
    # One that cannot be undone takes the prices before it away, though it be later than asked for.
    later = pd.to_numeric(frame["Stock Splits"], errors="coerce").fillna(0)
    usable = all(0 < a.value < math.inf for a in splits) and later.between(0, 1e300).all()
    if usable and len(found) == len(set(found)):
        assert_good_rows_are_kept(frame, fetched, splits)


def assert_good_rows_are_kept(frame, fetched, splits):
    """The slow way: every row of finite numbers is there, multiplied by the splits after it."""
    bars = {day: row for row, day in enumerate(fetched.bars.sessions.tolist())}
    stated = {
        (moment, float(split))
        for moment, split in zip(frame.index, frame["Stock Splits"], strict=True)
        if not pd.isna(moment) and type(split) is float and split > 0
    }
    for place, moment in enumerate(frame.index):
        close, opened = frame["Close"].iloc[place], frame["Open"].iloc[place]
        good = all(type(cell) is float and 0 < cell < 1e7 for cell in (close, opened))
        if pd.isna(moment) or not good or pd.Timestamp(moment).date() > LAST:
            continue
        ratio = math.prod(split for other, split in stated if other > moment)
        row = bars[pd.Timestamp(moment).date()]
        np.testing.assert_allclose(fetched.bars.close[row], close * ratio, rtol=1e-9)
        np.testing.assert_allclose(fetched.bars.open[row], opened * ratio, rtol=1e-9)


def provider(text, symbol):
    """Read one answer as the client does."""
    settings = AlphaVantageSettings(key=SecretStr("key"))
    client = Client(
        settings,
        None,
        url="",
        timeout=0,
        waiting=lambda: None,
        clock=lambda: datetime(2024, 6, 14, tzinfo=UTC),
    )
    request = BarRequest(symbol=symbol, first=None, last=LAST)
    return answers.fetched_bars(request, client.read(text, symbol))


CELLS = st.one_of(
    st.decimals(0, 10**6, places=4).map(str), st.sampled_from(["", "None", "x", "1,5"]), ODD
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.one_of(
                st.text(max_size=8),
                st.sampled_from(["Meta Data", "Time Series (Daily)", "2. Symbol", "2024-06-14",
                                 "4. close", "Information", "Note", "Error Message"]),
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


def read_or_refused(text):
    try:
        return provider(text, "IBM")
    except ProviderError:
        return None


@settings(max_examples=200)
@given(JSON)
def test_json_of_any_shape(answer):
    fetched = read_or_refused(json.dumps(answer))
    if fetched is not None:
        assert answer["Meta Data"]
        assert len(fetched.bars) <= len(answer["Time Series (Daily)"])


@given(st.text(max_size=60), st.sampled_from(["", "{"]))
@example("\ud800", "{")
def test_text_of_any_kind(text, before):
    read_or_refused(before + text)


@given(
    st.dictionaries(
        st.one_of(st.dates(date(2024, 1, 1), LAST).map(str), st.text(max_size=5)),
        st.tuples(*[CELLS] * 5),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(["IBM", "ibm", "IBN"]),
)
def test_json_rows_are_read_where_they_say_something(rows, symbol):
    names = ("open", "high", "low", "close", "volume")
    days = {
        day: {f"{number}. {name}": _plain(cell) for number, (name, cell) in
              enumerate(zip(names, cells, strict=True), 1)}
        for day, cells in rows.items()
    }  # fmt: skip
    text = json.dumps({"Meta Data": {"2. Symbol": symbol}, "Time Series (Daily)": days})
    fetched = read_or_refused(text)
    assert (fetched is None) == (symbol == "IBN")
    if fetched is not None:
        expected = sorted((day, number(days[day]["4. close"])) for day in days if is_day(day))
        dated = ~np.isnat(fetched.bars.sessions)
        found = zip(
            fetched.bars.sessions[dated].astype(str).tolist(),
            fetched.bars.close[dated].tolist(),
            strict=True,
        )
        assert repr([(day, close) for day, close in found]) == repr(expected)


def _plain(cell):
    return None if cell is pd.NaT else cell


def is_day(text):
    try:
        return str(as_session(text)) == text
    except ValueError:
        return False


def number(cell, mark="."):
    try:
        return as_number(str(cell), mark)
    except ValueError:
        return math.nan


WRITTEN = st.one_of(
    st.integers(0, 10**9).map(str),
    st.decimals(0, 10**7, places=2).map(str),
    st.decimals(0, 10**7, places=2).map(lambda value: f"{value:,}"),
    st.integers(0, 10**9).map(lambda value: f"{value:,}"),
    st.sampled_from(["", "null", "-", "1 000", "1'000.5", ".5", "5.", "1e3", "1,2", "12,34", "x"]),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(*[WRITTEN] * 4), min_size=1, max_size=5), st.sampled_from(",;"))
def test_no_number_of_a_file_is_misread(tmp_path_factory, rows, delimiter):
    """A file is refused, or each of its cells reads as it would alone, or is unknown."""
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter)
    writer.writerow(["date", "open", "high", "low", "close"])
    writer.writerows([f"2024-01-{day:02}", *cells] for day, cells in enumerate(rows, 1))
    path = tmp_path_factory.getbasetemp() / "numbers.csv"
    path.write_text(buffer.getvalue())
    commas = any("," in cell and not plain(cell) for cells in rows for cell in cells)
    try:
        table = read(path)
    except BadFile as error:
        line, column = error.values["line"], error.values["column"]
        if line - 2 == len(rows):  # no row says anything
            assert all(math.isnan(number(cell)) for cells in rows for cell in cells)
            return
        cell = rows[line - 2][("open", "high", "low", "close").index(column)]
        assert commas or "," in cell or cell == "x"
        return
    mark = decimal_mark(cell for cells in rows for cell in cells)
    assert commas or mark != ","
    for at, name in enumerate(("open", "high", "low", "close")):
        expected = [number(cells[at], mark) for cells in rows]
        unreadable = sum(not plain(cells[at], mark) for cells in rows)
        assert 2 * unreadable <= len(rows)
        np.testing.assert_allclose(table.numbers[name], expected, rtol=1e-15)


def plain(cell, mark="."):
    try:
        as_number(cell, mark)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("text", ["1_000", "0x10", "\uff11", "1e", "--5", "1.2.3", "1,23,45", "5%"])
def test_what_only_looks_like_a_number(text):
    for mark in (".", ",", None):
        with pytest.raises(ValueError, match="not a number"):
            as_number(text, mark)
