from dataclasses import replace
from datetime import date
from types import SimpleNamespace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from stockbatch.config import ModelSettings, Settings
from stockbatch.engine import learning
from stockbatch.engine.learning import decisions
from stockbatch.records import ModelKind, Reason, TrainedModel

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


def test_a_drifting_ticker_is_trained_and_a_fresh_one_is_not(monkeypatch):
    monkeypatch.setattr(decisions, "fingerprint", lambda *a: "same")
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
