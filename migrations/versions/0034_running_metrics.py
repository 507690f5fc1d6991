"""Keep the metrics of a ticker in one row per window, and what a night need not add up again.

Revision ID: 0034
Revises: 0033
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0034"
down_revision = "0033"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
COVERAGES, INTERVALS = (50, 80, 90, 95, 98), (80, 95)
POINTS = {
    "mae": "mean absolute error of the close",
    "rmse": "root mean squared error of the close",
    "mape": "mean absolute percentage error",
    "smape": "symmetric mean absolute percentage error",
    "mase": "mean absolute error in errors of the naive forecast",
    "mae_return": "mean absolute error of the log return",
    "rmse_return": "root mean squared error of the log return",
}
QUANTILES = {
    "pinball": "mean pinball loss",
    **{f"winkler_{percent}": f"Winkler score of the {percent} % interval" for percent in INTERVALS},
}
COMPARED = POINTS | QUANTILES
VALUES = {
    "bias": "mean error of the close",
    "bias_return": "mean error of the log return",
    "directional_accuracy": "share of directions that were right",
    **{f"coverage_{one}": f"share of closes inside the {one} % interval" for one in COVERAGES},
    **{f"width_{one}": f"mean width of the {one} % interval" for one in INTERVALS},
} | COMPARED
COUNTS = {
    "n": "scored forecasts behind the metrics that have no number of their own",
    "n_direction": "forecasts behind directional_accuracy",
    "n_pinball": "forecasts behind pinball",
    **{f"n_{one}": f"forecasts behind those of the {one} % interval" for one in COVERAGES},
    "n_both_points": "forecasts that the naive method made as well",
    "n_both_quantiles": "forecasts that the rolling quantiles were made for as well",
}


def _count_of(metric: str) -> str:
    name, _, percent = metric.rpartition("_")
    if name in ("coverage", "width", "winkler"):
        return f"n_{percent}"
    return {"directional_accuracy": "n_direction", "pinball": "n_pinball"}.get(metric, "n")


def _number(name: str, comment: str) -> sa.Column[float]:
    return sa.Column(name, sa.Double(), nullable=True, comment=comment)


NUMBERS = [
    *(_number(name, comment) for name, comment in VALUES.items()),
    *(
        _number(f"{name}_baseline", f"{name} of the baseline, of the forecasts that both made")
        for name in COMPARED
    ),
    *(
        _number(f"{name}_skill", f"1 - {name} / {name}_baseline, of the forecasts that both made")
        for name in COMPARED
    ),
]

# The two numbers of forecasts that a baseline made as well are not known of them, which makes the
# next run add these windows up anew.
TO_COLUMNS = f"""
INSERT INTO stockbatch.ticker_metrics (instrument_id, calendar, method, kind, window_sessions,
    through_session, {", ".join((*COUNTS, *(column.name for column in NUMBERS)))})
SELECT instrument_id, calendar, method, kind, window_sessions, through_session,
    coalesce(max(n) FILTER (WHERE metric = 'mae_return'), 0),
    coalesce(max(n) FILTER (WHERE metric = 'directional_accuracy'), 0),
    coalesce(max(n) FILTER (WHERE metric = 'pinball'), 0),
    {", ".join(f"coalesce(max(n) FILTER (WHERE metric = 'coverage_{one}'), 0)" for one in COVERAGES)},
    0, 0,
    {", ".join(f"max(value) FILTER (WHERE metric = '{name}')" for name in VALUES)},
    {", ".join(f"max(baseline) FILTER (WHERE metric = '{name}')" for name in COMPARED)},
    {", ".join(f"max(skill) FILTER (WHERE metric = '{name}')" for name in COMPARED)}
FROM (
    SELECT *, rank() OVER (
        PARTITION BY instrument_id, method, kind, window_sessions ORDER BY through_session DESC
    ) AS place
    FROM stockbatch.metrics WHERE instrument_id IS NOT NULL
) AS m
WHERE place = 1
GROUP BY instrument_id, calendar, method, kind, window_sessions, through_session
"""  # noqa: S608
_ROWS = ", ".join(
    f"('{name}', m.{_count_of(name)}, m.{name}, m.{name}_baseline, m.{name}_skill)"
    if name in COMPARED
    else f"('{name}', m.{_count_of(name)}, m.{name}, NULL::float8, NULL::float8)"
    for name in VALUES
)
TO_ROWS = f"""
INSERT INTO stockbatch.metrics (instrument_id, calendar, method, kind, window_sessions,
    through_session, metric, n, value, baseline, skill)
SELECT m.instrument_id, m.calendar, m.method, m.kind, m.window_sessions, m.through_session,
    v.metric, v.n, v.value, v.baseline, v.skill
FROM stockbatch.ticker_metrics AS m CROSS JOIN LATERAL (
    VALUES {_ROWS}
) AS v (metric, n, value, baseline, skill)
WHERE v.n > 0
"""  # noqa: S608
NOTES = """
CREATE FUNCTION stockbatch.note_scores() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO stockbatch.unsummed (instrument_id, session)
    SELECT DISTINCT f.instrument_id, f.target_session
    FROM changed AS s JOIN stockbatch.forecasts AS f ON f.id = s.forecast_id;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION stockbatch.note_scores() IS
    'Notes that scores came or went, so that what they add up to is looked at again.';
CREATE TRIGGER note_added_scores AFTER INSERT ON stockbatch.scores
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION stockbatch.note_scores();
CREATE TRIGGER note_removed_scores AFTER DELETE ON stockbatch.scores
    REFERENCING OLD TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION stockbatch.note_scores();
"""
INSTRUMENT = {"nullable": False, "comment": "instrument"}


def upgrade() -> None:
    _ticker_metrics()
    _unsummed()
    _sums()
    for view in ("accuracy_v5", "leaderboard_v3"):
        op.execute((FOLDER / f"{view}.sql").read_text(encoding="utf-8"))
    op.execute(TO_COLUMNS)
    op.execute("DELETE FROM stockbatch.metrics WHERE instrument_id IS NOT NULL")
    op.drop_index("metrics_instrument_key", "metrics", schema="stockbatch")
    for index in ("metrics_all_key", "metrics_all_session_idx"):
        op.drop_index(index, "metrics", schema="stockbatch")
    op.drop_column("metrics", "instrument_id", schema="stockbatch")
    _index_metrics(None)
    op.execute(
        "COMMENT ON TABLE stockbatch.metrics IS 'One row per calendar, method, kind, window,"
        " metric and session the window ends at: of all tickers together.'"
    )


def _ticker_metrics() -> None:
    op.create_table(
        "ticker_metrics",
        sa.Column("instrument_id", sa.Integer(), **INSTRUMENT),
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("method", sa.Text(), nullable=False, comment="method that made the forecasts"),
        sa.Column("kind", sa.Text(), nullable=False, comment="how the forecasts were made"),
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
        *(
            sa.Column(name, sa.Integer(), nullable=False, comment=comment)
            for name, comment in COUNTS.items()
        ),
        *NUMBERS,
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.PrimaryKeyConstraint(
            "instrument_id", "method", "kind", "window_sessions", name=op.f("ticker_metrics_pkey")
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("ticker_metrics_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["method"],
            ["stockbatch.methods.name"],
            name=op.f("ticker_metrics_method_fkey"),
            ondelete="RESTRICT",
        ),
        sa.CheckConstraint(
            " AND ".join(
                f"({column.name} > '-Infinity' AND {column.name} < 'Infinity')"
                for column in NUMBERS
            ),
            name=op.f("ticker_metrics_finite_check"),
        ),
        schema="stockbatch",
        comment="One row per instrument, method, kind and window: its metrics as of now.",
        # Every row is written anew each night: room beside it spares the index.
        postgresql_with={"fillfactor": 50},
    )
    op.execute(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON stockbatch.ticker_metrics TO stockbatch_writer"
    )


def _unsummed() -> None:
    op.create_table(
        "unsummed",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="note"),
        sa.Column("instrument_id", sa.Integer(), **INSTRUMENT),
        sa.Column("session", sa.Date(), nullable=False, comment="target session of the scores"),
        sa.PrimaryKeyConstraint("id", name=op.f("unsummed_pkey")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("unsummed_instrument_id_fkey"),
            ondelete="CASCADE",
        ),
        schema="stockbatch",
        comment="One row per ticker and session whose scores came or went since they were summed"
        " up: kept by triggers, taken away by who sums up.",
    )
    op.create_index(
        op.f("unsummed_instrument_id_idx"), "unsummed", ["instrument_id"], schema="stockbatch"
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON stockbatch.unsummed TO stockbatch_writer")
    op.execute(NOTES)


def _sums() -> None:
    op.create_table(
        "sums",
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column(
            "through_session", sa.Date(), nullable=False, comment="last target session summed up"
        ),
        sa.Column(
            "members",
            sa.dialects.postgresql.JSONB(),
            nullable=False,
            comment="instruments that are in them, and those of each group",
        ),
        sa.Column(
            "sums",
            sa.LargeBinary(),
            nullable=False,
            comment="sums of losses by session, of all tickers and by group (safetensors)",
        ),
        sa.PrimaryKeyConstraint("calendar", name=op.f("sums_pkey")),
        schema="stockbatch",
        comment="One row per calendar: what losses added up to in each session of the longest"
        " window, so that a night adds up those of new scores alone. Deleted, it is made anew.",
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON stockbatch.sums TO stockbatch_writer")


def _index_metrics(where: str | None) -> None:
    op.create_index(
        "metrics_all_key",
        "metrics",
        ["calendar", "method", "kind", "window_sessions", "metric", "through_session"],
        unique=True,
        schema="stockbatch",
        postgresql_where=where,
    )
    op.create_index(
        "metrics_all_session_idx",
        "metrics",
        ["through_session"],
        schema="stockbatch",
        postgresql_where=where,
    )


def downgrade() -> None:
    op.add_column(
        "metrics",
        sa.Column("instrument_id", sa.Integer(), nullable=True, comment="instrument"),
        schema="stockbatch",
    )
    op.create_foreign_key(
        op.f("metrics_instrument_id_fkey"),
        "metrics",
        "instruments",
        ["instrument_id"],
        ["id"],
        source_schema="stockbatch",
        referent_schema="stockbatch",
        ondelete="RESTRICT",
    )
    for index in ("metrics_all_key", "metrics_all_session_idx"):
        op.drop_index(index, "metrics", schema="stockbatch")
    _index_metrics("instrument_id IS NULL")
    op.create_index(
        "metrics_instrument_key",
        "metrics",
        ["instrument_id", "method", "kind", "window_sessions", "metric"],
        unique=True,
        schema="stockbatch",
        postgresql_where="instrument_id IS NOT NULL",
    )
    op.execute(TO_ROWS)
    for view in ("accuracy_v4", "leaderboard_v2"):
        op.execute((FOLDER / f"{view}.sql").read_text(encoding="utf-8"))
    for change in ("added", "removed"):
        op.execute(f"DROP TRIGGER note_{change}_scores ON stockbatch.scores")
    op.execute("DROP FUNCTION stockbatch.note_scores()")
    for table in ("sums", "unsummed", "ticker_metrics"):
        op.drop_table(table, schema="stockbatch")
    op.execute(
        "COMMENT ON TABLE stockbatch.metrics IS 'One row per instrument (NULL: ALL of a calendar),"
        " method, kind, window and metric.\n\nInstruments keep the current row only; ALL keeps one"
        " per session.'"
    )
