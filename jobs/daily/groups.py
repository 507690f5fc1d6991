"""Sum up how well the tickers of a group were forecast together: of a sector, tag or watchlist."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from stockbatch import metrics
from stockbatch.metrics import Skill
from stockbatch.records import QUANTILE_BASELINE, Floats, Instrument, Kind
from stockbatch.store.group_metrics import Row

Losses = Mapping[str, Floats]
Groups = Mapping[tuple[str, str], Sequence[str]]
"""Tickers by kind and name of their group."""
ERROR = "absolute_log_return_error"
"""The loss that every scored forecast has."""
AVERAGED = ("pinball", ERROR, "inside_80", "inside_95")
"""Losses whose means are told: of returns and shares alone, as prices do not add up."""


def of_groups(
    losses: Mapping[tuple[str, Kind], Losses],
    instruments: Sequence[Instrument],
    groups: Groups,
    windows: Sequence[int],
) -> Iterator[Row]:
    """Yield a row per group, method, kind and window in which something was scored.

    `losses`, by method and kind, have shape (tickers, sessions), rows in the order of
    `instruments`. Demonstration tickers are left out.
    """
    # 1 where a ticker is in a group, (groups, tickers): one product with it sums up all groups.
    members = np.array(
        [
            [one.ticker in tickers and not one.demo for one in instruments]
            for tickers in map(frozenset, groups.values())
        ],
        dtype=np.float64,
    )
    for (method, kind), own in losses.items() if groups else ():
        rival = losses.get((QUANTILE_BASELINE, kind), {}).get("pinball")
        sums = {name: _by_session(members, own[name]) for name in AVERAGED if name in own}
        skills = _compared(members, own.get("pinball"), rival)
        for window in windows:
            tickers = members @ np.isfinite(own[ERROR][:, -window:]).any(axis=1)
            for row, group in enumerate(groups):
                if tickers[row]:
                    of_one = {
                        name: (total[row, -window:].sum(), int(n[row, -window:].sum()))
                        for name, (total, n) in sums.items()
                    }
                    skill = metrics.clustered_skill(*skills[:, row : row + 1, -window:])
                    keys = (*group, method, kind, window, int(tickers[row]))
                    yield _row(keys, of_one, skill)


def _by_session(members: Floats, values: Floats) -> tuple[Floats, Floats]:
    """Return sums of values (tickers, sessions) and how many are known, (groups, sessions)."""
    known = np.isfinite(values)
    return members @ np.where(known, values, 0.0), members @ known.astype(np.float64)


def _compared(members: Floats, own: Floats | None, rival: Floats | None) -> Floats:
    """Return the losses of both where both are known, summed up, (2, groups, sessions).

    A session is one observation, however many tickers a group has: a bad day of a sector is one,
    not fifty. NaN where nothing is known of it.
    """
    if own is None or rival is None:
        return np.full((2, len(members), 1), np.nan)
    both = np.isfinite(own) & np.isfinite(rival)
    n = members @ both.astype(np.float64)
    sums = np.stack([members @ np.where(both, losses, 0.0) for losses in (own, rival)])
    return np.where(n > 0, sums, np.nan)


def _row(
    keys: tuple[str, str, str, Kind, int, int],
    sums: Mapping[str, tuple[float, int]],
    skill: Skill,
) -> Row:
    means = {name: total / n if n else np.nan for name, (total, n) in sums.items()}
    pinball, error, inside_80, inside_95 = (means.get(name, np.nan) for name in AVERAGED)
    numbers = (pinball, skill.value, skill.standard_error, error, inside_80, inside_95)
    known = (None if np.isnan(number) else float(number) for number in numbers)
    return Row(*keys, sums[ERROR][1], *known)
