"""Retention: drop what nothing needs any more, and give its place back."""

import logging
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs.app import App
from stockbatch import database
from stockbatch.store import retention, runs
from stockbatch.store.retention import Dropped

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a calendar has lost."""

    calendar: str
    models: int
    size: int

    def __str__(self) -> str:
        mib = self.size / 2**20
        return f"{self.calendar}: weights of {self.models} retired models dropped, {mib:.1f} MiB"


def prune(app: App) -> list[Pruned]:
    """Drop the weights of retired models and tidy up. Raises RunInProgress, ClocksApart."""
    app.require_one_time()
    pruned = []
    with app.transaction() as db:
        codes = retention.calendars(db)
    for code in codes:
        app.checkpoint()
        # A run may be forecasting with the very weights that are to go.
        with runs.exclusive(app.engine, code), app.transaction() as db:
            models, size = retention.drop_weights(db, code, app.settings.keep_retired_models)
        pruned.append(Pruned(calendar=code, models=models, size=size))
        log.info("%s", pruned[-1])
    vacuum(app)
    return pruned


def prune_backtests(app: App, before: date | None) -> Dropped:
    """Delete backtests of sessions before a date, by default all, as the owner of the ledger.

    Raises AccessDenied where the login is not the owner, and ClocksApart.
    """
    app.require_one_time()
    owner = database.engine(app.settings, role="owner")
    try:
        with Session(owner) as db, db.begin():
            return retention.drop_backtests(db, before)
    finally:
        owner.dispose()


def vacuum(app: App) -> None:
    """Vacuum and analyze every table that the login owns; the rest is left to autovacuum."""
    owner = database.engine(app.settings, role="owner")
    try:
        with Session(owner) as db:
            tables = retention.tables_to_vacuum(db)
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for table in tables:
                app.checkpoint()
                connection.execute(text(f"VACUUM (ANALYZE, SKIP_LOCKED) stockbatch.{table}"))
    finally:
        owner.dispose()
    log.info("vacuumed %d tables", len(tables))
