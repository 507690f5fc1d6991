"""The notebooks run on what the demonstration leaves behind."""

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from stockbatch import database
from stockbatch.config import PREFIX, Settings
from stockbatch.database import embedded_server
from tests.support.market import fetch, session
from tests.support.market import run as run_session
from tests.support.places import ROOT

FOLDER = ROOT / "deployment" / "notebooks"
NOTEBOOKS = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
FEWER_EPOCHS = "EPOCHS, BATCH = 20, 8", "EPOCHS, BATCH = 2, 32"
SMALL = {"UNITS": 4, "EPOCHS": 2, "BASE_EPOCHS": 2}
SHORT = SMALL | {"LOOKBACK": 5, "SCORED_STEPS": 20, "HISTORY_SESSIONS": 100, "MINIMUM_HISTORY": 60}
SHORT |= {"STOPPING_SESSIONS": 15, "COMPARISON_SESSIONS": 10}


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Run a notebook in a kernel of its own; return the texts and the number of plots it shows."""

    # Streamlit, where it was imported before, has set one that shows nothing in a notebook.
    monkeypatch.delenv("MPLBACKEND", raising=False)

    def run(name):
        notebook = read(name)
        for cell in notebook.cells:
            cell.source = cell.source.replace(*FEWER_EPOCHS)
        place = {"metadata": {"path": str(tmp_path)}}
        NotebookClient(notebook, timeout=120, kernel_name="python3", resources=place).execute()
        shown = [
            output["data"]
            for cell in notebook.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            if "data" in output
        ]
        texts = [data["text/plain"] for data in shown if "image/svg+xml" not in data]
        return texts, len(shown) - len(texts)

    return run


def use(monkeypatch, model, **settings):
    for name, value in settings.items():
        monkeypatch.setenv(f"{PREFIX}{name}", str(value))
    for name, value in model.items():
        monkeypatch.setenv(f"{PREFIX}MODEL__{name}", str(value))


@pytest.fixture
def of_the_demonstration(demonstration, monkeypatch):
    """Let notebooks run on what the demonstration has left."""
    embedded_server.start(demonstration.home)
    use(monkeypatch, SMALL, HOME=demonstration.home)


@pytest.fixture
def of_three_tickers(app, monkeypatch, tmp_path):
    """Let notebooks run on another watchlist: three tickers of 153 bars."""
    for offset in range(3):
        run_session(app, session(offset))
    url = app.settings.database_url.get_secret_value()
    use(monkeypatch, SHORT, HOME=tmp_path, DATABASE_URL=url)


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_no_outputs_are_stored(name):
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.usefixtures("of_three_tickers", "tensorflow")
def test_any_watchlist_will_do(execute, name):
    texts, plots = execute(name)
    assert any("AAA" in text or "pinball" in text for text in texts)
    assert plots == {"bi-schema": 1, "tutorial": 4}.get(name, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("of_the_demonstration")
def test_the_bars_are_explored(execute, demonstration):
    texts, plots = execute("bars")
    engine = database.engine(Settings(home=demonstration.home), role="reader", create=False)
    (row,) = fetch(
        engine,
        "SELECT count(*) FROM bi.price_and_forecast WHERE ticker = '^GSPC' AND close IS NOT NULL",
    )
    engine.dispose()
    assert any("2018-12-31" in text and "2506.85" in text for text in texts)
    counts = ["sessions", str(row["count"]), "bars", str(row["count"]), "gaps", "0"]
    assert any(text.split()[:6] == counts for text in texts)
    assert plots == 2


@pytest.mark.slow
@pytest.mark.usefixtures("of_the_demonstration")
def test_one_ticker_is_trained_and_evaluated(execute):
    texts, plots = execute("training")
    assert "2018-10-03" in texts[0]
    assert "2018-12-31" in texts[0]
    assert "standard error of the gain" in texts[1]
    assert "rolling quantile" in texts[2]
    assert plots == 2


@pytest.mark.slow
@pytest.mark.usefixtures("of_the_demonstration")
def test_the_schema_is_read(execute):
    texts, plots = execute("bi-schema")
    for view in ("price_and_forecast", "forecast_history", "training_history"):
        assert view in texts[0]
    assert "rolling_quantile" in texts[1]
    assert "pinball" in texts[2]
    assert "late" in texts[3]
    assert "2018-12-31" in texts[4]
    assert plots == 1


@pytest.mark.slow
@pytest.mark.usefixtures("of_the_demonstration")
def test_the_tutorial_is_no_better_than_it_is(execute, demonstration):
    texts, plots = execute("tutorial")
    engine = database.engine(Settings(home=demonstration.home), role="reader", create=False)
    rows = fetch(
        engine,
        "SELECT close FROM bi.price_and_forecast WHERE ticker = '^GSPC' AND close IS NOT NULL"
        " ORDER BY session DESC LIMIT 253",
    )
    engine.dispose()
    closes = np.array([row["close"] for row in rows])
    naive = f"{np.abs(np.diff(closes)).mean():.6f}"
    compared = next(text for text in texts if "verdict" in text)
    assert compared.split()[4:7] == ["naive", naive, "difference"]
    learned = next(text for text in texts if "chooses" in text)
    flattered, chosen, of_naive = (float(line.split()[-1]) for line in learned.splitlines()[:3])
    assert flattered <= chosen
    assert f"{of_naive:.6f}" == naive
    changes = next(text for text in texts if "this program" in text)
    by_scaler, by_features = (float(line.split()[-1]) for line in changes.splitlines()[:2])
    assert by_scaler > 0.1
    assert by_features == 0
    assert plots == 4
