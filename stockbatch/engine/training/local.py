"""The trainer that works in this very process, on Keras."""

from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock

from stockbatch.config import ModelSettings
from stockbatch.engine.network import Network, initial_weights
from stockbatch.engine.training import batches
from stockbatch.engine.training.epochs import fit_stack
from stockbatch.engine.training.stack import Stack
from stockbatch.engine.training.trainer import Fitted, OnEpoch, Overdue, TrainingData, join
from stockbatch.engine.weights import Weights
from stockbatch.exceptions import TrainingOverdue

FEWEST_STEPS, SMALLEST_BATCH = 50, 4
"""A base of few tickers learns in smaller batches, so that an epoch has about so many steps."""
SMALLEST_STACK, LARGEST_STACK = 16, 64
"""A product of one matrix is rounded differently from one of many, and every size of a stack is
traced anew: so stacks are of few sizes, filled up with tickers that have nothing to learn. More
tickers gain nothing."""


class LocalTrainer:
    """Trains `workers` stacks at a time, each on a thread of its own.

    It keeps every graph it has traced for the next stack like it, and Keras keeps more: where
    memory matters it belongs into a process that is thrown away.
    """

    def __init__(self, workers: int = 1) -> None:
        self._workers = workers
        self._idle: defaultdict[tuple[str, int, int, ModelSettings], list[Stack]]
        self._idle = defaultdict(list)

    def fit(
        self,
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        initial: Weights | None = None,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        """Train a network per ticker."""
        tickers, _, inputs = data.inputs.shape
        start = initial or initial_weights(network, data.seeds, inputs, settings)
        windows = batches.cut(data, settings)
        size = self._stack_size(tickers)
        firsts = range(0, tickers, size)
        counter = _Counter(len(firsts) * settings.epochs, on_epoch, overdue)

        def fit_from(first: int) -> Fitted:
            piece = slice(first, min(first + size, tickers))
            own = {name: batches.padded(array[piece], size) for name, array in start.items()}
            with self._stack(network, size, inputs, settings) as stack:
                fitted = fit_stack(stack, windows.stack(piece, size), own, counter.advance)
            return fitted.first(piece.stop - first)

        # Threads do: what Keras runs on computes without the lock of Python.
        with ThreadPoolExecutor(self._workers) as pool:
            return join(list(pool.map(fit_from, firsts)))

    def fit_pooled(
        self,
        network: Network,
        data: TrainingData,
        settings: ModelSettings,
        *,
        on_epoch: OnEpoch | None = None,
        overdue: Overdue | None = None,
    ) -> Fitted:
        """Train one network on the windows of all tickers, a stack of one."""
        inputs = data.inputs.shape[-1]
        settings = settings.for_base()
        windows = batches.cut(data, settings).pooled()
        batch = _pooled_batch(windows.inputs.shape[1], settings.batch)
        settings = settings.model_copy(update={"batch": batch})
        start = initial_weights(network, data.seeds, inputs, settings)
        counter = _Counter(settings.epochs, on_epoch, overdue)
        with self._stack(network, 1, inputs, settings) as stack:
            return fit_stack(stack, windows, start, counter.advance)

    def _stack_size(self, tickers: int) -> int:
        """Return the smallest size of a stack that gives no worker more than one, if there is."""
        size = SMALLEST_STACK
        while size * self._workers < tickers and size < LARGEST_STACK:
            size *= 2
        return size

    @contextmanager
    def _stack(
        self, network: Network, tickers: int, inputs: int, settings: ModelSettings
    ) -> Iterator[Stack]:
        """Lend a stack for this many tickers, a traced one if there is one idle."""
        idle = self._idle[network.name, tickers, inputs, settings]
        stack = idle.pop() if idle else Stack(network, tickers, inputs, settings)
        try:
            yield stack
        finally:
            idle.append(stack)


def _pooled_batch(windows: int, most: int) -> int:
    """Return the largest power of two, from SMALLEST_BATCH to `most`, with FEWEST_STEPS steps."""
    batch = min(most, SMALLEST_BATCH)
    while batch * 2 * FEWEST_STEPS <= windows and batch * 2 <= most:
        batch *= 2
    return batch


class _Counter:
    """Adds up the epochs of stacks that train side by side, and ends them when overdue."""

    def __init__(self, total: int, on_epoch: OnEpoch | None, overdue: Overdue | None) -> None:
        self._total = total
        self._on_epoch = on_epoch
        self._overdue = overdue
        self._done = 0
        self._lock = Lock()

    def advance(self, epochs: int) -> None:
        """Count epochs that are over. Raises TrainingOverdue."""
        with self._lock:
            self._done += epochs
            if self._on_epoch:
                self._on_epoch(self._done, self._total)
            if self._overdue and self._overdue():
                raise TrainingOverdue
