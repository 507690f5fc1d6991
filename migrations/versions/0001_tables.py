"""Create the tables.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

JUDGE_KIND = """
CREATE FUNCTION stockbatch.judge_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.recorded_at := clock_timestamp();
    IF NEW.kind <> 'backtest' THEN
        NEW.kind := CASE
            WHEN NEW.issued_at < NEW.deadline_at AND NEW.recorded_at < NEW.deadline_at THEN 'live'
            ELSE 'late'
        END;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stockbatch.judge_kind() IS
    'Stamps a forecast with the database clock and tells live from late by it.';
CREATE TRIGGER judge_kind BEFORE INSERT ON stockbatch.forecasts
    FOR EACH ROW EXECUTE FUNCTION stockbatch.judge_kind();
"""


def upgrade() -> None:
    op.create_table(
        "instruments",
        sa.Column(
            "id", sa.Integer(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column(
            "ticker", sa.Text(), nullable=False, comment="name used everywhere in this database"
        ),
        sa.Column("symbol", sa.Text(), nullable=False, comment="what the provider calls it"),
        sa.Column(
            "provider",
            sa.Text(),
            nullable=False,
            comment="provider specification, e.g. csv:/data/bars.csv",
        ),
        sa.Column(
            "calendar",
            sa.Text(),
            nullable=False,
            comment="code of its exchange calendar, e.g. XNYS",
        ),
        sa.Column("name", sa.Text(), nullable=True, comment="long name"),
        sa.Column("currency", sa.Text(), nullable=True, comment="ISO 4217 code of its prices"),
        sa.Column(
            "asset_class", sa.Text(), nullable=False, comment="equity, index, currency, crypto, …"
        ),
        sa.Column(
            "active", sa.Boolean(), server_default="true", nullable=False, comment="handled by runs"
        ),
        sa.Column(
            "demo",
            sa.Boolean(),
            server_default="false",
            nullable=False,
            comment="demonstration data: never due, in no metric over ALL",
        ),
        sa.Column(
            "active_since",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was last put on the watchlist",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("instruments_pkey")),
        sa.UniqueConstraint("ticker", name=op.f("instruments_ticker_key")),
        schema="stockbatch",
        comment="One row per ticker ever put on the watchlist; removing deactivates, history stays.",
    )
    op.create_table(
        "market_inputs",
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("session", sa.Date(), nullable=False, comment="trading date"),
        sa.Column(
            "instruments",
            sa.Integer(),
            nullable=False,
            comment="tickers with a bar of that session",
        ),
        sa.Column(
            "absolute_return",
            sa.Double(),
            nullable=True,
            comment="median size of their log returns; NULL: too few tickers",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="last change",
        ),
        sa.CheckConstraint(
            "(absolute_return > '-Infinity' AND absolute_return < 'Infinity')",
            name=op.f("market_inputs_finite_check"),
        ),
        sa.PrimaryKeyConstraint("calendar", "session", name=op.f("market_inputs_pkey")),
        schema="stockbatch",
        comment="One row per exchange calendar and session: what all its tickers did together.",
    )
    op.create_table(
        "runs",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("session", sa.Date(), nullable=False, comment="origin session of its forecasts"),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="1; more for reprocessing only"),
        sa.Column("trigger", sa.Text(), nullable=False, comment="what started it"),
        sa.Column("status", sa.Text(), nullable=False, comment="running, finished or failed"),
        sa.Column(
            "owner", sa.Uuid(), nullable=False, comment="token of the process allowed to write"
        ),
        sa.Column(
            "started_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="first start",
        ),
        sa.Column(
            "heartbeat_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="last commit",
        ),
        sa.Column(
            "finished_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="end; NULL: not finished",
        ),
        sa.Column(
            "instruments",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="final outcomes",
        ),
        sa.Column(
            "trained",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="outcomes: newly trained",
        ),
        sa.Column(
            "reused",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="outcomes: model reused",
        ),
        sa.Column(
            "base",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="outcomes: base model, no training",
        ),
        sa.Column(
            "naive",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="outcomes: baselines only",
        ),
        sa.Column(
            "none",
            sa.Integer(),
            server_default="0",
            nullable=False,
            comment="outcomes: no forecast",
        ),
        sa.Column("message", sa.Text(), nullable=True, comment="why it failed"),
        sa.Column("code_version", sa.Text(), nullable=False, comment="version of this program"),
        sa.Column(
            "engine_hash", sa.Text(), nullable=False, comment="SHA-256 of the engine settings"
        ),
        sa.CheckConstraint(
            "status IN ('running', 'finished', 'failed')", name=op.f("runs_status_check")
        ),
        sa.CheckConstraint(
            "trigger IN ('manual', 'schedule', 'catch_up', 'backfill')",
            name=op.f("runs_trigger_check"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("runs_pkey")),
        sa.UniqueConstraint(
            "calendar", "session", "attempt", name=op.f("runs_calendar_session_attempt_key")
        ),
        schema="stockbatch",
        comment="One row per calendar, session and attempt: an execution of the daily job.",
    )
    op.create_table(
        "sessions",
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("session", sa.Date(), nullable=False, comment="trading date"),
        sa.Column(
            "open_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="instant the session opens",
        ),
        sa.Column(
            "close_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="instant the session closes",
        ),
        sa.PrimaryKeyConstraint("calendar", "session", name=op.f("sessions_pkey")),
        schema="stockbatch",
        comment="One row per exchange calendar and trading session.",
    )
    op.create_table(
        "bar_revisions",
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("session", sa.Date(), nullable=False, comment="trading date"),
        sa.Column("revision", sa.Integer(), nullable=False, comment="revision that was replaced"),
        sa.Column("open", sa.Double(), nullable=False, comment="first price"),
        sa.Column("high", sa.Double(), nullable=False, comment="highest price"),
        sa.Column("low", sa.Double(), nullable=False, comment="lowest price"),
        sa.Column("close", sa.Double(), nullable=False, comment="last price"),
        sa.Column("volume", sa.Double(), nullable=True, comment="units traded; NULL: unknown"),
        sa.Column(
            "price_basis",
            sa.Text(),
            nullable=False,
            comment="as_traded, or what could not be undone",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="state it had"),
        sa.Column("provider", sa.Text(), nullable=False, comment="provider that delivered it"),
        sa.Column(
            "fetched_at", sa.DateTime(timezone=True), nullable=False, comment="when it had come"
        ),
        sa.Column(
            "replaced_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was replaced",
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("bar_revisions_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "instrument_id", "session", "revision", name=op.f("bar_revisions_pkey")
        ),
        schema="stockbatch",
        comment="One row per instrument, session and superseded revision: what a bar was before.",
    )
    op.create_table(
        "bars",
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("session", sa.Date(), nullable=False, comment="trading date"),
        sa.Column("open", sa.Double(), nullable=False, comment="first price"),
        sa.Column("high", sa.Double(), nullable=False, comment="highest price"),
        sa.Column("low", sa.Double(), nullable=False, comment="lowest price"),
        sa.Column("close", sa.Double(), nullable=False, comment="last price"),
        sa.Column("volume", sa.Double(), nullable=True, comment="units traded; NULL: unknown"),
        sa.Column(
            "price_basis",
            sa.Text(),
            nullable=False,
            comment="as_traded, or what could not be undone",
        ),
        sa.Column("state", sa.Text(), nullable=False, comment="provisional, final or quarantined"),
        sa.Column("provider", sa.Text(), nullable=False, comment="provider that delivered it"),
        sa.Column(
            "revision",
            sa.Integer(),
            server_default="1",
            nullable=False,
            comment="1, then one per restatement",
        ),
        sa.Column(
            "fetched_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it came",
        ),
        sa.CheckConstraint(
            "open > 0 AND low > 0 AND open < 'Infinity' AND high < 'Infinity' AND low < 'Infinity' AND close < 'Infinity' AND low <= least(open, close) * 1.000001 AND high >= greatest(open, close) * 0.999999",
            name=op.f("bars_prices_check"),
        ),
        sa.CheckConstraint(
            "price_basis IN ('as_traded', 'split_adjusted')", name=op.f("bars_price_basis_check")
        ),
        sa.CheckConstraint(
            "state IN ('provisional', 'final', 'quarantined')", name=op.f("bars_state_check")
        ),
        sa.CheckConstraint("volume >= 0 AND volume < 'Infinity'", name=op.f("bars_volume_check")),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("bars_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("instrument_id", "session", name=op.f("bars_pkey")),
        schema="stockbatch",
        comment="One row per instrument and session: the bar as it is known now.",
    )
    op.create_table(
        "corporate_actions",
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("session", sa.Date(), nullable=False, comment="first session without it"),
        sa.Column("kind", sa.Text(), nullable=False, comment="split or dividend"),
        sa.Column(
            "value",
            sa.Double(),
            nullable=False,
            comment="split: new shares per old one; dividend: cash per share on that session's basis",
        ),
        sa.Column("provider", sa.Text(), nullable=False, comment="provider that reported it"),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it came",
        ),
        sa.Column(
            "retracted_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="when the provider withdrew it",
        ),
        sa.CheckConstraint(
            "kind IN ('split', 'dividend')", name=op.f("corporate_actions_kind_check")
        ),
        sa.CheckConstraint(
            "value > 0 AND value < 'Infinity'", name=op.f("corporate_actions_value_check")
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("corporate_actions_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint(
            "instrument_id", "session", "kind", name=op.f("corporate_actions_pkey")
        ),
        schema="stockbatch",
        comment="One row per instrument, ex-session and kind of action.",
    )
    op.create_table(
        "data_issues",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column(
            "session", sa.Date(), nullable=True, comment="trading date; NULL: the whole series"
        ),
        sa.Column("check_name", sa.Text(), nullable=False, comment="check that found it"),
        sa.Column(
            "severity", sa.Text(), nullable=False, comment="warning (kept), quarantined or rejected"
        ),
        sa.Column("message", sa.Text(), nullable=False, comment="what was seen, in words"),
        sa.Column("observed", sa.Double(), nullable=True, comment="value seen"),
        sa.Column("threshold", sa.Double(), nullable=True, comment="limit it broke"),
        sa.Column(
            "run_id",
            sa.BigInteger(),
            nullable=True,
            comment="run that wrote the row; NULL: none did",
        ),
        sa.Column(
            "found_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was found",
        ),
        sa.CheckConstraint(
            "(observed > '-Infinity' AND observed < 'Infinity') AND (threshold > '-Infinity' AND threshold < 'Infinity')",
            name=op.f("data_issues_finite_check"),
        ),
        sa.CheckConstraint(
            "severity IN ('warning', 'quarantined', 'rejected')",
            name=op.f("data_issues_severity_check"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("data_issues_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["stockbatch.runs.id"],
            name=op.f("data_issues_run_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("data_issues_pkey")),
        sa.UniqueConstraint(
            "instrument_id",
            "session",
            "check_name",
            name=op.f("data_issues_instrument_id_session_check_name_key"),
            postgresql_nulls_not_distinct=True,
        ),
        schema="stockbatch",
        comment="One row per instrument, session and check that found something.",
    )
    op.create_table(
        "metrics",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("instrument_id", sa.Integer(), nullable=True, comment="instrument"),
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("method", sa.Text(), nullable=False, comment="how the forecasts were made"),
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
        sa.Column("metric", sa.Text(), nullable=False, comment="name of the metric"),
        sa.Column("n", sa.Integer(), nullable=False, comment="scored forecasts behind it"),
        sa.Column("value", sa.Double(), nullable=True, comment="the metric"),
        sa.Column(
            "baseline",
            sa.Double(),
            nullable=True,
            comment="the same of the baseline (naive for points, rolling quantile for quantiles), of the forecasts that both made",
        ),
        sa.Column(
            "skill",
            sa.Double(),
            nullable=True,
            comment="1 - value / baseline of the forecasts that both made; above 0 is better",
        ),
        sa.Column(
            "updated_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.CheckConstraint(
            "(value > '-Infinity' AND value < 'Infinity') AND (baseline > '-Infinity' AND baseline < 'Infinity') AND (skill > '-Infinity' AND skill < 'Infinity')",
            name=op.f("metrics_finite_check"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("metrics_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("metrics_pkey")),
        schema="stockbatch",
        comment="One row per instrument (NULL: ALL of a calendar), method, kind, window and metric.\n\nInstruments keep the current row only; ALL keeps one per session.",
    )
    op.create_index(
        "metrics_all_key",
        "metrics",
        ["calendar", "method", "kind", "window_sessions", "metric", "through_session"],
        unique=True,
        schema="stockbatch",
        postgresql_where="instrument_id IS NULL",
    )
    op.create_index(
        "metrics_instrument_key",
        "metrics",
        ["instrument_id", "method", "kind", "window_sessions", "metric"],
        unique=True,
        schema="stockbatch",
        postgresql_where="instrument_id IS NOT NULL",
    )
    op.create_table(
        "models",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="base (of a calendar), ticker or garch"
        ),
        sa.Column("calendar", sa.Text(), nullable=False, comment="exchange calendar code"),
        sa.Column("demo", sa.Boolean(), nullable=False, comment="of demonstration instruments"),
        sa.Column("instrument_id", sa.Integer(), nullable=True, comment="instrument"),
        sa.Column("parent_id", sa.BigInteger(), nullable=True, comment="base it started from"),
        sa.Column(
            "first_session", sa.Date(), nullable=False, comment="first session it was trained on"
        ),
        sa.Column(
            "last_session",
            sa.Date(),
            nullable=False,
            comment="last session it learned anything from",
        ),
        sa.Column(
            "fingerprint",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of the data it was trained on",
        ),
        sa.Column(
            "configuration",
            sa.Text(),
            nullable=False,
            comment="SHA-256 of settings and feature version",
        ),
        sa.Column(
            "parameters",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="engine settings used",
        ),
        sa.Column(
            "libraries",
            postgresql.JSONB(astext_type=sa.Text()),
            nullable=False,
            comment="library versions",
        ),
        sa.Column("seed", sa.BigInteger(), nullable=False, comment="seed of the settings"),
        sa.Column(
            "weights", sa.LargeBinary(), nullable=True, comment="safetensors; NULL once pruned"
        ),
        sa.Column("weights_sha256", sa.Text(), nullable=False, comment="SHA-256 of `weights`"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why it was trained"),
        sa.Column("tickers", sa.Integer(), nullable=False, comment="tickers it learned from"),
        sa.Column(
            "best_epoch",
            sa.Integer(),
            nullable=True,
            comment="epoch whose weights were kept, from 1; 0: those it started from",
        ),
        sa.Column(
            "training_loss", sa.Double(), nullable=True, comment="pinball loss at that epoch"
        ),
        sa.Column(
            "validation_loss",
            sa.Double(),
            nullable=True,
            comment="pinball loss at that epoch on the sessions that stopped it",
        ),
        sa.Column(
            "initial_loss",
            sa.Double(),
            nullable=True,
            comment="the same before the first epoch, of the weights it started from",
        ),
        sa.Column(
            "comparison_loss",
            sa.Double(),
            nullable=True,
            comment="pinball loss on the sessions that chose between models",
        ),
        sa.Column("base_loss", sa.Double(), nullable=True, comment="the same of the base model"),
        sa.Column(
            "champion_loss", sa.Double(), nullable=True, comment="the same of the champion before"
        ),
        sa.Column("gain", sa.Double(), nullable=True, comment="base_loss - comparison_loss"),
        sa.Column(
            "gain_error", sa.Double(), nullable=True, comment="standard error of `gain`, paired"
        ),
        sa.Column(
            "verdict", sa.Text(), nullable=False, comment="promoted, or what was kept in its place"
        ),
        sa.Column(
            "run_id",
            sa.BigInteger(),
            nullable=True,
            comment="run that wrote the row; NULL: none did",
        ),
        sa.Column(
            "trained_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was stored",
        ),
        sa.CheckConstraint(
            "(kind = 'base') = (instrument_id IS NULL)", name=op.f("models_owner_check")
        ),
        sa.CheckConstraint("kind IN ('base', 'ticker', 'garch')", name=op.f("models_kind_check")),
        sa.CheckConstraint(
            "reason IN ('no_model', 'expired', 'configuration_changed', 'history_restated', 'forced', 'base_changed', 'universe_changed', 'drift', 'fresh', 'short_history', 'diverged', 'no_bar', 'bar_refused', 'fetch_failed')",
            name=op.f("models_reason_check"),
        ),
        sa.CheckConstraint(
            "verdict IN ('promoted', 'base_kept', 'champion_kept')",
            name=op.f("models_verdict_check"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("models_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"],
            ["stockbatch.models.id"],
            name=op.f("models_parent_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["stockbatch.runs.id"], name=op.f("models_run_id_fkey"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("models_pkey")),
        sa.UniqueConstraint(
            "kind",
            "instrument_id",
            "calendar",
            "demo",
            "last_session",
            "configuration",
            "fingerprint",
            "parent_id",
            name="models_key",
            postgresql_nulls_not_distinct=True,
        ),
        schema="stockbatch",
        comment="One row per trained version of a model; pruning empties `weights`, never removes the row.\n\nA base model belongs to a calendar, any other to an instrument.",
    )
    op.create_index(
        op.f("models_instrument_id_last_session_idx"),
        "models",
        ["instrument_id", "last_session"],
        unique=False,
        schema="stockbatch",
    )
    op.create_table(
        "outcomes",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("session", sa.Date(), nullable=False, comment="origin session"),
        sa.Column("try_number", sa.Integer(), nullable=False, comment="1 for the first try, …"),
        sa.Column(
            "is_final",
            sa.Boolean(),
            nullable=False,
            comment="the one that counts; earlier tries are history",
        ),
        sa.Column(
            "run_id",
            sa.BigInteger(),
            nullable=True,
            comment="run that wrote the row; NULL: none did",
        ),
        sa.Column("action", sa.Text(), nullable=False, comment="what was done"),
        sa.Column("reason", sa.Text(), nullable=False, comment="why"),
        sa.Column(
            "message",
            sa.Text(),
            server_default="",
            nullable=False,
            comment="more about it, in words",
        ),
        sa.Column(
            "seconds", sa.Double(), nullable=True, comment="its share of its batch's wall time"
        ),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.CheckConstraint(
            "action IN ('trained', 'reused', 'base', 'naive', 'none')",
            name=op.f("outcomes_action_check"),
        ),
        sa.CheckConstraint(
            "reason IN ('no_model', 'expired', 'configuration_changed', 'history_restated', 'forced', 'base_changed', 'universe_changed', 'drift', 'fresh', 'short_history', 'diverged', 'no_bar', 'bar_refused', 'fetch_failed')",
            name=op.f("outcomes_reason_check"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("outcomes_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["stockbatch.runs.id"],
            name=op.f("outcomes_run_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("outcomes_pkey")),
        sa.UniqueConstraint(
            "instrument_id",
            "session",
            "try_number",
            name=op.f("outcomes_instrument_id_session_try_number_key"),
        ),
        schema="stockbatch",
        comment="One row per instrument, session and try; exactly one of them is final.",
    )
    op.create_index(
        "outcomes_final_key",
        "outcomes",
        ["instrument_id", "session"],
        unique=True,
        schema="stockbatch",
        postgresql_where="is_final",
    )
    op.create_index(
        op.f("outcomes_session_idx"), "outcomes", ["session"], unique=False, schema="stockbatch"
    )
    op.create_table(
        "forecasts",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column(
            "origin_session", sa.Date(), nullable=False, comment="last session whose bar it used"
        ),
        sa.Column("target_session", sa.Date(), nullable=False, comment="session it is about"),
        sa.Column(
            "horizon", sa.Integer(), nullable=False, comment="sessions from origin to target"
        ),
        sa.Column(
            "method", sa.Text(), nullable=False, comment="lstm, or the baseline that made it"
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="live (in time), late or backtest"),
        sa.Column(
            "fingerprint", sa.Text(), nullable=False, comment="SHA-256 of everything it depends on"
        ),
        sa.Column(
            "origin_close",
            sa.Double(),
            nullable=False,
            comment="close of the origin session, as stored then",
        ),
        sa.Column(
            "close",
            sa.Double(),
            nullable=False,
            comment="close forecast, on the basis of origin_close",
        ),
        sa.Column("log_return", sa.Double(), nullable=False, comment="ln(close / origin_close)"),
        sa.Column(
            "q025",
            sa.Double(),
            nullable=True,
            comment="2.5 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q05",
            sa.Double(),
            nullable=True,
            comment="5 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q10",
            sa.Double(),
            nullable=True,
            comment="10 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q25",
            sa.Double(),
            nullable=True,
            comment="25 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q50",
            sa.Double(),
            nullable=True,
            comment="50 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q75",
            sa.Double(),
            nullable=True,
            comment="75 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q90",
            sa.Double(),
            nullable=True,
            comment="90 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q95",
            sa.Double(),
            nullable=True,
            comment="95 % quantile of the log return; NULL: points only",
        ),
        sa.Column(
            "q975",
            sa.Double(),
            nullable=True,
            comment="97.5 % quantile of the log return; NULL: points only",
        ),
        sa.Column("probability_of_rise", sa.Double(), nullable=True, comment="P(log return > 0)"),
        sa.Column(
            "raw_q025",
            sa.Double(),
            nullable=True,
            comment="2.5 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q05",
            sa.Double(),
            nullable=True,
            comment="5 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q10",
            sa.Double(),
            nullable=True,
            comment="10 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q25",
            sa.Double(),
            nullable=True,
            comment="25 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q50",
            sa.Double(),
            nullable=True,
            comment="50 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q75",
            sa.Double(),
            nullable=True,
            comment="75 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q90",
            sa.Double(),
            nullable=True,
            comment="90 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q95",
            sa.Double(),
            nullable=True,
            comment="95 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "raw_q975",
            sa.Double(),
            nullable=True,
            comment="97.5 % quantile of the log return; before calibration",
        ),
        sa.Column(
            "volatility",
            sa.Double(),
            nullable=True,
            comment="standard deviation of the log return known at the origin",
        ),
        sa.Column(
            "shrinkage",
            sa.Double(),
            nullable=True,
            comment="share of the median return that the point forecast kept; 0: naive",
        ),
        sa.Column(
            "dissimilarity",
            sa.Double(),
            nullable=True,
            comment="distance of the inputs from those trained on; above 1: unlike 99 % of them",
        ),
        sa.Column("trusted", sa.Boolean(), nullable=True, comment="dissimilarity is at most 1"),
        sa.Column("model_id", sa.BigInteger(), nullable=True, comment="model; NULL: a baseline"),
        sa.Column(
            "run_id",
            sa.BigInteger(),
            nullable=True,
            comment="run that wrote the row; NULL: none did",
        ),
        sa.Column(
            "issued_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="when the program made it",
        ),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when the database took it; no writer can set it",
        ),
        sa.Column(
            "deadline_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="live only if made and recorded before",
        ),
        sa.CheckConstraint(
            "(origin_close > '-Infinity' AND origin_close < 'Infinity') AND (close > '-Infinity' AND close < 'Infinity') AND (log_return > '-Infinity' AND log_return < 'Infinity') AND (q025 > '-Infinity' AND q025 < 'Infinity') AND (q975 > '-Infinity' AND q975 < 'Infinity')",
            name=op.f("forecasts_finite_check"),
        ),
        sa.CheckConstraint(
            "kind IN ('live', 'late', 'backtest')", name=op.f("forecasts_kind_check")
        ),
        sa.CheckConstraint(
            "method IN ('lstm', 'naive', 'rolling_quantile', 'ewma', 'garch')",
            name=op.f("forecasts_method_check"),
        ),
        sa.CheckConstraint("origin_close > 0 AND close > 0", name=op.f("forecasts_positive_check")),
        sa.CheckConstraint(
            "origin_session < target_session AND horizon >= 1", name=op.f("forecasts_horizon_check")
        ),
        sa.CheckConstraint(
            "probability_of_rise BETWEEN 0 AND 1", name=op.f("forecasts_probability_check")
        ),
        sa.CheckConstraint(
            "q025 <= q05 AND q05 <= q10 AND q10 <= q25 AND q25 <= q50 AND q50 <= q75 AND q75 <= q90 AND q90 <= q95 AND q95 <= q975",
            name=op.f("forecasts_quantiles_in_order_check"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("forecasts_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["stockbatch.models.id"],
            name=op.f("forecasts_model_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"],
            ["stockbatch.runs.id"],
            name=op.f("forecasts_run_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("forecasts_pkey")),
        sa.UniqueConstraint(
            "instrument_id",
            "target_session",
            "horizon",
            "method",
            "kind",
            "fingerprint",
            name="forecasts_key",
        ),
        schema="stockbatch",
        comment="One row per instrument, target session, horizon, method, kind and fingerprint.\n\nAppend-only. Whether a forecast is live or late is decided by the database's own clock.",
    )
    op.create_index(
        op.f("forecasts_target_session_idx"),
        "forecasts",
        ["target_session"],
        unique=False,
        schema="stockbatch",
    )
    op.create_table(
        "promotions",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("instrument_id", sa.Integer(), nullable=False, comment="instrument"),
        sa.Column("model_id", sa.BigInteger(), nullable=False, comment="model in use from then on"),
        sa.Column(
            "from_session", sa.Date(), nullable=False, comment="first origin session it serves"
        ),
        sa.Column(
            "reason",
            sa.Text(),
            nullable=False,
            comment="why it was promoted: as the run that did it says, or manual or rollback",
        ),
        sa.Column(
            "recorded_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.CheckConstraint(
            "reason IN ('no_model', 'expired', 'configuration_changed', 'history_restated', 'forced', 'base_changed', 'universe_changed', 'drift', 'fresh', 'short_history', 'diverged', 'no_bar', 'bar_refused', 'fetch_failed', 'manual', 'rollback')",
            name=op.f("promotions_reason_check"),
        ),
        sa.ForeignKeyConstraint(
            ["instrument_id"],
            ["stockbatch.instruments.id"],
            name=op.f("promotions_instrument_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["stockbatch.models.id"],
            name=op.f("promotions_model_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("promotions_pkey")),
        schema="stockbatch",
        comment="One row per time a model was put into use for an instrument.\n\nThe champion of an origin is the newest promotion whose `from_session` is not after it.",
    )
    op.create_index(
        op.f("promotions_instrument_id_from_session_idx"),
        "promotions",
        ["instrument_id", "from_session"],
        unique=False,
        schema="stockbatch",
    )
    op.create_table(
        "training_curves",
        sa.Column("model_id", sa.BigInteger(), nullable=False, comment="model"),
        sa.Column(
            "training_loss",
            sa.ARRAY(sa.Double()),
            nullable=False,
            comment="pinball loss per epoch, fitted part",
        ),
        sa.Column(
            "validation_loss",
            sa.ARRAY(sa.Double()),
            nullable=False,
            comment="pinball loss per epoch, held out",
        ),
        sa.ForeignKeyConstraint(
            ["model_id"],
            ["stockbatch.models.id"],
            name=op.f("training_curves_model_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.PrimaryKeyConstraint("model_id", name=op.f("training_curves_pkey")),
        schema="stockbatch",
        comment="One row per model: its loss after every epoch.",
    )
    op.create_table(
        "scores",
        sa.Column(
            "id", sa.BigInteger(), sa.Identity(always=True), nullable=False, comment="surrogate key"
        ),
        sa.Column("forecast_id", sa.BigInteger(), nullable=False, comment="forecast"),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="revision of the actual bar; 0: there was none",
        ),
        sa.Column(
            "status",
            sa.Text(),
            nullable=False,
            comment="scored; masked: the actual return is not to be trusted; no_session: never held",
        ),
        sa.Column(
            "actual_close",
            sa.Double(),
            nullable=True,
            comment="close of the target session on the basis of the origin's",
        ),
        sa.Column(
            "actual_log_return", sa.Double(), nullable=True, comment="ln(actual / origin close)"
        ),
        sa.Column("error", sa.Double(), nullable=True, comment="actual - forecast close"),
        sa.Column("absolute_error", sa.Double(), nullable=True, comment="|error|"),
        sa.Column("squared_error", sa.Double(), nullable=True, comment="error squared"),
        sa.Column(
            "percentage_error", sa.Double(), nullable=True, comment="100 * error / actual close"
        ),
        sa.Column(
            "log_return_error", sa.Double(), nullable=True, comment="actual - forecast log return"
        ),
        sa.Column(
            "pinball", sa.Double(), nullable=True, comment="mean pinball loss over the quantiles"
        ),
        sa.Column(
            "winkler_80", sa.Double(), nullable=True, comment="Winkler score of the 80 % interval"
        ),
        sa.Column(
            "winkler_95", sa.Double(), nullable=True, comment="Winkler score of the 95 % interval"
        ),
        sa.Column(
            "direction_hit", sa.Boolean(), nullable=True, comment="NULL where the return was zero"
        ),
        sa.Column(
            "inside_50", sa.Boolean(), nullable=True, comment="actual inside the 50 % interval"
        ),
        sa.Column(
            "inside_80", sa.Boolean(), nullable=True, comment="actual inside the 80 % interval"
        ),
        sa.Column(
            "inside_90", sa.Boolean(), nullable=True, comment="actual inside the 90 % interval"
        ),
        sa.Column(
            "inside_95", sa.Boolean(), nullable=True, comment="actual inside the 95 % interval"
        ),
        sa.Column(
            "run_id",
            sa.BigInteger(),
            nullable=True,
            comment="run that wrote the row; NULL: none did",
        ),
        sa.Column(
            "scored_at",
            sa.DateTime(timezone=True),
            server_default=sa.text("clock_timestamp()"),
            nullable=False,
            comment="when it was written",
        ),
        sa.CheckConstraint(
            "(actual_close > '-Infinity' AND actual_close < 'Infinity') AND (error > '-Infinity' AND error < 'Infinity') AND (log_return_error > '-Infinity' AND log_return_error < 'Infinity') AND (pinball > '-Infinity' AND pinball < 'Infinity') AND (winkler_80 > '-Infinity' AND winkler_80 < 'Infinity') AND (winkler_95 > '-Infinity' AND winkler_95 < 'Infinity')",
            name=op.f("scores_finite_check"),
        ),
        sa.CheckConstraint(
            "(status = 'scored') = (error IS NOT NULL)", name=op.f("scores_scored_check")
        ),
        sa.CheckConstraint(
            "status IN ('scored', 'masked', 'no_session')", name=op.f("scores_status_check")
        ),
        sa.ForeignKeyConstraint(
            ["forecast_id"],
            ["stockbatch.forecasts.id"],
            name=op.f("scores_forecast_id_fkey"),
            ondelete="RESTRICT",
        ),
        sa.ForeignKeyConstraint(
            ["run_id"], ["stockbatch.runs.id"], name=op.f("scores_run_id_fkey"), ondelete="RESTRICT"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("scores_pkey")),
        sa.UniqueConstraint(
            "forecast_id", "revision", name=op.f("scores_forecast_id_revision_key")
        ),
        schema="stockbatch",
        comment="One row per forecast and revision of the bar it was scored with; views show the last.",
    )
    # Weights are incompressible: compressing them would cost time and save nothing.
    op.execute("ALTER TABLE stockbatch.models ALTER COLUMN weights SET STORAGE EXTERNAL")
    op.execute(JUDGE_KIND)


def downgrade() -> None:
    op.drop_table("scores", schema="stockbatch")
    op.drop_table("training_curves", schema="stockbatch")
    op.drop_table("promotions", schema="stockbatch")
    op.drop_table("forecasts", schema="stockbatch")
    op.drop_table("outcomes", schema="stockbatch")
    op.drop_table("models", schema="stockbatch")
    op.drop_table("metrics", schema="stockbatch")
    op.drop_table("data_issues", schema="stockbatch")
    op.drop_table("corporate_actions", schema="stockbatch")
    op.drop_table("bars", schema="stockbatch")
    op.drop_table("bar_revisions", schema="stockbatch")
    op.drop_table("sessions", schema="stockbatch")
    op.drop_table("runs", schema="stockbatch")
    op.drop_table("market_inputs", schema="stockbatch")
    op.drop_table("instruments", schema="stockbatch")
    op.execute("DROP FUNCTION stockbatch.judge_kind()")
