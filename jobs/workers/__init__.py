"""Pieces of work done by other processes: those of this machine, or of a cluster, on Dask.

Whoever shares work out sends orders: ids, a session, the token of the run. A worker has settings
and a login of its own; it loads, computes, saves under the run's fence, and answers in a few
numbers. What the workers do not do, for whatever reason, whoever sent the orders does.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

from jobs.app import App
from stockbatch.config import Settings
from stockbatch.exceptions import MissingExtra

if TYPE_CHECKING:
    from jobs.workers.pool import Workers


def are_wanted(settings: Settings) -> bool:
    """Tell whether work is to be shared out."""
    return bool(settings.workers or settings.cluster)


@contextmanager
def opened(app: App) -> Iterator["Workers | None"]:
    """Have the workers that the settings ask for, None where they ask for none.

    Those of this machine live as long as this lasts. Raises MissingExtra.
    """
    if not are_wanted(app.settings):
        yield None
        return
    if find_spec("distributed") is None:
        raise MissingExtra(what="workers", extra="cluster")
    from jobs.workers import connection  # an extra

    with connection.connected(app) as workers:
        yield workers
