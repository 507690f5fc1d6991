"""Everything that can go wrong in a way the user can act on.

StockbatchError
├── ConfigurationError
├── SessionError
│   ├── UnknownCalendar
│   ├── NotASession
│   ├── OutsideCalendar
│   └── SessionNotClosed
├── DatabaseError
│   ├── DatabaseUnavailable
│   ├── DatabaseNotCreated
│   ├── EmbeddedServerFailed
│   ├── DataFolderOfOtherVersion
│   ├── AccessDenied
│   ├── DatabaseBusy
│   ├── SchemaOutOfDate
│   ├── SchemaTooNew
│   ├── MigrationInProgress
│   ├── RunInProgress
│   ├── RunSuperseded
│   ├── UnknownRun
│   └── RunStopped
│       └── LockLost
├── InstrumentError
│   ├── UnknownInstrument
│   ├── DuplicateInstrument
│   └── NoInstruments
├── ProviderError
│   ├── UnknownProvider
│   ├── UnknownTicker
│   ├── CannotList
│   ├── NoData
│   ├── RateLimited
│   ├── ProviderUnavailable
│   ├── NoCalendar
│   ├── UnreadableFile
│   └── BadFile
└── ModelError
    ├── NoModel
    ├── UnknownModel
    ├── UnsuitableModel
    ├── NothingToRollBack
    ├── NothingToTrain
    ├── TrainingFailed
    └── TrainingOverdue

The docstring of an exception is its message; the braces name the values it carries:

>>> str(UnknownInstrument(ticker="AAPL"))
"AAPL is not on the watchlist: 'stockbatch tickers add AAPL' adds it"
"""

from typing import Any


class StockbatchError(Exception):
    """Something went wrong that the user can act on."""

    exit_code = 1

    def __init__(self, **values: Any) -> None:
        self.values = values
        super().__init__(" ".join((self.__doc__ or "").format(**values).split()))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.values)


def _rebuild(kind: type[StockbatchError], values: dict[str, Any]) -> StockbatchError:
    return kind(**values)


class ConfigurationError(StockbatchError):
    """{source}: {key}: {reason}"""

    exit_code = 2


class SessionError(StockbatchError):
    """The exchange calendar has no answer."""

    exit_code = 2


class UnknownCalendar(SessionError):
    """{calendar} is not the code of an exchange calendar{hint}"""


class NotASession(SessionError):
    """{session} is not a trading session of {calendar}: the nearest are {before} and {after}"""


class OutsideCalendar(SessionError):
    """{day} leads outside the calendar {calendar}, which knows {first} to {last}"""


class SessionNotClosed(SessionError):
    """Session {session} of {calendar} closes only at {close}: there is nothing to forecast from"""


class DatabaseError(StockbatchError):
    """The database cannot be used."""

    exit_code = 3


class DatabaseUnavailable(DatabaseError):
    """No connection to {url}: {reason}"""


class DatabaseNotCreated(DatabaseError):
    """There is no database in {home} yet: 'stockbatch db start' or 'stockbatch demo' creates it"""


class EmbeddedServerFailed(DatabaseError):
    """The embedded PostgreSQL in {home} failed: {reason}"""


class DataFolderOfOtherVersion(DatabaseError):
    """{folder} was written by PostgreSQL {found}, this program carries {expected}: dump it with the
    program version that wrote it, move the folder away, and restore the dump"""


class AccessDenied(DatabaseError):
    """{url} does not allow this: {reason}"""


class DatabaseBusy(DatabaseError):
    """Another program holds a lock in {url}: {reason}"""


class SchemaOutOfDate(DatabaseError):
    """The schema of {url} is at revision {found}, this program needs {expected}:
    'stockbatch migrate' brings it there"""


class SchemaTooNew(DatabaseError):
    """The schema of {url} is at revision {found}, which this program does not know:
    install the program version that made it, or a newer one"""

    exit_code = 5


class MigrationInProgress(DatabaseError):
    """Another process is migrating {url}: wait for it, then try again"""


class RunInProgress(DatabaseError):
    """Another process is running {calendar} in this database: wait for it, then try again"""


class RunSuperseded(DatabaseError):
    """Run {run_id} was taken over by another process: this one has stopped writing"""


class UnknownRun(DatabaseError):
    """There is no run {run_id}: 'stockbatch runs' shows the last ones"""

    exit_code = 2


class RunStopped(DatabaseError):
    """The run was stopped after a batch: {reason}; the next one goes on from there"""


class LockLost(RunStopped):
    """This daemon's lock in the database is gone: {reason}"""


class InstrumentError(StockbatchError):
    """The watchlist does not allow this."""

    exit_code = 2


class UnknownInstrument(InstrumentError):
    """{ticker} is not on the watchlist: 'stockbatch tickers add {ticker}' adds it"""


class DuplicateInstrument(InstrumentError):
    """{ticker} is on the watchlist already, fed by {provider}"""


class NoInstruments(InstrumentError):
    """The watchlist{where} is empty: 'stockbatch tickers add TICKER' adds to it"""


class ProviderError(StockbatchError):
    """A provider did not deliver."""

    exit_code = 4


class UnknownProvider(ProviderError):
    """{provider} is not a provider: use one of {known}"""


class UnknownTicker(ProviderError):
    """{provider} does not know {ticker}{hint}"""


class CannotList(ProviderError):
    """{provider} cannot list its tickers: name them"""


class NoData(ProviderError):
    """{provider} has no bars of {ticker} from {first} to {last}"""


class RateLimited(ProviderError):
    """{provider} refused {ticker}: too many requests"""


class ProviderUnavailable(ProviderError):
    """{provider} could not be reached for {ticker}: {reason}"""


class NoCalendar(ProviderError):
    """{ticker} trades on {exchange}, of which no calendar is known"""


class UnreadableFile(ProviderError):
    """{path} cannot be read: {reason}"""


class BadFile(ProviderError):
    """{path}, line {line}, column {column}: {reason}"""


class ModelError(StockbatchError):
    """A model cannot be used."""


class NoModel(ModelError):
    """{ticker} has no trained model{when}: 'stockbatch run' trains one"""


class UnknownModel(ModelError):
    """There is no model {model_id}: 'stockbatch models list {ticker}' shows those of {ticker}"""

    exit_code = 2


class UnsuitableModel(ModelError):
    """Model {model_id} cannot serve {ticker}: {reason}"""

    exit_code = 2


class NothingToRollBack(ModelError):
    """{ticker} had no other model in use before: there is nothing to roll back to"""

    exit_code = 2


class NothingToTrain(ModelError):
    """No ticker has {bars} bars up to {session}: choose a later date or load more history"""

    exit_code = 2


class TrainingFailed(ModelError):
    """The training process ended early: {reason}"""


class TrainingOverdue(ModelError):
    """Training was ended because the forecasts were due"""
