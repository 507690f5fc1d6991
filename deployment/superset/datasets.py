"""What the charts ask: views of schema `bi`, and queries on them where a view alone will not do."""

from dataclasses import dataclass
from textwrap import dedent
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from deployment import dictionary
from stockbatch.store.bi.dictionary import Column

Json = dict[str, Any]

VIEWS = dictionary.columns()
NAMES = {
    "calendar": "exchange",
    "close_high_80": "high 80 %",
    "close_high_95": "high 95 %",
    "close_low_80": "low 80 %",
    "close_low_95": "low 95 %",
    "coverage_80_pct": "inside 80 %",
    "coverage_95_pct": "inside 95 %",
    "coverage_pct": "inside 80 %",
    "deviation_pct": "off by, points",
    "dm_p_value": "DM p value",
    "event_date": "its day",
    "exposure_pct": "of the exposure %",
    "expected_move_pct": "expected move ± %",
    "forecast_close": "forecast",
    "is_current": "current",
    "mae_return_skill_pct": "skill vs naive %",
    "move_ratio": "× usual",
    "n": "forecasts",
    "origin_close": "last close",
    "probability_of_fall_pct": "P(fall) %",
    "probability_of_move_2_pct": "P(beyond 2 %) %",
    "probability_of_move_5_pct": "P(beyond 5 %) %",
    "probability_of_rise_pct": "P(rise) %",
    "share_better_pct": "tickers better %",
    "subject": "name",
    "subject_kind": "of a",
    "skill_vs_ewma_pct": "skill vs EWMA %",
    "skill_vs_garch_pct": "skill vs GARCH %",
    "skill_vs_har_pct": "skill vs HAR %",
    "skill_vs_lstm_pct": "skill vs LSTM %",
    "skill_vs_rolling_quantile_error_pct": "± %",
}
"""What columns are called where their own name, in words, is not what other dashboards say."""


def titled(column: str) -> str:
    return NAMES.get(column) or column.replace("_pct", " %").replace("_", " ")


def identity(kind: str, name: str) -> str:
    """Return an identifier that stays the same for ever: by it Superset knows what it has."""
    return str(uuid5(NAMESPACE_URL, f"stockbatch/superset/{kind}/{name}"))


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Rows to ask: of a view, or of a query on views."""

    name: str
    view: str
    """Whose columns it has."""
    sql: str = ""
    """None: the view itself."""
    more: tuple[Column, ...] = ()
    """Columns that the query adds."""

    @property
    def columns(self) -> tuple[Column, ...]:
        """Return them, with what they mean."""
        return (*VIEWS[self.view], *self.more)

    def file(self, database: str) -> Json:
        """Return what the export says of it, of the database with that identifier."""
        return {
            "table_name": self.name,
            "schema": "bi",
            "sql": self.sql or None,
            "description": VIEWS[self.view][0].grain,
            "filter_select_enabled": True,
            "columns": [_column(column) for column in self.columns],
            "metrics": [],
            "uuid": identity("dataset", self.name),
            "database_uuid": database,
            "version": "1.0.0",
        }


def of(view: str, column: str) -> Column:
    (found,) = (one for one in VIEWS[view] if one.name == column)
    return found


def _column(column: Column) -> Json:
    return {
        "column_name": column.name,
        "verbose_name": titled(column.name),
        "description": column.meaning,
        "type": column.type.upper(),
        "is_dttm": column.type.startswith(("date", "timestamp")),
        "is_active": True,
        "groupby": True,
        "filterable": True,
    }


def _query(sql: str) -> str:
    return dedent(sql).strip()


AGO = Column("", "", "sessions_ago", "bigint", "1: the newest session, 2: the one before")
SECTOR = "coalesce(i.sector, 'no sector') AS sector"
"""A filter on it would lose the tickers without one."""

NEXT_SESSION = Dataset(
    name="next_session",
    view="next_session_forecast",
    sql=_query(f"""
        SELECT f.*, {SECTOR}
        FROM bi.next_session_forecast AS f
        JOIN bi.instruments AS i USING (ticker)
        WHERE f.is_headline
    """),
    more=(of("instruments", "sector"),),
)
EVENTS_AHEAD = Dataset(
    name="events_ahead",
    view="events",
    sql=_query(f"""
        SELECT e.*, {SECTOR}
        FROM bi.events AS e
        JOIN bi.instruments AS i USING (ticker)
        JOIN bi.next_session_forecast AS f USING (ticker)
        WHERE f.is_headline AND e.is_current AND e.session >= f.session
    """),
    more=(of("instruments", "sector"),),
)
FRESHNESS = Dataset(name="data_freshness", view="data_freshness")
PRICES = Dataset(
    name="prices",
    view="price_and_forecast",
    sql=_query("""
        SELECT *, row_number() OVER (PARTITION BY ticker ORDER BY session DESC) AS sessions_ago
        FROM bi.price_and_forecast
    """),
    more=(AGO,),
)
SHOWN = Dataset(
    name="shown_forecasts",
    view="forecast_history",
    sql=_query("""
        SELECT h.*
        FROM bi.forecast_history AS h
        JOIN bi.price_and_forecast AS p USING (ticker, session, method)
    """),
)
"""Of each session by the method that is shown first."""
LOSSES = Dataset(
    name="newest_training",
    view="training_history",
    sql=_query("""
        SELECT t.*
        FROM bi.training_history AS t
        JOIN (
            SELECT ticker, max(model_id) AS model_id
            FROM bi.training_history
            WHERE model_kind = 'ticker'
            GROUP BY ticker
        ) AS newest USING (ticker, model_id)
    """),
)
ACCURACY = Dataset(name="accuracy", view="accuracy")
COVERAGE = Dataset(name="interval_coverage", view="interval_coverage")
LEADERBOARD = Dataset(
    name="newest_leaderboard",
    view="leaderboard",
    sql=_query("""
        SELECT l.*
        FROM bi.leaderboard AS l
        JOIN (
            SELECT calendar, kind, window_sessions, max(session) AS session
            FROM bi.leaderboard
            GROUP BY calendar, kind, window_sessions
        ) AS newest USING (calendar, kind, window_sessions, session)
    """),
)
TICKERS = Dataset(
    name="tickers_accuracy",
    view="accuracy",
    sql=_query("""
        SELECT a.*, c.coverage_pct, c.deviation_pct
        FROM bi.accuracy AS a
        JOIN bi.interval_coverage AS c
            USING (scope, ticker, calendar, method, kind, window_sessions)
        WHERE scope = 'ticker' AND a.is_headline AND a.metric = 'pinball' AND c.interval_pct = 80
    """),
    more=(of("interval_coverage", "coverage_pct"), of("interval_coverage", "deviation_pct")),
)
RISK = Dataset(
    name="risk",
    view="risk",
    sql=_query("""
        SELECT *, subject_kind || ': ' || subject AS whole_name, dense_rank() OVER (
            PARTITION BY subject_kind, subject ORDER BY session DESC
        ) AS sessions_ago
        FROM bi.risk
    """),
    more=(Column("", "", "whole_name", "text", "the subject with its kind"), AGO),
)
NEXT_RISK = Dataset(
    name="next_risk",
    view="risk",
    sql=_query("""
        SELECT r.*
        FROM bi.risk AS r
        JOIN (
            SELECT calendar, is_demo, max(session) AS session
            FROM bi.risk
            GROUP BY calendar, is_demo
        ) AS newest USING (calendar, is_demo, session)
    """),
)
RISK_BACKTESTS = Dataset(name="risk_backtests", view="risk_backtests")
PORTFOLIOS = Dataset(name="portfolios", view="portfolios")
DATASETS = (
    *(NEXT_SESSION, EVENTS_AHEAD, FRESHNESS, PRICES, SHOWN, LOSSES),
    *(ACCURACY, COVERAGE, LEADERBOARD, TICKERS),
    *(RISK, NEXT_RISK, RISK_BACKTESTS, PORTFOLIOS),
)
