"""What every page that people see says."""

from stockbatch.records import Kind

DISCLAIMER = (
    "Not investment advice. Prices are close to a random walk: expect the forecast near the last "
    "close, and read the intervals. The terms of Yahoo, Alpha Vantage and other data providers "
    "bind whoever fetches or redistributes their data."
)
DEMONSTRATION = (
    "Demonstration: real bars of two indices that end years ago. They show how things look and say "
    "nothing about today. For your own: stockbatch tickers add AAPL, then stockbatch run."
)
KINDS: dict[str, str] = {
    Kind.LIVE: "live: made before the session opened",
    Kind.LATE: "late: made after the deadline",
    Kind.BACKTEST: "backtest: a simulation of the past",
}
"""The preferred kind first."""
