"""Pieces of work side by side: while one waits for the database, another one computes."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Piece = TypeVar("Piece")
Made = TypeVar("Made")

AT_ONCE = 2
"""Pieces under way, beside the one that whoever asks is at; a connection each."""


def side_by_side(work: Callable[[Piece], Made], pieces: Iterable[Piece]) -> Iterator[Made]:
    """Yield what `work` makes of each piece, in their order; few of them are in memory."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        under_way: deque[Future[Made]] = deque()
        for piece in pieces:
            under_way.append(pool.submit(work, piece))
            if len(under_way) > AT_ONCE:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()
