"""`stockbatch cluster`: the scheduler and the workers that share out the work of many machines."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from jobs.commands import context, options

if TYPE_CHECKING:
    from stockbatch.config import Settings

cluster = typer.Typer(
    name="cluster", help="Share the work out to other machines.", no_args_is_help=True
)


@cluster.command()
def scheduler(
    address: Annotated[
        str, options.address("Where to listen for workers and for whoever shares work out.")
    ] = "127.0.0.1:8786",
) -> None:
    """Be the scheduler that everybody meets at, until told to stop.

    With the three files of `cluster_…_file` it speaks TLS, and to nobody without such a
    certificate. Without them it listens on this machine only, unless `cluster_plaintext` is set.
    """
    from stockbatch.config import LOOPBACK, Address
    from stockbatch.exceptions import ConfigurationError

    settings = _settings()
    from jobs.workers import connection, serving

    try:
        where = Address.parse(address)
    except ValueError as error:
        raise ConfigurationError(source="options", key="--address", reason=str(error)) from None
    is_open = where.host not in LOOPBACK and connection.security(settings) is None
    if is_open and not settings.cluster_plaintext:
        reason = (
            "without TLS whoever reaches it can run anything here: set cluster_ca_file,"
            " cluster_certificate_file and cluster_key_file, or cluster_plaintext"
        )
        raise ConfigurationError(source="options", key="--address", reason=reason)
    try:
        asyncio.run(serving.scheduler(settings, where, lambda at: context.say(f"scheduler: {at}")))
    except (OSError, RuntimeError) as error:
        reason = connection.first_cause(error)
        raise ConfigurationError(source="options", key="--address", reason=reason) from None


@cluster.command()
def worker(
    processes: Annotated[
        int, typer.Option(min=1, max=1024, help="How many, each with its share of the cores.")
    ] = 1,
) -> None:
    """Work for whoever uses the scheduler of the setting `cluster`, until told to stop.

    It needs the same database, version and settings as they; who differs is told so, by name.
    """
    from stockbatch import database
    from stockbatch.exceptions import ConfigurationError

    settings = _settings()
    if not settings.cluster:
        reason = "name the scheduler, e.g. tls://scheduler.example:8786"
        raise ConfigurationError(source="settings", key="cluster", reason=reason)
    from jobs.workers import serving

    engine = database.engine(settings)  # what is wrong with it is said here, once
    with closing(engine.connect()):
        database.require_current(engine)
    engine.dispose()
    said = f"{processes} at work for"
    asyncio.run(serving.workers(settings, processes, lambda at: context.say(f"{said} {at}")))


def _settings() -> Settings:
    context.require("stockbatch cluster", "distributed", extra="cluster")
    return context.settings()
