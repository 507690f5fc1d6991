"""Fifteen sessions of the soak, with the seed and the code of the benchmark."""

from pathlib import Path

import pytest

from tests.benchmarks import soak

SESSIONS, TICKERS, FAULTS = 15, 3, 28


@pytest.fixture(scope="module")
def prepared():
    with soak.prepared():
        yield


@pytest.mark.slow
def test_the_daemon_lives_through_faults_of_every_kind(server_home: Path, prepared: None) -> None:
    server_home.mkdir()
    report = soak.soak(server_home, sessions=SESSIONS, tickers=TICKERS, faults=FAULTS, seed=1)
    faults = report.rough.faults
    assert faults.keys() == soak.FAULT_KINDS.keys()
    assert faults.total() >= len(soak.FAULT_KINDS)
    assert report.calm.daemons == 1
    assert report.rough.daemons > faults["daemon killed"] + faults["daemon told to stop"]
    assert report.tries > SESSIONS
    assert report.forecasts > SESSIONS * TICKERS * 3
    # A commit that is held makes all of its session late.
    assert report.live * SESSIONS == report.forecasts * (SESSIONS - faults[soak.HELD])
    assert report.open_alerts == []
    assert report.rows > report.forecasts
    assert max(report.rough.steady()) < 1.2 * max(report.calm.steady())
    assert f"{faults.total()} faults" in str(report)
