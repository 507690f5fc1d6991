"""The methods there are: ours, a line each, and those of other packages."""

import logging
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points

from stockbatch.engine.network import NETWORKS
from stockbatch.methods.base import Method, Scope
from stockbatch.methods.combined import Combined
from stockbatch.methods.ewma import Ewma
from stockbatch.methods.garch import Garch
from stockbatch.methods.har import Har, HarEvents
from stockbatch.methods.naive import Naive
from stockbatch.methods.networks import Attention, Gru, Lstm
from stockbatch.methods.rolling_quantile import RollingQuantile

log = logging.getLogger(__name__)

GROUP = "stockbatch.methods"
"""Entry points of this group name classes without arguments that are methods."""
BUILT_IN: tuple[type[Method], ...] = (
    Lstm,
    Gru,
    Attention,
    Naive,
    RollingQuantile,
    Ewma,
    Garch,
    Har,
    HarEvents,
    Combined,
)
_NAME = re.compile("[a-z][a-z0-9_]*")
_SAID = ("name", "title", "sentence")


@cache
def methods() -> Mapping[str, Method]:
    """Return every method that can be used, by name, ours first.

    One of another package that cannot be used is left out with a warning; it keeps no other out.
    """
    found: dict[str, Method] = {kind.name: kind() for kind in BUILT_IN}
    for entry, method in _of_other_packages():
        problem = _problem(method, found)
        if problem:
            log.warning("method %s is left out: %s", entry, problem)
        else:
            found[method.name] = method
    return found


def described() -> list[tuple[str, str, str]]:
    """Return name, title and sentence of every method."""
    return [(method.name, method.title, method.sentence) for method in methods().values()]


def fitted_to(scope: Scope) -> list[str]:
    """Return the methods whose parameters belong to a scope."""
    return [name for name, method in methods().items() if method.fits is scope]


def at_work(network: str) -> list[Method]:
    """Return the methods that have something to say: those of networks but `network` rest."""
    return [one for name, one in methods().items() if name == network or name not in NETWORKS]


def needed_past(network: str) -> list[str]:
    """Return the methods whose past forecasts some method at work learns from."""
    return sorted({name for method in at_work(network) for name in method.needs_past})


def calibrated(network: str) -> list[str]:
    """Return the methods at work whose quantiles are calibrated."""
    return [method.name for method in at_work(network) if method.is_calibrated]


def baselines() -> list[str]:
    """Return the methods that are there to be compared with only, and that no other learns from."""
    learned_from = {name for method in methods().values() for name in method.needs_past}
    return sorted(
        name for name, one in methods().items() if one.is_baseline and name not in learned_from
    )


def possible_headlines() -> list[str]:
    """Return the methods that can be shown first: those that state intervals."""
    return [name for name, method in methods().items() if method.states_intervals]


def rivals() -> list[str]:
    """Return the methods that the leaderboard compares every other with."""
    return [name for name, method in methods().items() if method.is_rival]


def _of_other_packages() -> Iterator[tuple[str, Method]]:
    """Yield the methods that entry points name, with the names of these."""
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        try:
            yield point.name, point.load()()
        except Exception as error:  # noqa: BLE001 - whatever a stranger's package does wrong
            log.warning("method %s (%s) cannot be loaded: %s", point.name, point.value, error)


def _problem(method: Method, known: Mapping[str, Method]) -> str | None:
    """Return why a method cannot be used beside those known."""
    if lacking := [name for name in _SAID if not isinstance(getattr(method, name, None), str)]:
        return f"it does not say its {' and '.join(lacking)}"
    if not _NAME.fullmatch(method.name):
        return "its name is not made of small letters, digits and underscores"
    if method.name in known:
        return "there is a method of this name already"
    if missing := {*method.needs, *method.needs_past} - {*known, method.name}:
        return f"it needs {', '.join(sorted(missing))}"
    return None
