"""Sum up how well the tickers of a group were forecast together: of a sector, tag or watchlist."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product

import numpy as np

from jobs.daily.losses import WINDOWS, ByKind
from jobs.daily.totals import BOTH, Sums, by_session, pinball_of_both, where_both
from stockbatch import metrics
from stockbatch.metrics import Skill
from stockbatch.records import QUANTILE_BASELINE, Floats, Instrument, Kind
from stockbatch.store.group_metrics import Row
from stockbatch.store.ticker_metrics import N, Table

Groups = Mapping[tuple[str, str], Sequence[str]]
"""Tickers by kind and name of their group."""
ERROR = "absolute_log_return_error"
"""The loss that every scored forecast has."""
AVERAGED = ("pinball", ERROR, "inside_80", "inside_95")
"""Losses whose means are told: of returns and shares alone, as prices do not add up."""
TICKERS = "tickers scored"
"""In place of sums (windows, groups): how many tickers had any."""


def sum_up_groups(losses: ByKind, instruments: Sequence[Instrument], groups: Groups) -> Sums:
    """Return the sums of the tickers of each group; demonstration tickers are left out.

    `losses` have shape (tickers, sessions), rows in the order of `instruments`.
    """
    members = _members(instruments, groups)
    sums: Sums = {}
    for (method, kind), own in losses.items() if groups else ():
        of_one = {name: by_session(own[name], members) for name in AVERAGED if name in own}
        sums[method, method, kind] = of_one
        rival = losses.get((QUANTILE_BASELINE, kind), {})
        if "pinball" in own and "pinball" in rival:
            pair = own["pinball"], rival["pinball"]
            keys = (method, QUANTILE_BASELINE, kind), (QUANTILE_BASELINE, method, kind)
            for key, loss, other in zip(keys, pair, pair[::-1], strict=True):
                sums.setdefault(key, {})[BOTH] = by_session(where_both(loss, other), members)
    return sums


def count_tickers(table: Table, instruments: Sequence[Instrument], groups: Groups) -> Sums:
    """Return how many tickers of each group had a forecast scored in each window."""
    members, sums = _members(instruments, groups), {}
    for method, kind in (
        dict.fromkeys((method, kind) for method, kind, _ in table) if groups else ()
    ):
        scored = [table.get((method, kind, window), {}).get(N) for window in WINDOWS]
        counts = [np.zeros(len(groups)) if n is None else members @ (n > 0) for n in scored]
        sums[method, method, kind] = {TICKERS: np.stack(counts)}
    return sums


def _members(instruments: Sequence[Instrument], groups: Groups) -> Floats:
    """Return 1 where a ticker is in a group, (groups, tickers): a product with it sums them up."""
    return np.array(
        [
            [one.ticker in tickers and not one.demo for one in instruments]
            for tickers in map(frozenset, groups.values())
        ],
        dtype=np.float64,
    )


def of_groups(sums: Sums, groups: Groups) -> Iterator[Row]:
    """Yield a row per group, method, kind and window in which something was scored."""
    for (method, _, kind), of_one in sums.items():
        if TICKERS not in of_one:
            continue
        pinball = np.full((2, len(groups), max(WINDOWS)), np.nan)
        if (method, QUANTILE_BASELINE, kind) in sums:
            pinball = np.stack(pinball_of_both(sums, method, QUANTILE_BASELINE, kind))
        for (place, window), (row, group) in product(enumerate(WINDOWS), enumerate(groups)):
            if tickers := int(of_one[TICKERS][place, row]):
                skill = metrics.clustered_skill(*pinball[:, row : row + 1, -window:])
                totals = {
                    name: of_one[name][:, row, -window:].sum(axis=-1)
                    for name in AVERAGED
                    if name in of_one
                }
                yield _row((*group, method, kind, window, tickers), totals, skill)


def _row(
    keys: tuple[str, str, str, Kind, int, int],
    sums: Mapping[str, Floats],
    skill: Skill,
) -> Row:
    means = {name: total / n if n else np.nan for name, (total, n) in sums.items()}
    pinball, error, inside_80, inside_95 = (means.get(name, np.nan) for name in AVERAGED)
    numbers = (pinball, skill.value, skill.standard_error, error, inside_80, inside_95)
    known = (None if np.isnan(number) else float(number) for number in numbers)
    return Row(*keys, int(sums[ERROR][1]), *known)
