"""Keep news of tickers, with when each could be known, and how they sound.

Revision ID: 0035
Revises: 0034
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"

# When a row came, nobody but the database tells: a replay rests on it, whatever a file claims.
STAMP = """
CREATE TRIGGER stamp BEFORE INSERT ON stockbatch.news
    FOR EACH ROW WHEN (
        NEW.recorded_at IS NULL OR NEW.recorded_at NOT BETWEEN now() AND clock_timestamp()
    )
    EXECUTE FUNCTION stockbatch.stamp('recorded_at')
"""
COLUMNS = (
    sa.Column("id", sa.BigInteger(), sa.Identity(always=True), comment="surrogate key"),
    sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument it is about"),
    sa.Column(
        "published_at",
        sa.DateTime(timezone=True),
        nullable=False,
        comment="when it was published, as its source says",
    ),
    sa.Column(
        "session",
        sa.Date(),
        nullable=False,
        comment="first session that closed no earlier than it was published",
    ),
    sa.Column(
        "seen_at", sa.DateTime(timezone=True), nullable=False, comment="when it was first seen"
    ),
    sa.Column(
        "assumed",
        sa.Boolean(),
        nullable=False,
        comment="history of a file: taken as known since it was published",
    ),
    sa.Column("source", sa.Text(), nullable=False, comment="who brought it first"),
    sa.Column("title", sa.Text(), nullable=False, comment="title, as plain text"),
    sa.Column("url", sa.Text(), comment="where it stands; NULL: not stated"),
    sa.Column(
        "url_hash",
        sa.Text(),
        nullable=False,
        comment="SHA-256 of the URL, or of instant and title where there is none",
    ),
    sa.Column(
        "relevance",
        sa.Double(),
        comment="how much it is about the instrument, 0 to 1; NULL: not stated",
    ),
    sa.Column("score", sa.Double(), comment="how it sounds, -1 bad to 1 good; NULL: not scored"),
    sa.Column("scored_by", sa.Text(), comment="source or scorer that gave the score"),
    sa.Column(
        "recorded_at",
        sa.DateTime(timezone=True),
        server_default=sa.text("clock_timestamp()"),
        nullable=False,
        comment="when this row was written, by the database's clock",
    ),
)
CHECKS = {
    "order": "published_at <= seen_at",
    "title": "length(title) BETWEEN 1 AND 500",
    "url": "url ~ '^https?://' AND length(url) <= 2000",
    "relevance": "relevance BETWEEN 0 AND 1",
    "score": "score BETWEEN -1 AND 1",
    "scored_by": "(score IS NULL) = (scored_by IS NULL)",
}


def upgrade() -> None:
    op.create_table(
        "news",
        *COLUMNS,
        sa.PrimaryKeyConstraint("id", name=op.f("news_pkey")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("news_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.UniqueConstraint(
            "instrument_id", "url_hash", name=op.f("news_instrument_id_url_hash_key")
        ),
        *(
            sa.CheckConstraint(condition, name=op.f(f"news_{name}_check"))
            for name, condition in CHECKS.items()
        ),
        schema="stockbatch",
        comment="One row per instrument and item of news, whoever brought it; titles, no texts.",
    )
    for columns in (["instrument_id", "published_at"], ["published_at"]):
        op.create_index(op.f(f"news_{'_'.join(columns)}_idx"), "news", columns, schema="stockbatch")
    op.execute(STAMP)
    # The first score stays: only what has none is scored later. Old items may go.
    op.execute(
        "GRANT SELECT, INSERT, DELETE, UPDATE (score, scored_by) ON stockbatch.news"
        " TO stockbatch_writer"
    )
    for view in ("news", "sentiment"):
        op.execute((FOLDER / f"{view}_v1.sql").read_text(encoding="utf-8"))
        op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")


def downgrade() -> None:
    for view in ("sentiment", "news"):
        op.execute(f"DROP VIEW bi.{view}")
    op.drop_table("news", schema="stockbatch")
