"""What the prices of a file are adjusted for: told by its columns and by what its prices do."""

from collections.abc import Mapping, MutableMapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stockbatch.market.adjustments import SIMPLE_SPLITS
from stockbatch.providers.csv.cells import simple_ratios
from stockbatch.providers.csv.header import Header, Reading
from stockbatch.records import Floats, PriceBasis, Sessions

SPLIT_ERROR = 0.005
"""So far the ratio of two adjusted closes may be from that of a split: both are rounded."""
LARGEST_DERIVED = 200
"""A change of 200 or more is no split that only an adjusted close tells of."""

_WORDS = {
    PriceBasis.AS_TRADED: "prices as traded",
    PriceBasis.SPLIT_ADJUSTED: "prices adjusted for splits",
    PriceBasis.TOTAL_RETURN: "prices adjusted for splits and dividends",
}


class Understood(NamedTuple):
    """How the prices of a file are to be taken."""

    basis: PriceBasis
    words: str
    stated: bool
    """Whether something in the file, or somebody, says so."""


def understand(
    header: Header,
    numbers: MutableMapping[str, Floats],
    sessions: Sessions,
    same_ticker: NDArray[np.bool_],
    reading: Reading,
) -> Understood:
    """Tell the basis of rows sorted by ticker and session, all arrays of shape (rows,).

    `same_ticker` is False on each ticker's first row. The column "split" of `numbers` is made,
    snapped to simple ratios, or taken away where the prices contain its splits already.
    """
    basis, why = _basis(header, numbers, same_ticker & _new_session(sessions))
    if reading.basis is not None:
        basis, why = reading.basis, f"as stated by {reading.basis_by}"
    if basis is not PriceBasis.AS_TRADED:
        numbers.pop("split", None)
    elif "split" in numbers:
        numbers["split"] = simple_ratios(numbers["split"])
    numbers.pop("adjusted", None)
    words = f"{_WORDS[basis]} ({why})"
    if "dividend" in header.columns:
        words += f"; dividends from {header.named('dividend')}"
    ignored = _ignored(header)
    words += f"; ignored: {', '.join(ignored)}" if ignored else ""
    return Understood(basis, words, stated=why != "no column states a split")


def _new_session(sessions: Sessions) -> NDArray[np.bool_]:
    return np.concatenate([[False], sessions[1:] != sessions[:-1]])[: len(sessions)]


def _basis(
    header: Header, numbers: MutableMapping[str, Floats], follows: NDArray[np.bool_]
) -> tuple[PriceBasis, str]:
    # A row and the one before it, of one ticker: what a split does to prices stands between them.
    fell = np.zeros(len(follows))
    with np.errstate(all="ignore"):
        fell[1:] = np.log(numbers["close"][:-1] / numbers["close"][1:])
    if "split" in header.columns:
        name = header.named("split")
        traded, smooth = _votes(numbers["split"], fell, follows)
        if traded > smooth:
            return PriceBasis.AS_TRADED, f"{name} states splits, at which the prices jump"
        of_yahoo = "stock" in name.lower()
        if of_yahoo and "dividend" in header.columns and "adjusted" not in header.columns:
            why = f"as Ticker.history() writes them: {name} and dividends, no Adj Close"
            return PriceBasis.TOTAL_RETURN, why
        if smooth > traded:
            return PriceBasis.SPLIT_ADJUSTED, f"the prices do not jump at the splits of {name}"
        if of_yahoo:
            return PriceBasis.SPLIT_ADJUSTED, f"as Yahoo's beside {name}"
        return PriceBasis.AS_TRADED, f"{name} states the splits"
    of_r = header.named("close").endswith(".Close")
    if header.by_ticker and "adjusted" not in numbers and not of_r:
        return PriceBasis.TOTAL_RETURN, "as yf.download() writes them: no Adj Close"
    if "adjusted" in numbers:
        derived = _derived(numbers, fell, follows)
        if (derived != 1).any():
            numbers["split"] = derived
            return PriceBasis.AS_TRADED, f"{header.named('adjusted')} tells the splits"
    return PriceBasis.SPLIT_ADJUSTED, "no column states a split"


def _votes(split: Floats, fell: Floats, follows: NDArray[np.bool_]) -> tuple[int, int]:
    """Count the stated splits at which prices jump, and those at which they do not."""
    with np.errstate(all="ignore"):
        size = np.log(split)
    counted = follows & np.isfinite(size) & (np.abs(size) > 0.15) & np.isfinite(fell)
    jumps = np.abs(fell[counted] - size[counted]) < np.abs(size[counted]) / 2
    stays = np.abs(fell[counted]) < np.abs(size[counted]) / 2
    return int(jumps.sum()), int(stays.sum())


def _derived(numbers: Mapping[str, Floats], fell: Floats, follows: NDArray[np.bool_]) -> Floats:
    """Return the splits, 1 elsewhere, at which close and adjusted close part by a simple ratio."""
    split = np.ones(len(fell))
    with np.errstate(all="ignore"):
        factor = numbers["adjusted"] / numbers["close"]
        change = np.ones(len(fell))
        change[1:] = factor[1:] / factor[:-1]
        larger = np.maximum(change, 1 / change)
    for at in np.flatnonzero(follows & (larger > 1.2) & (larger < LARGEST_DERIVED)):
        whole = float(np.round(larger[at]))
        simple = min((*SIMPLE_SPLITS.tolist(), whole), key=lambda one: abs(one - larger[at]))
        ratio = simple if change[at] > 1 else 1 / simple
        size = np.log(ratio)
        if simple > 1 and abs(larger[at] / simple - 1) < SPLIT_ERROR:
            # A dividend moves the adjusted close alike: only a split moves the price by as much.
            split[at] = ratio if abs(fell[at] - size) < min(0.3, abs(size) / 2) else 1
    return split


def _ignored(header: Header) -> list[str]:
    used = {at for part in header.parts.values() for name, at in part.items() if name != "adjusted"}
    used |= {at for name, at in header.columns.items() if name in ("session", "ticker", "time")}
    names = (cell.strip() for at, cell in enumerate(header.cells) if at not in used)
    return list(dict.fromkeys(name for name in names if name))
