"""The accuracy benchmark on made-up bars, with networks that learn nothing."""

import re
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from stockbatch.config import Settings
from stockbatch.engine.network import NETWORKS
from stockbatch.providers.registry import create
from tests.benchmarks import accuracy, planted_news, walk_forward
from tests.support.market import BEFORE, CODE, MODEL, Market, PlainTrainer, calendar, session

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
    *_, told = printed.partition("networks, gains over lstm paired, seconds of processors:")
    for network in NETWORKS:
        assert f"\n  {network} " in told
        assert f"\n  combined with {network} " in told


def test_compares_with_and_without_news(
    market: Market,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(accuracy, "TrainingProcess", Trainer)
    monkeypatch.setattr("stockbatch.methods.har.FEWEST_SAMPLES", 100)
    days = calendar().between(session(-130), session(8))
    lines = [f"A,{day}T15:00Z,Bad news {day},{0.1 * (at % 7)}" for at, day in enumerate(days)]
    lines += ["B,2024-06-03,Nobody has scored this,", "Z,2024-06-03,Of another,1"]
    news = tmp_path / "news.csv"
    news.write_text("\n".join(["symbol,published_at,title,score", *lines]))
    options = ["--test-sessions=9", "--base-every=6", "--tickers-every=3", *SMALL]
    assert accuracy.main(["--data", str(market.file), *options, "--news", str(news)]) == 0
    printed = capsys.readouterr().out
    assert f"{len(days) + 1} items of news, 1 of other tickers" in printed
    assert printed.count("54 forecasts of each method") == 2
    *_, told = printed.partition("gains of news, paired:\n")
    assert re.match(r"  combined with lstm: [+-]\d", told)
    assert re.search(r"\n  HAR with reports beside lstm: [+-]\d.* ± [\d.]+ %", told)
    assert "+0.00 ± 0.00" not in told


def test_planted_news_is_worth_knowing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(planted_news, "TrainingProcess", Trainer)
    monkeypatch.setattr("stockbatch.methods.har.FEWEST_SAMPLES", 100)
    planted = planted_news.Planted(8, "volume", 1)
    assert 0.08 < planted.wide.mean() < 0.12
    before = planted.wide[:, 1:]
    items = planted.news.items[:, :-1]
    assert items[before].mean() > 4 * items[~before].mean()
    returns = np.diff(np.log(planted.panel.close))
    assert 1.2 < returns[before].std() / returns[~before].std() < 1.45
    small = Settings(model=MODEL, retrain_after_sessions=30, base_after_sessions=60)
    lines = list(planted_news.gains(planted, small, 60))
    assert [line.split("  ")[1] for line in lines] == ["HAR with reports", "combined"]
    for line in lines:
        found, _error, knowing = re.findall(r"[+-]?\d+\.\d+", line)
        assert float(knowing) > 0
        assert line.endswith(f"{100 * float(found) / float(knowing):.0f} %") or float(knowing) < 0.1


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
