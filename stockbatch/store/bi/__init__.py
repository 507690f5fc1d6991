"""The one reader of schema `bi`, the contract that everyone outside reads as well.

A module per subject, a function per question, and one answer for all who ask it: command line, REST
service, dashboard, reports, notebooks and export. Whatever role asks, it needs the right to read
the views and no other; `export` alone reads the bars themselves as well.
"""

from stockbatch.store.bi import (
    accuracy,
    alerts,
    completeness,
    dictionary,
    events,
    export,
    findings,
    forecasts,
    freshness,
    groups,
    headlines,
    instruments,
    models,
    news,
    portfolios,
    prices,
    risk,
    runs,
    splits,
)

__all__ = [
    "accuracy",
    "alerts",
    "completeness",
    "dictionary",
    "events",
    "export",
    "findings",
    "forecasts",
    "freshness",
    "groups",
    "headlines",
    "instruments",
    "models",
    "news",
    "portfolios",
    "prices",
    "risk",
    "runs",
    "splits",
]
