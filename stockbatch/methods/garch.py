"""GARCH(1,1) with a constant mean and Student's t: fitted by `arch`, filtered here.

r = mean + e, variance' = omega + alpha * e² + beta * variance. Bollerslev, "A conditionally
heteroskedastic time series model for speculative prices and rates of return", Review of Economics
and Statistics 69 (1987).
"""

import warnings
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from threadpoolctl import ThreadpoolController

from stockbatch.config import ModelSettings
from stockbatch.engine.material import Material
from stockbatch.exceptions import NoFit
from stockbatch.methods.base import Given, Method, Parameters, Scope, Stated
from stockbatch.records import QUANTILES, Floats

PARAMETERS = ("mean", "omega", "alpha", "beta", "freedom")
"""Their order in arrays; log returns as they are, never in percent."""
STORED = "parameters"
"""Name of their array where they are stored."""
MINIMUM = 250
"""Known returns a fit needs."""
REACH = 500
"""Sessions up to the origin that a filtered forecast depends on."""
FEWEST_TO_FILTER = 60
"""Known returns among them that it needs."""
SMALLEST_SPREAD = 1e-9
"""Of the largest return; what varies less does not vary."""
LARGEST_PERSISTENCE = 1 + 1e-9
LARGEST_MEAN, LARGEST_SCALE = 1.0, 5.0
"""Sample deviations. A likelihood of many zeros and few moves can have its maximum where the mean
is a day's crash or the usual variance hundreds of times that of the sample: no such fit is one."""
YEAR = 250
"""Sessions ahead for which a variance must not explode. A persistence of just 1, which ordinary
shares have now and then, has no limit to compare with, but it has next year's variance."""
_STARTS = (None, np.array([0.0, 0.05, 0.05, 0.90, 6.0]), np.array([0.0, 0.2, 0.1, 0.7, 5.0]))


class Garch(Method):
    """States the quantiles of Student's t around a constant mean."""

    name = "garch"
    title = "GARCH(1,1)-t"
    sentence = (
        "A variance that rises after large moves and falls back, with fat tails; fitted to each"
        " ticker by maximum likelihood."
    )
    fits = Scope.TICKER
    is_baseline = True
    is_rival = True
    libraries = ("arch",)

    def fit_ticker(
        self, material: Material, row: int, settings: ModelSettings
    ) -> Parameters | None:
        """Fit the returns that a model of the ticker would be trained on."""
        fitted = fit_garch(material.features.returns[row, -settings.history_sessions :])
        return None if fitted is None else {STORED: fitted.astype(np.float32)}

    def forecast(self, given: Given) -> Stated:
        """Filter the variance up to each origin, with the parameters there are."""
        parameters = np.full((len(given.material.instruments), len(PARAMETERS)), np.nan)
        for row, arrays in given.parameters.items():
            parameters[row] = arrays[STORED]
        returns = given.material.features.returns
        return Stated.of(garch_quantiles_by_origin(parameters, returns, given.origins))


def fit_garch(returns: Floats) -> Floats | None:
    """Return the PARAMETERS of one ticker's log returns, of shape (sessions,), NaN where unknown.

    Sessions without a return are left out as if they had not been. None where fewer than MINIMUM
    returns are known, and where they do not vary. Raises NoFit where no start leads to a maximum
    inside the bounds, and where that is implausible. Nothing is warned about.
    """
    known = returns[np.isfinite(returns)]
    spread = float(np.std(known)) if len(known) >= MINIMUM else 0.0
    if not spread > SMALLEST_SPREAD * np.max(np.abs(known), initial=0.0):
        return None
    from arch.univariate import GARCH, ConstantMean, StudentsT  # slow, and no filter needs it

    # In units of their spread: returns are small numbers, at which optimizers stop too early.
    model = ConstantMean(
        known / spread, volatility=GARCH(p=1, q=1), distribution=StudentsT(), rescale=False
    )
    # The likelihood has flat places: from another start the search may get past them.
    for start in _STARTS:
        with warnings.catch_warnings(), np.errstate(all="ignore"), _algebra().limit(limits=1):
            warnings.simplefilter("ignore")
            fitted = model.fit(update_freq=0, disp="off", starting_values=start, show_warning=False)
        parameters = np.asarray(fitted.params, dtype=np.float64)
        deviations = np.asarray(fitted.conditional_volatility, dtype=np.float64)
        if fitted.convergence_flag == 0 and _usable(parameters):
            # The maximum counts: where it is absurd, a lesser one found from elsewhere is no fit.
            if (reason := _implausible(parameters, deviations)) is not None:
                raise NoFit(reason=reason)
            # Back to log returns: a mean has their unit, a variance its square, the rest has none.
            units: Floats = np.array([spread, spread**2, 1, 1, 1])
            return parameters * units
    raise NoFit(reason="the search for one found no maximum")


@cache
def _algebra() -> ThreadpoolController:
    """Return the libraries of linear algebra, all of which `arch` has loaded when this is called.

    With one thread their last bits are others than with more, and where a likelihood is flat the
    search then stops elsewhere: a fit would depend on how many cores the machine has.
    """
    return ThreadpoolController()


def garch_quantiles_by_origin(parameters: Floats, returns: Floats, origins: int) -> Floats:
    """Return the quantiles of the next log return at each of the last `origins` <= S, (T, N, 11).

    `parameters` has shape (T, 5), a row of NaN where there is no fit; `returns` (T, S), NaN where
    unknown. A row is NaN without parameters or with fewer than FEWEST_TO_FILTER known returns. The
    same parameters serve all of them: only those after the fit are forecasts.
    """
    mean, freedom = parameters[:, 0, None, None], parameters[:, 4, None]
    # Student's t has a variance of its own, freedom / (freedom - 2): scaled to 1, as `arch` has it.
    standard = stdtrit(freedom, np.array(QUANTILES)) * np.sqrt((freedom - 2) / freedom)
    deviation = np.sqrt(_variances(parameters, returns, origins))
    quantiles: Floats = mean + deviation[:, :, None] * standard[:, None, :]
    return quantiles


def _variances(parameters: Floats, returns: Floats, origins: int) -> Floats:
    """Return the variance of the next return as of each of the last sessions, (T, N).

    Every origin filters its own REACH sessions, from the mean of their squares on; where a return
    is unknown, as before the first one, its square is taken to be what was expected.
    """
    mean, omega, alpha, beta, _ = parameters.T[:, :, None]
    squares = (returns[:, -(REACH + origins - 1) :] - mean) ** 2
    front = REACH + origins - 1 - squares.shape[1]
    squares = np.pad(squares, [(0, 0), (front, 0)], constant_values=np.nan)
    known = np.isfinite(squares)
    count, total = (
        np.lib.stride_tricks.sliding_window_view(values, REACH, axis=1).sum(axis=2)
        for values in (known, np.where(known, squares, 0.0))
    )
    variance = np.full(count.shape, np.nan)
    np.divide(total, count, out=variance, where=count >= FEWEST_TO_FILTER)
    # A loop over sessions, because each variance needs the one before; tickers and origins side by
    # side.
    for step in range(REACH):
        now = slice(step, step + origins)
        square = np.where(known[:, now], squares[:, now], variance)
        variance = omega + alpha * square + beta * variance
    return variance


def _implausible(parameters: NDArray[np.float64], deviations: NDArray[np.float64]) -> str | None:
    """Return why returns cannot be so, all in units of the sample's own deviation; None: they can.

    A year ahead, the variance expected is what the sample's becomes in so many steps.
    """
    mean, omega, alpha, beta, _ = parameters
    kept = (alpha + beta) ** np.arange(YEAR + 1)
    sizes = {
        "a mean": (abs(mean), LARGEST_MEAN),
        "a usual deviation": (np.median(deviations), LARGEST_SCALE),
        "a deviation a year on": (np.sqrt(omega * kept[:-1].sum() + kept[-1]), LARGEST_SCALE),
    }
    for what, (size, largest) in sizes.items():
        if not size <= largest:
            return f"{what} of {size:.3g} times the deviation there was"
    return None


def _usable(parameters: NDArray[np.float64]) -> bool:
    _, omega, alpha, beta, freedom = parameters
    return bool(
        np.isfinite(parameters).all()
        and omega > 0
        and min(alpha, beta) >= 0
        and alpha + beta <= LARGEST_PERSISTENCE
        and freedom > 2
    )
