"""Keep portfolios, how far they, groups and tickers may fall, and how well that was told.

Revision ID: 0037
Revises: 0036
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op

revision = "0037"
down_revision = "0036"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
READERS = "stockbatch_writer, stockbatch_reader, stockbatch_api"
VIEWS = ("portfolios", "portfolio_forecasts", "risk", "risk_backtests")
SUBJECTS = "'ticker', 'portfolio', 'exchange', 'sector', 'industry', 'tag', 'watchlist'"
KINDS = "kind IN ('live', 'late', 'backtest')"
STAMPED = {"holdings": "recorded_at", "risk_scores": "scored_at"}
"""Instants at which rows were added that nobody changes afterwards."""
STAMP = """
CREATE TRIGGER stamp BEFORE INSERT ON stockbatch.{table}
    FOR EACH ROW WHEN (NEW.{column} IS NULL OR NEW.{column} NOT BETWEEN now() AND clock_timestamp())
    EXECUTE FUNCTION stockbatch.stamp('{column}')
"""
# As a ticker's forecast is judged, by the calendar of what is forecast.
JUDGE = """
CREATE FUNCTION stockbatch.judge_risk_kind() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.recorded_at := clock_timestamp();
    NEW.deadline_at := (
        SELECT s.deadline_at FROM stockbatch.risk_subjects AS u
        JOIN stockbatch.sessions AS s
            ON s.calendar = u.calendar AND s.session = NEW.target_session
        WHERE u.id = NEW.subject_id
    );
    IF NEW.deadline_at IS NULL THEN
        RAISE EXCEPTION 'session % of subject % is not known: no deadline can be told',
            NEW.target_session, NEW.subject_id USING ERRCODE = 'foreign_key_violation';
    END IF;
    IF NEW.kind <> 'backtest' THEN
        NEW.kind := CASE
            WHEN NEW.issued_at < NEW.deadline_at AND NEW.recorded_at < NEW.deadline_at THEN 'live'
            ELSE 'late'
        END;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION stockbatch.judge_risk_kind() IS
    'Stamps a forecast of risk with the database clock and its session''s deadline, and tells live from late.';
CREATE TRIGGER judge_risk_kind BEFORE INSERT ON stockbatch.risk_forecasts
    FOR EACH ROW EXECUTE FUNCTION stockbatch.judge_risk_kind();
CREATE CONSTRAINT TRIGGER judge_risk_commit AFTER INSERT ON stockbatch.risk_forecasts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.kind = 'live')
    EXECUTE FUNCTION stockbatch.judge_commit();
"""
# Arrays know no NaN or infinity either.
FINITE = " AND ".join(
    f"NOT {column} && '{{NaN, Infinity, -Infinity}}'"
    for column in ("weights", "quantiles", "shortfalls", "unscaled_quantiles")
)
LEVELS = {"01": "1 %", "025": "2.5 %", "05": "5 %"}


def upgrade() -> None:
    _create(
        "holdings",
        "One row per statement of a portfolio, a day of it, and ticker: how much of it is held from that day on. Of several of one day the last recorded counts.",
        _id(sa.BigInteger()),
        _column("portfolio", sa.Text(), "name, as somebody chose it"),
        _column("instrument_id", sa.Integer(), "instrument held"),
        _column("from_day", sa.Date(), "day from which on it is held"),
        _column(
            "quantity",
            sa.Double(),
            "units, by the shares of that day; below 0: owed; 0: none any more",
        ),
        _instant("recorded_at", "when this row was written, by the database's clock"),
        sa.PrimaryKeyConstraint("id", name=op.f("holdings_pkey")),
        _belongs("holdings", "instrument_id", "instruments"),
        sa.CheckConstraint(
            "quantity > '-Infinity' AND quantity < 'Infinity'", name=op.f("holdings_finite_check")
        ),
        sa.CheckConstraint(
            "char_length(portfolio) BETWEEN 1 AND 100 AND portfolio !~ '[[:cntrl:]]' AND portfolio = btrim(portfolio)",
            name=op.f("holdings_portfolio_check"),
        ),
    )
    _index("holdings", "portfolio", "instrument_id", "from_day")
    _create(
        "risk_subjects",
        "One row per ticker, group and portfolio whose risk was ever told.",
        _id(sa.Integer()),
        _column("kind", sa.Text(), "ticker, portfolio, or what the tickers of a group share"),
        _column("name", sa.Text(), "name within its kind; NULL: a ticker", nullable=True),
        _column("calendar", sa.Text(), "exchange calendar code"),
        _column(
            "instrument_id", sa.Integer(), "the ticker; NULL: a group or portfolio", nullable=True
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("risk_subjects_pkey")),
        _belongs("risk_subjects", "instrument_id", "instruments"),
        sa.UniqueConstraint(
            "kind",
            "name",
            "calendar",
            "instrument_id",
            name=op.f("risk_subjects_key"),
            postgresql_nulls_not_distinct=True,
        ),
        sa.CheckConstraint(f"kind IN ({SUBJECTS})", name=op.f("risk_subjects_kind_check")),
        sa.CheckConstraint(
            "(kind = 'ticker') = (instrument_id IS NOT NULL) AND (kind = 'ticker') = (name IS NULL)",
            name=op.f("risk_subjects_name_check"),
        ),
    )
    _create(
        "risk_forecasts",
        "One row per subject, target session, kind and fingerprint: the simulated distribution of its simple return.\n\nAppend-only. Whether a forecast is live or late is decided by the database's own clock.",
        _id(sa.BigInteger()),
        _column("subject_id", sa.Integer(), "ticker, group or portfolio"),
        _column("origin_session", sa.Date(), "last session known when it was made"),
        _column("target_session", sa.Date(), "session it is about"),
        _column(
            "kind",
            sa.Text(),
            "live: made in time; late: after the deadline; backtest: a simulation",
        ),
        _column("fingerprint", sa.Text(), "SHA-256 of all that it states"),
        _column(
            "method",
            sa.Text(),
            "method whose widths are the scales; NULL: no forecast",
            nullable=True,
        ),
        _column("simulations", sa.Integer(), "past sessions it is made of"),
        _column(
            "exposure",
            sa.Double(),
            "sum of the absolute values held, in their currency; NULL: no portfolio",
            nullable=True,
        ),
        _column(
            "members",
            sa.ARRAY(sa.Integer()),
            "instruments it is made of; NULL: the ticker alone",
            nullable=True,
        ),
        _column(
            "weights",
            sa.ARRAY(sa.Double()),
            "their shares of the exposure, below 0 where owed; NULL: the ticker alone",
            nullable=True,
        ),
        _column(
            "quantiles",
            sa.ARRAY(sa.Double()),
            "of the simple return, at the levels of stockbatch.forecasts; NULL: no forecast",
            nullable=True,
        ),
        _column(
            "shortfalls",
            sa.ARRAY(sa.Double()),
            "mean simple return of the outcomes up to the 1, 2.5 and 5 % quantile; NULL: no forecast",
            nullable=True,
        ),
        _column(
            "unscaled_quantiles",
            sa.ARRAY(sa.Double()),
            "as `quantiles`, of the same past returns as they were, without scales",
            nullable=True,
        ),
        _column("reason", sa.Text(), "why there is no forecast; NULL: there is one", nullable=True),
        _column("run_id", sa.BigInteger(), "run that made it; NULL: a backtest", nullable=True),
        _instant("issued_at", "when it was made, by the clock of who made it", default=False),
        _instant("recorded_at", "when the database took it; no writer can set it"),
        _instant("deadline_at", "live only if made and recorded before", default=False),
        sa.PrimaryKeyConstraint("id", name=op.f("risk_forecasts_pkey")),
        _belongs("risk_forecasts", "subject_id", "risk_subjects"),
        _belongs("risk_forecasts", "run_id", "runs"),
        sa.ForeignKeyConstraint(
            ["method"],
            ["stockbatch.methods.name"],
            name=op.f("risk_forecasts_method_fkey"),
            ondelete="RESTRICT",
        ),
        sa.UniqueConstraint(
            "subject_id", "target_session", "kind", "fingerprint", name=op.f("risk_forecasts_key")
        ),
        sa.CheckConstraint(KINDS, name=op.f("risk_forecasts_kind_check")),
        sa.CheckConstraint(
            "origin_session < target_session", name=op.f("risk_forecasts_order_check")
        ),
        sa.CheckConstraint(FINITE, name=op.f("risk_forecasts_finite_check")),
        sa.CheckConstraint(
            "cardinality(members) = cardinality(weights) AND cardinality(quantiles) = 11"
            " AND cardinality(unscaled_quantiles) = 11 AND cardinality(shortfalls) = 3",
            name=op.f("risk_forecasts_lengths_check"),
        ),
        sa.CheckConstraint(
            "num_nulls(method, quantiles, shortfalls, unscaled_quantiles)"
            " = CASE WHEN reason IS NULL THEN 0 ELSE 4 END",
            name=op.f("risk_forecasts_reason_check"),
        ),
        sa.CheckConstraint(
            "exposure > 0 AND exposure < 'Infinity'", name=op.f("risk_forecasts_exposure_check")
        ),
    )
    _index("risk_forecasts", "target_session")
    _create(
        "risk_scores",
        "One row per forecast of risk whose session is over: what came of it.",
        _column("risk_forecast_id", sa.BigInteger(), "forecast"),
        _column("subject_id", sa.Integer(), "what it is about"),
        _column("target_session", sa.Date(), "session it is about"),
        _column("kind", sa.Text(), "its kind"),
        _column(
            "status",
            sa.Text(),
            "scored, masked: a return of it may be an error of the data, no_session: never held",
        ),
        _column(
            "actual_return",
            sa.Double(),
            "simple return that came, a share of the exposure",
            nullable=True,
        ),
        _column(
            "pinball",
            sa.Double(),
            "mean pinball loss over the quantiles from 2.5 to 97.5 %",
            nullable=True,
        ),
        _column("unscaled_pinball", sa.Double(), "the same of `unscaled_quantiles`", nullable=True),
        *(
            _column(
                f"inside_{percent}",
                sa.Boolean(),
                f"return inside the {percent} % interval",
                nullable=True,
            )
            for percent in (80, 95)
        ),
        *(
            _column(
                f"breach_{name}", sa.Boolean(), f"return below the {level} quantile", nullable=True
            )
            for name, level in LEVELS.items()
        ),
        *(
            _column(
                f"ratio_{name}",
                sa.Double(),
                f"return over the shortfall at {level} where it is a breach, else 0; NULL: that is 0",
                nullable=True,
            )
            for name, level in LEVELS.items()
        ),
        _column("run_id", sa.BigInteger(), "run that wrote the row; NULL: none did", nullable=True),
        _instant("scored_at", "when it was written"),
        sa.PrimaryKeyConstraint("risk_forecast_id", name=op.f("risk_scores_pkey")),
        sa.ForeignKeyConstraint(
            ["risk_forecast_id"],
            ["stockbatch.risk_forecasts.id"],
            name=op.f("risk_scores_risk_forecast_id_fkey"),
            ondelete="RESTRICT",
        ),
        _belongs("risk_scores", "run_id", "runs"),
        sa.CheckConstraint(KINDS, name=op.f("risk_scores_kind_check")),
        sa.CheckConstraint(
            "status IN ('scored', 'masked', 'no_session')", name=op.f("risk_scores_status_check")
        ),
        _finite(
            "risk_scores",
            "actual_return",
            "pinball",
            "unscaled_pinball",
            "ratio_01",
            "ratio_025",
            "ratio_05",
        ),
    )
    _index("risk_scores", "target_session")
    _create(
        "risk_metrics",
        "One row per subject, kind, window and level: how well its risk was told, as of the last run.",
        _column("subject_id", sa.Integer(), "ticker, group or portfolio"),
        _column("kind", sa.Text(), "live, late or backtest: never mixed"),
        _column("window_sessions", sa.Integer(), "target sessions looked back at"),
        _column(
            "level", sa.Double(), "share of outcomes beyond the value at risk: 0.01, 0.025 or 0.05"
        ),
        _column("through_session", sa.Date(), "last target session of the window"),
        _column("sessions", sa.Integer(), "scored sessions behind it"),
        _column("breaches", sa.Integer(), "returns below the value at risk"),
        _column(
            "kupiec_p", sa.Double(), "p of as many breaches, were the level right", nullable=True
        ),
        _column(
            "christoffersen_p",
            sa.Double(),
            "p of breaches that follow each other so, were they independent",
            nullable=True,
        ),
        _column(
            "z2",
            sa.Double(),
            "Z2 of Acerbi and Székely (2014) of the expected shortfall: 0 where it is right, below where it is too small",
            nullable=True,
        ),
        _column(
            "coverage_80", sa.Double(), "share of returns inside the 80 % interval", nullable=True
        ),
        _column(
            "coverage_95", sa.Double(), "share of returns inside the 95 % interval", nullable=True
        ),
        _column(
            "pinball",
            sa.Double(),
            "mean pinball loss over the quantiles from 2.5 to 97.5 %",
            nullable=True,
        ),
        _column(
            "skill",
            sa.Double(),
            "1 - pinball loss / that of the simulation without scales",
            nullable=True,
        ),
        _instant("updated_at", "when it was written"),
        sa.PrimaryKeyConstraint(
            "subject_id", "kind", "window_sessions", "level", name=op.f("risk_metrics_pkey")
        ),
        _belongs("risk_metrics", "subject_id", "risk_subjects"),
        sa.CheckConstraint(KINDS, name=op.f("risk_metrics_kind_check")),
        _finite(
            "risk_metrics",
            "kupiec_p",
            "christoffersen_p",
            "z2",
            "coverage_80",
            "coverage_95",
            "pinball",
            "skill",
        ),
    )
    _create(
        "stated_widths",
        "One row per calendar, target session and method: half the raw 80 % width it stated of each ticker. Taken from stockbatch.forecasts, of which it holds nothing else.",
        _column("calendar", sa.Text(), "exchange calendar code"),
        _column("session", sa.Date(), "target session"),
        _column("method", sa.Text(), "method that stated it"),
        _column("instrument_ids", sa.ARRAY(sa.Integer()), "tickers"),
        _column("half_widths", sa.ARRAY(sa.Double()), "of log returns, one per ticker"),
        _column("through_forecast", sa.BigInteger(), "last forecast that was looked at"),
        sa.PrimaryKeyConstraint("calendar", "session", "method", name=op.f("stated_widths_pkey")),
        sa.CheckConstraint(
            "cardinality(instrument_ids) = cardinality(half_widths)",
            name=op.f("stated_widths_lengths_check"),
        ),
    )
    op.execute(JUDGE)
    for table, column in STAMPED.items():
        op.execute(STAMP.format(table=table, column=column))
    for table in ("holdings", "risk_subjects", "risk_forecasts", "risk_scores"):
        op.execute(f"GRANT SELECT, INSERT ON stockbatch.{table} TO stockbatch_writer")
    for table in ("risk_metrics", "stated_widths"):
        op.execute(f"GRANT SELECT, INSERT, UPDATE ON stockbatch.{table} TO stockbatch_writer")
    for view in VIEWS:
        op.execute((FOLDER / f"{view}_v1.sql").read_text(encoding="utf-8"))
        op.execute(f"GRANT SELECT ON bi.{view} TO {READERS}")


def downgrade() -> None:
    for view in reversed(VIEWS):
        op.execute(f"DROP VIEW bi.{view}")
    for table in (
        "stated_widths",
        "risk_metrics",
        "risk_scores",
        "risk_forecasts",
        "risk_subjects",
        "holdings",
    ):
        op.drop_table(table, schema="stockbatch")
    op.execute("DROP FUNCTION stockbatch.judge_risk_kind()")


def _create(table: str, comment: str, *parts: sa.schema.SchemaItem) -> None:
    op.create_table(table, *parts, schema="stockbatch", comment=comment)


def _id(kind: sa.types.TypeEngine) -> sa.Column:
    return sa.Column("id", kind, sa.Identity(always=True), nullable=False, comment="surrogate key")


def _column(
    name: str, kind: sa.types.TypeEngine, comment: str, *, nullable: bool = False
) -> sa.Column:
    return sa.Column(name, kind, nullable=nullable, comment=comment)


def _instant(name: str, comment: str, *, default: bool = True) -> sa.Column:
    now = sa.text("clock_timestamp()") if default else None
    return sa.Column(
        name, sa.DateTime(timezone=True), server_default=now, nullable=False, comment=comment
    )


def _belongs(table: str, column: str, to: str) -> sa.ForeignKeyConstraint:
    name = op.f(f"{table}_{column}_fkey")
    return sa.ForeignKeyConstraint(
        [column], [f"stockbatch.{to}.id"], name=name, ondelete="RESTRICT"
    )


def _finite(table: str, *columns: str) -> sa.CheckConstraint:
    tests = " AND ".join(f"({c} > '-Infinity' AND {c} < 'Infinity')" for c in columns)
    return sa.CheckConstraint(tests, name=op.f(f"{table}_finite_check"))


def _index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"{table}_{'_'.join(columns)}_idx"), table, columns, schema="stockbatch")
