"""What portfolios hold: read from files of statements, checked against what is known, and kept.

A statement is all lines of a portfolio and a day. It says all that is held from that day on: of
what was held before and is not in it nobody could tell whether it was sold or left out, so that
such a statement is refused.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from jobs.app import App
from jobs.lines import Line, read_lines
from stockbatch.exceptions import BadFile, UnknownInstrument
from stockbatch.market import sessions as trading
from stockbatch.providers.yahoo.exchanges import of_american_class
from stockbatch.records import Instrument
from stockbatch.store import holdings, instruments
from stockbatch.store.holdings import Holding
from stockbatch.text import quoted, some_of, wrong_name

CALLED: dict[str, tuple[str, ...]] = {
    "portfolio": ("portfolio", "account"),
    "ticker": ("ticker", "symbol"),
    "quantity": ("quantity", "units", "shares"),
    "from": ("from", "from day", "date", "since"),
}
"""What files call a column, best name first."""
QUANTITY = re.compile(r"[+-]?[0-9]{1,12}(\.[0-9]{1,12})?")
"""No separators: 1,000 is one in some countries and a thousand in others."""
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}\.[0-9]{3}")
"""What is a thousand where cells are separated by ; because a comma begins decimals."""


class Imported(NamedTuple):
    """What became of the lines of a file."""

    new: int
    """Lines of a day that was not stated before."""
    changed: int
    """Lines that say otherwise than what was stated of the day before."""
    same: int
    failures: tuple[BadFile, ...]
    left_out: tuple[str, ...]
    """Portfolios with any bad line: nothing of them is kept."""


@dataclass(slots=True)
class _Portfolio:
    """What a file says of a portfolio."""

    days: dict[date, dict[int, tuple[Line, float]]] = field(default_factory=dict)
    """By day and instrument, where it stands and the quantity."""
    failures: list[BadFile] = field(default_factory=list)


def import_(app: App, file: Path) -> Imported:
    """Keep the statements of a file; of a portfolio with a bad line nothing is kept.

    What is stated of a day anew replaces what was stated before. Raises UnreadableFile, and BadFile
    where there are no headings.
    """
    with app.transaction() as db:
        watched = instruments.active(db)
        portfolios, lost = _read(file, watched, app.clock())
        stated = holdings.stated(db, portfolios)
        held = instruments.of(db, list({one.instrument_id for one in stated}))
        by_id = {one.id: one for one in (*held, *watched)}
        new, changed, same = list[Holding](), list[Holding](), 0
        statements = {name: _by_day(of_one) for name, of_one in groupby(stated, _portfolio)}
        for name, portfolio in portfolios.items():
            before = statements.get(name, {})
            _check(portfolio, before, by_id)
            for day, lines in portfolio.days.items() if not portfolio.failures else ():
                known = before.get(day, {})
                for id_, (_, quantity) in lines.items():
                    if known.get(id_) == quantity:
                        same += 1
                    else:
                        to = changed if day in before else new
                        to.append(Holding(name, id_, day, quantity))
        holdings.add(db, [*new, *changed])
    failures = [*lost, *(bad for one in portfolios.values() for bad in one.failures)]
    failures.sort(key=lambda error: int(error.values["line"]))
    left_out = tuple(name for name, one in portfolios.items() if one.failures)
    return Imported(len(new), len(changed), same, tuple(failures), left_out)


def _portfolio(one: Holding) -> str:
    return one.portfolio


def _by_day(stated: Iterable[Holding]) -> dict[date, dict[int, float]]:
    """Return quantities by day and instrument."""
    days: dict[date, dict[int, float]] = {}
    for one in stated:
        days.setdefault(one.from_day, {})[one.instrument_id] = one.quantity
    return days


# ---- what is known already


def _check(
    portfolio: _Portfolio,
    before: Mapping[date, Mapping[int, float]],
    by_id: Mapping[int, Instrument],
) -> None:
    """Note what of a portfolio cannot be kept beside what was stated of it before."""
    first = next((by_id[id_] for of_day in before.values() for id_ in of_day), None)
    for lines in portfolio.days.values():
        for id_, (line, _) in lines.items():
            first, one = first or by_id[id_], by_id[id_]
            if (one.calendar, one.currency) != (first.calendar, first.currency):
                reason = f"{_told(one)}, {_told(first)}: a portfolio has one exchange calendar"
                portfolio.failures.append(line.refuse("ticker", f"{reason} and one currency"))
    if not portfolio.failures and (bad := _left_out(portfolio, before, by_id)):
        portfolio.failures.append(bad)


def _left_out(
    portfolio: _Portfolio,
    before: Mapping[date, Mapping[int, float]],
    by_id: Mapping[int, Instrument],
) -> BadFile | None:
    """Return the first statement that says nothing of what is held then; None: there is none."""
    held: dict[int, date] = {}
    for day in sorted({*before, *portfolio.days}):
        lines = portfolio.days.get(day, {})
        old = before.get(day, {})
        stated = {id_: quantity for id_, (_, quantity) in lines.items()} or old
        # What was stated of the same day before is there until it is said to be gone.
        held |= {id_: day for id_, quantity in old.items() if quantity and id_ not in held}
        lacking = {id_: since for id_, since in held.items() if id_ not in stated}
        if lacking and lines:
            line, _ = next(iter(lines.values()))
            return line.refuse("from", _ask(lacking, by_id, f"the statement of {day}"))
        if lacking:
            id_, since = next(iter(lacking.items()))
            line, _ = portfolio.days[since][id_]
            return line.refuse("ticker", _ask(lacking, by_id, f"the later statement of {day}"))
        held = {
            id_: day if id_ in lines else held.get(id_, day)
            for id_, quantity in stated.items()
            if quantity
        }
    return None


def _told(one: Instrument) -> str:
    return f"{one.ticker} trades on {one.calendar} in {one.currency or 'an unknown currency'}"


def _ask(lacking: Mapping[int, date], by_id: Mapping[int, Instrument], statement: str) -> str:
    """Return which tickers are held, since when, and in what statement they are lacking."""
    names = [f"{by_id[id_].ticker} (from {since} on)" for id_, since in lacking.items()]
    held = f"{some_of(names)} {'are' if len(names) > 1 else 'is'} held"
    ask = "give a line with the quantity, 0 if none is held any more"
    return f"{held}, and not in {statement}: {ask}"


# ---- a file


def _read(
    file: Path, watched: Sequence[Instrument], seen_at: datetime
) -> tuple[dict[str, _Portfolio], list[BadFile]]:
    """Return the portfolios of a file by name, and what is wrong with lines of none."""
    names = {i.symbol: i for i in watched} | {i.ticker: i for i in watched}
    calendars = {i.calendar: trading.load(i.calendar, seen_at.date()) for i in watched}
    portfolios: dict[str, _Portfolio] = {}
    lost: list[BadFile] = []
    for line in read_lines(file, CALLED, tuple(CALLED)):
        bad = line.refuse("portfolio", line.excess) if line.excess else None
        name = line.cells.get("portfolio", "")
        if wrong := wrong_name(name):
            reason = f"{quoted(name)} cannot name a portfolio: {wrong}"
            lost.append(bad or line.refuse("portfolio", reason))
            continue
        portfolio = portfolios.setdefault(name, _Portfolio())
        try:
            if bad:
                raise bad
            one = _ticker(line, names)
            day = line.day("from", calendars[one.calendar])
            stated = portfolio.days.setdefault(day, {})
            if one.id in stated:
                number = stated[one.id][0].number
                reason = f"{one.ticker} is stated of {name} and {day} on line {number} already"
                raise line.refuse("ticker", reason)
            stated[one.id] = line, _quantity(line)
        except BadFile as error:
            portfolio.failures.append(error)
    return portfolios, lost


def _ticker(line: Line, names: Mapping[str, Instrument]) -> Instrument:
    cell = line.cells.get("ticker", "")
    ways = (cell, cell.upper(), of_american_class(cell.upper(), sure=True) or "")
    one = next((names[way] for way in ways if way in names), None)
    if one is None:
        raise line.refuse(
            "ticker", UnknownInstrument(ticker=cell[:64]) if cell else "there is no ticker"
        )
    return one


def _quantity(line: Line) -> float:
    cell = line.cells.get("quantity", "")
    if not QUANTITY.fullmatch(cell):
        raise line.refuse("quantity", f"{quoted(cell)} is no number such as 1000 or -12.5")
    if line.delimiter == ";" and THOUSANDS.fullmatch(cell):
        plain, exact = cell.replace(".", ""), f"{cell}0"
        reason = f"{quoted(cell)} can be read two ways: write {plain} or {exact}"
        raise line.refuse("quantity", reason)
    return float(cell)
