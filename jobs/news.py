"""News of tickers: read from files, asked for, kept, and scored where they come without a score."""

import csv
import json
import logging
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from jobs.app import App
from jobs.isolation import is_of_a_ticker, told
from jobs.lines import Line, places, refused, without_headings
from jobs.refresh import in_short, source_setup
from stockbatch.exceptions import BadAnswer, BadFile, StockbatchError
from stockbatch.news import registry
from stockbatch.news.base import Answer, FetchedNews, NewsKind, NewsRequest, number
from stockbatch.providers.csv.lines import text_lines
from stockbatch.providers.yahoo.exchanges import of_american_class
from stockbatch.records import Instrument, NewsItem
from stockbatch.store import instruments, news
from stockbatch.store.news import Recorded
from stockbatch.text import counted, quoted

log = logging.getLogger(__name__)

IMPORTED = "import"
"""The source of what comes from a file that names none."""
CALLED: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker"),
    "published_at": ("published at", "published", "time published", "date", "time"),
    "title": ("title", "headline"),
    "url": ("url", "link"),
    "source": ("source",),
    "score": ("score", "sentiment"),
    "relevance": ("relevance",),
}
"""What files call a column, best name first."""
NEEDED = ("symbol", "published_at", "title")
DELIMITERS = ",;\t|"
END = "\0"
"""A line after the last, which no file has: an open quote takes it in."""
LONGEST_CELL = 2**20
"""Characters of a cell, as many as a line may have; of a title the beginning is kept."""


@dataclass(slots=True)
class Contents:
    """What the lines of a file are: items, failures, or of symbols that nobody knows."""

    items: list[NewsItem] = field(default_factory=list)
    failures: list[BadFile] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    """Lines by symbol."""


class Imported(NamedTuple):
    """What became of the lines of a file."""

    recorded: Recorded
    failures: tuple[BadFile, ...]
    unknown: Mapping[str, int]
    """Lines by a symbol that is not on the watchlist."""


def import_(app: App, file: Path) -> Imported:
    """Keep the news of a file: CSV with headings, or a JSON object a line.

    Every line is an item of a ticker of the watchlist, a failure, or unknown. What was over when it
    is imported is history: it counts since it was published. Raises UnreadableFile, and BadFile
    where there are no headings, a line is too long, or a quote is not closed.
    """
    seen_at = app.clock()
    with app.transaction() as db:
        watched = instruments.active(db)
    found = read(file, _names(watched), seen_at)
    with app.transaction() as db:
        recorded = news.record(db, watched, found.items, seen_at, history=True)
    return Imported(recorded, tuple(found.failures), found.unknown)


def _names(watched: Sequence[Instrument]) -> dict[str, str]:
    """Return tickers by what they may be called: their own names go before their providers'."""
    return {i.symbol: i.ticker for i in watched} | {i.ticker: i.ticker for i in watched}


# ---- a file


def read(file: Path, names: Mapping[str, str], seen_at: datetime) -> Contents:
    """Return what is in a file, `names` being tickers by what they may be called.

    Raises UnreadableFile, and BadFile where there are no headings, a line is too long, or a quote
    is not closed.
    """
    found = Contents()
    for line in _lines(file):
        try:
            if isinstance(line, BadFile):
                raise line
            symbol = line.cells.get("symbol", "")
            if not symbol:
                raise line.refuse("symbol", "there is no symbol")
            ticker = names.get(symbol) or names.get(symbol.upper())
            ticker = ticker or names.get(of_american_class(symbol.upper(), sure=True) or "")
            if ticker is None:
                found.unknown[symbol[:64]] += 1
            else:
                found.items.append(_item(line, ticker, seen_at))
        except BadFile as error:
            found.failures.append(error)
    return found


def _lines(file: Path) -> Iterator[Line | BadFile]:
    """Yield the lines of a file that say something, and what is wrong with others."""
    with closing(text_lines(file)) as lines:
        first = next((line.strip() for line in lines if line.strip()), "")
    yield from _of_json(file) if first.startswith("{") else _of_csv(file)


def _of_json(file: Path) -> Iterator[Line | BadFile]:
    with closing(text_lines(file)) as lines:
        for number_, text in enumerate(lines, 1):
            if not text.strip():
                continue
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                found = None
            if not isinstance(found, dict):
                yield refused(file, number_, 1, "it is no JSON object")
                continue
            pairs = list(found.items())
            cells, keys, wrong = dict[str, str](), dict[str, int | str](), None
            for name, at in places(found, CALLED).items():
                key, value = pairs[at]
                if isinstance(value, dict | list | bool):
                    wrong = refused(file, number_, key, f"{name} is no text and no number")
                cells[name], keys[name] = "" if value is None else str(value).strip(), key
            yield wrong or Line(file, number_, cells, keys)


def _of_csv(file: Path) -> Iterator[Line | BadFile]:
    rows, columns = _table(file)
    width = len(rows[0][1])
    ours: dict[str, int | str] = {name: at + 1 for name, at in columns.items()}
    for number_, cells in rows[1:]:
        if any(cell.strip() for cell in cells[width:]):
            reason = f"there are {len(cells)} cells below {counted(width, 'heading')}"
            yield refused(file, number_, width + 1, reason)
            continue
        named = {name: cells[at].strip() for name, at in columns.items() if at < len(cells)}
        yield Line(file, number_, named, ours)


def _table(file: Path) -> tuple[list[tuple[int, list[str]]], dict[str, int]]:
    """Return all rows, that of the headings first, and where the columns are."""
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        for delimiter in DELIMITERS:
            with closing(_rows(file, delimiter)) as found:
                first = next(found, (1, []))
                columns = places(first[1], CALLED)
                if set(NEEDED) <= columns.keys():
                    return [first, *found], columns
    finally:
        csv.field_size_limit(before)
    raise without_headings(file, NEEDED)


def _rows(file: Path, delimiter: str) -> Generator[tuple[int, list[str]]]:
    """Yield the rows that are not blank, each with the line it ends on; raises BadFile."""
    with closing(text_lines(file)) as lines:
        reader = csv.reader(chain(lines, [END]), delimiter=delimiter, skipinitialspace=True)
        over = 0
        try:
            for row in reader:
                if row and row[-1].endswith(END):
                    if row != [END]:
                        raise refused(file, over + 1, 1, "a quote in this news item is not closed")
                elif any(cell.strip() for cell in row):
                    yield reader.line_num, row
                over = reader.line_num
        except csv.Error:
            reason = f"a cell of this news item has more than {LONGEST_CELL:,} characters"
            raise refused(file, over + 1, 1, f"{reason}: is a quote not closed?") from None


def _item(line: Line, ticker: str, seen_at: datetime) -> NewsItem:
    """Return the item of a line; raises BadFile."""
    title, url = line.cells.get("title", ""), line.cells.get("url") or None
    if not title:
        raise line.refuse("title", "there is no title")
    if url is not None and not url.startswith(("http://", "https://")):
        raise line.refuse("url", f"{quoted(url)} is no address such as https://example.com/news")
    source = line.cells.get("source") or IMPORTED
    score = _number(line, "score", -1)
    return NewsItem(
        symbol=ticker,
        published_at=_instant(line, seen_at),
        title=title,
        source=source,
        url=url,
        relevance=_number(line, "relevance", 0),
        score=score,
        scored_by=None if score is None else source,
    )


def _instant(line: Line, seen_at: datetime) -> datetime:
    """Return when an item was published; without a zone in UTC; of a mere day, the end counts."""
    cell = line.cells.get("published_at", "")
    try:
        instant = datetime.fromisoformat(cell)
        instant = instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)
        if instant > seen_at:
            raise line.refuse("published_at", f"{cell} is yet to come")
        return instant + timedelta(days=1) if len(cell) <= len("2024-07-01") else instant
    except (ValueError, OverflowError):
        reason = f"{quoted(cell)} is no instant such as 2024-07-01T12:00Z"
        raise line.refuse("published_at", reason) from None


def _number(line: Line, column: str, least: float) -> float | None:
    cell = line.cells.get(column, "")
    found = number(cell, least, 1) if cell else None
    if cell and found is None:
        raise line.refuse(column, f"{quoted(cell)} is no number from {least} to 1")
    return found


# ---- asked for


@dataclass(slots=True, kw_only=True)
class Refreshed:
    """What one source brought."""

    source: str
    asked: int = 0
    answered: int = 0
    new: int = 0
    problems: dict[str, str] = field(default_factory=dict)
    """What was wrong, by ticker."""

    def __str__(self) -> str:
        asked = counted(self.asked, "ticker")
        said = f"{self.source}: {self.answered} of {asked} answered for; {self.new} news items new"
        return said + in_short(self.problems)


def refresh(app: App, tickers: Sequence[str] | None = None) -> list[Refreshed]:
    """Ask every source of the setting `news_sources` about the watchlist, or about some of it.

    What they bring counts from now on, whenever it was published. Raises UnknownInstrument,
    UnknownNewsSource and BrokenProvider.
    """
    kinds = {name: registry.kind(name) for name in app.settings.news_sources}
    with app.transaction() as db:
        watchlist = instruments.active(db)
        chosen = watchlist if tickers is None else instruments.find(db, tickers)
    done = []
    for name, kind in kinds.items():
        fed: dict[str, list[Instrument]] = {}
        for one in chosen:
            if symbol := kind.symbol(one, app.settings):
                fed.setdefault(symbol, []).append(one)
        if fed:
            summary = Refreshed(source=name, asked=sum(map(len, fed.values())))
            for answer in _answers(app, name, kind, list(fed), watchlist):
                _save(app, answer, fed, summary)
                app.checkpoint()
            log.info("%s", summary)
            done.append(summary)
    return done


def strangers(app: App) -> list[str]:
    """Return the tickers that the settings name for a source and the watchlist lacks.

    Raises UnknownNewsSource and BrokenProvider.
    """
    kinds = map(registry.kind, app.settings.news_sources)
    named = {ticker for kind in kinds for ticker in kind.named(app.settings)}
    with app.transaction() as db:
        return sorted(named - {one.ticker for one in instruments.active(db)})


def _answers(
    app: App,
    name: str,
    kind: NewsKind,
    symbols: Sequence[str],
    watchlist: Sequence[Instrument],
) -> Iterator[Answer]:
    """Yield one answer for each symbol, whatever the source does."""
    left = set(symbols)
    try:
        source = app.news_sources.get(name) or kind.make(
            source_setup(app, kind.provider, watchlist)
        )
        with closing(source):
            for answer in source.news([NewsRequest(symbol=symbol) for symbol in symbols]):
                if _symbol(answer) in left:
                    left.remove(_symbol(answer))
                    yield answer
        reason = "it gave none"
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        # Settings it cannot read, or a mistake in somebody's package.
        reason = told(error)
        log.warning("%s: %s", name, reason)
    for symbol in sorted(left):
        yield BadAnswer(provider=name, ticker=symbol, reason=reason)


def _symbol(answer: Answer) -> str:
    return answer.symbol if isinstance(answer, FetchedNews) else str(answer.values["ticker"])


def _save(
    app: App,
    answer: Answer,
    fed: Mapping[str, Sequence[Instrument]],
    summary: Refreshed,
) -> None:
    """Keep what a source has of one symbol, for each ticker that it is."""
    for one in fed[_symbol(answer)]:
        try:
            if not isinstance(answer, FetchedNews):
                raise answer
            items = [replace(item, symbol=one.ticker) for item in answer.items]
            with app.transaction() as db:
                summary.new += news.record(db, [one], items, app.clock()).new
            summary.answered += 1
        except Exception as error:
            if not is_of_a_ticker(error):
                raise
            # What no table takes is a mistake in somebody's package, and no other ticker's.
            summary.problems[one.ticker] = told(error)


# ---- scored


def score(app: App) -> int:
    """Let the scorer that is set score all items without a score; return how many.

    Where nobody is set, or nothing is without a score, nobody is asked. Raises UnknownScorer,
    BrokenProvider, and what the scorer lacks.
    """
    if not app.settings.news_scorer:
        return 0
    with app.transaction() as db:
        if not news.unscored(db):
            return 0
        scorer = registry.scorer(app.settings.news_scorer)
        return news.score(db, scorer.name, scorer.scores)


def try_to_score(app: App) -> StockbatchError | None:
    """Score what has no score; return why that cannot be done: items are kept all the same."""
    try:
        if done := score(app):
            log.info("%s scored by %s", counted(done, "news item"), app.settings.news_scorer)
    except StockbatchError as error:
        return error
    return None
