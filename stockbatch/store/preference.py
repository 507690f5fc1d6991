"""Which of several forecasts of one session goes first; of methods, `headlines` tells."""

KIND_FIRST = "kind DESC"
"""Live before late before backtest: the names sort so, which bi.forecast_history relies on too."""
