"""Which rows of a frame people see, and in which order."""

import pandas as pd


def own_or_demo(data: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of your own tickers; those of the demonstration if there are no others."""
    demo = data["is_demo"].astype(bool)
    return data if demo.all() else data[~demo]


def best_first(data: pd.DataFrame) -> pd.DataFrame:
    """Return forecasts of one ticker, which come by the name of their method, the best first."""
    # A stable sort leaves the other methods in the order of their names.
    return data.sort_values("is_headline", ascending=False, kind="stable")
