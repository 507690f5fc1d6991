"""Bars from Alpha Vantage: few requests a day, each counted; for short watchlists and second looks.

Its terms bind whoever asks. Free keys get the last 100 sessions, prices as traded, no actions.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta

from tenacity import (
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_fixed,
    wait_random,
)

from stockbatch.exceptions import (
    CannotList,
    KeyRefused,
    ProviderError,
    ProviderUnavailable,
    QuotaSpent,
    RateLimited,
)
from stockbatch.providers.alpha_vantage import answers
from stockbatch.providers.alpha_vantage.client import NAME, URL, Client
from stockbatch.providers.alpha_vantage.settings import AlphaVantageSettings
from stockbatch.providers.base import Quota, no_data
from stockbatch.records import BarRequest, FetchedBars, Listing, PriceBasis

ATTEMPTS = 2
"""Few: each is counted."""
COMPACT_DAYS = 130
"""The short answer has 100 sessions, which are at least so many days."""


def _now() -> datetime:
    return datetime.now(UTC)


class AlphaVantage:
    """Alpha Vantage's bars; `quota` counts the requests, of which the settings allow so many a day.

    `retry_wait` and `timeout` are in seconds.
    """

    name = specification = NAME
    price_basis = PriceBasis.AS_TRADED
    corrects_overnight = True

    def __init__(
        self,
        settings: AlphaVantageSettings,
        quota: Quota | None,
        *,
        url: str = URL,
        retry_wait: float = 2.0,
        timeout: float = 30.0,
        waiting: Callable[[], None] = lambda: None,
        clock: Callable[[], datetime] = _now,
    ) -> None:
        self._settings = settings
        self._client = Client(
            settings, quota, url=url, timeout=timeout, waiting=waiting, clock=clock
        )
        self._retry_wait = retry_wait

    def state(self) -> str:
        """Say what the key allows; raises NoKey."""
        self._client.key()
        kind = "premium" if self._settings.premium else "free"
        limit = self._settings.requests_per_day or "any"
        return f"has a key, taken for a {kind} one: {limit} requests a day"

    def listings(self) -> list[Listing]:
        """Raise CannotList: there is a list, but of what is traded in the United States only."""
        raise CannotList(provider=self.name)

    def listing(self, ticker: str) -> Listing:
        """Search for a symbol; raises UnknownTicker, NoCalendar and what a fetch meets."""
        ask = self._retrying()
        answer = ask(self._client.ask, ticker, function="SYMBOL_SEARCH", keywords=ticker)
        return answers.listing(ticker, answer)

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        """Yield one answer per request; once the key or the quota is refused, none is made."""
        refused: ProviderError | None = None
        for request in requests:
            if refused is None:
                try:
                    yield self._retrying()(self._bars, request)
                    continue
                except ProviderError as error:
                    if not isinstance(error, QuotaSpent | KeyRefused):
                        yield error
                        continue
                    refused = error
            yield type(refused)(**{**refused.values, "ticker": request.symbol})

    def close(self) -> None:
        """Do nothing: every request has a connection of its own."""

    def _retrying(self) -> Retrying:
        def passes(error: BaseException) -> bool:
            spent = isinstance(error, QuotaSpent)
            return isinstance(error, ProviderUnavailable | RateLimited) and not spent

        wait = wait_fixed(self._retry_wait) + wait_random(0, self._retry_wait)
        stop = stop_after_attempt(ATTEMPTS)
        return Retrying(retry=retry_if_exception(passes), stop=stop, wait=wait, reraise=True)

    def _bars(self, request: BarRequest) -> FetchedBars:
        # Only premium keys get the whole history, which is megabytes: a delta does without.
        since = self._client.today() - timedelta(days=COMPACT_DAYS)
        recent = request.first and request.first > since
        premium = self._settings.premium
        answer = self._client.ask(
            request.symbol,
            function="TIME_SERIES_DAILY_ADJUSTED" if premium else "TIME_SERIES_DAILY",
            outputsize="full" if premium and not recent else "compact",
            datatype="json",
            symbol=request.symbol,
        )
        fetched = answers.fetched_bars(request, answer)
        if not len(fetched.bars) and not fetched.actions:
            raise no_data(self.name, request)
        return fetched
