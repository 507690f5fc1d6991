"""The rows of a small run, frozen: whatever is rebuilt, the same bars make the same rows.

With made-up networks every word and fingerprint is compared exactly; with trained ones the numbers
to 1e-6. Where inputs change on purpose, `pytest --renew-frozen` writes the files anew, to be looked
at as a diff.
"""

from datetime import date, datetime
from pathlib import Path

import pytest

from jobs.replay.backtest import backtest
from stockbatch.database.tables import QUANTILE_COLUMNS, RAW_QUANTILE_COLUMNS
from tests.support.market import CODE, TICKERS, Market, fetch, in_chunks, run, session

FROZEN = Path(__file__).parent / "frozen"
BEFORE = 320
DIGITS = 9
"""Significant digits written; fingerprints, of all digits, tell of the others."""

_STATED = ", ".join(f"f.{column}" for column in (*QUANTILE_COLUMNS, *RAW_QUANTILE_COLUMNS))
QUERIES = {
    "outcomes": """
        SELECT ticker, session, try_number, is_final, action, reason, message
        FROM stockbatch.outcomes JOIN stockbatch.instruments AS i ON i.id = instrument_id""",
    "models": """
        SELECT m.kind, coalesce(ticker, '-') AS ticker, m.first_session, m.last_session, m.reason,
            m.verdict, m.tickers, m.best_epoch, m.fingerprint, m.configuration,
            m.weights_sha256, m.initial_loss, m.comparison_loss, m.base_loss, m.champion_loss,
            m.gain_error
        FROM stockbatch.models AS m
        LEFT JOIN stockbatch.instruments AS i ON i.id = instrument_id
        WHERE m.best_epoch IS NOT NULL""",
    "parameters": """
        SELECT ticker, m.first_session, m.last_session, m.reason, m.verdict, m.fingerprint,
            m.configuration, m.weights_sha256
        FROM stockbatch.models AS m JOIN stockbatch.instruments AS i ON i.id = instrument_id
        WHERE m.best_epoch IS NULL""",
    "promotions": """
        SELECT ticker, p.from_session, p.reason, m.kind, m.last_session
        FROM stockbatch.promotions AS p JOIN stockbatch.models AS m ON m.id = model_id
        JOIN stockbatch.instruments AS i ON i.id = p.instrument_id""",
    "forecasts": f"""
        SELECT ticker, f.target_session, f.method, f.kind, f.origin_session, f.trusted,
            f.fingerprint, f.origin_close, f.close, f.log_return, {_STATED},
            f.probability_of_rise, f.volatility, f.shrinkage, f.dissimilarity
        FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i ON i.id = instrument_id""",
    "scores": """
        SELECT ticker, f.target_session, f.method, f.kind, s.status, s.revision, s.actual_close,
            s.error, s.pinball, s.winkler_80, s.direction_hit, s.inside_80
        FROM stockbatch.scores AS s JOIN stockbatch.forecasts AS f ON f.id = forecast_id
        JOIN stockbatch.instruments AS i ON i.id = instrument_id""",
    "metrics": """
        SELECT coalesce(ticker, 'ALL') AS ticker, method, kind, session AS through_session, metric,
            n, value, baseline, skill_pct / 100 AS skill
        FROM bi.accuracy
        WHERE window_sessions = 20
            AND metric IN ('mae', 'directional_accuracy', 'pinball', 'coverage_80')""",
    "issues": """
        SELECT ticker, session, check_name, severity, message
        FROM stockbatch.data_issues JOIN stockbatch.instruments AS i ON i.id = instrument_id""",
}
"""What is frozen of each table: first the words, then the numbers."""
FROM_WEIGHTS = ("weights_sha256", "message")
"""Words that the last bit of a trained weight decides, as it does fingerprints of networks."""


@pytest.fixture
def market(tmp_path, monkeypatch) -> Market:
    """Bars of three tickers, enough of them for GARCH."""
    monkeypatch.setattr("tests.support.market.BEFORE", BEFORE)
    market = Market(tmp_path / "market.csv", ())
    for ticker in TICKERS:
        market.list(ticker, BEFORE)
    return market


def lived(make_app, market: Market, **changes):
    """Return an app with five sessions run, the last after a correction, and two backtested."""
    market.split("BBB", 2.0, session(1))
    market.dividend("CCC", 0.4, session(2))
    market.drop("CCC", session(3))
    market.multiply("AAA", 1.4, session(2))  # a jump that is reversed
    app = in_chunks(make_app(market, **changes))
    model = app.settings.model.model_copy(update={"history_sessions": 300})
    app.settings = app.settings.model_copy(update={"model": model})
    for offset in range(4):
        run(app, session(offset))
    market.multiply("AAA", 1.01, session(-3))
    run(app, session(4))
    list(backtest(app, CODE, session(-4), session(-3)))
    return app


def rows(engine, *, trained: bool) -> list[str]:
    """Return a line for each row: its table, its words, then its numbers."""
    lines = []
    for table, query in QUERIES.items():
        found = [
            [table, *(_word(name, value, row, trained) for name, value in row.items())]
            for row in fetch(engine, query)
        ]
        lines += sorted("|".join(one) for one in found)
    return lines


def _word(name, value, row, trained: bool) -> str:
    by_network = name == "fingerprint" and row.get("method") in ("lstm", "combined")
    if trained and (by_network or name in FROM_WEIGHTS):
        return "*"
    if isinstance(value, float):
        return f"{value:.{DIGITS}g}"
    return value.isoformat() if isinstance(value, date | datetime) else str(value)


def compare(found: list[str], frozen: list[str]) -> None:
    """Compare words exactly, numbers to 1e-6."""
    assert len(found) == len(frozen)
    for line, before in zip(found, frozen, strict=True):
        words, words_before = line.split("|"), before.split("|")
        assert len(words) == len(words_before), (line, before)
        for one, other in zip(words, words_before, strict=True):
            assert one == other or _near(one, other), (line, before)


def _near(one: str, other: str) -> bool:
    try:
        return float(one) == pytest.approx(float(other), rel=1e-6, abs=1e-9)
    except ValueError:
        return False


def check(name: str, found: list[str], config: pytest.Config, equal) -> None:
    file = FROZEN / name
    if config.getoption("renew_frozen"):
        file.write_text("\n".join(found) + "\n")
    equal(found, file.read_text().splitlines())


def test_rows_of_made_up_networks_stay_to_the_last_bit(make_app, market, pytestconfig):
    app = lived(make_app, market)

    def equal(found, frozen):
        assert found == frozen

    check("made_up.txt", rows(app.engine, trained=False), pytestconfig, equal)


def test_rows_of_trained_networks_stay_to_a_millionth(make_app, market, pytestconfig, tensorflow):
    app = lived(make_app, market, trainer=tensorflow)
    check("trained.txt", rows(app.engine, trained=True), pytestconfig, compare)
