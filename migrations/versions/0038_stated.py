"""Keep the quantiles that methods stated, too, and all that is kept of them by parts of tickers.

Revision ID: 0038
Revises: 0037
"""

import sqlalchemy as sa
from alembic import op

revision = "0038"
down_revision = "0037"
branch_labels = None
depends_on = None

WIDTHS = "One row per calendar, target session and method: half the raw 80 % width it stated of each ticker. Taken from stockbatch.forecasts, of which it holds nothing else."


def upgrade() -> None:
    op.create_table(
        "stated",
        _column("calendar", sa.Text(), "exchange calendar code"),
        _column("method", sa.Text(), "method that stated it"),
        _column("measure", sa.Text(), "what of it: quantiles or half_width, before calibration"),
        _column("session", sa.Date(), "target session"),
        _column(
            "part",
            sa.Integer(),
            "of the tickers: their ids less 1, divided by 64, or of half widths by 4096",
        ),
        _column("instrument_ids", sa.ARRAY(sa.Integer()), "tickers"),
        _column(
            "numbers", sa.ARRAY(sa.Double()), "of log returns: per ticker all its quantiles, or one"
        ),
        _column("through_forecast", sa.BigInteger(), "last forecast that was looked at"),
        sa.PrimaryKeyConstraint(
            "calendar", "method", "measure", "session", "part", name=op.f("stated_pkey")
        ),
        sa.CheckConstraint(
            "measure IN ('quantiles', 'half_width')", name=op.f("stated_measure_check")
        ),
        sa.CheckConstraint(
            "cardinality(instrument_ids) = array_length(numbers, 1)",
            name=op.f("stated_lengths_check"),
        ),
        schema="stockbatch",
        comment="One row per calendar, method, measure, target session and part of the tickers: what the method stated of each. Taken from stockbatch.forecasts, of which it holds nothing else.",
    )
    # They do not get smaller by being packed, and trying takes longer than all else.
    op.execute("ALTER TABLE stockbatch.stated ALTER numbers SET STORAGE EXTERNAL")
    op.execute("""
        INSERT INTO stockbatch.stated
        SELECT calendar, method, 'half_width', session, (u.id - 1) / 4096, array_agg(u.id),
            array_agg(ARRAY[u.half]), max(through_forecast)
        FROM stockbatch.stated_widths
        CROSS JOIN LATERAL unnest(instrument_ids, half_widths) AS u (id, half)
        GROUP BY calendar, method, session, (u.id - 1) / 4096
    """)
    op.drop_table("stated_widths", schema="stockbatch")
    op.execute("GRANT SELECT, INSERT, UPDATE ON stockbatch.stated TO stockbatch_writer")


def downgrade() -> None:
    op.create_table(
        "stated_widths",
        _column("calendar", sa.Text(), "exchange calendar code"),
        _column("session", sa.Date(), "target session"),
        _column("method", sa.Text(), "method that stated it"),
        _column("instrument_ids", sa.ARRAY(sa.Integer()), "tickers"),
        _column("half_widths", sa.ARRAY(sa.Double()), "of log returns, one per ticker"),
        _column("through_forecast", sa.BigInteger(), "last forecast that was looked at"),
        sa.PrimaryKeyConstraint("calendar", "session", "method", name=op.f("stated_widths_pkey")),
        sa.CheckConstraint(
            "cardinality(instrument_ids) = cardinality(half_widths)",
            name=op.f("stated_widths_lengths_check"),
        ),
        schema="stockbatch",
        comment=WIDTHS,
    )
    op.execute("""
        INSERT INTO stockbatch.stated_widths
        SELECT calendar, session, method, array_agg(u.id), array_agg(u.half), max(through_forecast)
        FROM stockbatch.stated
        CROSS JOIN LATERAL unnest(instrument_ids, numbers) AS u (id, half)
        WHERE measure = 'half_width' GROUP BY calendar, session, method
    """)
    op.drop_table("stated", schema="stockbatch")
    op.execute("GRANT SELECT, INSERT, UPDATE ON stockbatch.stated_widths TO stockbatch_writer")


def _column(name: str, kind: sa.types.TypeEngine, comment: str) -> sa.Column:
    return sa.Column(name, kind, nullable=False, comment=comment)
