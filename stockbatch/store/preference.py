"""Which of several forecasts of one session goes first."""

from stockbatch.records import LSTM, QUANTILE_BASELINE

HEADLINE = LSTM
"""The method shown where there is room for one."""
METHODS = (HEADLINE, QUANTILE_BASELINE)
"""The headline, then the plainest method that states intervals; any other goes after them."""

METHOD_FIRST = ", ".join([*(f"method <> '{name}'" for name in METHODS), "method"])
"""The best method first, others by name: SQL to order by, as the next."""
KIND_FIRST = "kind DESC"
"""Live before late before backtest: the names sort so, which bi.forecast_history relies on too."""
