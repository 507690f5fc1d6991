"""The training child, `python -m stockbatch.engine.training.child WORKERS`.

It answers orders from its standard input, and ends as soon as that closes, whatever it is doing: a
parent that is killed leaves no child behind.
"""

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import IO

from stockbatch.config import ModelSettings
from stockbatch.engine.network import NETWORKS
from stockbatch.engine.training import messages
from stockbatch.engine.training.messages import Arrays, Note
from stockbatch.engine.training.trainer import Fitted, Trainer, TrainingData


def serve(make_trainer: Callable[[], Trainer]) -> None:
    """Let a trainer do what the parent orders until the parent is gone.

    It is made here because that takes long: by then the end of the parent is noticed, and what a
    library prints is kept from the answers.
    """
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with suppress(OSError):  # where memory runs out, this process is the one to end
        Path("/proc/self/oom_score_adj").write_text("500")
    orders: SimpleQueue[tuple[Note, Arrays]] = SimpleQueue()
    Thread(target=_listen, args=(orders,), daemon=True).start()
    trainer = make_trainer()
    while True:
        fitted = _obey(trainer, *orders.get(), answers)
        messages.send(answers, "fitted", _arrays(fitted))


def _obey(trainer: Trainer, order: Note, arrays: Arrays, answers: IO[bytes]) -> Fitted:
    """Train, and tell of every epoch."""
    network = NETWORKS[order["network"]]
    data = TrainingData(**messages.without_prefix(arrays, messages.DATA))
    settings = ModelSettings.model_validate(order["settings"])

    def on_epoch(done: int, total: int) -> None:
        messages.send(answers, [done, total], {})

    if order["pooled"]:
        return trainer.fit_pooled(network, data, settings, on_epoch=on_epoch)
    initial = messages.without_prefix(arrays, messages.INITIAL) or None
    return trainer.fit(network, data, settings, initial=initial, on_epoch=on_epoch)


def _arrays(fitted: Fitted) -> Arrays:
    curves = {
        "training_loss": fitted.training_loss,
        "validation_loss": fitted.validation_loss,
        "initial_loss": fitted.initial_loss,
        "best_epoch": fitted.best_epoch,
    }
    return {
        **messages.with_prefix(fitted.weights, messages.WEIGHT),
        **messages.with_prefix(curves, messages.CURVE),
    }


def _listen(orders: "SimpleQueue[tuple[Note, Arrays]]") -> None:
    """Hand on the parent's orders; end the process once the parent is gone."""
    pipe = os.fdopen(os.dup(0), "rb")  # an end of Python while sys.stdin is read would abort it
    while message := messages.receive(pipe):
        orders.put(message)
    os._exit(0)


def _trainer() -> Trainer:
    from stockbatch.engine.training.local import LocalTrainer

    return LocalTrainer(workers=int(sys.argv[1]))


if __name__ == "__main__":
    serve(_trainer)
