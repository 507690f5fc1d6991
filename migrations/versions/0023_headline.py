"""Say in the database which method is shown first, from which session on.

Revision ID: 0023
Revises: 0022
"""

import re
from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"

# The first run that uses a method adds it; the headline names it before there was one.
COMBINED = """
INSERT INTO stockbatch.methods (name, title, sentence) VALUES (
    'combined', 'Combined',
    'The average of the LSTM and of HAR with reports, weighted by how well each has done on the ticker, and stretched by what past intervals missed.'
) ON CONFLICT DO NOTHING
"""
# What was shown stays as it was: where there are forecasts, the new headline begins after them.
# The first day there is stands for the beginning: drivers have no word for -infinity.
SEED = """
INSERT INTO stockbatch.headlines (from_session, method)
SELECT date '0001-01-01', 'lstm' WHERE EXISTS (SELECT FROM stockbatch.forecasts)
UNION ALL
SELECT coalesce(max(target_session) + 1, '0001-01-01'), 'combined' FROM stockbatch.forecasts
"""
JUDGE = """
CREATE FUNCTION stockbatch.judge_headline() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM stockbatch.forecasts WHERE target_session >= NEW.from_session) THEN
        RAISE EXCEPTION 'session % or a later one has been forecast: what is shown stays',
            NEW.from_session USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stockbatch.judge_headline() IS
    'Refuses a change of the headline for sessions that have been forecast: history is not relabelled.';
CREATE TRIGGER judge_headline BEFORE INSERT ON stockbatch.headlines
    FOR EACH ROW EXECUTE FUNCTION stockbatch.judge_headline();
CREATE TRIGGER stamp BEFORE INSERT ON stockbatch.headlines
    FOR EACH ROW WHEN (NEW.set_at IS NULL OR NEW.set_at NOT BETWEEN now() AND clock_timestamp())
    EXECUTE FUNCTION stockbatch.stamp('set_at')
"""
REPLACED = {
    "accuracy": 3,
    "interval_coverage": 2,
    "next_session_forecast": 4,
    "price_and_forecast": 5,
}
"""Views with their new versions, those that others are made of first."""


def upgrade() -> None:
    op.create_table(
        "headlines",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), comment="surrogate key"),
        sa.Column(
            "from_session",
            sa.Date(),
            nullable=False,
            comment="first target session it is shown for; 0001-01-01: from the beginning",
        ),
        sa.Column("method", sa.Text(), nullable=False, comment="method shown first from then on"),
        sa.Column(
            "set_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was decided",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("headlines_pkey")),
        sa.ForeignKeyConstraint(
            ["method"],
            ["stockbatch.methods.name"],
            name=op.f("headlines_method_fkey"),
            ondelete="RESTRICT",
        ),
        schema="stockbatch",
        comment="One row per change of the headline, the method whose forecasts are shown first.\n\n"
        "Of several changes from the same session the last one counts.",
    )
    for statement in (COMBINED, SEED, JUDGE):
        op.execute(statement)
    op.execute("GRANT SELECT, INSERT ON stockbatch.headlines TO stockbatch_writer")
    _create("headlines", 1)
    op.execute(f"GRANT SELECT ON bi.headlines TO {READERS}")
    for view, version in REPLACED.items():
        _create(view, version)


def downgrade() -> None:
    for view in reversed(REPLACED):
        op.execute(f"DROP VIEW bi.{view}")
    for view, version in REPLACED.items():
        _restore(view, version - 1)
    op.execute("DROP VIEW bi.headlines")
    op.drop_table("headlines", schema="stockbatch")
    op.execute("DROP FUNCTION stockbatch.judge_headline()")


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
