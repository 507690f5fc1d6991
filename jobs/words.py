"""What every page that people see says."""

import re

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
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001
DIGITS = 5
"""Significant digits that a price has at least."""
LARGE = 10_000
"""From here on six digits would be too few: of money, or of shares traded."""

_PRICE = re.compile(r"(?:^|_)(?:open|high|low|close)(?:_|$)")
"""Found in the names of columns of prices."""


def cell(value: object) -> object:
    """Return a value for a CSV file that a spreadsheet may open: a text is no formula there."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def price(value: float) -> str:
    """Return a price as people read it, 187.23 or 12,345.67, and 1.0846 or 0.0000086183.

    Two decimals, and more where they are fewer than DIGITS significant digits.
    """
    if value == 0 or not 1e-12 <= abs(value) < 1e15:  # of such sizes zeros say nothing
        return f"{value:.2f}" if value == 0 else f"{value:.{DIGITS}g}"
    exponent = int(f"{value:.{DIGITS - 1}e}".partition("e")[2])
    return f"{value:,.{max(2, DIGITS - 1 - exponent)}f}"


def rounded(name: str, value: object) -> object:
    """Return a value of a column for a file, rounded to what it means.

    Prices have the decimals that `price` shows, percents four; other numbers have six digits, large
    ones two decimals. How much somebody holds is told as it was stated.
    """
    if not isinstance(value, float):
        return value
    if name.endswith("_pct"):
        return round(value, 4)
    if _PRICE.search(name):
        return float(price(value).replace(",", ""))
    if name.endswith("quantity"):
        return float(f"{value:.15g}")
    return round(value, 2) if abs(value) >= LARGE else float(f"{value:.6g}")
