"""Pieces of work done by other processes: those of this machine, or of a cluster, on Dask.

Whoever shares work out sends orders: ids, a session, the token of the run. A worker has settings
and a login of its own; it loads, computes, saves under the run's fence, and answers in a few
numbers. What the workers do not do, for whatever reason, whoever sent the orders does.
"""

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jobs.app import App
from stockbatch.config import Settings
from stockbatch.exceptions import MissingExtra, NoCluster

if TYPE_CHECKING:
    from jobs.workers.pool import Workers

log = logging.getLogger(__name__)


def are_wanted(settings: Settings) -> bool:
    """Tell whether work is to be shared out."""
    return bool(settings.workers or settings.cluster)


def require(settings: Settings) -> None:
    """Raise MissingExtra where workers are wanted, and what they need is not installed."""
    if are_wanted(settings) and find_spec("distributed") is None:
        raise MissingExtra(what="workers", extra="cluster")


@contextmanager
def opened(app: App, *, any_settings: bool = False) -> Iterator["Workers | None"]:
    """Have the workers that the settings ask for, None where they ask for none.

    Those of this machine live as long as this lasts. Where none can be had the work is done without
    them, which is said. Where orders bring settings, workers may have any. Raises MissingExtra.
    """
    if not are_wanted(app.settings):
        yield None
        return
    require(app.settings)
    from jobs.workers import connection  # an extra

    with ExitStack() as stack:
        workers = None
        try:
            workers = stack.enter_context(connection.connected(app, any_settings=any_settings))
        except NoCluster as error:
            log.warning("%s; the work is done without it", error)
        yield workers
