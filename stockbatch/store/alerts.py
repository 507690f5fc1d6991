"""Alerts, and the messages that tell of them."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from stockbatch.records import Alert, AlertEvent, Condition

# Nothing is written, and no row returned, where the alert is on and says the same; `xmax` is 0 only
# in a row that was inserted.
_RAISE = text("""
INSERT INTO stockbatch.alerts AS a
    (condition, subject, session, message, observed, threshold, raised_at)
VALUES (:condition, :subject, :session, :message, :observed, :threshold, :now)
ON CONFLICT (condition, subject) WHERE cleared_at IS NULL DO UPDATE SET
    message = excluded.message, observed = excluded.observed, threshold = excluded.threshold,
    updated_at = clock_timestamp()
WHERE (a.message, a.observed, a.threshold)
    IS DISTINCT FROM (excluded.message, excluded.observed, excluded.threshold)
RETURNING id, xmax = 0 AS is_new
""")

# What is open and not among those that hold now is over; one is ended by who looks for it, `end`.
_CLEAR = text("""
UPDATE stockbatch.alerts AS a SET cleared_at = :now, updated_at = clock_timestamp()
WHERE cleared_at IS NULL AND condition <> :aside AND NOT EXISTS (
    SELECT FROM unnest(cast(:conditions AS text[]), cast(:subjects AS text[]))
        AS n (condition, subject)
    WHERE (n.condition, n.subject) = (a.condition, a.subject)
) AND split_part(subject, ' ', 1) <> ALL(:unseen)
RETURNING id
""").bindparams(aside=Condition.LATE_COMMIT)

_END = text("""
UPDATE stockbatch.alerts SET cleared_at = :now, updated_at = clock_timestamp()
WHERE cleared_at IS NULL AND condition = :condition RETURNING id
""")

# A message per channel, so that one that is down keeps no other from hearing.
_TELL = text("""
INSERT INTO stockbatch.alert_messages (alert_id, event, channel)
SELECT :alert, :raised, unnest(cast(:channels AS text[]))
ON CONFLICT DO NOTHING
""").bindparams(raised=AlertEvent.RAISED)

_TELL_END = text("""
INSERT INTO stockbatch.alert_messages (alert_id, event, channel)
SELECT alert_id, :cleared, channel FROM stockbatch.alert_messages
WHERE alert_id = :alert AND event = :raised
ON CONFLICT DO NOTHING
""").bindparams(raised=AlertEvent.RAISED, cleared=AlertEvent.CLEARED)

# The end of an alert is told after its beginning: `raised` sorts behind `cleared`.
_WAITING = text("""
SELECT alert_id, event, channel FROM stockbatch.alert_messages
WHERE delivered_at IS NULL AND channel = ANY(:channels) AND (
    tried_at IS NULL
    OR tried_at + least(interval '1 minute' * 2 ^ least(tries, 6), interval '1 hour') <= :now
)
ORDER BY alert_id, event DESC, channel
""")

# The row stays locked while the message is on its way: a second daemon skips it.
_CLAIM = text("""
SELECT a.condition, a.subject, a.message, a.raised_at, a.cleared_at
FROM stockbatch.alert_messages AS m JOIN stockbatch.alerts AS a ON a.id = m.alert_id
WHERE (m.alert_id, m.event, m.channel) = (:alert_id, :event, :channel) AND m.delivered_at IS NULL
FOR UPDATE OF m SKIP LOCKED
""")

_RECORD = text("""
UPDATE stockbatch.alert_messages SET tries = tries + 1, tried_at = :now,
    failure = cast(:failure AS text),
    delivered_at = CASE WHEN cast(:failure AS text) IS NULL THEN cast(:now AS timestamptz) END
WHERE (alert_id, event, channel) = (:alert_id, :event, :channel)
""")


def reconcile(
    db: Session,
    holding: Sequence[Alert],
    now: datetime,
    channels: Sequence[str],
    *,
    unseen: Collection[str] = (),
) -> None:
    """Make the open alerts those that hold; a message to every channel for each change.

    Those of `unseen` calendars stay on: nobody has looked whether they hold. Channels hear of the
    end of what they heard the beginning of.
    """
    for alert in holding:
        raise_one(db, alert, now, channels)
    keys = {"conditions": [a.condition for a in holding], "subjects": [a.subject for a in holding]}
    for cleared in db.scalars(_CLEAR, {**keys, "unseen": list(unseen), "now": now}).all():
        db.execute(_TELL_END, {"alert": cleared})


def end(db: Session, condition: Condition, now: datetime) -> None:
    """Clear the alerts of a condition that holds no longer, and tell who heard of them."""
    for cleared in db.scalars(_END, {"condition": condition, "now": now}).all():
        db.execute(_TELL_END, {"alert": cleared})


def calendar_of(subject: str) -> str:
    """Return the calendar that an alert is about; its subject begins with it."""
    return subject.partition(" ")[0]


def raise_one(db: Session, alert: Alert, now: datetime, channels: Sequence[str]) -> None:
    """Raise an alert with a message to every channel, or bring the one that is on up to date."""
    values = {
        "condition": alert.condition,
        "subject": alert.subject,
        "session": alert.session,
        "message": alert.message,
        "observed": alert.observed,
        "threshold": alert.threshold,
        "now": now,
    }
    row = db.execute(_RAISE, values).first()
    if row is not None and row.is_new:
        db.execute(_TELL, {"alert": row.id, "channels": list(channels)})


def waiting(db: Session, now: datetime, channels: Sequence[str]) -> Sequence[Any]:
    """Return the keys of messages to deliver now; what failed waits 2, 4, … 60 minutes."""
    return db.execute(_WAITING, {"now": now, "channels": list(channels)}).all()


def claim(db: Session, message: Any) -> Any | None:
    """Return the alert of a message and keep it from others until this transaction ends.

    None where another process delivers it, or has.
    """
    return db.execute(_CLAIM, message._asdict()).first()


def record(db: Session, message: Any, now: datetime, failure: str | None) -> None:
    """Note that a message was delivered, or why it was not."""
    db.execute(_RECORD, {**message._asdict(), "now": now, "failure": failure})


def still_open(db: Session) -> Sequence[Any]:
    """Return condition and subject of the alerts that are on."""
    query = "SELECT condition, subject FROM stockbatch.alerts WHERE cleared_at IS NULL"
    return db.execute(text(query)).all()


def end_test(db: Session, now: datetime) -> None:
    """Clear the alert that was a test, with no word to anybody."""
    db.execute(_END, {"condition": Condition.TEST, "now": now})
