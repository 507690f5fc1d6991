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
    row_of = {one.ticker: row for row, one in enumerate(instruments) if not one.demo}
    for group, tickers in groups.items():
        rows = [row_of[ticker] for ticker in tickers if ticker in row_of]
        mine = {
            key: {name: of_one[name][rows] for name in AVERAGED if name in of_one}
            for key, of_one in (losses.items() if rows else ())
        }
        for (method, kind), own in mine.items():
            rival = mine.get((QUANTILE_BASELINE, kind), {})
            for window in windows:
                lately, others = _newest(own, window), _newest(rival, window)
                if np.isfinite(lately[ERROR]).any():
                    yield _row((*group, method, kind, window), lately, others)


def _newest(losses: Losses, window: int) -> Losses:
    return {name: values[:, -window:] for name, values in losses.items()}


def _row(keys: tuple[str, str, str, Kind, int], own: Losses, rival: Losses) -> Row:
    scored = np.isfinite(own[ERROR])
    skill = Skill(np.nan, np.nan)
    if "pinball" in own and "pinball" in rival:
        # By session: a bad day of a sector is one observation, however many shares it has.
        skill = metrics.clustered_skill(own["pinball"], rival["pinball"])
    means = {name: float(metrics.mean(of.reshape(1, -1)).value[0]) for name, of in own.items()}
    pinball, error, inside_80, inside_95 = (means.get(name, np.nan) for name in AVERAGED)
    numbers = (pinball, skill.value, skill.standard_error, error, inside_80, inside_95)
    return Row(
        *keys,
        int(scored.any(axis=1).sum()),
        int(scored.sum()),
        *(None if np.isnan(number) else number for number in numbers),
    )
