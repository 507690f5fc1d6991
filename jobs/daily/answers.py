"""Who is asked for bars, in which turn, and what they answer, in batches to commit."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from jobs.isolation import is_of_a_ticker, told
from stockbatch.exceptions import BadAnswer, ProviderError
from stockbatch.providers.base import BarProvider
from stockbatch.records import BarRequest, FetchedBars, Instrument, Source

COMMIT_BARS, COMMIT_SECONDS = 100_000, 5.0
"""A batch is committed once it holds so many bars, or took so long to come."""

Answer = tuple[Instrument, FetchedBars | ProviderError]


def by_provider(
    instruments: Iterable[Instrument], provider: str | None, turn: int
) -> list[tuple[str, dict[str, Instrument]]]:
    """Return who is to be asked in this turn: pairs of a provider and instruments by symbol.

    Turn 0 is that of their own providers, 1 that of the first fallbacks, and so on.
    """
    groups: list[tuple[str, dict[str, Instrument]]] = []
    for instrument in instruments:
        sources = [Source(provider=provider or instrument.provider, symbol=instrument.symbol)]
        sources += () if provider else instrument.fallbacks
        if turn < len(sources):
            source = sources[turn]
            for specification, fed in groups:
                if specification == source.provider and source.symbol not in fed:
                    fed[source.symbol] = instrument
                    break
            else:  # of instruments with the same symbol, each is asked for in a group of its own
                groups.append((source.provider, {source.symbol: instrument}))
    return groups


def answers(
    source: BarProvider, requests: Sequence[BarRequest]
) -> Iterator[FetchedBars | ProviderError]:
    """Yield what a provider answers; one that breaks is asked for the rest by halves."""
    waiting = {request.symbol: request for request in requests}
    try:
        for answer in source.fetch(requests):
            symbol = answer.values["ticker"] if isinstance(answer, ProviderError) else answer.symbol
            if waiting.pop(symbol, None) is not None:
                yield answer
    except Exception as error:
        if not is_of_a_ticker(error):
            raise
        rest = list(waiting.values())
        if len(rest) == 1:
            yield BadAnswer(provider=source.name, ticker=rest[0].symbol, reason=told(error))
            return
        middle = len(rest) // 2
        for half in (rest[:middle], rest[middle:]):
            if half:
                yield from answers(source, half)


def batches(
    come: Iterable[FetchedBars | ProviderError], instruments: Mapping[str, Instrument]
) -> Iterator[list[Answer]]:
    """Yield the answers in batches to commit; after Ctrl-C, what has come is the last one."""
    batch: list[Answer] = []
    bars, begun = 0, time.monotonic()
    try:
        for answer in come:
            if isinstance(answer, ProviderError):
                batch.append((instruments[answer.values["ticker"]], answer))
            else:
                batch.append((instruments[answer.symbol], answer))
                bars += len(answer.bars)
            if bars >= COMMIT_BARS or time.monotonic() - begun >= COMMIT_SECONDS:
                yield batch
                batch, bars, begun = [], 0, time.monotonic()
    except KeyboardInterrupt:
        if batch:
            yield batch
        raise
    if batch:
        yield batch
