"""What fetched bars say of sessions stored before: the same, corrected, or another history.

A provider is asked again for the last sessions it is known to have had right. What it says of them
now tells whether what it says of newer ones can stand beside what is stored: pure functions.
"""

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from stockbatch.market.adjustments import SIMPLE_SPLITS
from stockbatch.market.quality import Checked
from stockbatch.market.restatements import (
    SAME,
    lowered_by,
    on_stored_basis,
    on_todays_basis,
    rounding,
    tolerance,
)
from stockbatch.market.sessions import as_date
from stockbatch.records import (
    ActionKind,
    Bars,
    Check,
    CorporateAction,
    Finding,
    Floats,
    PriceBasis,
    Sessions,
    Severity,
    StoredBars,
)

CONSTANT = 2e-3
"""Relative difference up to which two ratios are one."""
APART = 0.005
"""Relative difference of the closes from which two providers do not speak of the same thing."""
LEAST_LEFT = 0.5
"""What dividends may leave of a price: with less of it, another series is more likely."""
LARGEST_FALL = 0.5
"""Ratio of new closes to stored ones below which no ordinary dividend has lowered them."""
_HOW = "remove it and add it again with --basis total_return"
FEWEST = 3
"""With fewer sessions in common, one wrong bar cannot be told from another history."""


_SAID = {
    PriceBasis.AS_TRADED: "as traded",
    PriceBasis.SPLIT_ADJUSTED: "adjusted for splits",
    PriceBasis.TOTAL_RETURN: "adjusted for splits and dividends",
}

Bools = NDArray[np.bool_]


class Match(StrEnum):
    """How fetched closes agree with the stored ones of the same sessions."""

    SAME = "same"
    CORRECTED = "corrected"
    """Single bars differ."""
    SPLIT = "split"
    """All were divided by the ratio of a split."""
    DIVIDENDS = "dividends"
    """All were lowered by dividends, of a provider that adjusts for them."""
    OTHER = "other"
    """All, or most, differ, and no split explains it."""
    APART = "apart"
    """Another provider's differ, or have no session in common with what is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """The result of `compare`; `ratio` is new to stored, over all or of the worst session."""

    match: Match
    ratio: float = 1.0
    corrected: tuple[tuple[date, float], ...] = ()
    """Sessions whose bar differs, with their ratios."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """What of a ticker's checked data may be stored, and how."""

    accepted: Bars
    quarantined: Bars
    actions: tuple[CorporateAction, ...]
    findings: tuple[Finding, ...]
    refetch: bool = False
    """The whole history must be fetched again before anything is stored."""


def compare(stored: StoredBars, fetched: Bars, splits: Floats, *, adjusted: bool) -> Overlap:
    """Compare fetched bars with the last stored closes of the same ticker.

    `splits` are the ratios the provider states; where its prices are `adjusted` for splits, any
    simple ratio explains a change of all of them.
    """
    own = stored.where(stored.own)
    if not len(own.sessions):
        return _compare_with_another(stored.bars, fetched)
    sessions, ratio = _ratios(own.bars, fetched)
    wrong = np.abs(ratio - 1) > SAME
    if not wrong.any():
        return Overlap(match=Match.SAME)
    middle = float(np.median(ratio[wrong]))
    # A split moves every session before it, the two oldest among them, by one ratio; a fifth of
    # the sessions may be off for reasons of their own, as where a bar was corrected that day too.
    since_the_oldest = bool(wrong[: min(2, len(wrong))].all())
    if since_the_oldest and (np.abs(ratio[wrong] / middle - 1) <= CONSTANT).mean() >= 0.8:
        # Prices as traded change only with a split that is stated; adjusted ones come restated
        # before the provider gets round to naming it.
        simple = SIMPLE_SPLITS if adjusted else np.array([])
        if _explains(np.concatenate([splits, simple]), middle):
            return Overlap(match=Match.SPLIT, ratio=middle)
    # Most of what was right before is another number now: not a correction of bars but another
    # series.
    if len(ratio) >= FEWEST and 2 * wrong.sum() > len(ratio):
        return Overlap(match=Match.OTHER, ratio=middle)
    days = (as_date(session) for session in sessions[wrong])
    corrected = tuple(zip(days, ratio[wrong].tolist(), strict=True))
    return Overlap(match=Match.CORRECTED, ratio=middle, corrected=corrected)


def compare_total_returns(
    stored: StoredBars, fetched: Bars, splits: Floats, paid: float
) -> Overlap:
    """Compare fetched bars, adjusted for dividends, with the last stored ones of the same ticker.

    `splits` are the ratios the provider states, and `paid` is by what the dividends that it states
    lowered the stored prices since.
    """
    another = not stored.own.any()
    before = on_todays_basis(stored if another else stored.where(stored.own))
    sessions, old, new = np.intersect1d(
        before.sessions, fetched.sessions, assume_unique=True, return_indices=True
    )
    if not len(sessions):
        return Overlap(match=Match.APART if another else Match.OTHER, ratio=np.nan)
    was, now = _prices(before)[:, old], _prices(fetched)[:, new]
    ratio = now[-1] / was[-1]
    rounded = rounding(fetched)
    allowed = tolerance(now[-1], was[-1], rounded)
    lowered = _lowered(was, now, ratio, allowed)
    # So much of it may come from rounding alone: five standard deviations of the mean, and more.
    if abs(lowered - 1) <= SAME + 5 * rounded * np.sqrt(was.size) / was.sum():
        lowered = 1.0
    wrong = np.abs(ratio / lowered - 1) > allowed
    if another and wrong.any():
        return _compare_with_another(before, fetched)
    match, one = _restated(ratio, wrong, allowed, lowered, splits, paid)
    if match is Match.CORRECTED and one != lowered:
        wrong = np.abs(ratio / one - 1) > allowed
    days = (as_date(session) for session in sessions[wrong])
    corrected = tuple(zip(days, (ratio / one)[wrong].tolist(), strict=True))
    return Overlap(match=match, ratio=one, corrected=corrected)


def _lowered(was: Floats, now: Floats, ratio: Floats, allowed: Floats) -> float:
    """Return the ratio that most sessions have in common; prices are of shape (4, sessions)."""
    if 2 * (np.abs(ratio - 1) <= SAME).sum() > len(ratio):
        return 1.0
    middle = float(np.median(ratio))
    near = np.abs(ratio / middle - 1) <= allowed
    # What rounding has added to one price it has taken from another.
    return float(now[:, near].sum() / was[:, near].sum()) if near.any() else middle


def _restated(
    ratio: Floats, wrong: Bools, allowed: Floats, lowered: float, splits: Floats, paid: float
) -> tuple[Match, float]:
    """Tell what total returns' closes are now, and the ratio of those that are not `wrong`."""
    few = len(ratio) < FEWEST
    explained = abs(lowered / paid - 1) <= CONSTANT
    if few and (wrong.any() or (len(ratio) == 1 and not explained)):
        if not wrong.any() and _explains(splits, lowered):
            return Match.SPLIT, lowered
        return (Match.SAME if (np.abs(ratio - 1) <= allowed).all() else Match.CORRECTED), 1.0
    if wrong[:2].all() and abs(ratio[0] / ratio[1] - 1) <= allowed[:2].max():
        # Another ratio begins within what is compared: where, only the whole history tells.
        older = float(ratio[0])
        return (Match.SPLIT if LEAST_LEFT < older < 1 / LEAST_LEFT else Match.OTHER), older
    if 2 * wrong.sum() > len(ratio):
        return Match.OTHER, float(np.median(ratio))
    if lowered == 1:
        return (Match.CORRECTED if wrong.any() else Match.SAME), 1.0
    simple = _explains(SIMPLE_SPLITS, lowered) and not explained
    beside_a_split = LEAST_LEFT < lowered * float(np.prod(splits)) < 1
    if _explains(splits, lowered) or simple:
        return Match.SPLIT, lowered
    if LEAST_LEFT < lowered < 1:
        return Match.DIVIDENDS, lowered
    return (Match.SPLIT if len(splits) and beside_a_split else Match.OTHER), lowered


def _another_basis(stored: StoredBars, fetched: Bars, basis: PriceBasis) -> PriceBasis | None:
    """Return what stored prices are adjusted for where those fetched cannot stand beside them."""
    own = stored.own if stored.own.any() else np.ones(len(stored.sessions), bool)
    known = list(compress(stored.basis, own))
    both = np.isin(stored.sessions[own], fetched.sessions)
    for before in compress(known, both) if both.any() else known[-1:]:
        # Of another provider splits are told by the closes, but dividends may be too small for it.
        dividends = PriceBasis.TOTAL_RETURN in (before, basis)
        if before is not basis and (stored.own.any() or dividends):
            return before
    return None


def admit(
    checked: Checked,
    stored: StoredBars | None,
    session: date,
    *,
    basis: PriceBasis,
    currency: tuple[str | None, str | None] = (None, None),
    agreed: frozenset[tuple[str, str]] = frozenset(),
) -> Admitted:
    """Say what of one ticker's data may be stored beside the `stored` closes, if there are any.

    `currency` is what the provider states now and what was known before; `agreed` are the check and
    message of what somebody accepted. Findings about the whole history bear the run's `session`.
    """
    now, before = currency
    if now and before and now != before:
        text = f"prices come in {now}, so far they came in {before}"
        return _doubtful(checked, stored, _history(Check.CHANGED_CURRENCY, session, text), agreed)
    if stored is None or not stored.final.any():
        return _whole(checked)
    # What is provisional may become another number: nothing is told by it.
    everything, stored = stored, stored.where(stored.final)
    if (other := _another_basis(stored, checked.accepted, basis)) is not None:
        text = f"prices come {_SAID[basis]}, those stored are {_SAID[other]}"
        if stored.own.any():
            return _refetched(checked, _history(Check.RESTATED_HISTORY, session, text))
        return _set_aside(checked, stored, _history(Check.PROVIDERS_APART, session, text))
    ratios = np.array([a.value for a in checked.actions if a.kind is ActionKind.SPLIT], dtype=float)
    if basis is PriceBasis.TOTAL_RETURN:
        paid = lowered_by(checked.actions, checked.accepted, stored.sessions)
        overlap = compare_total_returns(stored, checked.accepted, ratios, paid)
        if overlap.match in (Match.SAME, Match.CORRECTED, Match.DIVIDENDS):
            lowered = overlap.ratio if overlap.match is Match.DIVIDENDS else 1.0
            checked = on_stored_basis(checked, everything, lowered)
    else:
        adjusted = basis is PriceBasis.SPLIT_ADJUSTED
        overlap = compare(stored, checked.accepted, ratios, adjusted=adjusted)
    if overlap.match is Match.SPLIT:
        text = f"closes are {overlap.ratio:.6g} times those stored, as after a split"
        return _refetched(
            checked, _history(Check.RESTATED_HISTORY, session, text, overlap.ratio, SAME)
        )
    if overlap.match is Match.OTHER:
        unit = _unit(overlap.ratio)
        text = f"closes are {overlap.ratio:.3g} times those stored{unit}: no split explains it"
        if basis is PriceBasis.SPLIT_ADJUSTED and LARGEST_FALL < overlap.ratio < 1:
            text += f"; if dividends do, {_HOW}"
        found = _history(Check.RESTATED_HISTORY, session, text, overlap.ratio, SAME)
        return _doubtful(checked, stored, found, agreed)
    if overlap.match is Match.APART:
        text = "another provider's bars have no session in common with those stored"
        if np.isfinite(overlap.ratio):
            text = f"another provider's close is {overlap.ratio:.4g} times that stored"
        found = _history(Check.PROVIDERS_APART, session, text, overlap.ratio, APART)
        return _set_aside(checked, stored, found)
    return _whole(checked, overlap) if stored.own.any() else _spliced(checked, stored)


def restated_by_split(before: Floats, now: Floats) -> Floats:
    """Return by what to multiply prices as they are stored now to get the basis of `before`.

    That is `before / now` where it is the ratio of a simple split, else 1: a corrected price is no
    other basis. NaN counts as 1.
    """
    ratio = before / now
    # Both ways: a restatement may also be undone. Against NaN every comparison is False.
    simple = np.concatenate([SIMPLE_SPLITS, 1 / SIMPLE_SPLITS])
    split = (np.abs(ratio[..., None] / simple - 1) <= CONSTANT).any(axis=-1)
    return np.where(split, ratio, 1.0)


def restated(before: Floats, now: Floats, total_return: Bools) -> Floats:
    """Return by what to multiply prices as they are stored now to get the basis of `before`.

    Of `total_return` any change of a price is one of its basis, as each dividend restates all.
    """
    return np.where(
        total_return & np.isfinite(before / now), before / now, restated_by_split(before, now)
    )


def _whole(checked: Checked, overlap: Overlap | None = None) -> Admitted:
    corrected = overlap.corrected if overlap else ()
    findings = [
        Finding(
            check=Check.RESTATED_BAR,
            severity=Severity.WARNING,
            message=f"the close is {ratio:.6g} times what it was",
            session=day,
            observed=ratio,
            threshold=SAME,
        )
        for day, ratio in corrected
    ]
    return Admitted(
        accepted=checked.accepted,
        quarantined=checked.quarantined,
        actions=checked.actions,
        findings=(*checked.findings, *findings),
    )


def _spliced(checked: Checked, stored: StoredBars) -> Admitted:
    """Take what is newer than the stored bars, and no more: what is older has its own provider."""
    last = stored.sessions[-1]
    return Admitted(
        accepted=checked.accepted.where(checked.accepted.sessions > last),
        quarantined=checked.quarantined.where(checked.quarantined.sessions > last),
        actions=tuple(a for a in checked.actions if a.session > as_date(last)),
        findings=tuple(f for f in checked.findings if f.session and f.session > as_date(last)),
    )


def _set_aside(checked: Checked, stored: StoredBars | None, finding: Finding) -> Admitted:
    """Quarantine what is newer than the stored bars."""
    bars = _joined(checked.accepted, checked.quarantined)
    if stored is not None and len(stored.sessions):
        bars = bars.where(bars.sessions > stored.sessions[-1])
    nothing = bars.where(np.zeros(len(bars), dtype=bool))
    return Admitted(accepted=nothing, quarantined=bars, actions=(), findings=(finding,))


def _refetched(checked: Checked, finding: Finding) -> Admitted:
    nothing = checked.accepted.where(np.zeros(len(checked.accepted), dtype=bool))
    warning = replace(finding, severity=Severity.WARNING)
    return Admitted(
        accepted=nothing, quarantined=nothing, actions=(), findings=(warning,), refetch=True
    )


def _doubtful(
    checked: Checked,
    stored: StoredBars | None,
    finding: Finding,
    agreed: frozenset[tuple[str, str]],
) -> Admitted:
    """Set the new bars aside, unless somebody accepted just this: then all are fetched again."""
    if (finding.check, finding.message) in agreed:
        return _refetched(checked, finding)
    return _set_aside(checked, stored, finding)


def _history(
    check: Check,
    session: date,
    message: str,
    observed: float | None = None,
    threshold: float | None = None,
) -> Finding:
    return Finding(
        check=check,
        severity=Severity.QUARANTINED,
        message=message,
        session=session,
        observed=None if observed is None or np.isnan(observed) else observed,
        threshold=threshold,
    )


def _joined(one: Bars, other: Bars) -> Bars:
    names = ("sessions", "open", "high", "low", "close", "volume")
    return Bars(**{n: np.concatenate([getattr(one, n), getattr(other, n)]) for n in names})


def _prices(bars: Bars) -> Floats:
    return np.stack([bars.open, bars.high, bars.low, bars.close])


def _ratios(stored: Bars, fetched: Bars) -> tuple[Sessions, Floats]:
    """Return the sessions in common, ascending, and the ratios of their closes, new to stored."""
    sessions, old, new = np.intersect1d(
        stored.sessions, fetched.sessions, assume_unique=True, return_indices=True
    )
    ratio: Floats = fetched.close[new] / stored.close[old]
    return sessions, ratio


def _compare_with_another(stored: Bars, fetched: Bars) -> Overlap:
    _, ratio = _ratios(stored, fetched)
    if not len(ratio):
        return Overlap(match=Match.APART, ratio=np.nan)
    worst = float(ratio[np.argmax(np.abs(ratio - 1))])
    return Overlap(match=Match.APART if abs(worst - 1) > APART else Match.SAME, ratio=worst)


def _explains(splits: Floats, ratio: float) -> bool:
    """Tell whether one of `splits`, done or undone, or all together make this ratio."""
    # Several splits within the sessions compared act as their product.
    candidates = np.concatenate([splits, 1 / splits, [np.prod(splits), 1 / np.prod(splits)]])
    # A ratio of one explains nothing.
    candidates = candidates[np.abs(candidates - 1) > CONSTANT]
    return bool((np.abs(candidates / ratio - 1) <= 2 * CONSTANT).any())


def _unit(ratio: float) -> str:
    for factor in (100, 0.01, 1000, 0.001):
        if abs(ratio / factor - 1) < 0.02:
            return " (another unit of the currency?)"
    return ""
