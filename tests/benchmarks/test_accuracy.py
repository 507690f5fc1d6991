"""The accuracy benchmark on made-up bars, with networks that learn nothing."""

from pathlib import Path
from typing import Any, Self

import pytest
from numpy.testing import assert_array_equal

from stockbatch.config import Settings
from stockbatch.engine.network import NETWORKS
from stockbatch.providers.registry import create
from tests.benchmarks import accuracy, walk_forward
from tests.support.market import BEFORE, CODE, MODEL, Market, PlainTrainer

SMALL = [f"--set={name}={value}" for name, value in MODEL.model_dump().items()]


class Trainer(PlainTrainer):
    """Made-up networks in place of a training process."""

    def __init__(self, *_: Any) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None: ...


@pytest.fixture
def market(tmp_path: Path) -> Market:
    return Market(tmp_path / "bars.csv", "ABCDEF")


def test_prints_a_table(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accuracy, "TrainingProcess", Trainer)
    options = ["--test-sessions=9", "--base-every=6", "--tickers-every=3", *SMALL]
    assert accuracy.main(["--data", str(market.file), *options]) == 0
    printed = capsys.readouterr().out
    assert "6 tickers, 9 sessions, 54 forecasts of each method" in printed
    for name in (
        "rolling quantile",
        "EWMA",
        "base alone, raw",
        "network, raw",
        "network, calibrated",
    ):
        assert f"\n{name} " in printed
    assert "of 18 ticker models promoted" in printed
    assert printed.count("base of") == 2


def test_compares_networks(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(accuracy, "TrainingProcess", Trainer)
    options = ["--test-sessions=9", "--base-every=6", "--tickers-every=3", *SMALL]
    networks = ["--networks", *NETWORKS]
    assert accuracy.main(["--data", str(market.file), *options, *networks]) == 0
    printed = capsys.readouterr().out
    assert printed.count("54 forecasts of each method") == len(NETWORKS)
    *_, told = printed.partition("networks, gains over lstm paired:")
    for network in NETWORKS:
        assert f"\n  {network} " in told
        assert f"\n  combined with {network} " in told


def test_says_that_data_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accuracy.main(["--data", str(tmp_path / "none.csv")]) == 2
    assert "There is no" in capsys.readouterr().err


def test_says_that_the_window_leaves_too_little(
    market: Market, capsys: pytest.CaptureFixture[str]
) -> None:
    assert accuracy.main(["--data", str(market.file)]) == 2
    assert "too little history" in capsys.readouterr().err


def test_a_later_bar_changes_no_forecast(market: Market) -> None:
    settings = Settings(model=MODEL, retrain_after_sessions=3, base_after_sessions=6)

    def forecasts() -> walk_forward.Walk:
        whole = walk_forward.prepare(
            *walk_forward.read(create(market.specification, settings), CODE)[:2]
        )
        return walk_forward.walk(whole, BEFORE, BEFORE + 8, settings, PlainTrainer())

    before = forecasts()
    day = before.sessions[5].item()
    market.multiply("A", 1.1, day)
    after = forecasts()
    for name, quantiles in before.quantiles.items():
        assert_array_equal(quantiles[:, :6], after.quantiles[name][:, :6], name)
    assert (before.quantiles["network, raw"][0, 6] != after.quantiles["network, raw"][0, 6]).any()
