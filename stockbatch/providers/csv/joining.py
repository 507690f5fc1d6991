"""One ticker's bars out of several files, as deliveries of a morning each are."""

from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from stockbatch.exceptions import BadFile
from stockbatch.records import Bars, FetchedBars, PriceBasis

FEWEST_SHARED, UNLIKE = 4, 1.2
"""Closes of so many sessions whose ratio between two files varies so much are two companies'."""


def united(parts: Mapping[Path, FetchedBars]) -> FetchedBars:
    """Join what several files have: of a session in two, the later file's bars and actions count.

    A part without a basis is on that of the others. Raises BadFile where the files are not of one
    company, or state several bases.
    """
    (*_, last) = parts
    symbol = parts[last].symbol
    bases = {part.price_basis: path for path, part in parts.items() if part.price_basis}
    if len(bases) > 1:
        where = " and ".join(f"{basis} in {path.name}" for basis, path in bases.items())
        reason = f"the prices of {symbol} are {where}: say which is right by --basis"
        raise BadFile(path=last, line=1, column=1, reason=reason)
    for (path, part), (other, next_) in pairwise(parts.items()):
        if _unlike(part.bars, next_.bars):
            reason = f"{symbol} is another company here than in {other}"
            raise BadFile(path=path, line=1, column=1, reason=reason)
    columns = {
        field.name: np.concatenate([getattr(part.bars, field.name) for part in parts.values()])
        for field in fields(Bars)
    }
    sessions, places = np.unique(columns["sessions"], return_inverse=True)
    file = np.repeat(np.arange(len(parts)), [len(part.bars) for part in parts.values()])
    latest = np.zeros(len(sessions), int)
    np.maximum.at(latest, places, file)
    (kept,) = np.nonzero(file == latest[places])
    order = kept[np.argsort(columns["sessions"][kept], kind="stable")]
    whose = dict(zip(sessions.tolist(), latest.tolist(), strict=True))
    return replace(
        parts[last],
        bars=Bars(**{name: values[order] for name, values in columns.items()}),
        price_basis=next(iter(bases), PriceBasis.SPLIT_ADJUSTED),
        actions=tuple(
            action
            for at, part in enumerate(parts.values())
            for action in part.actions
            if whose.get(action.session) == at
        ),
        findings=tuple(finding for part in parts.values() for finding in part.findings),
    )


def _unlike(one: Bars, other: Bars) -> bool:
    """Tell whether the closes of the sessions that both have cannot be of one company."""
    if min(len(one), len(other)) < FEWEST_SHARED:
        return False
    _, at, there = np.intersect1d(one.sessions, other.sessions, return_indices=True)
    # A split that one file contains and the other does not leaves their ratio constant.
    with np.errstate(divide="ignore", invalid="ignore"):
        ratios = one.close[at] / other.close[there]
    ratios = ratios[np.isfinite(ratios) & (ratios > 0)]
    if len(ratios) < FEWEST_SHARED:
        return False
    low, high = np.quantile(ratios, [0.25, 0.75])
    return bool(high > UNLIKE * low)
