"""Bars from Alpha Vantage."""
