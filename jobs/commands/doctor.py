"""`stockbatch doctor`: what is wrong, and how to mend it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import typer

from jobs.commands import context, options, tables
from stockbatch.text import counted

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from stockbatch.config import Settings
    from stockbatch.records import Instrument

LEAST_FREE_BYTES = 2**30
XNYS = "XNYS"
"""Checked on an empty watchlist, to see that calendars can be made."""


def doctor(layout: options.Format = "table") -> None:
    """Check settings, disk, database, ledger, workers, watchlist, bars, providers and calendars."""
    from stockbatch.exceptions import StockbatchError

    found = []
    for name, check in _checks():
        try:
            state, said = "ok", check()
        except StockbatchError as error:
            state, said = "wrong", str(error)
        found.append({"check": name, "state": state, "message": said})
        if layout == "table":  # at once: a provider may be waited for
            context.answer(f"{state:<6} {name}: {said}")
    if layout != "table":
        tables.export(("check", "state", "message"), found, layout)
    if any(one["state"] == "wrong" for one in found):
        raise typer.Exit(1)


def _checks() -> Iterator[tuple[str, Callable[[], str]]]:
    """Yield checks, each of which returns what is right or raises what is wrong.

    What rests on something broken is not checked.
    """
    from stockbatch.exceptions import StockbatchError

    settings = context.settings()
    yield "settings", lambda: f"home {settings.home}"
    yield "providers", _providers
    yield "disk", lambda: _disk(settings)
    yield "database", lambda: _server(settings)
    yield "migrations", lambda: _migrations(settings)
    yield "readers", lambda: _readers(settings)
    try:
        watchlist = _watchlist(settings)
    except StockbatchError:
        return
    yield "clock", lambda: _clock(settings)
    yield "ledger", lambda: _ledger(settings)
    if settings.workers or settings.cluster:
        yield "cluster", lambda: _cluster(settings)
    yield "watchlist", lambda: _described(watchlist)
    yield "bars", lambda: _bars(settings)
    sources = {i.provider for i in watchlist} | {f.provider for i in watchlist for f in i.fallbacks}
    for specification in sorted(sources):
        yield f"provider {specification}", partial(_provider, settings, specification)
    yield "events", lambda: _events(settings)
    for name in settings.event_sources:
        yield f"events {name}", partial(_event_source, settings, name, watchlist)
    for code in sorted({i.calendar for i in watchlist} | {settings.exchange or XNYS}):
        yield f"calendar {code}", partial(_calendar, settings, code)


def _providers() -> str:
    from stockbatch.providers import registry

    if broken := registry.broken():
        raise broken[0]
    return f"there are {registry.known()}"


def _disk(settings: Settings) -> str:
    from stockbatch.exceptions import ConfigurationError

    folder = next(f for f in (settings.home, *settings.home.parents) if f.exists())
    free = shutil.disk_usage(folder).free
    text = f"{free / 2**30:.1f} GiB free in {folder}"
    if free < LEAST_FREE_BYTES:
        raise ConfigurationError(source="settings", key="home", reason=f"{text}: make room")
    return text


@contextmanager
def _engine(settings: Settings) -> Iterator[Engine]:
    from stockbatch import database

    engine = database.engine(settings, create=False)
    try:
        yield engine
    finally:
        engine.dispose()


def _server(settings: Settings) -> str:
    from sqlalchemy import text

    from stockbatch import database
    from stockbatch.exceptions import DatabaseReadOnly

    with _engine(settings) as engine, engine.connect() as connection:
        version = connection.scalar(text("SHOW server_version"))
        where = database.redacted(engine.url)
        if connection.scalar(text("SELECT pg_is_in_recovery()")):
            raise DatabaseReadOnly(url=where, reason="it is a standby")
        if connection.scalar(text("SHOW transaction_read_only")) == "on":
            raise DatabaseReadOnly(url=where, reason="transactions are read-only")
        return f"PostgreSQL {version} at {where}"


def _migrations(settings: Settings) -> str:
    from stockbatch import database

    with _engine(settings) as engine:
        database.require_current(engine)
    return f"revision {database.head()}"


def _readers(settings: Settings) -> str:
    from stockbatch import database

    with _engine(settings) as engine:
        database.require_readers_only_read(engine)
    return "they can only read"


def _watchlist(settings: Settings) -> list[Instrument]:
    from sqlalchemy.orm import Session

    from stockbatch import database
    from stockbatch.store import instruments

    with _engine(settings) as engine:
        database.require_current(engine)
        with Session(engine) as db:
            return instruments.active(db)


def _clock(settings: Settings) -> str:
    from jobs.clock import Clock

    with _engine(settings) as engine:
        Clock().require_agreement(engine)
    return "that of the database"


def _ledger(settings: Settings) -> str:
    from sqlalchemy.orm import Session

    from stockbatch.exceptions import CommittedLate
    from stockbatch.store import commits

    with _engine(settings) as engine, Session(engine) as db:
        if not commits.are_tracked(db):
            how = "'stockbatch db stop', and the next command starts a server that keeps them"
            if settings.database_url is not None:
                how = "track_commit_timestamp = on, and a restart of the server"
            return f"not compared with commits, whose instants are not kept: {how}"
        if late := commits.after_deadline(db):
            raise CommittedLate(found="; ".join(map(str, late[:3])))
    return "every live forecast was committed before its deadline"


def _cluster(settings: Settings) -> str:
    from jobs import workers
    from stockbatch.exceptions import UnfitCluster

    workers.require(settings)
    if settings.workers:
        return f"{counted(settings.workers, 'worker')} of this machine"
    from jobs.workers import connection

    with _engine(settings) as engine:
        found = connection.introductions(settings, engine)
    if refused := [str(one) for one in found if one]:
        reason = f"of {counted(len(found), 'worker')}, {len(refused)} refused. {'. '.join(refused)}"
        raise UnfitCluster(cluster=settings.cluster, reason=reason)
    if not found:
        reason = "it has no worker: 'stockbatch cluster worker', on any machine, starts one"
        raise UnfitCluster(cluster=settings.cluster, reason=reason)
    return f"{counted(len(found), 'worker')} at {settings.cluster}"


def _described(watchlist: list[Instrument]) -> str:
    from stockbatch.exceptions import NoInstruments

    if not watchlist:
        raise NoInstruments(where="")
    return counted(len(watchlist), "ticker")


def _bars(settings: Settings) -> str:
    from sqlalchemy.orm import Session

    from stockbatch.exceptions import TooFewBars
    from stockbatch.store import bi

    with _engine(settings) as engine, Session(engine) as db:
        if short := bi.completeness.shortfalls(db):
            raise TooFewBars(found="; ".join(f"{one.calendar}: {one}" for one in short))
        known = [f"{one.calendar}: {one}" for one in bi.completeness.newest(db)]
    return "; ".join(known) or "no ticker of your own was run yet"


def _provider(settings: Settings, specification: str) -> str:
    from stockbatch.providers import registry

    with closing(registry.create(specification, settings)) as provider:
        return provider.state()


def _events(settings: Settings) -> str:
    from sqlalchemy.orm import Session

    from jobs import refresh

    with _engine(settings) as engine, Session(engine) as db:
        return refresh.freshness(db, settings, datetime.now(UTC))


def _event_source(settings: Settings, name: str, watchlist: list[Instrument]) -> str:
    from jobs import refresh

    return refresh.state(settings, name, watchlist)


def _calendar(settings: Settings, code: str) -> str:
    from sqlalchemy.orm import Session

    from stockbatch.exceptions import DoubtfulCalendar
    from stockbatch.market import calendars, sessions
    from stockbatch.store import issues

    with _engine(settings) as engine, Session(engine) as db:
        off = issues.off_calendar(db, sessions.canonical(code))
    if doubts := calendars.doubts(off):
        raise DoubtfulCalendar(reason=doubts[0])
    now = datetime.now(UTC)
    calendar = sessions.load(code, now.date())
    last = calendar.last_closed(now)
    return f"last session {last}, next {calendar.next(last)}"
