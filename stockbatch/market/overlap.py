"""What fetched bars say of sessions stored before: the same, corrected, or another history.

A provider is asked again for the last sessions it is known to have had right. What it says of them
now tells whether what it says of newer ones can stand beside what is stored: pure functions.
"""

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum

import numpy as np

from stockbatch.market.adjustments import SIMPLE_SPLITS
from stockbatch.market.quality import Checked
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
    StoredCloses,
)

SAME = 1e-4
"""Relative difference up to which two closes of a session are one."""
CONSTANT = 2e-3
"""Relative difference up to which two ratios are one."""
APART = 0.005
"""Relative difference of the closes from which two providers do not speak of the same thing."""
FEWEST = 3
"""With fewer sessions in common, one wrong bar cannot be told from another history."""


class Match(StrEnum):
    """How fetched closes agree with the stored ones of the same sessions."""

    SAME = "same"
    CORRECTED = "corrected"
    """Single bars differ."""
    SPLIT = "split"
    """All were divided by the ratio of a split."""
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


def compare(stored: StoredCloses, fetched: Bars, splits: Floats, *, adjusted: bool) -> Overlap:
    """Compare fetched bars with the last stored closes of the same ticker.

    `splits` are the ratios the provider states; where its prices are `adjusted` for splits, any
    simple ratio explains a change of all of them.
    """
    own = StoredCloses(
        sessions=stored.sessions[stored.own],
        close=stored.close[stored.own],
        own=stored.own[stored.own],
    )
    if not len(own.sessions):
        return _compare_with_another(stored, fetched)
    sessions, ratio = _ratios(own, fetched)
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


def admit(
    checked: Checked,
    stored: StoredCloses | None,
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
    if stored is None or not len(stored.sessions):
        return _whole(checked)
    ratios = np.array([a.value for a in checked.actions if a.kind is ActionKind.SPLIT], dtype=float)
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


def _spliced(checked: Checked, stored: StoredCloses) -> Admitted:
    """Take what is newer than the stored bars, and no more: what is older has its own provider."""
    last = stored.sessions[-1]
    return Admitted(
        accepted=checked.accepted.where(checked.accepted.sessions > last),
        quarantined=checked.quarantined.where(checked.quarantined.sessions > last),
        actions=tuple(a for a in checked.actions if a.session > as_date(last)),
        findings=tuple(f for f in checked.findings if f.session and f.session > as_date(last)),
    )


def _set_aside(checked: Checked, stored: StoredCloses | None, finding: Finding) -> Admitted:
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
    stored: StoredCloses | None,
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


def _ratios(stored: StoredCloses, fetched: Bars) -> tuple[Sessions, Floats]:
    """Return the sessions in common, ascending, and the ratios of their closes, new to stored."""
    sessions, old, new = np.intersect1d(
        stored.sessions, fetched.sessions, assume_unique=True, return_indices=True
    )
    ratio: Floats = fetched.close[new] / stored.close[old]
    return sessions, ratio


def _compare_with_another(stored: StoredCloses, fetched: Bars) -> Overlap:
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
