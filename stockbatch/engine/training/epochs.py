"""The epochs of one stack, until every ticker has stopped."""

from collections.abc import Callable

import numpy as np

from stockbatch import metrics
from stockbatch.engine.training.batches import Windows
from stockbatch.engine.training.stack import Stack, mean
from stockbatch.engine.training.trainer import Bools, Fitted
from stockbatch.engine.weights import Singles, Weights
from stockbatch.records import Floats


def fit_stack(
    stack: Stack, windows: Windows, start: Weights, advance: Callable[[int], None]
) -> Fitted:
    """Train from `start` (tickers, …) until every ticker has stopped.

    Each keeps the weights of its best epoch, counted from 0, before the first; `advance` is told
    how many epochs are over. Early stopping as by Prechelt, "Early stopping - but when?", 1998.
    """
    settings = stack.settings
    stack.load(start)
    initial_loss = _validate(stack, windows)
    best, best_loss = dict(start), initial_loss
    best_epoch = np.zeros(len(initial_loss), np.int64)
    curves = np.full((2, len(initial_loss), settings.epochs), np.nan)
    active = np.any(windows.train, axis=(1, 2)) & np.isfinite(initial_loss)
    for epoch in range(1, settings.epochs + 1):
        if not active.any():
            advance(settings.epochs - epoch + 1)
            break
        for rows, masks in windows.steps(epoch, active, settings):
            x, y, weights = windows.take(windows.train, rows)
            stack.train_on_batch((x, masks), y, weights)
        loss = _validate(stack, windows)
        curves[:, active, epoch - 1] = stack.take_losses()[active], loss[active]
        # NaN is not less than anything: where a loss is none, the best weights so far stay.
        better = active & (loss < best_loss)
        best = _chosen(better, stack.read(), best)
        best_loss = np.where(better, loss, best_loss)
        best_epoch[better] = epoch
        # Tickers stop one by one; the stack goes on until the last has.
        active &= np.isfinite(loss) & (epoch - best_epoch < settings.patience)
        advance(1)
    return Fitted(
        weights=best,
        training_loss=curves[0],
        validation_loss=curves[1],
        initial_loss=initial_loss,
        best_epoch=best_epoch,
    )


def _validate(stack: Stack, windows: Windows) -> Floats:
    """Return the mean pinball loss of each ticker's validation steps, NaN where it has none."""
    # Sums in doubles, divided at last: batches are of different weight.
    total, count = np.zeros(len(windows.seeds)), np.zeros(len(windows.seeds))
    for rows in windows.validation_steps(stack.settings):
        x, y, weights = windows.take(windows.validation, rows)
        quantiles, actual = stack.predict_scored(x).astype(np.float64), y.astype(np.float64)
        total += (metrics.pinball_losses(quantiles, actual) * weights).sum(axis=(1, 2))
        count += weights.sum(axis=(1, 2))
    return mean(total, count)


def _chosen(mask: Bools, new: Weights, old: Weights) -> dict[str, Singles]:
    """Return the new weights of the tickers in `mask`, the old ones of the others."""
    return {
        name: np.where(mask.reshape(-1, *[1] * (array.ndim - 1)), array, old[name])
        for name, array in new.items()
    }
