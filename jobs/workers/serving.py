"""A scheduler and workers of a cluster, each until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack

import dask
from distributed import Nanny, Scheduler
from distributed.core import Status

from jobs.app import running
from jobs.workers.connection import (
    CONNECTING,
    DASK,
    first_cause,
    hush,
    own_share,
    scratch,
    security,
)
from jobs.workers.process import Desk, Open
from stockbatch.config import Address, Settings
from stockbatch.exceptions import NoCluster

LEAVE = 60
"""Seconds after which a worker that has lost its scheduler ends."""
LOOK = 0.5
"""Seconds between looks at whether the workers are still there."""


async def scheduler(settings: Settings, address: Address, ready: Callable[[str], None]) -> None:
    """Be the scheduler of a cluster; `ready` is told where, once it listens."""
    hush()
    secure = security(settings)
    protocol = "tls" if secure else "tcp"
    stop = _told_to_stop()
    with dask.config.set(DASK):
        async with Scheduler(
            host=str(address).rpartition(":")[0],  # an IPv6 one in brackets
            port=address.port,
            protocol=f"{protocol}://",
            security=secure,
            dashboard=False,
            dashboard_address="127.0.0.1:0",
        ) as made:
            ready(made.address)
            await stop.wait()


async def workers(
    settings: Settings, processes: int, ready: Callable[[str], None], open_app: Open = running
) -> None:
    """Be so many workers of the cluster of the settings; a process that dies is started again.

    `ready` is told where the scheduler is, once all have found it. Raises NoCluster.
    """
    hush()
    share = own_share(settings, processes)
    stop = _told_to_stop()
    with dask.config.set(DASK), scratch() as folder:
        async with AsyncExitStack() as stack:
            nannies = [
                Nanny(
                    settings.cluster,
                    nthreads=1,
                    name=f"{socket.gethostname()}-{number}",
                    security=security(settings) or {},
                    memory_limit=settings.training_memory_mib * 2**20,
                    local_directory=folder,
                    death_timeout=LEAVE,
                    silence_logs=logging.CRITICAL,
                    plugins=(Desk(share, open_app),),
                )
                for number in range(1, processes + 1)
            ]
            try:
                for nanny in nannies:
                    if stop.is_set():
                        return
                    # Each its own time: the last of many starts when all others have.
                    async with asyncio.timeout(3 * CONNECTING):
                        await stack.enter_async_context(nanny)
            except (OSError, RuntimeError, TimeoutError) as error:
                raise NoCluster(cluster=settings.cluster, reason=first_cause(error)) from None
            ready(settings.cluster)
            while not stop.is_set():
                if any(nanny.status in (Status.closed, Status.failed) for nanny in nannies):
                    raise NoCluster(cluster=settings.cluster, reason="it is gone")
                await asyncio.sleep(LOOK)


def _told_to_stop() -> asyncio.Event:
    """Return what SIGINT and SIGTERM set."""
    told = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told
