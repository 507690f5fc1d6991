"""What Prometheus watches: gauges of what the ledger says, and of this process.

What concerns the data is read from the database at every scrape, so that a restart loses nothing;
the memory of the processes and the durations of steps are this process's own.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError

from jobs import telemetry
from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Exchange
from stockbatch.exceptions import StockbatchError
from stockbatch.store import alerts, bi, event_refreshes, health
from stockbatch.store.event_refreshes import Freshness

log = logging.getLogger(__name__)


def registry(app: App, beat: Callable[[], datetime]) -> CollectorRegistry:
    """Return all there is to scrape; `beat` returns the last sign of life of the daemon's loop."""
    made = CollectorRegistry()
    made.register(telemetry.STEP_SECONDS)
    made.register(_Ledger(app, beat))
    ProcessCollector(registry=made)
    ProcessCollector("stockbatch_child", pid=lambda: str(app.trainer.pid or "none"), registry=made)
    return made


class _Ledger(Collector):
    """What the database says, at the moment it is asked."""

    def __init__(self, app: App, beat: Callable[[], datetime]) -> None:
        self._app = app
        self._beat = beat

    def describe(self) -> list[Metric]:
        """Return nothing: the database is not asked before the first scrape."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric; of a database out of reach only that it is."""
        beat = "Instant at which the daemon's loop last turned."
        yield GaugeMetricFamily(
            "stockbatch_heartbeat_timestamp_seconds", beat, self._beat().timestamp()
        )
        families: list[Metric] = []
        try:
            families = list(_families(self._app))
        except (StockbatchError, SQLAlchemyError) as error:
            log.warning("no metrics from the database: %s", error)
        up = "1 if the database answered."
        yield GaugeMetricFamily("stockbatch_database_up", up, float(bool(families)))
        yield from families


def _families(app: App) -> Iterator[Metric]:
    """Yield the metrics that the database holds."""
    now = app.clock()
    exchanges = {exchange.calendar.code: exchange for exchange in agenda.load(app)}
    with app.transaction() as db:
        successes, bars = health.successes(db), bi.completeness.newest(db)
        outcomes, forecasts = health.outcomes(db), health.forecasts(db)
        metrics, open_alerts = health.metrics(db), alerts.still_open(db)
        sources = event_refreshes.freshness(db, app.settings.event_sources)
    yield from _of_sessions(exchanges, now, successes, bars)
    yield _gauge(
        "outcomes",
        "Tickers by what the newest run did for them, and why.",
        ["calendar", "action", "reason"],
        [((row.calendar, row.action, row.reason), row.tickers) for row in outcomes],
    )
    yield _gauge(
        "forecasts",
        "Tickers with a forecast of the session after it.",
        ["calendar", "method", "kind"],
        [((row.calendar, row.method, row.kind), row.tickers) for row in forecasts],
    )
    yield from _of_accuracy(metrics)
    yield from _of_event_sources(sources, now)
    yield _gauge(
        "open_alerts",
        "Alerts that are on.",
        ["condition", "subject"],
        [((alert.condition, alert.subject), 1) for alert in open_alerts],
    )


def _of_sessions(
    exchanges: Mapping[str, Exchange], now: datetime, successes: Sequence[Any], bars: Sequence[Any]
) -> Iterator[Metric]:
    """Yield how far the exchanges are, and how old their data."""
    yield _gauge(
        "due_sessions",
        "Closed sessions that wait for a finished run.",
        ["calendar"],
        [
            ((code,), sum(not one.is_done(session) for session in one.lacks))
            for code, one in exchanges.items()
        ],
    )
    yield _gauge(
        "last_success_timestamp_seconds",
        "Instant at which a run last finished.",
        ["calendar"],
        [((row.calendar,), row.finished_at.timestamp()) for row in successes],
    )
    yield _gauge(
        "last_run_seconds",
        "Duration of that run, from its first start to its end.",
        ["calendar"],
        [((row.calendar,), row.seconds) for row in successes],
    )
    closes = {
        row.calendar: exchanges[row.calendar].calendar.close(row.newest)
        for row in bars
        if row.newest and row.calendar in exchanges
    }
    yield _gauge(
        "data_age_seconds",
        "Time since the close of the newest session with an accepted bar.",
        ["calendar"],
        [((code,), (now - close).total_seconds()) for code, close in closes.items()],
    )
    yield _gauge(
        "bars_ratio",
        "Share of tickers with an accepted bar of the newest session that was run.",
        ["calendar"],
        [((row.calendar,), row.held / row.expected) for row in bars if row.expected],
    )


def _of_accuracy(metrics: Sequence[Any]) -> Iterator[Metric]:
    """Yield how good the forecasts were."""
    labels = ["calendar", "method", "kind", "window"]
    coverages = [row for row in metrics if row.metric.startswith("coverage")]
    yield _gauge(
        "interval_coverage_ratio",
        "Share of actual returns inside the interval, over the last sessions.",
        [*labels, "interval"],
        [((*_key(row), row.metric.removeprefix("coverage_")), row.value) for row in coverages],
    )
    yield _gauge(
        "skill_ratio",
        "1 - loss / loss of the baseline, over the last sessions; above 0 is better.",
        [*labels, "metric"],
        [((*_key(row), row.metric), row.skill) for row in metrics if row.skill is not None],
    )


def _of_event_sources(sources: Sequence[Freshness], now: datetime) -> Iterator[Metric]:
    """Yield how fresh what the sources of events have stated is."""
    ages = [((s.source,), (now - s.answered_at).total_seconds()) for s in sources if s.answered_at]
    yield _gauge(
        "event_source_age_seconds", "Time since a source of events last answered.", ["source"], ages
    )
    # One that has never answered has no age, and would not be seen.
    yield _gauge(
        "event_source_unanswered",
        "Tickers that a source of events did not answer for when it was last asked.",
        ["source"],
        [((s.source,), s.problems) for s in sources],
    )


def _key(row: Any) -> tuple[str, str, str, str]:
    return row.calendar, row.method, row.kind, str(row.window_sessions)


def _gauge(name: str, text: str, labels: list[str], samples: list[tuple[Any, Any]]) -> Metric:
    family = GaugeMetricFamily(f"stockbatch_{name}", text, labels=labels)
    for values, number in samples:
        if number is not None:
            family.add_metric(values, float(number))
    return family
