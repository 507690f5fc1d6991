"""Packages outside the repository that add a method: installed, run, scored, shown."""

import numpy as np
import pytest

from jobs.daily.fetch_only import fetch_session
from stockbatch.methods import registry
from stockbatch.records import LSTM
from tests.support.market import CODE, fetch, run, session
from tests.support.packages import install

HALVES = '''
"""Half EWMA, half rolling quantiles: what a stranger may add in a file."""
from stockbatch.methods.base import Given, Method, Stated

class Halves(Method):
    name = "halves"
    title = "Half and half"
    sentence = "The mean of EWMA and rolling quantiles, level by level."
    needs = ("ewma", "rolling_quantile")

    def forecast(self, given: Given) -> Stated:
        ewma, rolling = (given.others[name].quantiles for name in self.needs)
        return Stated.of((ewma + rolling) / 2)
'''
POOLED = '''
"""One width for all tickers of a calendar, corrected by what past forecasts missed."""
import numpy as np
from stockbatch.methods.base import Given, Method, Scope, Stated
from stockbatch.records import MEDIAN, QUANTILES

class Pooled(Method):
    name = "pooled"
    title = "One for all"
    sentence = "The quantiles of all tickers' returns, in units of their volatility."
    fits = Scope.CALENDAR
    needs_past = ("pooled",)

    def fit_calendar(self, materials, settings):
        known = [one.features.returns[:, 1:] / one.features.scale[:, :-1] for one in materials]
        return {"quantiles": np.nanquantile(np.concatenate(known), QUANTILES).astype(np.float32)}

    def forecast(self, given: Given) -> Stated:
        scale = given.material.features.scale[:, -given.origins:, None]
        raw = np.full((*scale.shape[:2], len(QUANTILES)), np.nan)
        for row, parameters in given.parameters.items():
            raw[row] = parameters["quantiles"] * scale[row]
        seen = np.isfinite(given.past["pooled"]).all(axis=-1).sum(axis=1)
        wider = raw * (1 + 0.01 * seen[:, None, None])
        return Stated(log_return=0 * raw[..., MEDIAN], quantiles=wider, raw_quantiles=raw)
'''
BROKEN = "raise ImportError('something of its own is missing')"


@pytest.fixture
def strangers(tmp_path, monkeypatch):
    """A folder of packages that are installed as long as the test runs."""
    folder = tmp_path / "strangers"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    registry.methods.cache_clear()
    yield folder
    registry.methods.cache_clear()


def forecasts(engine, method):
    return fetch(
        engine,
        "SELECT f.*, ticker FROM stockbatch.forecasts AS f"
        " JOIN stockbatch.instruments AS i ON i.id = instrument_id WHERE method = :method"
        " ORDER BY ticker, target_session",
        method=method,
    )


def test_a_method_of_another_package_is_scored_in_the_leaderboard(app, strangers):
    install(strangers, "halves", registry.GROUP, {"halves": "halves:Halves"}, halves=HALVES)
    assert len(HALVES.splitlines()) < 60
    for offset in range(3):
        run(app, session(offset))
    made = {m: forecasts(app.engine, m) for m in ("halves", "ewma", "rolling_quantile")}
    assert len(made["halves"]) == 9
    for half, *others in zip(*made.values(), strict=True):
        for level in ("q025", "q50", "q975"):
            assert half[level] == pytest.approx(np.mean([other[level] for other in others]))
    leaders = fetch(
        app.engine,
        "SELECT method, n FROM bi.leaderboard WHERE window_sessions = 20 AND session = :day",
        day=session(2),
    )
    assert {"method": "halves", "n": 6} in leaders
    (described,) = fetch(app.engine, "SELECT * FROM stockbatch.methods WHERE name = 'halves'")
    assert described["title"] == "Half and half"


def test_rows_of_a_method_no_longer_installed_stay_readable(app, strangers):
    install(strangers, "halves", registry.GROUP, {"halves": "halves:Halves"}, halves=HALVES)
    run(app)
    (strangers / "halves-1.0.dist-info" / "entry_points.txt").unlink()
    registry.methods.cache_clear()
    run(app, session(1))
    assert len(forecasts(app.engine, "halves")) == 3
    scored = "SELECT count(*) AS n FROM bi.accuracy WHERE method = 'halves' AND metric = 'pinball'"
    assert fetch(app.engine, scored)[0]["n"] > 0  # its last forecasts are scored all the same


def test_a_method_pooled_over_the_calendar_is_fitted_once_and_aged(app, strangers):
    install(strangers, "pooled", registry.GROUP, {"pooled": "pooled:Pooled"}, pooled=POOLED)
    app.settings = app.settings.model_copy(update={"base_after_sessions": 2})
    for offset in range(3):
        run(app, session(offset))
    fits = fetch(
        app.engine,
        "SELECT kind, instrument_id, last_session, tickers FROM stockbatch.models"
        " WHERE method = 'pooled' ORDER BY last_session",
    )
    assert fits == [
        {"kind": "base", "instrument_id": None, "last_session": day, "tickers": 3}
        for day in (session(0), session(2))
    ]
    ratios = [
        (row["target_session"], row["q975"] / row["raw_q975"])
        for row in forecasts(app.engine, "pooled")
    ]
    expected = {session(1): 1.0, session(2): 1.01, session(3): 1.02}
    assert len(ratios) == 9
    for day, ratio in ratios:
        assert ratio == pytest.approx(expected[day])  # it is told of its own past forecasts


def test_a_subset_uses_the_fit_of_the_whole_calendar(app, strangers):
    install(strangers, "pooled", registry.GROUP, {"pooled": "pooled:Pooled"}, pooled=POOLED)
    fetch_session(app, CODE, session())
    run(app, tickers=["BBB"])
    run(app)
    rows = fetch(app.engine, "SELECT tickers FROM stockbatch.models WHERE method = 'pooled'")
    assert rows == [{"tickers": 3}]
    quantiles = {row["ticker"]: row["raw_q975"] / row["volatility"] for row in
                 forecasts(app.engine, "pooled")}  # fmt: skip
    assert len(set(np.round(list(quantiles.values()), 9))) == 1


def test_one_that_cannot_be_used_keeps_no_other_out(strangers, caplog):
    install(
        strangers,
        "several",
        registry.GROUP,
        {
            "halves": "halves:Halves",
            "broken": "broken:Broken",
            "lonely": "lonely:Lonely",
            "silent": "silent:Silent",
        },
        silent="class Silent:\n    name = 'silent'",
        halves=HALVES,
        broken=BROKEN,
        lonely=HALVES.replace('"halves"', '"lonely"')
        .replace('"ewma"', '"nobody"')
        .replace("Halves", "Lonely"),
    )
    assert "halves" in registry.methods()
    assert not {"broken", "lonely", "silent"} & registry.methods().keys()
    assert "it does not say its title and sentence" in caplog.text
    assert "something of its own is missing" in caplog.text
    assert "it needs nobody" in caplog.text


def test_a_name_can_be_taken_once(strangers, caplog):
    taken = HALVES.replace('"halves"', '"lstm"')
    install(strangers, "taken", registry.GROUP, {"taken": "taken:Halves"}, taken=taken)
    assert registry.methods()[LSTM].title == "LSTM"
    assert "there is a method of this name already" in caplog.text
