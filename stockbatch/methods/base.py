"""What a way to forecast is: what it says of itself, what it is given, and what it states.

A method is one file with one class, and one line in `registry`; or a class in a package of
somebody else's, named by an entry point of the group `stockbatch.methods`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from stockbatch.config import ModelSettings
from stockbatch.engine.material import Material
from stockbatch.records import MEDIAN, QUANTILES, Floats, MoveReason, TrainedModel

PAST = 250
"""Past forecasts that a method may look at."""
Parameters = Mapping[str, NDArray[np.float32]]
"""What a method was fitted to, arrays by name."""


class Scope(StrEnum):
    """What one set of parameters belongs to."""

    TICKER = "ticker"
    CALENDAR = "calendar"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """What a method forecasts, NaN where it has no forecast; shapes begin (tickers, origins)."""

    log_return: Floats
    """The point forecast."""
    quantiles: Floats | None = None
    """Of the log return, (tickers, origins, levels); None: the method states points only."""
    raw_quantiles: Floats | None = None
    """The same before calibration; None: nothing was, or not yet."""
    before: Floats | None = None
    """Uncalibrated quantiles of the PAST targets that end at the first origin, (tickers, PAST,
    levels): what is there of the past given, else what can be said of it; None: nothing is kept."""
    models: Mapping[int, TrainedModel] = field(default_factory=dict)
    """The trained model behind the forecasts of a row."""
    event_scale: Floats | None = None
    """By how much what is known of events widens the quantiles, (tickers, PAST + origins)."""
    reasons: Mapping[MoveReason, Floats] = field(default_factory=dict)
    """By how much each widens the 80 % interval, logarithms (tickers, origins) that add up to its
    width but for what the usual move makes of the rest; none: not stated."""
    shrinkage: Floats | None = None
    """Share of the median that the point forecast keeps."""
    dissimilarity: Floats | None = None
    """Distance of the inputs from those trained on; above 1: unlike 99 % of them."""
    failure: str = ""
    """Why nothing is stated, where the method failed with the only ticker of a chunk."""

    @classmethod
    def of(cls, quantiles: Floats) -> Self:
        """Return quantiles whose median is the point forecast."""
        return cls(log_return=quantiles[..., MEDIAN], quantiles=quantiles)

    def uncalibrated(self) -> Floats:
        """Return the quantiles that later forecasts learn from, (tickers, origins, levels)."""
        stated = self.quantiles if self.raw_quantiles is None else self.raw_quantiles
        if stated is None:  # points only: nothing to learn a width from
            return np.full((*self.log_return.shape, len(QUANTILES)), np.nan)
        return stated

    def by_target(self) -> Floats:
        """Return past and present uncalibrated quantiles, (tickers, PAST + origins, levels)."""
        stated = self.uncalibrated()
        before = self.before
        if before is None:
            before = np.full((len(stated), PAST, len(QUANTILES)), np.nan)
        return np.concatenate([before, stated], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What a method forecasts from: a chunk of tickers at the last `origins` of its sessions.

    Nothing later than an origin may be used for its forecast.
    """

    material: Material
    settings: ModelSettings
    origins: int = 1
    parameters: Mapping[int, Parameters] = field(default_factory=dict)
    """Its own, by row; of a calendar's, every row has the same."""
    others: Mapping[str, Stated] = field(default_factory=dict)
    """What the methods of `needs` state from the same origins, before any calibration."""
    past: Mapping[str, Floats] = field(default_factory=dict)
    """Of the methods of `needs_past`, the uncalibrated quantiles of the PAST target sessions that
    end at the first origin, (tickers, PAST, levels), NaN where there was no forecast."""
    models: Mapping[int, TrainedModel] = field(default_factory=dict)
    """The networks in use, by row."""
    base: TrainedModel | None = None


class Method(Protocol):
    """A way to forecast the next session's log return."""

    name: str
    """What is stored with its forecasts: small letters, digits and underscores."""
    title: str
    """What people call it."""
    sentence: str
    """What it does, for somebody who does not know it."""
    fits: Scope | None = None
    """What `fit_ticker` or `fit_calendar` is called for; None: nothing is fitted."""
    needs: tuple[str, ...] = ()
    """Methods whose forecasts of the same origins it works with."""
    needs_past: tuple[str, ...] = ()
    """Methods whose past forecasts it learns from, perhaps itself."""
    is_calibrated: bool = False
    """Whether its quantiles are stretched, and its point shrunk, by what its past ones missed; that
    takes `before`."""
    is_baseline: bool = False
    """Whether it is there to be compared with only: what it forecast long ago may go to files."""
    is_rival: bool = False
    """Whether the leaderboard states every method's skill against it."""
    states_intervals: bool = True
    """Whether it states quantiles; only such a method can be the headline."""
    libraries: tuple[str, ...] = ()
    """Packages whose versions are kept with its parameters."""

    def fit_ticker(
        self,
        material: Material,  # noqa: ARG002
        row: int,  # noqa: ARG002
        settings: ModelSettings,  # noqa: ARG002
    ) -> Parameters | None:
        """Fit one ticker on what its material holds; None where that is too little.

        Raises NoFit where nothing plausible is found: then the ticker has no forecast by this
        method, and its outcome and a finding say why. Refitted when as old as a model that is
        retrained (`retrain_after_sessions`).
        """
        return None

    def fit_calendar(
        self,
        materials: Sequence[Material],  # noqa: ARG002
        settings: ModelSettings,  # noqa: ARG002
    ) -> Parameters | None:
        """Fit all tickers of a calendar together; None where there is too little to fit.

        Refitted by the rules of the base model: `base_after_sessions`, other settings, half as many
        tickers more.
        """
        return None

    def forecast(self, given: Given) -> Stated:
        """Forecast from each of the last origins; nothing later than an origin is used for it."""
        ...
