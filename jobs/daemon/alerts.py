"""Alerts: what is wrong with an exchange, told once, and once more when it is right again."""

import hashlib
import logging
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from jobs.app import App
from jobs.daemon import agenda
from jobs.daemon.agenda import Exchange
from jobs.daily.hold import COVERAGE
from jobs.logs import redacted
from stockbatch.config import Settings
from stockbatch.records import LSTM, Alert, Condition, Kind, RunStatus
from stockbatch.store import alerts, health

log = logging.getLogger(__name__)

WINDOW = 60
"""Sessions of the metrics that are watched; nothing is said before so many were scored."""
BANDS = {"coverage_80": (0.70, 0.90), "coverage_95": (0.90, 0.99)}
"""Shares of actual returns inside an interval that are no cause for alarm."""


def review(app: App) -> None:
    """Raise and clear alerts by what the database says, and deliver what is to be told.

    Of an exchange that is paused, nothing is expected.
    """
    now = app.clock()
    exchanges = [exchange for exchange in agenda.load(app) if not exchange.paused]
    with app.transaction() as db:
        holding = list(_holding(db, exchanges, now))
        alerts.reconcile(db, holding, now, list(_channels(app)))
    deliver(app)


def test(app: App) -> dict[str, str | None]:
    """Send an alert that means nothing; return by channel why it did not get through."""
    channels = _channels(app)
    alert = Alert(condition=Condition.TEST, subject="test", message="this is only a test")
    with app.transaction() as db:
        alerts.raise_one(db, alert, app.clock(), list(channels))
        alerts.end_test(db, app.clock())
    failures = deliver(app)
    return {channel: failures.get(channel) for channel in channels}


def deliver(app: App) -> dict[str, str]:
    """Deliver what waits; return by channel why a message did not get through.

    A channel that fails is left alone for the rest of the round.
    """
    channels = _channels(app)
    failures: dict[str, str] = {}
    with app.transaction() as db:
        waiting = alerts.waiting(db, app.clock(), list(channels))
    for message in waiting:
        if message.channel in failures:
            continue
        with app.transaction() as db:
            alert = alerts.claim(db, message)
            if alert is None:
                continue
            failure = _send(channels[message.channel], message.event, alert)
            alerts.record(db, message, app.clock(), failure)
        if failure:
            failures[message.channel] = failure
            log.warning("an alert did not get through to %s: %s", message.channel, failure)
    return failures


def tell(settings: Settings, subject: str, message: str) -> None:
    """Tell every channel of what is no condition of the database's, which may be what is broken."""
    for url in settings.alert_urls:
        title, body = f"stockbatch: {subject}", redacted(message)
        if failure := _notify(url.get_secret_value(), title, body):
            log.warning("an alert did not get through: %s", failure)


def _channels(app: App) -> dict[str, str]:
    """Return the URLs of the settings by names that give nothing away."""
    urls = [url.get_secret_value() for url in app.settings.alert_urls]
    return {
        f"{url.partition(':')[0]} {hashlib.sha256(url.encode()).hexdigest()[:8]}": url
        for url in urls
    }


def _send(url: str, event: str, alert: Any) -> str | None:
    """Send one message; return why it did not get through, None if it did."""
    over = event == "cleared"
    title = f"stockbatch: {alert.subject}: {alert.condition.replace('_', ' ')}"
    body = f"{alert.message}\nsince {alert.raised_at:%Y-%m-%d %H:%M} UTC"
    body += f", over at {alert.cleared_at:%Y-%m-%d %H:%M} UTC" if over else ""
    return _notify(url, f"{title}, over" if over else title, body, over=over)


def _notify(url: str, title: str, body: str, *, over: bool = False) -> str | None:
    import apprise

    service = apprise.Apprise()
    if not service.add(url):
        return "not a URL that Apprise knows"
    with apprise.LogCapture(level=logging.INFO) as said:  # type: ignore[no-untyped-call]
        delivered = service.notify(
            title=title,
            body=body,
            notify_type=apprise.NotifyType.SUCCESS if over else apprise.NotifyType.WARNING,
        )
        words = said.getvalue().strip().splitlines() if said else []
    return None if delivered else redacted(" ".join(words[-1:]) or "it was refused")


def _holding(db: Session, exchanges: list[Exchange], now: datetime) -> Iterator[Alert]:
    """Yield every condition that holds now."""
    by_code = {exchange.calendar.code: exchange for exchange in exchanges}
    for exchange in exchanges:
        yield from _missed_deadline(db, exchange, now)
        yield from _failed_run(exchange)
    yield from _low_data_coverage(db, by_code)
    for row in health.metrics(db):
        if (row.method, row.kind) == (LSTM, Kind.LIVE):
            yield from _metric(row)
    for row in health.refused(db):
        yield Alert(
            condition=Condition.PROVIDER_QUOTA,
            subject=row.calendar,
            session=row.session,
            message=f"{row.tickers} tickers were refused, e.g.: {row.message}",
            observed=float(row.tickers),
            threshold=0.0,
        )


def _missed_deadline(db: Session, exchange: Exchange, now: datetime) -> Iterator[Alert]:
    session = exchange.expected(now)
    if session is None:
        return
    calendar = exchange.calendar
    name = f"{calendar.code} {session}"
    by = f"by {exchange.deadline(session):%Y-%m-%d %H:%M} UTC"
    late = None
    if exchange.is_done(session):
        target, close = calendar.next(session), calendar.close(session)
        late = health.late(db, calendar.code, session, target, close)
        message = f"{name}: {late} tickers have no forecast made {by}"
    else:
        message = f"{name}: the run was not finished {by}"
    if late != 0:
        yield Alert(
            condition=Condition.MISSED_DEADLINE,
            subject=calendar.code,
            session=session,
            message=message,
            observed=None if late is None else float(late),
            threshold=None if late is None else 0.0,
        )


def _failed_run(exchange: Exchange) -> Iterator[Alert]:
    failed = [
        (session, last.message)
        for session, last in exchange.last_tries.items()
        if session in exchange.lacks and last.status == RunStatus.FAILED
    ]
    if failed:
        session, message = max(failed)
        yield Alert(
            condition=Condition.FAILED_RUN,
            subject=exchange.calendar.code,
            session=session,
            message=redacted(f"{exchange.calendar.code} {session}: {message}"),
        )


def _low_data_coverage(db: Session, exchanges: Mapping[str, Exchange]) -> Iterator[Alert]:
    for row in health.bars(db):
        exchange = exchanges.get(row.calendar)
        if exchange is None or not exchange.is_done(row.session) or not row.expected:
            continue
        share = row.held / row.expected
        if share < COVERAGE:
            yield Alert(
                condition=Condition.LOW_DATA_COVERAGE,
                subject=row.calendar,
                session=row.session,
                message=f"{row.calendar} {row.session}: bars of {row.held} of {row.expected}"
                " tickers only",
                observed=share,
                threshold=COVERAGE,
            )


def _metric(row: Any) -> Iterator[Alert]:
    """Yield what is wrong with a metric of the live LSTM forecasts of an exchange."""
    if row.window_sessions != WINDOW or row.sessions < WINDOW:
        return
    about = {"session": row.through_session}
    if row.metric in BANDS and row.value is not None:
        low, high = BANDS[row.metric]
        interval = row.metric.removeprefix("coverage_")
        if not low <= row.value <= high:
            yield Alert(
                condition=Condition.INTERVAL_COVERAGE,
                subject=f"{row.calendar} {interval} %",
                message=f"{row.calendar}: the {interval} % intervals held {row.value:.1%} of the"
                f" returns of {WINDOW} sessions",
                observed=row.value,
                threshold=low if row.value < low else high,
                **about,
            )
    if row.metric == "pinball" and row.skill is not None and row.skill < 0:
        yield Alert(
            condition=Condition.NEGATIVE_SKILL,
            subject=row.calendar,
            message=f"{row.calendar}: over {WINDOW} sessions the forecasts were {-row.skill:.2%}"
            " worse than rolling quantiles (pinball loss)",
            observed=row.skill,
            threshold=0.0,
            **about,
        )
