"""Refuse tickers that nobody can name, and keep no trace of a secret beside messages of alerts.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None

NAMEABLE = (
    "char_length(ticker) BETWEEN 1 AND 64 AND ticker !~ '[[:cntrl:]]' AND ticker = btrim(ticker)"
)


def upgrade() -> None:
    # What came in unchecked leaves the watchlist; its history stays.
    bad = f"active AND NOT ({NAMEABLE})"
    op.execute(f"""
        UPDATE stockbatch.memberships AS m SET removed_at = clock_timestamp()
        FROM stockbatch.instruments AS i
        WHERE m.instrument_id = i.id AND m.removed_at IS NULL AND i.{bad}
    """)  # noqa: S608
    op.execute(f"UPDATE stockbatch.instruments SET active = false WHERE {bad}")  # noqa: S608
    op.create_check_constraint(
        op.f("instruments_ticker_check"),
        "instruments",
        f"NOT active OR ({NAMEABLE})",
        schema="stockbatch",
    )
    # The names had a hash of the whole URL in them, and of what was no URL all that was written.
    op.execute("""
        UPDATE stockbatch.alert_messages AS m SET channel = n.name
        FROM (
            SELECT alert_id, event, channel, concat(
                coalesce(substring(channel FROM '^([a-z0-9]{1,13}) [0-9a-f]{8}$'), 'channel'), ' ',
                row_number() OVER (PARTITION BY alert_id, event ORDER BY channel)
            ) AS name
            FROM stockbatch.alert_messages
        ) AS n
        WHERE (m.alert_id, m.event, m.channel) = (n.alert_id, n.event, n.channel)
    """)


def downgrade() -> None:
    name = op.f("instruments_ticker_check")
    op.drop_constraint(name, "instruments", schema="stockbatch", type_="check")
