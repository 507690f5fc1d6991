"""Keep the quantiles 0.01 and 0.99 of a forecast, and whether the 98 % interval held.

Forecasts of before state none: there they are NULL. The mean pinball loss stays that of the other
nine levels.

Revision ID: 0026
Revises: 0025
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"
LEVELS = {"q01": "1 %", "q99": "99 %"}
NOTES = {
    "": "NULL: points only, or not stated by the version that made it",
    "raw_": "before calibration; NULL: not stated by the version that made it",
}
"""What is said of the quantiles stated, and of the raw ones."""
COLUMNS = ", ".join(f"{prefix}{level}" for prefix in NOTES for level in LEVELS)
PINBALL = (
    "mean pinball loss over the quantiles",
    "mean pinball loss over the quantiles from 2.5 to 97.5 %",
)
"""What is said of it before, and from now on."""
REPLACED = {
    "forecast_history": 3,
    "interval_coverage": 3,
    "next_session_forecast": 5,
    "price_and_forecast": 6,
}
"""Views with their new versions, those that others are made of first."""


def upgrade() -> None:
    for prefix, note in NOTES.items():
        for level, percent in LEVELS.items():
            comment = f"{percent} quantile of the log return; {note}"
            column = sa.Column(f"{prefix}{level}", sa.Double(), nullable=True, comment=comment)
            op.add_column("forecasts", column, schema="stockbatch")
    # What is NULL breaks no rule. Beyond finite levels, only the other infinity is to be refused.
    op.create_check_constraint(
        op.f("forecasts_outermost_check"),
        "forecasts",
        "q01 > '-Infinity' AND q01 <= q025 AND q975 <= q99 AND q99 < 'Infinity'",
        schema="stockbatch",
    )
    op.add_column(
        "scores",
        sa.Column(
            "inside_98", sa.Boolean(), nullable=True, comment="actual inside the 98 % interval"
        ),
        schema="stockbatch",
    )
    op.alter_column("scores", "pinball", comment=PINBALL[1], schema="stockbatch")
    op.execute(f"GRANT INSERT ({COLUMNS}) ON stockbatch.forecasts TO stockbatch_writer")
    op.execute(f"GRANT SELECT ({COLUMNS}) ON stockbatch.forecasts TO stockbatch_api")
    for view, version in REPLACED.items():
        _create(view, version)


def downgrade() -> None:
    for view in reversed(REPLACED):
        op.execute(f"DROP VIEW bi.{view}")
    # The rights to a column, and the rules it is in, go with it.
    for column in COLUMNS.split(", "):
        op.drop_column("forecasts", column, schema="stockbatch")
    op.drop_column("scores", "inside_98", schema="stockbatch")
    op.alter_column("scores", "pinball", comment=PINBALL[0], schema="stockbatch")
    op.execute("DELETE FROM stockbatch.metrics WHERE metric = 'coverage_98'")
    for view, version in REPLACED.items():
        _restore(view, version - 1)


def _create(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))


def _restore(view: str, version: int) -> None:
    """Make a view of an earlier version, which has fewer columns, with all that was said of them.

    Each version says what the columns are that came with it.
    """
    _create(view, version)
    for each in range(1, version + 1):
        text = (FOLDER / f"{view}_v{each}.sql").read_text(encoding="utf-8")
        for comment in re.findall(r"^COMMENT ON .*?;$", text, re.MULTILINE | re.DOTALL):
            op.execute(comment)
    op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")
