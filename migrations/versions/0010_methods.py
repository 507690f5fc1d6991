"""A table of methods in place of a list in a CHECK, and the method of every model.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import context, op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

METHODS = {
    "lstm": (
        "LSTM",
        "A recurrent network trained on all tickers together, then on each by itself, whose"
        " intervals are stretched by what its past ones missed.",
    ),
    "naive": (
        "Naive",
        "The next close is the last one: what a random walk leads one to expect.",
    ),
    "rolling_quantile": (
        "Rolling quantiles",
        "The quantiles of the ticker's own last 250 returns: what history alone says.",
    ),
    "ewma": (
        "EWMA",
        "Past returns measured by the volatility of their day, times today's: an exponentially"
        " weighted moving average, as RiskMetrics has it.",
    ),
    "garch": (
        "GARCH(1,1)-t",
        "A variance that rises after large moves and falls back, with fat tails; fitted to each"
        " ticker by maximum likelihood.",
    ),
}
MODEL_KEY = (
    *("kind", "instrument_id", "calendar", "demo", "last_session"),
    *("configuration", "fingerprint", "parent_id"),
)
COMMENTS = {
    "forecasts": ("method that made it", "lstm, or the baseline that made it"),
    "metrics": ("method that made the forecasts", "how the forecasts were made"),
}
"""What is said of their columns `method`, from now on and before."""
KIND = ("base (of a calendar) or ticker", "base (of a calendar), ticker or garch")
GRANTS = (
    "GRANT SELECT ON stockbatch.models_in_use TO stockbatch_writer, stockbatch_api",
    "GRANT SELECT, INSERT ON stockbatch.methods TO stockbatch_writer",
    "GRANT SELECT (q025, q05, q10, q25, q50, q75, q90, q95, q975) ON stockbatch.forecasts"
    " TO stockbatch_api",
)


def upgrade() -> None:
    methods = op.create_table(
        "methods",
        sa.Column("name", sa.Text(), nullable=False, comment="name used in every table"),
        sa.Column("title", sa.Text(), nullable=False, comment="what people call it"),
        sa.Column("sentence", sa.Text(), nullable=False, comment="what it does"),
        sa.Column(
            "added_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was first used",
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("methods_pkey")),
        schema="stockbatch",
        comment="One row per way to forecast that was ever used, installed now or not.",
    )
    op.bulk_insert(
        methods,
        [{"name": n, "title": t, "sentence": s} for n, (t, s) in METHODS.items()],
    )
    op.drop_constraint(
        op.f("forecasts_method_check"), "forecasts", schema="stockbatch", type_="check"
    )
    op.add_column(
        "models",
        sa.Column("method", sa.Text(), nullable=True, comment="method that works with it"),
        schema="stockbatch",
    )
    op.execute(
        "UPDATE stockbatch.models SET method = CASE kind WHEN 'garch' THEN 'garch' ELSE 'lstm' END"
    )
    op.alter_column("models", "method", nullable=False, schema="stockbatch")
    _rewrite_kinds("UPDATE stockbatch.models SET kind = 'ticker' WHERE kind = 'garch'", 0)
    _replace_key("method", *MODEL_KEY)
    for table in ("forecasts", "metrics", "models"):
        op.create_foreign_key(
            op.f(f"{table}_method_fkey"),
            *(table, "methods", ["method"], ["name"]),
            source_schema="stockbatch",
            referent_schema="stockbatch",
            ondelete="RESTRICT",
        )
    for table, comments in COMMENTS.items():
        op.alter_column(table, "method", comment=comments[0], schema="stockbatch")
    _replace_view()
    for grant in GRANTS:
        op.execute(grant)


def downgrade() -> None:
    for table in ("forecasts", "metrics", "models"):
        op.drop_constraint(
            op.f(f"{table}_method_fkey"), table, schema="stockbatch", type_="foreignkey"
        )
    _replace_key(*MODEL_KEY)
    op.execute("DROP VIEW stockbatch.models_in_use")
    _rewrite_kinds("UPDATE stockbatch.models SET kind = method WHERE method = 'garch'", 1)
    op.drop_column("models", "method", schema="stockbatch")
    _create_view()
    op.execute(GRANTS[0])
    listed = ", ".join(f"'{name}'" for name in METHODS)
    op.create_check_constraint("method", "forecasts", f"method IN ({listed})", schema="stockbatch")
    for table, comments in COMMENTS.items():
        op.alter_column(table, "method", comment=comments[1], schema="stockbatch")
    op.drop_table("methods", schema="stockbatch")


def _rewrite_kinds(update: str, now: int) -> None:
    """Rewrite the kinds of GARCH's parameters, and the list of what there may be."""
    op.drop_constraint(op.f("models_kind_check"), "models", schema="stockbatch", type_="check")
    op.execute(update)
    listed = ("'base', 'ticker'", "'base', 'ticker', 'garch'")[now]
    op.create_check_constraint("kind", "models", f"kind IN ({listed})", schema="stockbatch")
    op.alter_column("models", "kind", comment=KIND[now], schema="stockbatch")


def _replace_key(*columns: str) -> None:
    op.drop_constraint(op.f("models_key"), "models", schema="stockbatch", type_="unique")
    op.create_unique_constraint(
        op.f("models_key"),
        "models",
        columns,
        schema="stockbatch",
        postgresql_nulls_not_distinct=True,
    )


def _replace_view() -> None:
    """Make the view again: its columns are those that the table had when it was made."""
    op.execute("DROP VIEW stockbatch.models_in_use")
    _create_view()


def _create_view() -> None:
    op.execute(context.script.get_revision("0009").module.MODELS_IN_USE)
