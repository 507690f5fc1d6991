"""Where news of tickers come from, and what tells how their titles sound."""
