"""Alerts: what is wrong with an exchange, told once, and once more when it is right again."""

import logging
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.orm import Session

from jobs.app import App
from jobs.clock import APART
from jobs.daemon import agenda
from jobs.daemon.agenda import Exchange
from jobs.logs import redacted
from stockbatch.config import Settings
from stockbatch.config.text import scheme_of
from stockbatch.records import Alert, Condition, Kind, RunStatus
from stockbatch.store import alerts, bi, commits, headlines, health, instruments
from stockbatch.store.bi.completeness import SHARE
from stockbatch.text import counted, printable

log = logging.getLogger(__name__)

MINUTE = timedelta(minutes=1)
WINDOW = 60
"""Sessions of the metrics that are watched; nothing is said before so many were scored."""
BANDS = {"coverage_80": (0.70, 0.90), "coverage_95": (0.90, 0.99)}
"""Shares of actual returns inside an interval that are no cause for alarm."""


def review(app: App) -> None:
    """Raise and clear alerts by what the database says, and deliver what is to be told.

    Of an exchange that is paused, or whose calendar has no answer, nothing is expected, and
    nothing is over either.
    """
    behind = app.compare_clocks()
    now = app.clock()
    exchanges = [exchange for exchange in agenda.load(app) if not exchange.paused]
    with app.transaction() as db:
        unseen = instruments.exchanges(db).keys() - {one.calendar.code for one in exchanges}
        holding = [
            *(
                alert
                for alert in _holding(db, exchanges, now)
                if alerts.calendar_of(alert.subject) not in unseen
            ),
            *_clocks_apart(behind),
        ]
        alerts.reconcile(db, holding, now, list(_channels(app)), unseen=unseen)
    deliver(app)


def review_commits(app: App) -> None:
    """Raise an alert where live forecasts were committed after their deadline, or end it.

    All there are are looked at, which takes too long for every minute: it is a part of maintenance.
    """
    with app.transaction() as db:
        late = commits.after_deadline(db)
        now, channels = app.clock(), list(_channels(app))
        if late:
            alert = Alert(
                condition=Condition.LATE_COMMIT,
                subject="ledger",
                session=late[0].target_session,
                message="; ".join(map(str, late[:3])),
                observed=float(sum(each.forecasts for each in late)),
                threshold=0.0,
            )
            alerts.raise_one(db, alert, now, channels)
        else:
            alerts.end(db, Condition.LATE_COMMIT, now)
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
        app.waiting()
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
        title, body = f"stockbatch: {subject}", printable(redacted(message))
        if failure := _notify(url.get_secret_value(), title, body):
            log.warning("an alert did not get through: %s", failure)


def _channels(app: App) -> dict[str, str]:
    """Return the URLs of the settings by names that give nothing away: mailto 1, slack 2."""
    urls = (url.get_secret_value() for url in app.settings.alert_urls)
    # Not even a hash of it: whoever reads that could try passwords.
    return {f"{scheme_of(url) or 'channel'} {n}": url for n, url in enumerate(urls, start=1)}


def _send(url: str, event: str, alert: Any) -> str | None:
    """Send one message; return why it did not get through, None if it did."""
    over = event == "cleared"
    title = f"stockbatch: {alert.subject}: {alert.condition.replace('_', ' ')}"
    body = f"{printable(alert.message)}\nsince {alert.raised_at:%Y-%m-%d %H:%M} UTC"
    body += f", over at {alert.cleared_at:%Y-%m-%d %H:%M} UTC" if over else ""
    return _notify(url, f"{title}, over" if over else title, body, over=over)


def _notify(url: str, title: str, body: str, *, over: bool = False) -> str | None:
    import apprise

    service = apprise.Apprise()
    if not service.add(url):
        return "not a URL that Apprise knows"
    with apprise.LogCapture(level=logging.INFO) as said:  # type: ignore[no-untyped-call]
        delivered = service.notify(
            title=" ".join(printable(title).split()),
            body=body,
            # Else services that show HTML or Markdown would take it for that.
            body_format=apprise.NotifyFormat.TEXT,
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
    for row in _shown(db):
        yield from _metric(row)
    for row in health.refused(db):
        yield Alert(
            condition=Condition.PROVIDER_QUOTA,
            subject=row.calendar,
            session=row.session,
            message=f"{counted(row.tickers, 'ticker')} refused, e.g.: {row.message}",
            observed=float(row.tickers),
            threshold=0.0,
        )


def _clocks_apart(behind: timedelta) -> Iterator[Alert]:
    """Yield that the clocks differ by so much that the database's counts."""
    if behind:
        yield Alert(
            condition=Condition.CLOCKS_APART,
            subject="clocks",
            message=f"the database's clock is {behind / MINUTE:+.0f} minutes from this machine's:"
            " nothing is skipped or pruned until they agree; forecasts go by the database's clock",
            observed=behind / MINUTE,
            threshold=APART / MINUTE,
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
        message = f"{name}: {counted(late, 'ticker')} without a forecast made {by}"
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
    for row in bi.completeness.newest(db):
        exchange = exchanges.get(row.calendar)
        if exchange is None or not exchange.is_done(row.session) or not row.expected:
            continue
        share = row.held / row.expected
        if share < SHARE:
            yield Alert(
                condition=Condition.LOW_DATA_COVERAGE,
                subject=row.calendar,
                session=row.session,
                message=f"{row.calendar}: {row}",
                observed=share,
                threshold=SHARE,
            )


def _shown(db: Session) -> Iterator[Any]:
    """Yield each metric of each exchange's live forecasts, of the method that people see first.

    Of methods that have not been scored for a whole window nothing is known yet: while the headline
    is new, those shown in its place are watched.
    """
    full: dict[tuple[str, str], dict[str, Any]] = {}
    for row in health.metrics(db):
        if (row.kind, row.window_sessions) == (Kind.LIVE, WINDOW) and row.sessions >= WINDOW:
            full.setdefault((row.calendar, row.metric), {})[row.method] = row
    order = headlines.order(db)
    for by_method in full.values():
        yield from [by_method[name] for name in order if name in by_method][:1]


def _metric(row: Any) -> Iterator[Alert]:
    """Yield what is wrong with a metric of the live forecasts of an exchange."""
    about = {"session": row.through_session}
    if row.metric in BANDS and row.value is not None:
        low, high = BANDS[row.metric]
        interval = row.metric.removeprefix("coverage_")
        if not low <= row.value <= high:
            yield Alert(
                condition=Condition.INTERVAL_COVERAGE,
                subject=f"{row.calendar} {interval} %",
                message=f"{row.calendar}: the {interval} % intervals of {row.method} held"
                f" {row.value:.1%} of the returns of {WINDOW} sessions",
                observed=row.value,
                threshold=low if row.value < low else high,
                **about,
            )
    if row.metric == "pinball" and row.skill is not None and row.skill < 0:
        yield Alert(
            condition=Condition.NEGATIVE_SKILL,
            subject=row.calendar,
            message=f"{row.calendar}: over {WINDOW} sessions {row.method} was {-row.skill:.2%}"
            " worse than rolling quantiles (pinball loss)",
            observed=row.skill,
            threshold=0.0,
            **about,
        )
