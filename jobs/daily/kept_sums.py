"""Sums of losses by session, kept from night to night: only new scores are added up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sqlalchemy.orm import Session

from jobs.daily.groups import TICKERS, Groups
from jobs.daily.totals import BETTER, Sums
from stockbatch.methods import registry
from stockbatch.records import Floats, Instrument, Kind, Sessions
from stockbatch.store import sums

ALL, GROUPS, RIVALS = "all", "groups", "rivals"
SESSIONS = "sessions"
"""Among the arrays kept: which sessions they are of, days since 1970-01-01."""
OF_WINDOWS = (BETTER, TICKERS)
"""What has an axis of windows in the place of sessions, and is counted anew each time."""


def members_of(instruments: Sequence[Instrument], groups: Groups) -> dict[str, Any]:
    """Return whose losses are summed up, as JSON: ids of all, and of each group by kind and name.

    Those of a demonstration are left out. A method that others are compared with only since has no
    sums of it yet, so that those are named too.
    """
    ids = {one.ticker: one.id for one in instruments if not one.demo}
    of_groups = [
        [*group, sorted(ids[ticker] for ticker in tickers if ticker in ids)]
        for group, tickers in groups.items()
    ]
    return {ALL: sorted(ids.values()), GROUPS: of_groups, RIVALS: sorted(registry.rivals())}


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSums:
    """What is known of the sums of a window from before."""

    sessions: Sessions
    members: dict[str, Any]
    known: dict[str, Sums]
    """Sums of ALL and of GROUPS, 0 in the sessions that are `wanted`."""
    wanted: NDArray[np.intp]
    """Places of the sessions that are to be added up, as nothing is known of them any more."""
    is_newest: bool
    """Whether no later session was summed up before."""

    @classmethod
    def load(cls, db: Session, calendar: str, window: Sessions, members: dict[str, Any]) -> Self:
        """Load what is kept of a calendar; it is of use if it is of the same tickers."""
        kept = sums.load(db, calendar)
        is_newest = kept is None or bool(np.datetime64(kept.through) <= window[-1])
        known: dict[str, Sums] = {ALL: {}, GROUPS: {}}
        there = np.zeros(len(window), bool)
        if kept is not None and is_newest and _are_those(db, kept, members):
            then = kept.arrays.pop(SESSIONS).astype("datetime64[D]")
            there = np.isin(window, then) & ~np.isin(window, _noted(db, calendar, window))
            before = np.searchsorted(then, window[there])
            groups = {ALL: [0], GROUPS: _places(kept.members, members)}
            for name, values in kept.arrays.items():
                whose, method, other, kind, loss = json.loads(name)
                # Of a group that is new nothing is there, which the 0 at the end stands for.
                padded = np.pad(values[:, :, before], ((0, 0), (0, 1), (0, 0)))
                aligned = np.zeros((2, len(groups[whose]), len(window)))
                aligned[:, :, there] = padded[:, groups[whose]]
                known[whose].setdefault((method, other, Kind(kind)), {})[loss] = aligned
        wanted = np.flatnonzero(~there)
        return cls(
            sessions=window, members=members, known=known, wanted=wanted, is_newest=is_newest
        )

    def with_those(self, whose: str, added: Sums) -> Sums:
        """Return the sums of the whole window, where `added` are those of the sessions wanted."""
        known, whole = self.known[whose], {}
        for key in dict.fromkeys((*known, *added)):
            of_key, more = dict(known.get(key, {})), added.get(key, {})
            for name, values in more.items():
                if name in OF_WINDOWS:
                    of_key[name] = values
                    continue
                shape = (*values.shape[:2], len(self.sessions))
                of_key.setdefault(name, np.zeros(shape))[:, :, self.wanted] = values
            whole[key] = of_key
        return whole

    def save(
        self, db: Session, calendar: str, through: date, of_all: Sums, of_groups: Sums
    ) -> None:
        """Keep the sums of the whole window for the next night."""
        arrays: dict[str, Floats] = {SESSIONS: self.sessions.astype(np.int64).astype(np.float64)}
        for whose, by_key in ((ALL, of_all), (GROUPS, of_groups)):
            for key, by_loss in by_key.items():
                for loss, values in by_loss.items():
                    if loss not in OF_WINDOWS:
                        arrays[json.dumps([whose, *key, loss])] = values
        sums.save(db, calendar, through, self.members, arrays)


def _noted(db: Session, calendar: str, window: Sessions) -> Sessions:
    return np.array(sorted(sums.sessions_noted(db, calendar, window)), "datetime64[D]")


def _are_those(db: Session, kept: sums.Kept, now: dict[str, Any]) -> bool:
    """Tell whether the sums kept are those of the tickers of now: who came adds nothing to them."""
    before = kept.members
    came = sorted(set(now[ALL]) - set(before[ALL]))
    fresh = set(came) - sums.forecast_through(db, came, kept.through)

    def as_many(then: Sequence[int], these: Sequence[int]) -> bool:
        return set(then) <= set(these) and set(these) - set(then) <= fresh

    groups = {tuple(named): ids for *named, ids in before[GROUPS]}
    return (
        before[RIVALS] == now[RIVALS]
        and as_many(before[ALL], now[ALL])
        and all(as_many(groups.get(tuple(named), []), ids) for *named, ids in now[GROUPS])
    )


def _places(before: dict[str, Any], now: dict[str, Any]) -> list[int]:
    """Return where each group of now stood before, -1 where it did not."""
    places = {tuple(named): place for place, (*named, _) in enumerate(before[GROUPS])}
    return [places.get(tuple(named), -1) for *named, _ in now[GROUPS]]
