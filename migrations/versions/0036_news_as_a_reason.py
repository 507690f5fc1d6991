"""Let news be a reason for an expected move; the network is called so, whichever is set.

Revision ID: 0036
Revises: 0035
"""

from pathlib import Path

from alembic import op

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None

FOLDER = Path(__file__).parents[1] / "views"
BEFORE = (
    *("own_moves", "level", "market_moves", "direction", "turnover", "reports"),
    *("lstm", "calibration", "last_year"),
)


def upgrade() -> None:
    _allow((*BEFORE, "news"))
    op.execute((FOLDER / "forecast_reasons_v2.sql").read_text(encoding="utf-8"))


def downgrade() -> None:
    # What has been forecast with news stays as it is.
    _allow(BEFORE, not_valid=True)
    text = (FOLDER / "forecast_reasons_v1.sql").read_text(encoding="utf-8")
    op.execute(text.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))


def _allow(reasons: tuple[str, ...], *, not_valid: bool = False) -> None:
    name = op.f("forecasts_reasons_check")
    op.drop_constraint(name, "forecasts", schema="stockbatch")
    words = ", ".join(f"'{reason}'" for reason in reasons)
    op.create_check_constraint(
        name,
        "forecasts",
        f"jsonb_typeof(reasons) = 'object' AND reasons - ARRAY[{words}] = '{{}}'",
        schema="stockbatch",
        postgresql_not_valid=not_valid,
    )
