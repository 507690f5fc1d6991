"""Add alerts, who was told of them, and the view on them; let a pruned model be restored.

Revision ID: 0007
Revises: 0006
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

VIEW = Path(__file__).parents[1] / "views" / "alerts_v1.sql"
ROLES = "stockbatch_writer, stockbatch_reader, stockbatch_api"


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("condition", sa.Text(), nullable=False, comment="what is watched"),
        sa.Column(
            "subject", sa.Text(), nullable=False, comment="exchange calendar code it is about"
        ),
        sa.Column(
            "session", sa.Date(), nullable=True, comment="session it was first seen at; NULL: none"
        ),
        sa.Column("message", sa.Text(), nullable=False, comment="what was seen last, in words"),
        sa.Column("observed", sa.Double(), nullable=True, comment="value seen last"),
        sa.Column("threshold", sa.Double(), nullable=True, comment="limit it broke"),
        sa.Column(
            "raised_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when it was first seen",
        ),
        sa.Column(
            "cleared_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it was gone; NULL: it is on",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="last change",
        ),
        sa.CheckConstraint(
            "condition IN ('missed_deadline', 'failed_run', 'low_data_coverage', 'interval_coverage', 'negative_skill', 'provider_quota', 'test')",
            name=op.f("alerts_condition_check"),
        ),
        sa.CheckConstraint(
            "(observed > '-Infinity' AND observed < 'Infinity') AND (threshold > '-Infinity' AND threshold < 'Infinity')",
            name=op.f("alerts_finite_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("alerts_pkey")),
        schema="stockbatch",
        comment="One row per time a condition began to hold for a subject, until it no longer did.",
    )
    op.create_index(
        "alerts_open_key", "alerts", ["condition", "subject"], unique=True, schema="stockbatch",
        postgresql_where=sa.text("cleared_at IS NULL"),
    )  # fmt: skip
    op.create_table(
        "alert_messages",
        sa.Column("alert_id", sa.BigInteger(), nullable=False, comment="alert"),
        sa.Column("event", sa.Text(), nullable=False, comment="raised or cleared"),
        sa.Column(
            "channel",
            sa.Text(),
            nullable=False,
            comment="service and SHA-256 of its URL, shortened",
        ),
        sa.Column(
            "tries",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="attempts to deliver it",
        ),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True, comment="last attempt"),
        sa.Column("failure", sa.Text(), nullable=True, comment="why that failed; NULL: it did not"),
        sa.Column(
            "delivered_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it got through; NULL: not yet",
        ),
        sa.CheckConstraint(
            "event IN ('raised', 'cleared')", name=op.f("alert_messages_event_check")
        ),
        sa.ForeignKeyConstraint(
            ["alert_id"],
            ["stockbatch.alerts.id"],
            name=op.f("alert_messages_alert_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("alert_id", "event", "channel", name=op.f("alert_messages_pkey")),
        schema="stockbatch",
        comment="One row per alert, event and channel: a message, delivered or still to be.",
    )
    op.execute(
        "GRANT SELECT, INSERT, UPDATE ON stockbatch.alerts, stockbatch.alert_messages TO stockbatch_writer"
    )
    op.execute("GRANT UPDATE (weights_sha256) ON stockbatch.models TO stockbatch_writer")
    op.execute(VIEW.read_text(encoding="utf-8"))
    op.execute(f"GRANT SELECT ON bi.alerts TO {ROLES}")


def downgrade() -> None:
    op.execute("DROP VIEW bi.alerts")
    op.execute("REVOKE UPDATE (weights_sha256) ON stockbatch.models FROM stockbatch_writer")
    op.drop_table("alert_messages", schema="stockbatch")
    op.drop_table("alerts", schema="stockbatch")
