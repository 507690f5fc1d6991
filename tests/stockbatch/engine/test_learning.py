from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import learning
from stockbatch.records import Comparison, ModelKind, Reason, TrainedModel, Verdict

SETTINGS = Settings(
    model=ModelSettings(history_sessions=100, stopping_sessions=20, comparison_sessions=10)
)


def model(**changes):
    plain = TrainedModel(
        kind=ModelKind.BASE,
        ticker=None,
        first_session=date(2020, 1, 2),
        last_session=date(2021, 1, 4),
        fingerprint="",
        configuration=learning.configuration(SETTINGS),
        parameters={},
        seed=1,
        weights={},
        tickers=100,
        id=1,
    )
    return replace(plain, **changes)


def test_a_step_belongs_to_the_side_of_its_target():
    sessions = np.arange("2020-01-01", "2020-07-01", dtype="datetime64[D]")
    sessions = sessions[np.is_busday(sessions)][:100]
    targets = np.zeros((2, 100))
    targets[1, 50] = np.nan
    targets[:, -1] = np.nan  # the session after the last is not known
    fitting, stopping, comparing = learning.split(targets, sessions, SETTINGS.model)
    assert np.flatnonzero(comparing[0]).tolist() == list(range(89, 99))
    assert (fitting.astype(int) + stopping + comparing == np.isfinite(targets)).all()
    assert stopping[0].any()
    assert fitting[0].sum() > 2 * stopping[0].sum()
    assert (stopping[0] == stopping[1])[np.arange(100) != 50].all()


def test_what_stops_one_model_has_taught_none():
    sessions = np.arange("2015-01-01", "2020-07-01", dtype="datetime64[D]")
    sessions = sessions[np.is_busday(sessions)]
    by_session = []
    for end in range(1000, 1200, 7):
        window = sessions[end - 500 : end]
        steps = learning.split(np.zeros((1, 500)), window, SETTINGS.model)
        sides = [set(window[side[0]].tolist()) for side in steps[:2]]
        by_session.append(sides)
    fitted = set.union(*(sides[0] for sides in by_session))
    stopped = set.union(*(sides[1] for sides in by_session))
    assert not fitted & stopped


@given(st.integers(0, 300), st.integers(1, 5000))
def test_a_base_is_refitted_when_it_is_old_or_knows_too_few(age, tickers):
    reason = learning.decide_base(model(), age, tickers, SETTINGS)
    if min(tickers, SETTINGS.model.base_tickers) > 1.5 * 100:
        assert reason is Reason.UNIVERSE_CHANGED
    else:
        old = age >= SETTINGS.base_after_sessions
        assert reason is (Reason.EXPIRED if old else Reason.FRESH)


def test_a_base_is_refitted_for_other_settings():
    assert learning.decide_base(None, 0, 5, SETTINGS) is Reason.NO_MODEL
    other = model(configuration="another")
    assert learning.decide_base(other, 0, 5, SETTINGS) is Reason.CONFIGURATION_CHANGED


def test_only_engine_settings_make_another_configuration():
    same = SETTINGS.model_copy(update={"chunk_tickers": 7})
    other = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"seed": 2})})
    assert learning.configuration(same) == learning.configuration(SETTINGS)
    assert learning.configuration(other) != learning.configuration(SETTINGS)


def test_a_comparison_is_paired_by_session():
    rng = np.random.default_rng(0)
    base = rng.uniform(0.1, 2, 60)
    gain = rng.normal(0.01, 0.02, 60)
    loss = base - gain
    loss[5] = base[7] = np.nan
    found = learning.compare(loss, base, 0.3)
    known = np.delete(gain, [5, 7])
    assert found.gain == pytest.approx(known.mean())
    assert found.gain_error == pytest.approx(known.std(ddof=1) / np.sqrt(58))
    assert found.champion_loss == 0.3
    assert learning.compare(np.full(60, np.nan), base, None) is None


@pytest.mark.parametrize(
    ("loss", "champion", "error", "verdict"),
    [
        (0.90, None, 0.05, Verdict.PROMOTED),
        (0.96, None, 0.05, Verdict.BASE_KEPT),
        (1.20, None, 0.05, Verdict.BASE_KEPT),
        (0.90, 0.95, 0.05, Verdict.PROMOTED),
        (0.90, 0.85, 0.05, Verdict.CHAMPION_KEPT),
        (0.99, 0.97, 0.05, Verdict.CHAMPION_KEPT),
        (0.99, 1.10, 0.05, Verdict.BASE_KEPT),
        (1.00, None, 0.00, Verdict.BASE_KEPT),
    ],
)
def test_a_ticker_leaves_its_base_only_for_something_better(loss, champion, error, verdict):
    found = Comparison(loss=loss, base_loss=1.0, champion_loss=champion, gain_error=error)
    assert learning._verdict(found) is verdict


def test_without_a_comparison_the_base_is_kept():
    assert learning._verdict(None) is Verdict.BASE_KEPT


def test_a_seed_depends_on_name_and_origin_and_settings():
    origin = date(2021, 1, 4)
    other = SETTINGS.model_copy(update={"model": SETTINGS.model.model_copy(update={"seed": 2})})
    seeds = [
        learning.seed("AAA", origin, SETTINGS),
        learning.seed("BBB", origin, SETTINGS),
        learning.seed("AAA", date(2021, 1, 5), SETTINGS),
        learning.seed("AAA", origin, other),
    ]
    assert len(set(seeds)) == 4
    assert learning.seed("AAA", origin, SETTINGS) == seeds[0]


def test_a_drifting_ticker_is_trained_and_a_fresh_one_is_not(monkeypatch):
    monkeypatch.setattr(learning, "fingerprint", lambda *a: "same")
    sessions = np.arange("2020-09-01", "2021-01-09", dtype="datetime64[D]")
    material = SimpleNamespace(
        features=SimpleNamespace(
            present=np.ones((1, len(sessions)), bool), scale=np.full((1, len(sessions)), 0.01)
        ),
        panel=SimpleNamespace(sessions=sessions),
    )
    settings = SETTINGS.model_copy(
        update={"model": SETTINGS.model.model_copy(update={"minimum_history": 60})}
    )
    base = model(configuration=learning.configuration(settings))
    last = replace(base, kind=ModelKind.TICKER, parent_id=1, fingerprint="same")

    def decide(newest, base=base, **options):
        return learning.decide(material, 0, newest, base, settings, **options)

    assert decide(last) is Reason.FRESH
    assert decide(last, drifted=True) is Reason.DRIFT
    assert decide(last, force=True) is Reason.FORCED
    assert decide(None) is Reason.NO_MODEL
    assert decide(replace(last, configuration="x")) is Reason.CONFIGURATION_CHANGED
    assert decide(replace(last, parent_id=9)) is Reason.BASE_CHANGED
    assert decide(replace(last, fingerprint="restated")) is Reason.HISTORY_RESTATED
    assert decide(replace(last, last_session=date(2020, 11, 2))) is Reason.EXPIRED
    material.features.scale[:, -1] = np.nan  # back from a long suspension
    assert decide(last, force=True) is Reason.SHORT_HISTORY
    material.features.scale[:, -1] = 0.01
    material.features.present[:, 50:] = False
    assert decide(last) is Reason.SHORT_HISTORY
