"""Keep tags and named watchlists, and how well the tickers of a group were forecast together.

Revision ID: 0028
Revises: 0027
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"
NUMBERS = {
    "pinball": "mean pinball loss over the quantiles from 2.5 to 97.5 %",
    "skill": "1 - pinball loss / that of the rolling quantile, over what both forecast",
    "skill_error": "standard error of `skill`, clustered by session",
    "mae_return": "mean absolute error of the log return",
    "coverage_80": "share of returns inside the 80 % interval",
    "coverage_95": "share of returns inside the 95 % interval",
}


def upgrade() -> None:
    op.create_table(
        "labels",
        sa.Column("kind", sa.Text(), nullable=False, comment="tag or watchlist"),
        sa.Column("name", sa.Text(), nullable=False, comment="name, as somebody chose it"),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column(
            "added_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was added",
        ),
        sa.PrimaryKeyConstraint("kind", "name", "instrument_id", name=op.f("labels_pkey")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("labels_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.CheckConstraint("kind IN ('tag', 'watchlist')", name=op.f("labels_kind_check")),
        sa.CheckConstraint(
            "char_length(name) BETWEEN 1 AND 100 AND name !~ '[[:cntrl:]]' AND name = btrim(name)",
            name=op.f("labels_name_check"),
        ),
        schema="stockbatch",
        comment="One row per instrument and tag that it has, or named watchlist that it is in.",
    )
    op.create_table(
        "group_metrics",
        sa.Column("group_kind", sa.Text(), nullable=False, comment="what its tickers share"),
        sa.Column("group_name", sa.Text(), nullable=False, comment="name within its kind"),
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("method", sa.Text(), nullable=False, comment="method that made the forecasts"),
        sa.Column("kind", sa.Text(), nullable=False, comment="live, late or backtest: never mixed"),
        sa.Column(
            "window_sessions",
            sa.Integer(),
            nullable=False,
            comment="target sessions looked back at",
        ),
        sa.Column(
            "through_session",
            sa.Date(),
            nullable=False,
            comment="last target session of the window",
        ),
        sa.Column("tickers", sa.Integer(), nullable=False, comment="tickers that were forecast"),
        sa.Column("n", sa.Integer(), nullable=False, comment="scored forecasts behind it"),
        *(
            sa.Column(name, sa.Double(), nullable=True, comment=comment)
            for name, comment in NUMBERS.items()
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.PrimaryKeyConstraint(
            "group_kind",
            "group_name",
            "calendar",
            "method",
            "kind",
            "window_sessions",
            name=op.f("group_metrics_pkey"),
        ),
        sa.ForeignKeyConstraint(
            ["method"],
            ["stockbatch.methods.name"],
            name=op.f("group_metrics_method_fkey"),
            ondelete="RESTRICT",
        ),
        sa.CheckConstraint(
            " AND ".join(f"({c} > '-Infinity' AND {c} < 'Infinity')" for c in NUMBERS),
            name=op.f("group_metrics_finite_check"),
        ),
        schema="stockbatch",
        comment="One row per group of tickers, calendar, method, kind and window: as of the last run.",
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON stockbatch.labels TO stockbatch_writer")
    op.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON stockbatch.group_metrics TO stockbatch_writer"
    )
    _create("instruments", 3)
    for view in ("groups", "group_accuracy"):
        _create(view, 1)
        op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")


def downgrade() -> None:
    for view in ("group_accuracy", "groups", "instruments"):
        op.execute(f"DROP VIEW bi.{view}")
    for table in ("group_metrics", "labels"):
        op.drop_table(table, schema="stockbatch")
    _create("instruments", 2)
    op.execute(f"GRANT SELECT ON bi.instruments TO {READERS}")


def _create(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))
