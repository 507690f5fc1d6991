"""Yahoo's bars, by yfinance."""
