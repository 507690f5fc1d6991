"""Bring the bars of a session, and do nothing else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import islice

from jobs.app import App
from jobs.daily.choice import closed_session
from jobs.daily.fetch import fetch_bars
from stockbatch.market import calendars
from stockbatch.records import Run
from stockbatch.store import instruments, issues
from stockbatch.text import counted, some_of

NAMED, SHOWN = 10, 20
"""Tickers named of those that have the same problem, and problems told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What fetching alone brought: how many tickers have their bar, and why others have none."""

    calendar: str
    session: date
    tickers: int
    problems: Mapping[str, str]
    """What is wrong, by ticker."""
    doubts: Sequence[str] = ()
    """What speaks for another calendar."""

    def __str__(self) -> str:
        have = self.tickers - len(self.problems)
        have_theirs = "has its bar" if self.tickers == 1 else "have their bar"
        of_all = f"{have} of {counted(self.tickers, 'ticker')} {have_theirs}"
        lines = [f"{self.calendar} {self.session}: {of_all}"]
        by_reason: dict[str, list[str]] = {}
        for ticker, why in self.problems.items():
            by_reason.setdefault(why, []).append(ticker)
        lines += [f"{some_of(of, NAMED)}: {why}" for why, of in islice(by_reason.items(), SHOWN)]
        if rest := sum(map(len, islice(by_reason.values(), SHOWN, None))):
            lines.append(f"and {rest} more, each with another problem")
        return "\n".join([*lines, *self.doubts])


def fetch_session(
    app: App,
    calendar_code: str,
    session: date | None = None,
    *,
    tickers: Sequence[str] | None = None,
    provider: str | None = None,
) -> Fetched:
    """Bring the bars up to `session`, by default the last one closed, and do nothing else.

    Raises what `run_session` raises.
    """
    if provider:
        app.provider(provider)
    calendar, session = closed_session(app, calendar_code, session)
    nobody = Run.unrecorded(calendar.code, session)
    with app.exclusive(calendar.code):
        with app.transaction() as db:
            chosen = instruments.work_list(db, calendar.code, tickers)
        problems = fetch_bars(app, nobody, calendar, chosen, provider=provider)
        with app.transaction() as db:
            off = issues.off_calendar(db, calendar.code)
    named = {i.ticker: problems[i.id].message for i in chosen if i.id in problems}
    return Fetched(
        calendar=calendar.code,
        session=session,
        tickers=len(chosen),
        problems=named,
        doubts=calendars.doubts(off),
    )
