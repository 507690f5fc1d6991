"""The benchmark of risk on made-up bars."""

from pathlib import Path

import numpy as np
import pytest

from stockbatch.methods import risk
from tests.benchmarks import portfolio
from tests.support.market import Market


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(risk, "FEWEST", 30)
    monkeypatch.setattr(portfolio, "BEFORE", 40)
    monkeypatch.setattr(portfolio, "MEMBERS", 3)
    return Market(tmp_path / "bars.csv", [f"T{number:02}" for number in range(60)]).file


@pytest.mark.parametrize(("scale", "stated"), [("har", 9), ("ewma", 0)])
def test_prints_a_table(
    file: Path, capsys: pytest.CaptureFixture[str], scale: str, stated: int
) -> None:
    options = ["--data", str(file), "--test-sessions=9", "--scale", scale]
    assert portfolio.main(options) == 0
    printed = capsys.readouterr().out
    assert f"{scale}:\nT00 T25 T50\n9 sessions told, {stated} by scales stated" in printed
    assert printed.count("skill") == 2
    assert printed.count("2.5 %") == 4


def test_compares_what_is_forgotten_on_the_sessions_before(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(portfolio, "SESSIONS", 5)
    monkeypatch.setattr(portfolio, "TRIED", (0.0, 0.01))
    options = ["--data", str(file), "--test-sessions=9", "--choose"]
    assert portfolio.main(options) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"{what}, forgetting {share} %"
        for what in ("7 portfolios", "3 tickers alone")
        for share in (0, 1)
    ]
    assert lines[0].endswith("pinball +0.00 %")


def test_says_that_data_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert portfolio.main(["--data", str(tmp_path / "none.csv")]) == 2
    assert "There is no" in capsys.readouterr().err


def test_nothing_later_changes_what_is_told() -> None:
    random = np.random.default_rng(1)
    returns = 0.01 * random.standard_t(5, (3, 700))
    widths = np.full_like(returns, 0.012)
    weights = np.array([[0.5, 0.3, 0.2]])
    before = portfolio.told(returns, widths, weights, 690)
    returns[:, 695] *= 5
    widths[:, 696] *= 2
    after = portfolio.told(returns, widths, weights, 690)
    np.testing.assert_array_equal(before.quantiles[:, :6], after.quantiles[:, :6])
    assert (before.quantiles[:, 6] != after.quantiles[:, 6]).all()
