"""What somebody takes away needs nothing of this program, and says what is stored."""

import csv
import io
import json
import os
import subprocess
import sys
import sysconfig

import numpy as np
import pytest

from jobs.models import takeaway
from stockbatch.database.tables import RAW_QUANTILE_COLUMNS
from stockbatch.engine import features
from stockbatch.engine.lstm import inputs
from stockbatch.records import LSTM, QUANTILES
from stockbatch.store import models
from tests.support.market import BEFORE, MODEL, ORIGIN, fetch, run, session
from tests.support.places import ROOT


@pytest.fixture
def traded(app):
    """An App whose tickers have forecasts of two sessions."""
    for day in (ORIGIN, session(1)):
        run(app, day)
    return app


def plainly(folder, *command):
    """Run Python where this program is not installed, but what it is made of is."""
    # Without `site`, what is installed for editing, as this program is, is on no path.
    place = {"PYTHONPATH": sysconfig.get_path("purelib"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    return subprocess.run(
        [sys.executable, "-S", *command],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), **place},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def stored(app, ticker):
    """Return what the last forecast by `lstm` said before calibration, and the close it is from."""
    (row,) = fetch(
        app.engine,
        "SELECT f.* FROM stockbatch.forecasts AS f JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = :ticker AND method = 'lstm'"
        " ORDER BY target_session DESC LIMIT 1",
        ticker=ticker,
    )
    return [row[column] for column in RAW_QUANTILE_COLUMNS], row["origin_close"]


@pytest.mark.slow
@pytest.mark.usefixtures("tensorflow")
def test_the_script_says_what_is_stored_where_this_program_is_not(traded, tmp_path):
    takeaway.export(traded, "BBB", tmp_path / "bbb.keras")
    takeaway.write_inputs(traded, "BBB", tmp_path / "bbb.csv")
    without = plainly(tmp_path, "-c", "import stockbatch.engine")
    assert "No module named 'stockbatch.engine'" in without.stderr
    done = plainly(tmp_path, "predict.py", "bbb.keras", "bbb.csv")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [float(row["level"]) for row in rows] == list(QUANTILES)
    returns, close = stored(traded, "BBB")
    np.testing.assert_allclose([float(row["log_return"]) for row in rows], returns, atol=1e-5)
    prices = [float(row["price"]) for row in rows]
    np.testing.assert_allclose(prices, close * np.exp(returns), rtol=1e-5)


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        ((), "got 0"),
        (("bbb.keras",), "got 1"),
        (("nowhere.keras", "other.csv"), "nowhere.json"),
        (("bbb.keras", "nowhere.csv"), "nowhere.csv"),
        (("bbb.keras", "other.csv"), "session"),
        (("bbb.keras", "bbb.csv"), "bbb.keras"),
    ],
)
def test_the_script_says_in_a_line_how_it_is_used(tmp_path, words, wrong):
    script = ROOT / "stockbatch" / "engine" / "lstm" / takeaway.SCRIPT
    (tmp_path / takeaway.SCRIPT).write_text(script.read_text("utf-8"), "utf-8")
    (tmp_path / "bbb.json").write_text('{"inputs": [], "levels": []}')
    (tmp_path / "bbb.csv").write_text("session,scale,close\n2024-06-03,1,1\n")
    (tmp_path / "bbb.keras").write_text("no network")
    (tmp_path / "other.csv").write_text("date,price\n2024-06-03,1\n")
    done = plainly(tmp_path, takeaway.SCRIPT, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Traceback" not in done.stderr
    *_, line = done.stderr.splitlines()  # before it, Keras may say what it runs on
    assert line.startswith("usage: python predict.py MODEL.keras INPUTS.csv (")
    assert wrong in line


def test_inputs_are_those_of_the_last_forecast(traded, tmp_path):
    file = tmp_path / "bbb.csv"
    example = takeaway.write_inputs(traded, "BBB", file)
    assert (example.origin, example.is_as_stored) == (session(1), True)
    rows = list(csv.reader(file.read_text().splitlines()))
    assert rows[0] == ["session", *features.NAMES, "scale", "close"]
    assert [row[0] for row in rows[1:]] == [str(session(n)) for n in range(-4, 2)]
    read = np.array([row[1:-2] for row in rows[1:]], np.float32)
    np.testing.assert_array_equal(read, example.inputs)
    returns, close = stored(traded, "BBB")
    assert float(rows[-1][-1]) == close
    np.testing.assert_allclose(example.computed, returns, atol=1e-7)


def test_inputs_that_were_corrected_since_are_told(traded, tmp_path, change):
    change(
        "UPDATE stockbatch.bars SET close = close * 0.97, low = low * 0.9 WHERE session = :day",
        day=session(1),
    )
    assert not takeaway.write_inputs(traded, "BBB", tmp_path / "bbb.csv").is_as_stored


def test_a_card_says_what_a_model_is_and_was_made_of(traded, tmp_path, monkeypatch):
    exported_as(monkeypatch)
    model = takeaway.export(traded, "BBB", tmp_path / "bbb.keras")
    told = json.loads((tmp_path / "bbb.json").read_text("utf-8"))
    assert [one["name"] for one in told["inputs"]] == list(features.NAMES)
    assert (told["lookback"], told["shape"]) == (MODEL.lookback, [1, MODEL.lookback + 1, 14])
    assert told["levels"] == list(QUANTILES)
    assert told["model"]["id"] == model.id
    training = told["training"]
    assert training["first_bar"] == str(session(-BEFORE))
    assert training["last_bar"] == str(model.last_session)
    losses = {name: one["value"] for name, one in told["losses"].items()}
    (row,) = fetch(traded.engine, "SELECT * FROM stockbatch.models WHERE id = :id", id=model.id)
    assert losses == {name: row[name] for name in losses}
    last = told["afterwards"]["last_forecast"]
    raw, _ = stored(traded, "BBB")
    assert last["half_80_raw"] == pytest.approx((raw[7] - raw[3]) / 2)
    assert {"half_80_calibrated", "share_of_median_kept", "half_80_combined"} < last.keys()
    page = (tmp_path / "bbb.md").read_text("utf-8")
    for word in (
        *features.NAMES,
        "python predict.py bbb.keras bbb.csv",
        "calibrated",
        "har_events",
    ):
        assert word in page, word


def exported_as(monkeypatch):
    """Let a network be written without Keras."""

    def export(self, weights, settings, path):
        path.write_bytes(b"network")

    monkeypatch.setattr("stockbatch.engine.lstm.network.LSTM.export", export)


def test_a_young_ticker_that_uses_the_base_states_its_own_first_bar(
    make_app, market, tmp_path, monkeypatch
):
    exported_as(monkeypatch)
    market.list("DDD", 40)
    app = make_app(market)
    run(app)
    model = takeaway.export(app, "DDD", tmp_path / "ddd.keras")
    assert model.kind == "base"
    training = json.loads((tmp_path / "ddd.json").read_text("utf-8"))["training"]
    assert training["first_bar"] == str(session(-40))
    assert training["base"] == {
        "first_bar": str(session(-BEFORE)),
        "last_bar": str(ORIGIN),
        "tickers": 3,
    }
    with app.transaction() as db:
        facts = models.details(db, "DDD", LSTM)
    assert facts["first_session"] == session(-40)
    assert facts["first_session_of_base"] == session(-BEFORE)


def test_a_script_that_somebody_changed_stays(traded, tmp_path, monkeypatch):
    exported_as(monkeypatch)
    script = tmp_path / "predict.py"
    takeaway.export(traded, "BBB", tmp_path / "bbb.keras")
    assert "keras.saving.load_model" in script.read_text()
    script.write_text("mine")
    takeaway.export(traded, "BBB", tmp_path / "bbb.keras")
    assert script.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.glob("bbb.*")) == [
        "bbb.json",
        "bbb.keras",
        "bbb.md",
    ]


def test_every_input_has_its_formula_in_order():
    assert tuple(inputs.FORMULAS) == features.NAMES
