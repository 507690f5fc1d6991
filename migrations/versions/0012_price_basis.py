"""Prices adjusted for dividends, what restates them, and actions that prices contain already.

Revision ID: 0012
Revises: 0011
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
COMMENTS = {
    "kind": ("split or dividend", "split, dividend or restatement of adjusted prices"),
    "value": (
        "split: new shares per old one; dividend: cash per share on that session's basis",
        "split: new shares per old one; dividend: cash per share on that session's basis;"
        " restatement: what divides the prices stored before it",
    ),
}
"""What is said of the columns before, and from now on."""

BACK = (
    # What prices contain must not act again; what restates them acts in returns as a split does.
    "DELETE FROM stockbatch.corporate_actions WHERE in_prices",
    "UPDATE stockbatch.corporate_actions AS a SET value = a.value * r.value"
    " FROM stockbatch.corporate_actions AS r"
    " WHERE (r.instrument_id, r.session) = (a.instrument_id, a.session)"
    " AND a.kind = 'split' AND r.kind = 'restatement'"
    " AND a.retracted_at IS NULL AND r.retracted_at IS NULL",
    "DELETE FROM stockbatch.corporate_actions AS r WHERE kind = 'restatement'"
    " AND (retracted_at IS NOT NULL OR EXISTS (SELECT FROM stockbatch.corporate_actions"
    " WHERE kind = 'split' AND retracted_at IS NULL"
    " AND (instrument_id, session) = (r.instrument_id, r.session)))",
    # A split that was withdrawn stands where the restatement is to go.
    "DELETE FROM stockbatch.corporate_actions AS s WHERE kind = 'split'"
    " AND retracted_at IS NOT NULL AND EXISTS (SELECT FROM stockbatch.corporate_actions"
    " WHERE kind = 'restatement' AND (instrument_id, session) = (s.instrument_id, s.session))",
    "UPDATE stockbatch.corporate_actions SET kind = 'split' WHERE kind = 'restatement'",
    "UPDATE stockbatch.bars SET price_basis = 'split_adjusted' WHERE price_basis = 'total_return'",
    "UPDATE stockbatch.bar_revisions SET price_basis = 'split_adjusted'"
    " WHERE price_basis = 'total_return'",
)


def upgrade() -> None:
    _restrict("bars", "price_basis", "as_traded", "split_adjusted", "total_return")
    _restrict("corporate_actions", "kind", "split", "dividend", "restatement")
    op.add_column(
        "corporate_actions",
        sa.Column(
            "in_prices",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="whether prices are adjusted for it: then no return counts it again",
        ),
        schema="stockbatch",
    )
    _comment(1)
    _create("split_ratios", 2)
    _create("price_and_forecast", 3)


def downgrade() -> None:
    op.execute("DROP VIEW bi.price_and_forecast")
    op.execute("DROP FUNCTION stockbatch.restated")
    op.execute("DROP VIEW stockbatch.split_ratios")
    for statement in BACK:
        op.execute(statement)
    op.drop_column("corporate_actions", "in_prices", schema="stockbatch")
    _comment(0)
    _restrict("corporate_actions", "kind", "split", "dividend")
    _restrict("bars", "price_basis", "as_traded", "split_adjusted")
    op.execute("DROP FUNCTION stockbatch.restated_by_split")
    _create("split_ratios", 1)
    _create("price_and_forecast", 2)
    # The first version of the view says what its columns are; the second says more of some.
    for line in (FOLDER / "price_and_forecast_v1.sql").read_text(encoding="utf-8").splitlines():
        if line.startswith("COMMENT ON COLUMN"):
            op.execute(line)
    _create("price_and_forecast", 2)
    op.execute(
        "GRANT SELECT ON bi.price_and_forecast TO"
        " stockbatch_writer, stockbatch_reader, stockbatch_api"
    )


def _comment(which: int) -> None:
    for column, said in COMMENTS.items():
        text = said[which].replace("'", "''")
        op.execute(f"COMMENT ON COLUMN stockbatch.corporate_actions.{column} IS '{text}'")


def _create(view: str, version: int) -> None:
    op.execute((FOLDER / f"{view}_v{version}.sql").read_text(encoding="utf-8"))


def _restrict(table: str, column: str, *words: str) -> None:
    name = op.f(f"{table}_{column}_check")
    listed = ", ".join(f"'{word}'" for word in words)
    op.drop_constraint(name, table, schema="stockbatch", type_="check")
    op.create_check_constraint(name, table, f"{column} IN ({listed})", schema="stockbatch")
