"""Keep events that move prices, with when each could be known, and show them beside forecasts.

Revision ID: 0020
Revises: 0019
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"

# When a row came, nobody but the database tells: a replay rests on it, whatever a file claims.
STAMP = """
CREATE TRIGGER stamp BEFORE INSERT ON stockbatch.events
    FOR EACH ROW WHEN (
        NEW.recorded_at IS NULL OR NEW.recorded_at NOT BETWEEN now() AND clock_timestamp()
    )
    EXECUTE FUNCTION stockbatch.stamp('recorded_at')
"""
COLUMNS = (
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), comment="surrogate key"),
    sa.Column("instrument_id", sa.Integer(), comment="instrument; NULL: all of a calendar"),
    sa.Column("calendar", sa.Text(), comment="exchange calendar code; NULL: of one instrument"),
    sa.Column(
        "kind", sa.Text(), nullable=False, comment="earnings, or what else its source calls it"
    ),
    sa.Column("date", sa.Date(), nullable=False, comment="day of it, by the clock of the exchange"),
    sa.Column(
        "timing", sa.Text(), nullable=False, comment="before_open, during, after_close or unknown"
    ),
    sa.Column("session", sa.Date(), nullable=False, comment="session whose return it moves"),
    sa.Column("source", sa.Text(), nullable=False, comment="who states it"),
    sa.Column(
        "known_at",
        sa.DateTime(timezone=True),
        nullable=False,
        comment="first seen, or since when it was known as its source says",
    ),
    sa.Column(
        "assumed",
        sa.Boolean(),
        nullable=False,
        comment="seen only after the fact: known some sessions ahead by assumption",
    ),
    sa.Column(
        "projected",
        sa.Boolean(),
        nullable=False,
        comment="nobody has stated it: a guess from dates of the past",
    ),
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        server_default=sa.text("clock_timestamp()"),
        nullable=False,
        comment="when this row was written, by the database's clock",
    ),
    sa.Column(
        "withdrawn_at",
        sa.DateTime(timezone=True),
        comment="when its source was seen to state it no longer, or otherwise; NULL: it does",
    ),
)
CHECKS = {
    "subject": "(instrument_id IS NULL) <> (calendar IS NULL)",
    "kind": "kind ~ '^[a-z][a-z0-9_]{0,31}$'",
    "timing": "timing IN ('before_open', 'during', 'after_close', 'unknown')",
    "session": "session >= date",
    "order": "withdrawn_at >= known_at",
}


def upgrade() -> None:
    op.create_table(
        "events",
        *COLUMNS,
        sa.PrimaryKeyConstraint("id", name=op.f("events_pkey")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("events_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        *(
            sa.CheckConstraint(condition, name=op.f(f"events_{name}_check"))
            for name, condition in CHECKS.items()
        ),
        schema="stockbatch",
        comment="One row per event and version of what one source states of it: the date it had"
        " meanwhile.",
    )
    for column in ("date", "session"):
        op.create_index(
            op.f(f"events_instrument_id_{column}_idx"),
            "events",
            ["instrument_id", column],
            schema="stockbatch",
        )
    op.create_index(
        "events_stated_key",
        "events",
        ["instrument_id", "calendar", "source", "kind", "date"],
        unique=True,
        schema="stockbatch",
        postgresql_where=sa.text("withdrawn_at IS NULL"),
        postgresql_nulls_not_distinct=True,
    )
    op.execute(STAMP)
    # No right to change what was stated, nor to delete it: that it is over is all one may add.
    op.execute(
        "GRANT SELECT, INSERT, UPDATE (withdrawn_at) ON stockbatch.events TO stockbatch_writer"
    )
    _create("events", 1)
    op.execute(f"GRANT SELECT ON bi.events TO {READERS}")
    _create("next_session_forecast", 3)
    _create("price_and_forecast", 4)


def downgrade() -> None:
    _shorten("next_session_forecast", 2)
    _shorten("price_and_forecast", 3)
    op.execute("DROP VIEW bi.events")
    op.drop_table("events", schema="stockbatch")


def _create(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))


def _shorten(view: str, version: int) -> None:
    """Make a view of an earlier version, which has fewer columns, with all that was said of them.

    Each version says what the columns are that came with it.
    """
    op.execute(f"DROP VIEW bi.{view}")
    _create(view, version)
    for before in range(1, version):
        text = (FOLDER / f"{view}_v{before}.sql").read_text(encoding="utf-8")
        for comment in re.findall(r"^COMMENT ON .*?;$", text, re.MULTILINE | re.DOTALL):
            op.execute(comment)
    _create(view, version)
    op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")
