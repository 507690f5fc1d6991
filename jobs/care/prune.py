"""Retention: drop what nothing needs any more, and give its place back."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

from sqlalchemy import text
from sqlalchemy.orm import Session

from jobs.app import App
from jobs.isolation import one_by_one
from stockbatch import database
from stockbatch.exceptions import DatabaseSlow
from stockbatch.store import retention
from stockbatch.store.retention import Dropped
from stockbatch.text import counted

log = logging.getLogger(__name__)

LONGEST_VACUUM = "10min"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What a calendar has lost."""

    calendar: str
    models: int
    size: int

    def __str__(self) -> str:
        mib = self.size / 2**20
        return f"{self.calendar}: weights of {self.models} retired models dropped, {mib:.1f} MiB"


def prune(app: App) -> Iterator[Pruned]:
    """Drop, exchange by exchange, the weights of retired models; vacuum.

    Raises ClocksApart, and at the end RunInProgress where that kept an exchange from being tidied.
    """
    with app.transaction() as db:
        codes = retention.calendars(db)
    with one_by_one() as each:
        for code in codes:
            app.checkpoint()
            with each():
                yield prune_calendar(app, code)
        vacuum(app)


def prune_news(app: App) -> int:
    """Delete news published longer ago than `keep_news_days`; return how many.

    Raises ClocksApart.
    """
    app.require_one_time()
    old = app.clock() - timedelta(days=app.settings.keep_news_days)
    with app.transaction() as db:
        gone = retention.drop_news(db, old)
    log.info("%s published before %s deleted", counted(gone, "news item"), old.date())
    return gone


def prune_calendar(app: App, code: str) -> Pruned:
    """Drop the weights of retired models of an exchange. Raises RunInProgress, ClocksApart."""
    app.require_one_time()
    # A run may be forecasting with the very weights that are to go.
    with app.exclusive(code), app.transaction() as db:
        models, size = retention.drop_weights(db, code, app.settings.keep_retired_models)
    pruned = Pruned(calendar=code, models=models, size=size)
    log.info("%s", pruned)
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
    """Vacuum and analyze every table that the login owns; the rest is left to autovacuum.

    So is a table that takes too long: nobody would know whether the daemon still lives.
    """
    owner = database.engine(app.settings, role="owner")
    try:
        with Session(owner) as db:
            tables = retention.tables_to_vacuum(db)
        with owner.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text(f"SET statement_timeout = '{LONGEST_VACUUM}'"))
            for table in tables:
                app.checkpoint()
                try:
                    connection.execute(text(f"VACUUM (ANALYZE, SKIP_LOCKED) stockbatch.{table}"))
                except DatabaseSlow as error:
                    log.warning("%s is left to autovacuum: %s", table, error)
    finally:
        owner.dispose()
    log.info("vacuumed %d tables", len(tables))
