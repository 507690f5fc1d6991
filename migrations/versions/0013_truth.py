"""Sources by number, stays on the watchlist, and what market inputs were computed from.

Bars name their source by its number in place of its provider's name. Older ones are taken to come
from the instrument's source of that provider: its own, else the first such fallback.

Revision ID: 0013
Revises: 0012
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
OF_BARS = {
    "bars": "source that delivered it",
    "bar_revisions": "source that delivered it",
    "corporate_actions": "source that reported it",
}
"""Tables whose rows come from a source."""

# Which source each instrument's rows of a provider came from. Nobody but this transaction sees it.
SOURCES = """
CREATE TEMPORARY TABLE older ON COMMIT DROP AS
SELECT o.instrument_id, o.provider, coalesce(
    (
        SELECT s.specification FROM (
            SELECT i.provider AS specification, 0 AS position
            FROM stockbatch.instruments AS i WHERE i.id = o.instrument_id
            UNION ALL
            SELECT f.provider, f.position
            FROM stockbatch.fallbacks AS f WHERE f.instrument_id = o.instrument_id
        ) AS s
        WHERE split_part(s.specification, ':', 1) = o.provider
        ORDER BY s.position LIMIT 1
    ),
    o.provider
) AS specification
FROM (
    SELECT instrument_id, provider FROM stockbatch.bars
    UNION SELECT instrument_id, provider FROM stockbatch.bar_revisions
    UNION SELECT instrument_id, provider FROM stockbatch.corporate_actions
) AS o;
CREATE UNIQUE INDEX ON older (instrument_id, provider);
INSERT INTO stockbatch.sources (specification)
SELECT DISTINCT specification FROM older ORDER BY specification;
"""
# A table is written anew once, where an update of each row would leave twice its size behind; what
# a column is made from cannot be a query, only a function.
TO_NUMBER = """
CREATE FUNCTION pg_temp.source_of(instrument integer, name text) RETURNS integer
STABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN (
        SELECT s.id FROM pg_temp.older AS o
        JOIN stockbatch.sources AS s ON s.specification = o.specification
        WHERE o.instrument_id = instrument AND o.provider = name
    );
END
$$
"""
TO_NAME = """
CREATE FUNCTION pg_temp.provider_of(number integer) RETURNS text
STABLE LANGUAGE plpgsql AS $$
BEGIN
    RETURN (SELECT split_part(specification, ':', 1) FROM stockbatch.sources WHERE id = number);
END
$$
"""

# When a ticker was removed nobody noted: it was after its last bar.
STAYS = """
INSERT INTO stockbatch.memberships (instrument_id, added_at, removed_at)
SELECT i.id, i.active_since, CASE WHEN NOT i.active THEN greatest(i.active_since, (
    SELECT (max(b.session) + 1)::timestamp AT TIME ZONE 'UTC'
    FROM stockbatch.bars AS b WHERE b.instrument_id = i.id
)) END
FROM stockbatch.instruments AS i
"""


def upgrade() -> None:
    _make_tables()
    op.execute(STAYS)
    op.execute(SOURCES)
    op.execute(TO_NUMBER)
    op.execute("DROP VIEW bi.data_freshness")
    for table, comment in OF_BARS.items():
        op.execute(
            f"ALTER TABLE stockbatch.{table} ALTER COLUMN provider TYPE integer"
            " USING pg_temp.source_of(instrument_id, provider)"
        )
        _rename(table, "provider", "source_id", comment)
    op.create_foreign_key(
        op.f("corporate_actions_source_id_fkey"),
        "corporate_actions",
        "sources",
        ["source_id"],
        ["id"],
        source_schema="stockbatch",
        referent_schema="stockbatch",
        ondelete="RESTRICT",
    )
    _show(2)
    op.add_column(
        "market_inputs",
        sa.Column(
            "digest",
            sa.BigInteger(),
            nullable=True,
            comment="hash of what it was computed from; NULL: not known any more",
        ),
        schema="stockbatch",
    )


def downgrade() -> None:
    op.drop_column("market_inputs", "digest", schema="stockbatch")
    op.drop_constraint(
        op.f("corporate_actions_source_id_fkey"), "corporate_actions", schema="stockbatch"
    )
    op.execute(TO_NAME)
    op.execute("DROP VIEW bi.data_freshness")
    for table, comment in OF_BARS.items():
        op.execute(
            f"ALTER TABLE stockbatch.{table} ALTER COLUMN source_id TYPE text"
            " USING pg_temp.provider_of(source_id)"
        )
        _rename(table, "source_id", "provider", comment.replace("source", "provider"))
    _show(1)
    for table in ("sources", "memberships"):
        op.drop_table(table, schema="stockbatch")


def _make_tables() -> None:
    op.create_table(
        "memberships",
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False, comment="when it began"),
        sa.Column(
            "removed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when it ended; NULL: it has not",
        ),
        sa.CheckConstraint("removed_at >= added_at", name=op.f("memberships_order_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("memberships_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("instrument_id", "added_at", name=op.f("memberships_pkey")),
        schema="stockbatch",
        comment="One row per stay of an instrument on the watchlist.",
    )
    op.create_table(
        "sources",
        sa.Column(
            "id", sa.Integer(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column(
            "specification",
            sa.Text(),
            nullable=False,
            comment="provider specification without options, e.g. csv:/data/bars.csv",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("sources_pkey")),
        sa.UniqueConstraint("specification", name=op.f("sources_specification_key")),
        schema="stockbatch",
        comment="One row per source that was ever asked for bars.\n\n"
        "Bars name it by its number: there are millions of them, and a path is long.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE ON stockbatch.memberships TO stockbatch_writer")
    op.execute("GRANT SELECT, INSERT ON stockbatch.sources TO stockbatch_writer")


def _rename(table: str, before: str, after: str, comment: str) -> None:
    op.execute(f"ALTER TABLE stockbatch.{table} RENAME COLUMN {before} TO {after}")
    op.execute(f"COMMENT ON COLUMN stockbatch.{table}.{after} IS '{comment}'")


def _show(version: int) -> None:
    view = FOLDER / f"data_freshness_v{version}.sql"
    op.execute(view.read_text(encoding="utf-8"))
    op.execute(
        "GRANT SELECT ON bi.data_freshness TO stockbatch_writer, stockbatch_reader, stockbatch_api"
    )
