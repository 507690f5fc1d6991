"""Where the workers of a run are: started for it on this machine, or those of a cluster."""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster
from distributed.security import Security

from jobs.app import App
from jobs.workers import agreement
from jobs.workers.pool import Workers
from jobs.workers.process import Desk
from stockbatch.config import Settings
from stockbatch.exceptions import NoCluster

CONNECTING = 10.0
"""Seconds that a scheduler has for its first answer."""
DASK = {
    # Whoever dies of an order is not followed by others: who sent it tries halves of it.
    "distributed.scheduler.allowed-failures": 0,
    # A worker that is suspended, or cut off, loses its order.
    "distributed.scheduler.worker-ttl": "60s",
    # Every order is a chunk, none is worth stealing, and no profile of it is looked at.
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": f"{CONNECTING}s",
}


@contextmanager
def connected(app: App) -> Iterator[Workers]:
    """Have the workers of the settings. Raises NoCluster where a scheduler does not answer."""
    settings = app.settings
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what matters is said by us
    with dask.config.set(DASK), _client(app) as client:
        silence = 2 * 60 * settings.training_silence_minutes
        yield Workers(client, agreement.agreed(app), silence=silence)


@contextmanager
def _client(app: App) -> Iterator[Client]:
    settings = app.settings
    if settings.cluster:
        try:
            client = Client(settings.cluster, security=security(settings), timeout=CONNECTING)
        except (OSError, TimeoutError, ValueError) as error:
            raise NoCluster(cluster=settings.cluster, reason=error) from None
        with client:
            yield client
        return
    with (
        tempfile.TemporaryDirectory(prefix="stockbatch-workers-") as scratch,
        LocalCluster(
            n_workers=settings.workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            # Nobody else's process on this machine may ask for anything, or read along.
            security=True,
            memory_limit=settings.training_memory_mib * 2**20,
            local_directory=scratch,
            dashboard_address="127.0.0.1:0",
            plugins=(Desk(own_share(settings), app.open_worker),),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def own_share(settings: Settings) -> Settings:
    """Return the settings of one worker of this machine: it works alone, on its share of cores."""
    cores = settings.threads or len(os.sched_getaffinity(0))
    threads = max(1, cores // settings.workers)
    # Of the class itself: the one that reads the file of settings goes to no other process.
    return Settings.model_construct(**dict(settings) | {"workers": 0, "threads": threads})


def security(settings: Settings) -> Security | None:
    """Return the certificates for a cluster, None for one that is reached in plain text."""
    if not settings.cluster.startswith("tls://"):
        return None
    ca, certificate, key = (
        str(file)
        for file in (
            settings.cluster_ca_file,
            settings.cluster_certificate_file,
            settings.cluster_key_file,
        )
    )
    return Security(
        tls_ca_file=ca,
        require_encryption=True,
        **{
            f"tls_{who}_{what}": file
            for who in ("client", "scheduler", "worker")
            for what, file in (("cert", certificate), ("key", key))
        },
    )
