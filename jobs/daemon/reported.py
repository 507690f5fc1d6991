"""What the daemon does with a failure."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from stockbatch.exceptions import (
    NoInstruments,
    RunInProgress,
    RunStopped,
    RunSuperseded,
    SchemaTooNew,
    StockbatchError,
)

log = logging.getLogger(__name__)


@contextmanager
def reported(name: str) -> Iterator[None]:
    """Log a failure that the ledger has, or that somebody else causes; let other things end."""
    try:
        yield
    except (RunInProgress, NoInstruments, RunSuperseded) as error:
        log.info("%s: %s", name, error)
    except (RunStopped, SchemaTooNew):
        raise
    except StockbatchError as error:
        log.error("%s failed, it will be tried again: %s", name, error)
    except Exception:
        log.exception("%s failed, it will be tried again", name)
