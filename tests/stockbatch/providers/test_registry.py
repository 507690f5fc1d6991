"""The providers there are, and one from a package of somebody else's, installed beside ours."""

import sys

import pytest

from jobs import cli
from stockbatch.config import PREFIX, Settings
from stockbatch.exceptions import ConfigurationError, UnknownProvider
from stockbatch.providers import registry
from stockbatch.providers.base import identity
from tests.support.market import PlainTrainer, fetch

QUOTES = '''"""Quotes, as somebody else's package offers them."""

from collections.abc import Iterator, Sequence
from datetime import date
from zlib import crc32

import numpy as np
from pydantic import Field, SecretStr

from stockbatch.exceptions import CannotList, ProviderError
from stockbatch.market import sessions
from stockbatch.providers.base import ProviderKind, ProviderSettings, answers, wanted
from stockbatch.records import BarRequest, Bars, FetchedBars, Listing, PriceBasis

DAYS = sessions.load("XNYS", date(2024, 12, 2)).window(date(2024, 6, 28), 200)


class QuotesSettings(ProviderSettings):
    """Quotes, for whoever has a token."""

    token: SecretStr = Field(description="what opens them")
    price: float = Field(50.0, gt=0, description="price on the first day")


class Quotes:
    name = specification = "quotes"
    price_basis = PriceBasis.SPLIT_ADJUSTED
    corrects_overnight = True

    def __init__(self, settings: QuotesSettings) -> None:
        self._price = settings.price

    def state(self) -> str:
        return f"begins at {self._price:g}"

    def listings(self) -> list[Listing]:
        raise CannotList(provider=self.name)

    def listing(self, ticker: str) -> Listing:
        return Listing(ticker=ticker, symbol=ticker, currency="EUR")

    def fetch(self, requests: Sequence[BarRequest]) -> Iterator[FetchedBars | ProviderError]:
        yield from answers(requests, self._bars)

    def _bars(self, request: BarRequest) -> FetchedBars:
        noise = np.random.default_rng(crc32(request.symbol.encode())).normal(0, 0.01, len(DAYS))
        close = self._price * np.exp(np.cumsum(noise))
        bars = Bars(sessions=DAYS, open=close, high=close * 1.01, low=close / 1.01, close=close,
                    volume=np.full(len(DAYS), 100.0))
        return FetchedBars(symbol=request.symbol, bars=bars.where(wanted(DAYS, request)))

    def close(self) -> None:
        pass


KIND = ProviderKind(make=lambda setup: Quotes(setup.settings), settings=QuotesSettings)
'''
TOKEN = "T0K3N"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package of one module that offers a provider of its own name."""

    def installed(name, code, value="KIND"):
        about = tmp_path / f"{name}-1.0.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[{registry.GROUP}]\n{name} = {name}:{value}\n")
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, name, raising=False)
        registry._entries.cache_clear()

    yield installed
    registry._entries.cache_clear()


@pytest.fixture
def stockbatch(monkeypatch, capsys, settings):
    """Call the command in this process, on a migrated database, with a plain trainer."""
    monkeypatch.setattr("jobs.app.TrainingProcess", lambda *_, **__: _Plain())
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", settings.database_url.get_secret_value())
    small = {"UNITS": 3, "LOOKBACK": 5, "HISTORY_SESSIONS": 100, "MINIMUM_HISTORY": 60}
    for name, value in small.items():
        monkeypatch.setenv(f"{PREFIX}MODEL__{name}", str(value))

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["stockbatch", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return ended.value.code or 0, said.out, said.err

    return call


class _Plain(PlainTrainer):
    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


@pytest.mark.parametrize(
    ("specification", "source"),
    [
        ("demo", "demo"),
        ("csv:/data/bars.csv", "csv:/data/bars.csv"),
        ("csv:/data/bars.csv#ticker=Stock&decimal=comma", "csv:/data/bars.csv"),
        ("csv:/C#/bars.csv", "csv:/C#/bars.csv"),
        ("csv:/C#/bars.csv#dates=exchange", "csv:/C#/bars.csv"),
        ("alpha_vantage#basis=total_return", "alpha_vantage"),
    ],
)
def test_options_do_not_make_another_source(specification, source):
    assert identity(specification) == source


def test_a_package_adds_a_provider(stockbatch, install, engine, monkeypatch):
    assert len(QUOTES.splitlines()) < 60
    install("quotes", QUOTES)
    monkeypatch.setenv(f"{PREFIX}PROVIDERS__QUOTES__TOKEN", TOKEN)
    add = "tickers", "add", "ONE", "TWO", "--provider", "quotes"
    assert stockbatch("--set", "providers.quotes.price=80", *add)[:2] == (0, "2 added\n")
    status, out, err = stockbatch(
        "--set", "providers.quotes.price=80", "run", "--session", "2024-06-03"
    )
    assert (status, err) == (0, ""), out
    stored = fetch(
        engine,
        "SELECT ticker, i.provider, currency, b.price_basis, count(*) AS bars,"
        " (array_agg(close ORDER BY session))[1] BETWEEN 76 AND 84 AS begins_at_80"
        " FROM stockbatch.bars AS b JOIN stockbatch.instruments AS i ON i.id = instrument_id"
        " JOIN stockbatch.sources AS s ON s.id = source_id"
        " WHERE specification = 'quotes' GROUP BY 1, 2, 3, 4 ORDER BY 1",
    )
    of_each = {
        "provider": "quotes",
        "currency": "EUR",
        "price_basis": "split_adjusted",
        "bars": 182,
        "begins_at_80": True,
    }
    assert stored == [{"ticker": ticker} | of_each for ticker in ("ONE", "TWO")]
    forecasts = "SELECT ticker, method FROM bi.forecast_history WHERE session = '2024-06-04'"
    made = {(row["ticker"], row["method"]) for row in fetch(engine, forecasts)}
    assert {("ONE", "lstm"), ("TWO", "lstm"), ("ONE", "naive"), ("TWO", "naive")} <= made

    assert stockbatch("config", "check")[0] == 0
    status, out, _ = stockbatch("doctor")
    assert status == 0
    known = "csv:PATH, parquet:PATH, demo, yfinance, alpha_vantage or quotes"
    assert f"ok     providers: there are {known}" in out
    assert "ok     provider quotes: begins at 50" in out
    out = stockbatch("config", "show")[1]
    assert '[providers.quotes]\ntoken = "***"' in out
    assert TOKEN not in out
    assert "# Price on the first day.\n# price = 50.0" in stockbatch("config", "template")[1]


def test_its_settings_are_checked(stockbatch, install, monkeypatch):
    status, out, _ = stockbatch("--set", "providers.quotes.token=x", "config", "check")
    known = "there are csv, parquet, demo, yfinance, alpha_vantage"
    assert (status, out) == (2, f"wrong  options: providers.quotes: unknown; {known}\n")
    install("quotes", QUOTES)
    assert stockbatch("--set", "providers.quotes.token=x", "config", "check")[0] == 0
    monkeypatch.setenv(f"{PREFIX}PROVIDERS__QUOTES__PRICE", "-1")
    status, out, _ = stockbatch("--set", "providers.quotes.tokn=x", "config", "check")
    variable = f"{PREFIX}PROVIDERS__QUOTES__PRICE"
    assert (status, out.splitlines()) == (
        2,
        [
            "wrong  settings: providers.quotes.token: Field required",
            f"wrong  environment: {variable}: Input should be greater than 0",
            "wrong  options: providers.quotes.tokn: unknown; did you mean token?",
        ],
    )
    monkeypatch.delenv(variable)
    assert stockbatch("config", "check")[0] == 0, "whoever does not use it need not set it"
    status, out, err = stockbatch("tickers", "add", "ONE", "--provider", "quotes")
    assert (status, err) == (2, "error: settings: providers.quotes.token: Field required\n")


def test_a_provider_that_lacks_a_setting_fails_alone(
    stockbatch, install, engine, market, monkeypatch
):
    install("quotes", QUOTES)
    token = "--set", "providers.quotes.token=x"
    assert stockbatch(*token, "tickers", "add", "ONE", "--provider", "quotes")[0] == 0
    feed = "--provider", market.specification
    assert stockbatch("tickers", "add", "AAA", *feed)[0] == 0
    assert stockbatch("run", "--session", "2024-06-03")[0] == 0
    rows = fetch(
        engine,
        "SELECT ticker, reason, message FROM stockbatch.outcomes AS o"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id ORDER BY 1",
    )
    assert [(row["ticker"], row["reason"]) for row in rows] == [
        ("AAA", "no_model"),
        ("ONE", "fetch_failed"),
    ]
    assert rows[1]["message"] == "settings: providers.quotes.token: Field required"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import nowhere_to_be_found",
            "ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("KIND = 3", "bad:KIND is no ProviderKind"),
    ],
)
def test_a_provider_that_cannot_be_imported_keeps_no_other_out(
    stockbatch, install, code, reason, market
):
    install("bad", code)
    why = f"bad, which the package bad offers, cannot be used: {reason}"
    status, out, err = stockbatch("tickers", "add", "AAA", "--provider", "bad")
    assert (status, out, err) == (4, "", f"error: {why}\n")
    its_table = "--set", "providers.bad.key=x"
    feed = "--provider", market.specification
    assert stockbatch(*its_table, "tickers", "add", "AAA", *feed)[:2] == (0, "1 added\n")
    assert stockbatch("config", "check")[:2] == (4, f"wrong  {why}\n")
    status, out, _ = stockbatch("doctor")
    assert status == 1
    wrong = [line for line in out.splitlines() if line.startswith("wrong")]
    assert wrong == [f"wrong  providers: {why}"]
    assert f"# [providers.bad]: {why}" in stockbatch(*its_table, "config", "show")[1]


def test_our_names_stay_ours(install):
    install("demo", "KIND = 3")
    assert type(registry.create("demo", Settings())).__module__ == "stockbatch.providers.demo"


@pytest.mark.parametrize("specification", ["", "csv", "csv:", "demo:x", "alpaca"])
def test_unknown_providers(specification):
    with pytest.raises(
        UnknownProvider, match="csv:PATH, parquet:PATH, demo, yfinance or alpha_vantage"
    ):
        registry.create(specification, Settings())


def test_a_provider_is_not_made_from_settings_it_cannot_read():
    tables = {"yfinance": {"requests_per_second": 0}, "alpha_vantage": {"key": ["hunter2"]}}
    for name, key in (("yfinance", "requests_per_second"), ("alpha_vantage", "key")):
        with pytest.raises(ConfigurationError, match=rf"settings: providers\.{name}\.{key}:") as e:
            registry.create(name, Settings(providers=tables))
        assert "hunter2" not in str(e.value)


def test_a_provider_is_told_whom_a_wait_on_purpose_keeps_waiting(install):
    source = """
from stockbatch.providers.base import ProviderKind
KIND = ProviderKind(make=lambda setup: setup.waiting)
"""
    install("patient", source)
    beats = []
    registry.create("patient", Settings(), waiting=lambda: beats.append(1))()
    registry.create("patient", Settings())()
    assert beats == [1]
