"""Everything that can go wrong in a way the user can act on.

StockbatchError
├── ConfigurationError
├── MissingExtra
├── UnwritableFile
├── SessionError
│   ├── UnknownCalendar
│   ├── NotASession
│   ├── OutsideCalendar
│   ├── DoubtfulCalendar
│   ├── NoBarsThen
│   ├── SessionArchived
│   └── SessionNotClosed
├── DatabaseError
│   ├── DatabaseUnavailable
│   ├── DatabaseNotCreated
│   ├── EmbeddedServerFailed
│   ├── DataFolderOfOtherVersion
│   ├── AccessDenied
│   ├── ReadersMayWrite
│   ├── DatabaseBusy
│   ├── DatabaseSlow
│   ├── DatabaseFull
│   ├── DatabaseReadOnly
│   ├── DatabaseFailed
│   ├── SchemaOutOfDate
│   ├── SchemaTooNew
│   ├── MigrationInProgress
│   ├── RunInProgress
│   ├── RunSuperseded
│   ├── DeadlinePassed
│   ├── CommittedLate
│   ├── ClocksApart
│   ├── UnknownRun
│   ├── BadTeam
│   ├── UnknownTeam
│   ├── UnsuitableLogin
│   ├── TeamViewsInUse
│   ├── BackupFailed
│   ├── RestoreFailed
│   ├── VerificationFailed
│   └── RunStopped
│       └── LockLost
├── InstrumentError
│   ├── UnknownInstrument
│   ├── DuplicateInstrument
│   ├── TickerTaken
│   ├── BadSymbol
│   ├── BadName
│   ├── UnknownGroup
│   ├── UnknownPortfolio
│   ├── NoInstruments
│   ├── TooFewBars
│   └── NothingToReport
├── QualityError
│   ├── UnknownIssue
│   └── NothingToDecide
├── ProviderError
│   ├── UnknownProvider
│   ├── BrokenProvider
│   ├── UnknownSource
│   ├── UnknownNewsSource
│   ├── UnknownScorer
│   ├── BadOption
│   ├── UnknownTicker
│   ├── CannotList
│   ├── NoData
│   ├── RateLimited
│   │   └── QuotaSpent
│   ├── ProviderUnavailable
│   │   └── BadAnswer
│   ├── KeyRefused
│   │   ├── NoKey
│   │   └── NoContact
│   ├── PremiumOnly
│   ├── NoCalendar
│   ├── WrongCalendar
│   ├── UnreadableFile
│   └── BadFile
├── ModelError
│   ├── NoModel
│   ├── UnknownModel
│   ├── UnsuitableModel
│   ├── NothingToRollBack
│   ├── NothingToTrain
│   ├── NoFit
│   ├── TrainingFailed
│   ├── TrainingOverdue
│   ├── NotPublished
│   └── UnsuitableHeadline
├── WorkerError
│   ├── UnsuitableWorker
│   ├── WorkerDied
│   ├── WorkNotDone
│   ├── NoCluster
│   └── UnfitCluster
├── ServiceError
│   ├── RoleNotAllowed
│   ├── DuplicateToken
│   ├── UnknownToken
│   ├── BarsRefused
│   └── NoForecast
└── ExportError
    ├── ExportInProgress
    ├── ExportFailed
    └── ArchiveFailed

The docstring of an exception is its message; the braces name the values it carries:

>>> str(UnknownInstrument(ticker="AAPL"))
"AAPL is not on the watchlist: 'stockbatch tickers add AAPL' adds it"
"""

from typing import Any

from stockbatch.text import printable


class StockbatchError(Exception):
    """Something went wrong that the user can act on."""

    exit_code = 1

    def __init__(self, **values: Any) -> None:
        self.values = values
        # Without docstrings (python -OO) at least what it is about.
        words = self.__doc__ or " ".join([type(self).__name__, *map("{{{}}}".format, values)])
        message = " ".join(words.format(**values).split())
        # A file name need not be UTF-8, a name can steer a terminal; what prints, logs or stores
        # this needs text.
        super().__init__(printable(message))

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.values)


def _rebuild(kind: type[StockbatchError], values: dict[str, Any]) -> StockbatchError:
    return kind(**values)


class ConfigurationError(StockbatchError):
    """{source}: {key}: {reason}"""

    exit_code = 2


class MissingExtra(StockbatchError):
    """{what} needs packages of the extra '{extra}', which are not installed:
    '.venv/bin/uv sync --frozen --inexact --extra all' installs those of every extra"""

    exit_code = 2


class UnwritableFile(StockbatchError):
    """{path} cannot be written: {reason}"""

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


class DoubtfulCalendar(SessionError):
    """{reason}"""


class NoBarsThen(SessionError):
    """{day} is {where} the bars of {calendar}: {known}"""


class SessionArchived(SessionError):
    """Session {session} of {calendar} cannot be forecast any more: the baselines' forecasts up to
    {last} are in an archive, and no more are taken; bi.archives says where"""


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
    """{folder} was written by PostgreSQL {found}, this program carries {expected}: let the
    program version that wrote it do 'stockbatch db backup', move the folder away, and
    'stockbatch db restore'"""


class AccessDenied(DatabaseError):
    """{url} does not allow this: {reason}"""


class ReadersMayWrite(DatabaseError):
    """Who only reads {url} can make {what} there, and so fill its disk: deployment/logins.sql, run
    by a superuser, takes that away; of the embedded server, 'stockbatch db stop' and 'stockbatch
    db start'"""


class DatabaseBusy(DatabaseError):
    """Another program holds a lock in {url}: {reason}"""


class DatabaseSlow(DatabaseError):
    """A statement in {url} was ended: {reason}"""


class DatabaseFull(DatabaseError):
    """{url} has no space left: {reason}"""


class DatabaseReadOnly(DatabaseError):
    """{url} takes no changes: {reason}; if it is a standby, name the primary, else let
    default_transaction_read_only be off for this database and login"""


class DatabaseFailed(DatabaseError):
    """The server of {url} has failed, and its log says more: {reason}"""


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


class DeadlinePassed(DatabaseError):
    """{url} took no forecast for live any more: {reason}"""


class CommittedLate(DatabaseError):
    """{found}: they count as live and are not; find out who wrote them"""


class ClocksApart(DatabaseError):
    """The clocks of {url} and of this machine are {minutes} minutes apart: set the wrong one; until
    they agree, nothing is skipped or pruned, and forecasts go by the database's clock"""


class UnknownRun(DatabaseError):
    """There is no run {run_id}: 'stockbatch runs' shows the last ones"""

    exit_code = 2


class BadTeam(DatabaseError):
    """{name} cannot name a team: {reason}"""

    exit_code = 2


class UnknownTeam(DatabaseError):
    """There is no team {name}: 'stockbatch teams list' shows them"""

    exit_code = 2


class UnsuitableLogin(DatabaseError):
    """{login} cannot be the login of a team: {reason}"""


class TeamViewsInUse(DatabaseError):
    """The views of {schema} have to be made anew, and something else needs them: {reason}; drop
    that, then try again"""


class BackupFailed(DatabaseError):
    """No backup was written to {path}: {reason}"""


class RestoreFailed(DatabaseError):
    """{path} was not restored, and {url} is as it was: {reason}"""


class VerificationFailed(DatabaseError):
    """{path} did not come back when it was restored as a test: {reason}"""


class RunStopped(DatabaseError):
    """The run was stopped after a batch: {reason}; the next one goes on from there"""


class LockLost(RunStopped):
    """This process has lost its right to write: {reason}; what was committed stays, the same
    command goes on from there"""


class InstrumentError(StockbatchError):
    """The watchlist does not allow this."""

    exit_code = 2


class UnknownInstrument(InstrumentError):
    """{ticker} is not on the watchlist: 'stockbatch tickers add {ticker}' adds it"""


class DuplicateInstrument(InstrumentError):
    """{ticker} is on the watchlist already, fed by {provider}"""


class TickerTaken(InstrumentError):
    """{ticker} is taken: an instrument that was removed has its history under that name"""


class BadSymbol(InstrumentError):
    """{symbol} cannot be the symbol of a ticker: {reason}"""


class BadName(InstrumentError):
    """{name} cannot name a group of tickers: {reason}"""


class UnknownGroup(InstrumentError):
    """There is no group {group}{hint}: 'stockbatch tickers groups' lists them"""


class UnknownPortfolio(InstrumentError):
    """There is no portfolio {portfolio}: 'stockbatch portfolios list' shows them"""


class NoInstruments(InstrumentError):
    """The watchlist{where} is empty: 'stockbatch tickers add TICKER' adds to it"""


class TooFewBars(InstrumentError):
    """{found}"""


class NothingToReport(InstrumentError):
    """There is no forecast{of}: 'stockbatch run' makes forecasts of the watchlist, and
    'stockbatch demo' some to look at"""


class QualityError(StockbatchError):
    """A finding cannot be decided on."""

    exit_code = 2


class UnknownIssue(QualityError):
    """There is no finding {issue_id}: 'stockbatch quality' lists them with their numbers"""


class NothingToDecide(QualityError):
    """Finding {issue_id} ({check}, {severity}) set nothing aside: there is nothing to decide"""


class ProviderError(StockbatchError):
    """A provider did not deliver."""

    exit_code = 4


class UnknownProvider(ProviderError):
    """{provider} is not a provider: use one of {known}"""


class BrokenProvider(ProviderError):
    """{provider}, which the package {package} offers, cannot be used: {reason}"""


class UnknownSource(ProviderError):
    """{source} is not a source of events: event_sources names some of {known}"""

    exit_code = 2


class UnknownNewsSource(ProviderError):
    """{source} is not a source of news: news_sources names some of {known}"""

    exit_code = 2


class UnknownScorer(ProviderError):
    """{scorer} is not a scorer: news_scorer is one of {known}, or empty"""

    exit_code = 2


class BadOption(ProviderError):
    """{provider} has no option {option}: {known}"""

    exit_code = 2


class UnknownTicker(ProviderError):
    """{provider} does not know {ticker}{hint}"""


class CannotList(ProviderError):
    """{provider} cannot list its tickers: name them"""


class NoData(ProviderError):
    """{provider} has no bars of {ticker} from {first} to {last}"""


class RateLimited(ProviderError):
    """{provider} refused {ticker}: too many requests"""


class QuotaSpent(RateLimited):
    """{provider} does not answer for {ticker}: the requests of a day ({limit}) are spent, the next
    can be made after {resets_at}"""


class ProviderUnavailable(ProviderError):
    """{provider} could not be reached for {ticker}: {reason}"""


class BadAnswer(ProviderUnavailable):
    """{provider} gave an answer about {ticker} that cannot be read: {reason}"""


class KeyRefused(ProviderError):
    """{provider} refused its key for {ticker}: {reason}"""


class NoKey(KeyRefused):
    """{provider} needs a key{reason}: set {variable} in the environment, or let {variable}_FILE
    name a file that holds it"""


class NoContact(KeyRefused):
    """{provider} answers only whoever says who asks: set edgar_contact (in the environment
    {variable}) to a name and an e-mail address"""


class PremiumOnly(ProviderError):
    """{provider} gives this about {ticker} to premium keys only: {reason}"""


class NoCalendar(ProviderError):
    """{ticker} trades on {exchange}, of which no calendar is known"""


class WrongCalendar(ProviderError):
    """{ticker}: {doubt}: give --calendar {advice}, or a column `calendar` in the list imported"""


class UnreadableFile(ProviderError):
    """{path} cannot be read: {reason}"""


class BadFile(ProviderError):
    """{path}, line {line}, column {column}: {reason}"""


class ModelError(StockbatchError):
    """A model or method cannot be used."""


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


class NoFit(ModelError):
    """no plausible fit: {reason}"""


class TrainingFailed(ModelError):
    """The training process ended early: {reason}"""


class TrainingOverdue(ModelError):
    """Training was ended because the forecasts were due"""


class NotPublished(ModelError):
    """{url} did not take all models: {reason}; what it has taken stays, the same command goes on
    from there"""


class UnsuitableHeadline(ModelError):
    """{method} cannot be the headline{when}: {reason}"""

    exit_code = 2


class WorkerError(StockbatchError):
    """What other processes were to do is not done."""


class UnsuitableWorker(WorkerError):
    """Worker {worker} at {address} cannot work for this: {reason}"""


class WorkerDied(WorkerError):
    """the worker that did it died"""


class WorkNotDone(WorkerError):
    """{reason}"""


class NoCluster(WorkerError):
    """The cluster at {cluster} does not answer: {reason}"""


class UnfitCluster(WorkerError):
    """The cluster at {cluster} does not do all it could: {reason}"""


class ServiceError(StockbatchError):
    """The REST service cannot do this."""

    exit_code = 2


class RoleNotAllowed(ServiceError):
    """{url} does not let this login work as {role}: GRANT {role} TO it, or use another login"""


class DuplicateToken(ServiceError):
    """There is a token {name} already: revoke it first, or choose another name"""


class UnknownToken(ServiceError):
    """There is no valid token {name}: 'stockbatch tokens list' shows them"""


class BarsRefused(ServiceError):
    """The bars of {ticker} were refused: {count} of them failed a check"""


class NoForecast(ServiceError):
    """{ticker} has too few bars for a forecast from {session}: {bars}"""


class ExportError(StockbatchError):
    """Files cannot be written."""


class ExportInProgress(ExportError):
    """Another process is exporting to {folder}: wait for it, then try again"""


class ExportFailed(ExportError):
    """{path} cannot be written: {reason}"""


class ArchiveFailed(ExportError):
    """{what} was not archived, and nothing of it was deleted: {reason}"""
