"""Events that move prices: read from files, kept, and projected from the rhythm of the past."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import NamedTuple

from jobs.app import App
from jobs.lines import Line, read_lines
from stockbatch.exceptions import BadFile
from stockbatch.market import rhythm
from stockbatch.market import sessions as trading
from stockbatch.market.events import timing_at
from stockbatch.providers.yahoo.exchanges import of_american_class
from stockbatch.records import Event, EventKind, Instrument, Timing
from stockbatch.store import events, instruments
from stockbatch.store.events import Recorded

IMPORTED = "import"
"""The source of what comes from files."""
PROJECTED = "rhythm"
"""The source of what nobody has stated."""
CALLED: dict[str, tuple[str, ...]] = {
    "symbol": ("symbol", "ticker", "act symbol", "code"),
    "date": ("date", "report date", "reporteddate", "reportdate", "earnings date"),
    "time": ("time", "hour"),
    "timing": ("timing", "when", "reporttime"),
    "kind": ("kind", "event", "type"),
    "known_at": ("known at", "announced at"),
}
"""What files call a column, best name first."""
TIMINGS: dict[str, Timing] = {
    **{timing.replace("_", " "): timing for timing in Timing},
    **dict.fromkeys(("bmo", "pre market", "before market open"), Timing.BEFORE_OPEN),
    **dict.fromkeys(("dmh", "during market hours"), Timing.DURING),
    **dict.fromkeys(("amc", "post market", "after market close"), Timing.AFTER_CLOSE),
    **dict.fromkeys(("", "n/a", "tbd", "tns", "time not supplied"), Timing.UNKNOWN),
}
"""What files write for a timing."""
NOTHING = ("", "-", "--")
EARLIEST = datetime(trading.FIRST_DAY.year, 1, 1, tzinfo=UTC)
KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::\d\d)?\s*([ap]m)?", re.IGNORECASE)


class Imported(NamedTuple):
    """What became of the lines of a file."""

    recorded: Recorded
    failures: tuple[BadFile, ...]
    unknown: Mapping[str, int]
    """Lines by a symbol that is not on the watchlist."""
    projected: int
    """Dates that are projected now, of tickers of which none is stated."""


def import_(app: App, file: Path) -> Imported:
    """Keep the events of a file, and project what comes next.

    Every line is an event of the watchlist, or of one of its calendars, a failure, or unknown.
    Raises UnreadableFile, and BadFile where there are no headings.
    """
    seen_at = app.clock()
    with app.transaction() as db:
        watched = instruments.active(db)
    found = _read(file, _Watchlist.of(watched, seen_at), seen_at)
    with app.transaction() as db:
        recorded = events.record(db, watched, found.events, IMPORTED, seen_at)
    return Imported(recorded, tuple(found.failures), found.unknown, project(app))


def project(app: App) -> int:
    """Project the next report of every ticker that has a rhythm and no date ahead; return how many.

    What was projected before and has passed, or is stated by now, is withdrawn.
    """
    seen_at = app.clock()
    today = seen_at.date()
    with app.transaction() as db:
        watched = instruments.active(db)
        past = events.stated_dates(db, watched)
        guesses = []
        for one in watched:
            days = past.get(one.id, [])
            if not days or not today - rhythm.OLDEST <= days[-1] < today:
                continue
            day = rhythm.projected(days)
            if day is not None and day >= today:
                guesses.append(Event(symbol=one.ticker, date=day, projected=True))
        events.record(db, watched, guesses, PROJECTED, seen_at, through=date.max)
    return len(guesses)


# ---- a file


@dataclass(frozen=True, slots=True)
class _Watchlist:
    """What a line can be about, by the names it may be called."""

    calendars: Mapping[str, trading.TradingCalendar]
    """By ticker, or by their own code."""
    others: Mapping[str, str]
    """Tickers by what their providers call them."""

    @classmethod
    def of(cls, watched: Sequence[Instrument], seen_at: datetime) -> "_Watchlist":
        by_code = {i.calendar: trading.load(i.calendar, seen_at.date()) for i in watched}
        tickers = {i.ticker: by_code[i.calendar] for i in watched}
        return cls(by_code | tickers, {i.symbol: i.ticker for i in watched})

    def named(self, symbol: str) -> str | None:
        """Return the ticker, or the calendar, that a file calls `symbol`; None: it is unknown."""
        american = of_american_class(symbol.upper(), sure=True)
        ways = (symbol, self.others.get(symbol), symbol.upper(), american)
        return next((way for way in ways if way in self.calendars), None)


@dataclass(frozen=True, slots=True)
class _Found:
    events: list[Event]
    failures: list[BadFile]
    unknown: Counter[str]


def _read(file: Path, watchlist: _Watchlist, seen_at: datetime) -> _Found:
    """Return the events of a file, what is wrong with other lines, and unknown symbols."""
    found = _Found([], [], Counter())
    for line in read_lines(file, CALLED, ("symbol", "date")):
        try:
            if line.excess:
                raise line.refuse("date", line.excess)
            symbol = line.cells.get("symbol", "")
            if not symbol:
                raise line.refuse("symbol", "there is no symbol")
            name = watchlist.named(symbol)
            if name is None:
                found.unknown[symbol] += 1
            else:
                found.events.append(_event(line, name, watchlist.calendars[name], seen_at))
        except BadFile as error:
            found.failures.append(error)
    return found


def _event(line: Line, symbol: str, calendar: trading.TradingCalendar, seen_at: datetime) -> Event:
    """Return the event of a line; raises BadFile."""
    day = line.day("date", calendar)
    kind = re.sub(r"[\s-]+", "_", line.cells.get("kind", "").lower()) or str(EventKind.EARNINGS)
    if not KIND.fullmatch(kind):
        reason = f"{kind!r} is no kind of event: write a word of letters, digits and _"
        raise line.refuse("kind", reason)
    if symbol == calendar.code and kind == EventKind.EARNINGS:
        raise line.refuse("symbol", f"{symbol} is an exchange, which reports no earnings")
    return Event(
        symbol=symbol,
        date=day,
        kind=kind,
        timing=_timing(line, calendar, day),
        known_at=_known_at(line, seen_at),
    )


def _timing(line: Line, calendar: trading.TradingCalendar, day: date) -> Timing:
    """Return the timing of a line, as written or by its time on the clock of the exchange."""
    words = re.sub(r"[\s_-]+", " ", line.cells.get("timing", "").lower()).strip()
    if words not in TIMINGS:
        known = ", ".join(Timing)
        raise line.refuse("timing", f"{line.cells['timing']!r} is none of {known}")
    cell = line.cells.get("time", "")
    if TIMINGS[words] is not Timing.UNKNOWN or cell in NOTHING:
        return TIMINGS[words]
    parts = CLOCK.fullmatch(cell)
    try:
        hour, minute, half = parts.groups() if parts else ("", "", None)
        number = int(hour) if half is None else int(hour) % 12 + 12 * (half.lower() == "pm")
        return timing_at(calendar, day, time(number, int(minute)))
    except ValueError:
        raise line.refuse("time", f"{cell!r} is no time such as 16:05") from None


def _known_at(line: Line, seen_at: datetime) -> datetime | None:
    """Return since when a line says that it was known; of a mere day, the end counts."""
    cell = line.cells.get("known_at", "")
    if cell in NOTHING:
        return None
    try:
        known_at = datetime.fromisoformat(cell)
    except ValueError:
        reason = f"{cell!r} is no instant such as 2024-07-01T12:00Z"
        raise line.refuse("known_at", reason) from None
    if known_at.tzinfo is None:
        known_at = known_at.replace(tzinfo=UTC)
    if known_at > seen_at:
        raise line.refuse("known_at", f"{cell} is yet to come: nobody knows it now")
    if known_at < EARLIEST:
        raise line.refuse("known_at", f"{cell} is before {EARLIEST:%Y}, where calendars begin")
    return known_at + timedelta(days=1) if len(cell) <= len("2024-07-01") else known_at
