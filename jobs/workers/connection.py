"""Where the workers of a run are: started for it on this machine, or those of a cluster."""

from __future__ import annotations

import logging
import shutil
import signal
import ssl
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path

import dask
from distributed import Client, LocalCluster
from distributed.security import Security
from sqlalchemy import Engine

from jobs import files
from jobs.app import App, running
from jobs.isolation import told
from jobs.workers import agreement
from jobs.workers.pool import PATIENCE, Workers
from jobs.workers.process import Desk, Open, introduced
from stockbatch.config import Settings
from stockbatch.engine.training import cores
from stockbatch.exceptions import ConfigurationError, NoCluster, UnsuitableWorker, WorkNotDone

CONNECTING = 10.0
"""Seconds that a scheduler has for its first answer."""
DASK = {
    # Whoever dies of an order is not followed by others: who sent it tries halves of it.
    "distributed.scheduler.allowed-failures": 0,
    # A worker that is suspended, or cut off, loses its order.
    "distributed.scheduler.worker-ttl": "60s",
    # An order for a worker that is gone by then is done by who sent it.
    "distributed.scheduler.no-workers-timeout": f"{PATIENCE}s",
    # Who takes too much memory is ended; it would not be asked any more before, and never again.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # Every order is a chunk, none is worth stealing, and no profile of it is looked at.
    "distributed.scheduler.work-stealing": False,
    "distributed.worker.profile.enabled": False,
    "distributed.comm.timeouts.connect": f"{CONNECTING}s",
}

CERTIFICATES = ("cluster_ca_file", "cluster_certificate_file", "cluster_key_file")
_SCRATCH = "stockbatch-workers-"


@contextmanager
def connected(app: App, *, any_settings: bool) -> Iterator[Workers]:
    """Have the workers of the settings. Raises NoCluster where a scheduler does not answer."""
    settings = app.settings
    hush()
    with dask.config.set(DASK), _client(settings, app.open_worker) as client:
        expected = agreement.agreed(settings, app.engine, any_settings=any_settings)
        silence = 2 * 60 * settings.training_silence_minutes
        workers = Workers(client, expected, silence=silence)
        yield workers
        if settings.cluster:  # others end here
            workers.rest()


def introductions(settings: Settings, engine: Engine) -> list[UnsuitableWorker | None]:
    """Return of each worker of the cluster why it would be refused, None where it would not be.

    Raises NoCluster.
    """
    hush()
    with dask.config.set(DASK), _client(settings) as client:
        expected = agreement.agreed(settings, engine)
        # One by one: who is suspended answers nobody, and is named.
        answers = {address: _introduction(client, address) for address in client.nthreads()}
    return [_refused(address, answer, expected) for address, answer in sorted(answers.items())]


def _introduction(client: Client, address: str) -> tuple[str, dict[str, str]] | Exception:
    try:
        asked: Mapping[str, tuple[str, dict[str, str]] | Exception] = client.run(
            introduced, workers=[address], on_error="return", callback_timeout=CONNECTING
        )
    except TimeoutError:
        return WorkNotDone(reason=f"it has not answered for {CONNECTING:g} s")
    return asked[address]


def _refused(
    address: str, answer: tuple[str, dict[str, str]] | Exception, expected: Mapping[str, str]
) -> UnsuitableWorker | None:
    if isinstance(answer, Exception):
        return UnsuitableWorker(worker="without a name", address=address, reason=told(answer))
    name, own = answer
    reason = agreement.unlike(own, expected)
    return UnsuitableWorker(worker=name, address=address, reason=reason) if reason else None


def hush() -> None:
    """Let Dask say nothing: what matters is said by us."""
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)


@contextmanager
def _client(settings: Settings, open_app: Open = running) -> Iterator[Client]:
    with ExitStack() as stack:
        try:
            if settings.cluster:
                made = Client(settings.cluster, security=security(settings), timeout=CONNECTING)
            else:
                made = Client(stack.enter_context(_local(settings, open_app)))
            client = stack.enter_context(made)
        except (ConfigurationError, OSError, RuntimeError, TimeoutError, ValueError) as error:
            reason = first_cause(error)
            raise NoCluster(cluster=settings.cluster or "this machine", reason=reason) from None
        yield client


@contextmanager
def _local(settings: Settings, open_app: Open) -> Iterator[LocalCluster]:
    with scratch() as folder, ThreadPoolExecutor(1) as thread:
        starting = thread.submit(_started, settings, open_app, folder)
        try:
            yield starting.result()
        finally:  # also where Ctrl-C came while they were starting
            if starting.exception() is None:
                starting.result().close()


def _started(settings: Settings, open_app: Open, folder: str) -> LocalCluster:
    # Inherited by all threads and processes that come of this thread: Ctrl-C is for the run alone.
    resource_tracker.ensure_running()  # whoever starts it hears Ctrl-C again afterwards
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    return LocalCluster(
        n_workers=settings.workers,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        # Nobody else's process on this machine may ask for anything, or read along.
        security=True,
        memory_limit=settings.training_memory_mib * 2**20,
        local_directory=folder,
        dashboard_address="127.0.0.1:0",
        silence_logs=logging.CRITICAL,
        plugins=(Desk(own_share(settings, settings.workers), open_app),),
    )


@contextmanager
def scratch() -> Iterator[str]:
    """Have a folder for what Dask writes; those that killed processes have left are removed."""
    files.remove_left(Path(tempfile.gettempdir()), _SCRATCH + r"\w{8}", shutil.rmtree)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH) as folder, files.locked(Path(folder)):
        yield folder


def first_cause(error: BaseException) -> str:
    """Return what began a chain of exceptions, of those that say anything."""
    found, one = error, _cause(error)
    while one:
        found, one = one if str(one) else found, _cause(one)
    return str(found) or type(found).__name__


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def own_share(settings: Settings, processes: int) -> Settings:
    """Return the settings of one of several workers: it works alone, on its share of the cores."""
    threads = max(1, (settings.threads or cores()) // processes)
    # Of the class itself: the one that reads the file of settings goes to no other process.
    return Settings.model_construct(
        **dict(settings) | {"workers": 0, "cluster": "", "threads": threads}
    )


def security(settings: Settings) -> Security | None:
    """Return the certificates for a cluster, None where there are none.

    Raises ConfigurationError for a file that is none.
    """
    ca, certificate, key = (getattr(settings, name) for name in CERTIFICATES)
    if settings.cluster.startswith("tcp://") or None in (ca, certificate, key):
        return None
    _require_certificates(ca, certificate, key)
    return Security(
        tls_ca_file=str(ca),
        require_encryption=True,
        **{
            f"tls_{who}_{what}": str(file)
            for who in ("client", "scheduler", "worker")
            for what, file in (("cert", certificate), ("key", key))
        },
    )


def _require_certificates(ca: Path, certificate: Path, key: Path) -> None:
    """Raise ConfigurationError, which names what Dask would not."""
    for name, file in zip(CERTIFICATES, (ca, certificate, key), strict=True):
        try:
            file.read_bytes()
        except OSError as error:
            reason = f"{file}: {error.strerror}"
            raise ConfigurationError(source="settings", key=name, reason=reason) from None
    name, file = CERTIFICATES[0], ca
    try:
        context = ssl.create_default_context(cafile=ca)
        name, file = CERTIFICATES[1], certificate
        context.load_cert_chain(certificate, key, password="")  # else one is asked for
    except (ssl.SSLError, ValueError) as error:
        reason = f"{file}: {error}"
        raise ConfigurationError(source="settings", key=name, reason=reason) from None
