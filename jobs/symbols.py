"""Lists of symbols as they are published: who is in an index, what an exchange trades."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path

from jobs.watchlist import Wanted
from stockbatch.exceptions import BadFile, UnknownCalendar
from stockbatch.market import sessions
from stockbatch.providers.csv.lines import read_rows
from stockbatch.providers.yahoo import exchanges
from stockbatch.text import SEPARATORS, counted, quoted, wrong_name

TOLD = ("name", "calendar", "currency", "asset_class", "sector", "industry", "symbol")
COLUMNS = (*TOLD, "tags", "provider")
"""What a list may say beside `ticker`; what it does not say the provider is asked."""
GROUPS = ("sector", "industry", "tags")
"""Those of them that put a ticker into groups."""
CALLED: dict[str, tuple[str, ...]] = {
    "ticker": (
        *("ticker", "symbol", "tickers", "symbols", "ticker symbol", "stock symbol", "act symbol"),
        *("trading symbol", "tradingsymbol", "stock code", "asx code", "ts code", "epic", "tidm"),
        *("ric", "code", "stock", "kürzel", "代码", "股票代码", "证券代码", "コード", "종목코드"),
    ),
    "name": (
        *("name", "security", "security name", "company", "company name", "name of company"),
        *("long name", "title", "description", "issuer", "名称", "股票简称", "銘柄名", "종목명"),
    ),
    "calendar": ("calendar",),
    "currency": ("currency",),
    "asset_class": ("asset class",),
    "sector": ("sector", "gics sector", "icb industry", "branche", "行业", "業種"),
    "industry": (
        *("industry", "gics sub industry", "gics subindustry", "sub industry", "icb subsector"),
        *("gics industry", "gics industry group"),
    ),
    "tags": ("tags", "tag"),
    "provider": ("provider",),
    "etf": ("etf",),
    "test": ("test issue",),
}
"""What lists call a column, best name first; `symbol` beside `ticker` is what the provider says."""
DELIMITERS = ",;\t|"
UNUSED = "\x1f"
"""A delimiter that no list has: each line is one cell."""
PREAMBLE = 50
"""Lines among which the headings are looked for."""
SYMBOL = re.compile(r"\^?[^\W_][\w.\-^=&$/+:*!']{0,31}")
"""Letters and digits of any script, and what exchanges and Yahoo put between and behind them."""
NO_SYMBOLS = frozenset(
    {"NaN", "nan", "null", "None", "none", "n/a", "N/A", "ISIN", "CUSIP", "SEDOL"}
)
NO_SHARES = ("cash", "money market", "future", "forward", "swap", "option", "fx")
"""How the asset class of what a fund holds beside its shares begins, in small letters."""
ISIN = re.compile(r"[A-Z]{2}[A-Z0-9]{9}\d")
DATE = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2}[-/][A-Z][a-z]{2}([-/]\d{2,4})?|\d{1,2}/\d{1,2}/\d{2,4}")
"""What spreadsheets make of symbols such as MAR1."""
NUMBER = re.compile(r"\d+\.\d*0|\d+(\.\d+)?E[+-]?\d+")
"""What they make of 0700 or 1E10 where nobody stops them."""
LARGEST = 16 * 2**20
"""Bytes of a list; that of all American tickers has one million."""
FOOTER = "file creation time"
"""How the last line of NASDAQ's lists begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Symbols:
    """The tickers of a list, what is wrong with other lines, and what was made of some."""

    wanted: tuple[Wanted, ...]
    failures: tuple[BadFile, ...]
    renamed: dict[str, str] = field(default_factory=dict)
    """By ticker as listed, what Yahoo calls it: it is added under that name."""
    tests: int = 0
    """Issues that an exchange only tests with; nobody trades them."""


def read(file: Path, provider: str) -> Symbols:
    """Return the tickers a list names, each once, of `provider` where it names no other.

    It has a ticker per line, or a line of headings, perhaps after a preamble, of which one is
    known for tickers. Blank lines and those that begin with # are left out; every other line
    is a ticker or a failure. Raises UnreadableFile, and BadFile where no line names a ticker.
    """
    rows, headings = _table(file)
    wanted: dict[str, Wanted] = {}
    lines: dict[str, int] = {}
    failures, renamed, tests = list[BadFile](), dict[str, str](), 0
    for number, cells in rows:
        try:
            row = _row(file, number, cells, headings)
            if row.get("test", "").upper() == "Y":
                tests += 1
                continue
            one = _wanted(file, number, row, headings, provider)
            listed, one = one.ticker, _as_yahoo_has_it(one)
            if (before := wanted.setdefault(one.ticker, one)) != one:
                reason = f"{listed} is on line {lines[before.ticker]} already, told otherwise"
                raise BadFile(path=file, line=number, column=1, reason=reason)
        except BadFile as error:
            failures.append(error)
            continue
        lines.setdefault(one.ticker, number)
        if one.ticker != listed:
            renamed[listed] = one.ticker
    if not wanted:
        if failures:
            raise failures[0]
        raise BadFile(path=file, line=1, column=1, reason="it names no ticker")
    found = tuple(wanted.values()), tuple(failures)
    return Symbols(wanted=found[0], failures=found[1], renamed=renamed, tests=tests)


def _table(file: Path) -> tuple[list[tuple[int, list[str]]], dict[str, int]]:
    """Return the rows below the headings, each with its line, and where the columns are.

    A file without headings has one column, whatever its lines contain.
    """
    best: tuple[int, dict[str, int], list[tuple[int, list[str]]]] | None = None
    for delimiter in DELIMITERS:
        rows = list(lines(file, delimiter))
        for place, (_, cells) in enumerate(rows[:PREAMBLE]):
            columns = _columns(cells)
            # That which separates most of the headings is the delimiter. Of the lines, that with
            # most of them has the headings: before it, a fund sums up its stock and cash.
            more = best is None or len(columns) > len(best[1])
            if columns and more and not _are_symbols(rows[:place]):
                best = place, columns, rows
    if best is None:
        return list(lines(file, UNUSED)), {"ticker": 0}
    place, columns, rows = best
    width, below = len(rows[place][1]), rows[place + 1 :]
    # R leaves out the heading of the names of its rows.
    if below and all(len(cells) == width + 1 and cells[-1] for _, cells in below):
        columns = {name: column + 1 for name, column in columns.items()}
        width += 1
    return below, {**columns, "": width}


def lines(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of every line of a list that says something, without a comment."""
    for number, cells in whole_lines(file, delimiter):
        if not cells[0].lower().startswith(FOOTER):
            cells[-1] = re.sub(r"(^|\s+)#.*$", "", cells[-1])
            yield number, cells


def whole_lines(file: Path, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of every line that says something and is no comment."""
    with closing(read_rows(file, delimiter, LARGEST)) as found:
        for number, row in found:
            cells = [_plain(cell) for cell in row]
            if not cells[0].startswith("#"):
                yield number, cells


def _plain(cell: str) -> str:
    """Return a cell without what people cannot see; what is no UTF-8 is read as Windows writes."""
    try:
        cell.encode()
    except UnicodeEncodeError:
        cell = cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")
    return cell.strip(" \t\r\n\v\f\xa0\u200b\u200e\u2060\ufeff")


def _columns(cells: Sequence[str]) -> dict[str, int]:
    """Return where the columns of a line of headings are; none where it is no such line."""
    plain = [re.sub(r"[\s_-]+", " ", cell.strip("<>* ").lower()) for cell in cells]
    found = {}
    for column, names in CALLED.items():
        name = next((name for name in names if name in plain), None)
        if name is not None:
            found[column] = plain.index(name)
    # A line of its own may be a ticker: CODE and STOCK are.
    if "ticker" not in found or (len([c for c in plain if c]) == 1 and cells[-1].isupper()):
        return {"ticker": 0} if plain in (["ticker"], ["symbol"]) else {}
    if plain[found["ticker"]] != "symbol" and "symbol" in plain:
        found["symbol"] = plain.index("symbol")
    return found


def _are_symbols(rows: Sequence[tuple[int, list[str]]]) -> bool:
    """Tell whether lines before one that may be headings are tickers themselves."""
    return bool(rows) and all(len(row) == 1 and _is_symbol(row[0]) for _, row in rows)


def _is_symbol(cell: str) -> bool:
    nothing = cell in NO_SYMBOLS or DATE.fullmatch(cell) or NUMBER.fullmatch(cell)
    return not nothing and SYMBOL.fullmatch(cell) is not None


def _row(
    file: Path, number: int, cells: Sequence[str], headings: Mapping[str, int]
) -> dict[str, str]:
    """Return the cells of a line by the names of their columns; raises BadFile."""
    if any(cells[headings.get("", 1) :]):
        reason = f"there are {len(cells)} cells below {counted(headings.get('', 1), 'heading')}"
        raise BadFile(path=file, line=number, column=len(cells), reason=reason)
    row = {name: cells[column] for name, column in headings.items() if name and column < len(cells)}
    ticker, column = re.sub(r":\s+", ":", row.get("ticker", "")), headings["ticker"] + 1
    if not ticker:
        reason = f"there is no ticker beside {' '.join(filter(None, cells))!r}"
        raise BadFile(path=file, line=number, column=column, reason=reason)
    if not _is_symbol(ticker):
        lacking = "" if "" in headings else "; no line above has a heading such as ticker or symbol"
        reason = f"{ticker!r} is not a symbol{lacking}"
        raise BadFile(path=file, line=number, column=column, reason=reason)
    if row.get("asset_class", "").lower().startswith(NO_SHARES):
        reason = f"{ticker} is {row['asset_class']}, not traded under a ticker of its own"
        raise BadFile(path=file, line=number, column=column, reason=reason)
    told = {name: cell for name, cell in row.items() if cell not in ("", "-", "--")}
    return {**told, "ticker": ticker}


def _wanted(
    file: Path, number: int, row: Mapping[str, str], headings: Mapping[str, int], provider: str
) -> Wanted:
    """Return the ticker of a line with what it is told; raises BadFile."""
    told = {name: row[name] for name in TOLD if name in row}
    if "calendar" in told:
        try:
            told["calendar"] = sessions.canonical(told["calendar"])
        except UnknownCalendar as error:
            column = headings["calendar"] + 1
            raise BadFile(path=file, line=number, column=column, reason=error) from None
    if "asset_class" in told:
        told["asset_class"] = told["asset_class"].lower()
    if row.get("etf") == "Y":
        told["asset_class"] = "etf"
    groups = {kind: _group_names(file, number, row, headings, kind) for kind in GROUPS}
    told |= {kind: names[0] for kind, names in groups.items() if names and kind in TOLD}
    one = Wanted(
        ticker=row["ticker"],
        provider=row.get("provider", provider),
        told=told,
        tags=groups["tags"],
    )
    # Yahoo takes both for a symbol: "Cash" under a table would be the share CASH.
    word = re.fullmatch("[A-Z][a-z]+", one.ticker)
    if _of_yahoo(one) and (word or ISIN.fullmatch(one.ticker)):
        kind = "a word" if word else "an ISIN"
        reason = f"{one.ticker} is {kind}: give the symbol that Yahoo has, in capitals"
        raise BadFile(path=file, line=number, column=headings["ticker"] + 1, reason=reason)
    return one


def _group_names(
    file: Path, number: int, row: Mapping[str, str], headings: Mapping[str, int], kind: str
) -> tuple[str, ...]:
    """Return what a cell says of a ticker's groups of a kind, each once; raises BadFile."""
    cell = row.get(kind, "")
    cells = re.split(f"[{SEPARATORS}]", cell) if kind == "tags" else [cell]
    names = dict.fromkeys(filter(None, (" ".join(one.split()) for one in cells)))
    for name in names:
        if wrong := wrong_name(name):
            reason = f"{quoted(name)} cannot name a group of tickers: {wrong}"
            raise BadFile(path=file, line=number, column=headings[kind] + 1, reason=reason)
    return tuple(names)


def _of_yahoo(one: Wanted) -> bool:
    return one.provider.partition(":")[0] == exchanges.PROVIDER and "symbol" not in one.told


def _as_yahoo_has_it(one: Wanted) -> Wanted:
    """Return a ticker under the name Yahoo has for it: BRK-B for BRK.B, VOD.L for LON:VOD."""
    if not _of_yahoo(one):
        return one
    ticker = exchanges.of_prefixed(one.ticker.upper())
    american = one.told.get("calendar") == sessions.DEFAULT_CALENDAR
    name = exchanges.of_american_class(ticker, sure=american)
    return replace(one, ticker=ticker if name is None else name)
