"""Checks on one ticker's bars and corporate actions as they came: every refusal is a Finding."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from stockbatch.market.sessions import as_date, columns
from stockbatch.records import (
    ActionKind,
    Bars,
    Check,
    CorporateAction,
    FetchedBars,
    Finding,
    Floats,
    Sessions,
    Severity,
)
from stockbatch.text import counted

Mask = NDArray[np.bool_]

ABOVE, BELOW = 0.999999, 1.000001
"""high >= max(open, close) * ABOVE and low <= min(open, close) * BELOW: the database's CHECK."""
IDENTICAL_BARS = 5
"""So many equal bars in a row look like a feed that stands still."""
LARGEST_DIVIDEND = 0.25
"""Share of the previous close from which a dividend is no ordinary one."""
UNDONE, SMALLEST_SPLIT = 0.25, 1.2
"""Prices show a split where at most this share of its logarithm is left of their moves without it.

Of smaller ratios an ordinary move cannot be told."""
NEIGHBOURS = 3
"""Bars before and after its session among which prices may show a split instead."""
LONGEST_GAP = 250
"""Sessions without a bar after which another company may have taken the ticker over."""
MOST_FINDINGS = 250
"""Of one check in one ticker; the rest is counted in one more finding."""

_PRICES = ("open", "high", "low", "close")
_BAD = {ActionKind.SPLIT: Check.BAD_SPLIT, ActionKind.DIVIDEND: Check.BAD_DIVIDEND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What `check` made of one ticker's data; sessions are ascending and unique in both bars."""

    accepted: Bars
    quarantined: Bars
    actions: tuple[CorporateAction, ...]
    findings: tuple[Finding, ...]


def check(fetched: FetchedBars, sessions: Sessions, last_session: date) -> Checked:
    """Sort one ticker's bars into accepted and quarantined, and say what was refused and why.

    `sessions` is the calendar, ascending. What is dated after `last_session` is dropped without a
    word, bars older than the calendar with one finding. Of equal bars of a session one is kept; of
    conflicting ones the first is quarantined and none accepted.
    """
    bars = _sorted(fetched.bars, last_session)
    quarantined, findings = bars.where(np.zeros(len(bars), bool)), list[Finding]()
    if not _spotless(bars, sessions):
        bars, quarantined, findings = _sort_out(bars, sessions)
    actions, found = _actions(fetched.actions, bars, sessions, last_session)
    return Checked(
        accepted=bars,
        quarantined=quarantined,
        actions=actions,
        findings=tuple(limited([*fetched.findings, *findings, *found])),
    )


def _spotless(bars: Bars, sessions: Sessions) -> bool:
    """Tell, in no time, whether nothing at all can be said against bars: most are like that."""
    if not len(bars) or not len(sessions):
        return False
    # Against one slice of the calendar, bars are whole, known, in order and unique at once; any NaN
    # fails one of the comparisons below. Equal closes in a row send bars the long way round.
    first = int(np.searchsorted(sessions, bars.sessions[0]))
    opened, high, low, close, volume = (getattr(bars, name) for name in (*_PRICES, "volume"))
    return bool(
        np.array_equal(sessions[first : first + len(bars)], bars.sessions)
        and low.min() > 0
        and high.max() < np.inf
        and (high >= np.maximum(opened, close) * ABOVE).all()
        and (low <= np.minimum(opened, close) * BELOW).all()
        and not ((volume <= 0) | (volume == np.inf)).any()
        and not (close[1:] == close[:-1]).any()
    )


def _sort_out(bars: Bars, sessions: Sessions) -> tuple[Bars, Bars, list[Finding]]:
    """Return the bars accepted, those quarantined, and what was found in all."""
    findings = _missing_sessions(bars.sessions, sessions)
    for test in (partial(_unplaced, sessions=sessions), _bad_volumes, _bad_prices):
        bars, found = test(bars)
        findings += found
    bars, aside, found = _duplicates(bars)
    findings += found
    _, traded = columns(sessions, bars.sessions)
    findings += [
        _quarantined(Check.OFF_CALENDAR, session, "the exchange does not trade on this day")
        for session in bars.sessions[~traded]
    ]
    accepted = bars.where(traded & ~aside)
    return accepted, bars.where(aside | ~traded), findings + _identical(accepted)


def _finding(
    severity: Severity,
    check: Check,
    session: np.datetime64 | date | None,
    message: str,
    observed: float | None = None,
    threshold: float | None = None,
) -> Finding:
    return Finding(
        check=check,
        severity=severity,
        message=message,
        session=as_date(session) if isinstance(session, np.datetime64) else session,
        observed=None if observed is None or not np.isfinite(observed) else float(observed),
        threshold=None if threshold is None or not np.isfinite(threshold) else float(threshold),
    )


warning = partial(_finding, Severity.WARNING)
_quarantined = partial(_finding, Severity.QUARANTINED)
_rejected = partial(_finding, Severity.REJECTED)


def _sorted(bars: Bars, last_session: date) -> Bars:
    """Return the bars up to `last_session` in stable order, undated ones (NaT) last."""
    days = bars.sessions
    # Nearly always they come in order, and a copy of twenty years would be for nothing.
    if len(days) and days[-1] <= np.datetime64(last_session, "D") and (days[1:] > days[:-1]).all():
        return bars
    bars = bars.where(~(bars.sessions > np.datetime64(last_session, "D")))
    order = np.argsort(bars.sessions, kind="stable")
    return Bars(**{name: getattr(bars, name)[order] for name in ("sessions", *_PRICES, "volume")})


def _prices(bars: Bars) -> Floats:
    """Return open, high, low and close as an array of shape (4, sessions)."""
    return np.stack([getattr(bars, name) for name in _PRICES])


def _missing_sessions(days: Sessions, sessions: Sessions) -> list[Finding]:
    """Name the sessions between the first and the last of `days` on which there is no bar."""
    column, known = columns(sessions, days)
    held, findings = np.unique(column[known]), list[Finding]()
    gaps = np.diff(held)
    # The years between two companies are no sessions that either of them missed.
    for place in np.flatnonzero(gaps - 1 > LONGEST_GAP).tolist():
        findings += long_gap(sessions[held[place]], sessions[held[place + 1]], sessions)
    for place in np.flatnonzero((gaps > 1) & (gaps - 1 <= LONGEST_GAP)).tolist():
        absent = sessions[held[place] + 1 : held[place + 1]]
        findings += [warning(Check.MISSING_SESSION, day, "there is no bar") for day in absent]
    return findings


def long_gap(last: np.datetime64, first: np.datetime64, sessions: Sessions) -> list[Finding]:
    """Say that the bars from `first` on may be another company's than those up to `last`."""
    missed = int(np.searchsorted(sessions, first) - np.searchsorted(sessions, last, "right"))
    if missed <= LONGEST_GAP:
        return []
    text = (
        f"{missed} sessions without a bar since {as_date(last)}: another company's from here on?"
        " To begin anew, `stockbatch tickers rename` this one, `remove` it under that name,"
        " and `add` the ticker again"
    )
    return [warning(Check.ANOTHER_COMPANY, first, text, missed, LONGEST_GAP)]


def _unplaced(bars: Bars, sessions: Sessions) -> tuple[Bars, list[Finding]]:
    """Refuse bars that have no session or one from before the calendar begins."""
    findings = []
    undated = np.isnat(bars.sessions)
    early = bars.sessions < (sessions[0] if len(sessions) else np.datetime64("NaT"))
    for check, bad in ((Check.UNDATED, undated), (Check.BEFORE_CALENDAR, early)):
        if count := int(bad.sum()):
            text = f"{counted(count, 'bar')} cannot be placed on the calendar"
            findings.append(_rejected(check, None, text, count))
    return bars.where(~(undated | early)), findings


def _bad_volumes(bars: Bars) -> tuple[Bars, list[Finding]]:
    """Warn about volumes of zero; forget impossible ones."""
    idle = np.unique(bars.sessions[bars.volume == 0])
    findings = [warning(Check.ZERO_VOLUME, session, "nothing was traded", 0) for session in idle]
    bad = (bars.volume < 0) | np.isinf(bars.volume)
    findings += [
        warning(Check.BAD_VOLUME, session, f"a volume of {volume:g} is forgotten", volume, 0)
        for session, volume in zip(bars.sessions[bad], bars.volume[bad], strict=True)
    ]
    return replace(bars, volume=np.where(bad, np.nan, bars.volume)), findings


def _bad_prices(bars: Bars) -> tuple[Bars, list[Finding]]:
    """Refuse bars whose prices are unknown, impossible or contradict each other."""
    prices = _prices(bars)
    opened, high, low, close = prices
    sound = ((prices > 0) & (prices < np.inf)).all(axis=0) & (low <= high)
    sound &= high >= np.maximum(opened, close) * ABOVE
    sound &= low <= np.minimum(opened, close) * BELOW
    bad = zip(bars.sessions[~sound], prices[:, ~sound].T.tolist(), strict=True)
    return bars.where(sound), [_bad_price(session, *of_one) for session, of_one in bad]


def _bad_price(
    session: np.datetime64, opened: float, high: float, low: float, close: float
) -> Finding:
    named = dict(zip(_PRICES, (opened, high, low, close), strict=True))
    if unknown := [name for name, price in named.items() if np.isnan(price)]:
        return _rejected(Check.PRICE_UNKNOWN, session, f"{', '.join(unknown)} unknown")
    for name, price in named.items():
        if not 0 < price < np.inf:
            return _rejected(Check.PRICE_IMPOSSIBLE, session, f"{name} is {price:g}", price, 0)
    if high < low:
        return _rejected(Check.HIGH_BELOW_LOW, session, f"high {high:g} < low {low:g}", high, low)
    name = "close" if low <= opened <= high else "open"
    text = f"{name} {named[name]:g} is outside {low:g} to {high:g}"
    bound = high if named[name] > high else low
    return _rejected(Check.OUTSIDE_RANGE, session, text, named[name], bound)


def _duplicates(bars: Bars) -> tuple[Bars, Mask, list[Finding]]:
    """Leave the first bar of every session, tell which contradict another, and report both."""
    # Bars are in order by now, so that those of one session are neighbours.
    surplus = np.zeros(len(bars), bool)
    surplus[1:] = bars.sessions[1:] == bars.sessions[:-1]
    # Every bar is compared with the first of its session: the last one before it not surplus.
    first = np.maximum.accumulate(np.where(surplus, 0, np.arange(len(bars))))
    prices = _prices(bars)
    differs = (prices != prices[:, first]).any(axis=0)
    contradicted = np.isin(bars.sessions, bars.sessions[differs])
    findings = [
        _quarantined(Check.CONFLICTING_BARS, session, "there are different bars of this session")
        for session in bars.sessions[~surplus & contradicted]
    ]
    findings += [
        warning(Check.DUPLICATE_BAR, session, "the same bar came more than once")
        for session in np.unique(bars.sessions[surplus & ~contradicted])
    ]
    return bars.where(~surplus), contradicted[~surplus], findings


def _identical(bars: Bars) -> list[Finding]:
    """Report every run of IDENTICAL_BARS or more bars with the same four prices."""
    prices = _prices(bars)
    # A run begins where a price differs from the bar before, and ends where the next begins.
    starts = np.flatnonzero(np.r_[True, (prices[:, 1:] != prices[:, :-1]).any(axis=0)])
    lengths = np.diff(np.r_[starts, len(bars)])
    long = lengths >= IDENTICAL_BARS
    ends = bars.sessions[(starts + lengths - 1)[long]]
    text = "the {} bars up to here are the same"
    return [
        warning(Check.IDENTICAL_BARS, session, text.format(length), length, IDENTICAL_BARS)
        for session, length in zip(ends, lengths[long], strict=True)
    ]


def _actions(
    actions: Sequence[CorporateAction], bars: Bars, sessions: Sessions, last_session: date
) -> tuple[tuple[CorporateAction, ...], list[Finding]]:
    """Return the usable actions, one per session and kind, and findings about the others."""
    kept: dict[tuple[date, ActionKind], CorporateAction] = {}
    findings = []
    # Splits come first: a dividend of the same session is judged by the price after its split.
    for action in sorted(
        dict.fromkeys(actions), key=lambda action: action.kind != ActionKind.SPLIT
    ):
        session = _effective(action.session, sessions)
        if session is None or session > last_session:
            continue
        named = f"a {action.kind} of {action.value:g}"
        if session != action.session:
            text = f"{named} on a day without trading takes effect on {session}"
            findings.append(warning(Check.OFF_CALENDAR_ACTION, action.session, text, action.value))
        split = kept.get((session, ActionKind.SPLIT))
        most = LARGEST_DIVIDEND * _close_before(bars, session, split.value if split else 1)
        if not 0 < action.value < np.inf:
            fault = "is impossible"
        elif (session, action.kind) in kept:
            fault = "stands beside another one"
        elif action.kind == ActionKind.DIVIDEND and action.value > most:
            fault = f"is more than {LARGEST_DIVIDEND:.0%} of the price"
        else:
            shown: date | None = session
            if action.kind == ActionKind.SPLIT and not action.in_prices:
                shown = _shown(bars, session, action.value)
            if shown != session:
                findings.append(not_shown(session, action.value, shown))
            if shown is not None:
                kept[shown, action.kind] = replace(action, session=shown)
            continue
        text = f"{named} {fault}: not used"
        threshold = most if action.kind == ActionKind.DIVIDEND else None
        findings.append(warning(_BAD[action.kind], session, text, action.value, threshold))
    return tuple(kept[key] for key in sorted(kept)), findings


def _shown(bars: Bars, session: date, ratio: float) -> date | None:
    """Return the session whose prices show a split: its own, unless they clearly do not.

    None where those of its neighbours do not either.
    """
    here = int(np.searchsorted(bars.sessions, np.datetime64(session, "D")))
    if not 0 < here < len(bars):
        return session
    near = np.arange(max(here - NEIGHBOURS, 1), min(here + NEIGHBOURS + 1, len(bars)))
    moved = np.log(np.stack([bars.close[near], bars.open[near]]) / bars.close[near - 1])
    if not undone(moved[:, near == here], ratio).all():
        return session
    elsewhere = near[undone(moved + np.log(ratio), ratio)]
    return as_date(bars.sessions[elsewhere[0]]) if len(elsewhere) == 1 else None


def undone(left: Floats, ratio: float) -> Mask:
    """Tell where little of a split is left, of shape (n,).

    `left` are the log returns from a close to the next close and open, of shape (2, n), without it.
    """
    size = abs(np.log(ratio))
    if size < np.log(SMALLEST_SPLIT):
        return np.zeros(left.shape[1], bool)
    return np.asarray((np.abs(left) <= UNDONE * size).all(axis=0))


def not_shown(session: date, ratio: float, instead: date | None = None) -> Finding:
    """Say that the prices of a session do not show the split stated for it."""
    what = "not used" if instead is None else f"those of {instead} do, where it is used"
    text = f"a split of {ratio:g} is stated, which the prices do not show: {what}"
    return warning(Check.SPLIT_NOT_SHOWN, session, text, ratio)


def _effective(day: date, sessions: Sessions) -> date | None:
    """Return the first session from `day` on; None where the calendar does not reach."""
    position = int(np.searchsorted(sessions, np.datetime64(day, "D")))
    if position == len(sessions) or day < as_date(sessions[0]):
        return None
    return as_date(sessions[position])


def _close_before(bars: Bars, session: date, split: float) -> float:
    """Return the close before `session` on its basis, else the first close there is."""
    before = int(np.searchsorted(bars.sessions, np.datetime64(session, "D"))) - 1
    if before >= 0:
        return float(bars.close[before]) / split
    return float(bars.close[0]) if len(bars) else np.inf


def limited(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield the findings check by check, at most MOST_FINDINGS of each and a count of the rest."""
    by_check = sorted(findings, key=lambda finding: finding.check)
    for _, group in groupby(by_check, key=lambda finding: finding.check):
        found = list(group)
        yield from found[:MOST_FINDINGS]
        if rest := found[MOST_FINDINGS:]:
            text = f"{len(rest)} more from here to {rest[-1].session}"
            yield replace(rest[0], message=text, observed=len(rest), threshold=MOST_FINDINGS)
