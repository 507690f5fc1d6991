"""The providers there are: our own, a line each, and those that other packages add.

Another package adds one by an entry point of the group `stockbatch.providers` that names a
ProviderKind. None is imported before it is needed, and one that cannot be keeps no other out.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import EntryPoint

from pydantic import ValidationError

from stockbatch.config import ProviderModels, Settings, in_words
from stockbatch.exceptions import (
    BrokenProvider,
    ConfigurationError,
    UnknownProvider,
)
from stockbatch.providers import options, packages
from stockbatch.providers.base import BarProvider, ProviderKind, ProviderSettings, Quota, Setup

GROUP = "stockbatch.providers"
OURS = (
    EntryPoint("csv", "stockbatch.providers.csv:KIND", GROUP),
    EntryPoint("parquet", "stockbatch.providers.parquet:KIND", GROUP),
    EntryPoint("demo", "stockbatch.providers.demo:KIND", GROUP),
    EntryPoint("yfinance", "stockbatch.providers.yahoo:KIND", GROUP),
    EntryPoint("alpha_vantage", "stockbatch.providers.alpha_vantage:KIND", GROUP),
)
"""Nobody else's package takes one of these names."""


def create(
    specification: str,
    settings: Settings,
    quota: Quota | None = None,
    *,
    waiting: Callable[[], None] = lambda: None,
) -> BarProvider:
    """Return the provider that a specification names: `demo`, or `csv:PATH` with an argument.

    Nothing is read or asked for before the provider is used. Without `quota`, requests are counted
    nowhere, however many the provider allows in a day; `waiting` is called during waits on purpose.
    Raises UnknownProvider, BrokenProvider, and ConfigurationError for a table of the settings that
    the provider cannot read.
    """
    name, _, argument = specification.partition(":")
    entry = _entries().get(name)
    kind = _kind(entry) if entry else None
    if kind is None or bool(argument) != bool(kind.argument):
        raise UnknownProvider(provider=specification or "''", known=known())
    return kind.make(
        Setup(
            argument=argument,
            settings=_table(name, kind, settings),
            folder=settings.home / name,
            quota=quota,
            waiting=waiting,
        )
    )


def table(name: str, settings: Settings) -> ProviderSettings:
    """Return the own settings of a provider, for what shares its account.

    Raises UnknownProvider, BrokenProvider and ConfigurationError.
    """
    entry = _entries().get(name)
    if entry is None:
        raise UnknownProvider(provider=name or "''", known=known())
    return _table(name, _kind(entry), settings)


def with_options(specification: str, chosen: Mapping[str, str]) -> str:
    """Return a specification with more options behind it, which replace those of the same name.

    Raises BadOption for what its provider does not have; UnknownProvider, BrokenProvider.
    """
    if not chosen:
        return specification
    name, _, argument = specification.partition(":")
    entry = _entries().get(name)
    if entry is None:
        raise UnknownProvider(provider=specification or "''", known=known())
    possible = _kind(entry).options
    options.check(name, chosen, possible)
    path, before = options.split(name, argument, possible)
    return f"{name}:{options.joined(path, {**before, **chosen}, possible)}"


def forms() -> Iterator[tuple[str, str]]:
    """Yield how each provider is written, and what it gives or why it cannot be used."""
    for entry in _entries().values():
        try:
            about = _kind(entry).about
        except BrokenProvider as error:
            about = str(error)
        yield _form(entry), about


def known() -> str:
    """Return the specifications there are, in words."""
    *others, last = (_form(entry) for entry in _entries().values())
    return f"{', '.join(others)} or {last}"


def models() -> ProviderModels:
    """Return what returns the model of each provider's settings; it may raise BrokenProvider."""
    return {name: partial(_model, entry) for name, entry in _entries().items()}


def broken() -> list[BrokenProvider]:
    """Return why providers that other packages offer cannot be used, importing them all."""
    found = []
    for entry in _entries().values():
        try:
            _kind(entry)
        except BrokenProvider as error:
            found.append(error)
    return found


@cache  # reading what every installed package says of itself takes long
def _entries() -> dict[str, EntryPoint]:
    return packages.by_name(OURS, GROUP)


def _kind(entry: EntryPoint) -> ProviderKind:
    """Import what an entry point names; raises BrokenProvider."""
    kind = packages.load(entry)
    if not isinstance(kind, ProviderKind):
        raise packages.broken(entry, f"{entry.value} is no ProviderKind")
    return kind


def _model(entry: EntryPoint) -> type[ProviderSettings]:
    return _kind(entry).settings


def _form(entry: EntryPoint) -> str:
    """Return how a specification is written; of a provider that cannot be imported, its name."""
    with suppress(BrokenProvider):
        if argument := _kind(entry).argument:
            return f"{entry.name}:{argument}"
    return entry.name


def _table(name: str, kind: ProviderKind, settings: Settings) -> ProviderSettings:
    """Return a provider's own settings; raises ConfigurationError for the first it cannot read."""
    try:
        return kind.settings.model_validate(settings.providers.get(name, {}))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(("providers", name, *map(str, problem["loc"])))
        reason = in_words(problem["msg"])
        raise ConfigurationError(source="settings", key=key, reason=reason) from None
