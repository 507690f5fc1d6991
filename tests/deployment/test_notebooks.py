"""The notebooks run on what the demonstration leaves behind."""

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

from jobs.commands.demo import PROVIDER
from jobs.daily.run import run_sessions
from stockbatch.config import PREFIX
from stockbatch.market import sessions
from stockbatch.store import instruments
from tests.support.market import Market, PlainTrainer, fetch
from tests.support.places import ROOT

FOLDER = ROOT / "deployment" / "notebooks"
NOTEBOOKS = sorted(file.stem for file in FOLDER.glob("*.ipynb"))
LAST = np.datetime64("2018-12-31").item()
SMALL = {"UNITS": 4, "EPOCHS": 2, "BASE_EPOCHS": 2}


@pytest.fixture(scope="module")
def demonstrated(make_lasting_app, tmp_path_factory):
    """An App that has handled four sessions of the demonstration's indices."""
    app = make_lasting_app(
        Market(tmp_path_factory.mktemp("market") / "bars.csv"), trainer=PlainTrainer()
    )
    listings = app.provider(PROVIDER).listings()
    with app.transaction() as db:
        instruments.remove(db, [i.ticker for i in instruments.active(db)])
        instruments.add(db, listings, provider=PROVIDER, demo=True)
    first = sessions.load("XNYS", LAST).previous(LAST, 3)
    tickers = [listing.ticker for listing in listings]
    for _ in run_sessions(app, "XNYS", first, LAST, tickers=tickers):
        pass
    return app


@pytest.fixture
def execute(demonstrated, monkeypatch, tmp_path):
    """Run a notebook in a kernel of its own; return the texts and the number of plots it shows."""
    url = demonstrated.settings.database_url.get_secret_value()
    monkeypatch.setenv(f"{PREFIX}DATABASE_URL", url)
    monkeypatch.setenv(f"{PREFIX}HOME", str(tmp_path / "home"))
    for name, value in SMALL.items():
        monkeypatch.setenv(f"{PREFIX}MODEL__{name}", str(value))

    def run(name):
        notebook = read(name)
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


def test_the_bars_are_explored(execute, demonstrated):
    texts, plots = execute("bars")
    (row,) = fetch(
        demonstrated.engine,
        "SELECT count(*) FROM stockbatch.bars JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id WHERE ticker = '^GSPC'",
    )
    assert any("2018-12-31" in text and "2506.85" in text for text in texts)
    counts = ["sessions", str(row["count"]), "bars", str(row["count"]), "gaps", "0"]
    assert any(text.split()[:6] == counts for text in texts)
    assert plots == 2


def test_one_ticker_is_trained_and_evaluated(execute):
    texts, plots = execute("training")
    assert "2018-10-03" in texts[0]
    assert "2018-12-31" in texts[0]
    assert "standard error of the gain" in texts[1]
    assert "rolling quantile" in texts[2]
    assert plots == 2


def test_the_schema_is_read(execute, demonstrated):
    texts, plots = execute("bi-schema")
    for view in ("price_and_forecast", "forecast_history", "training_history"):
        assert view in texts[0]
    assert "rolling_quantile" in texts[1]
    assert "pinball" in texts[2]
    assert "late" in texts[3]
    assert "2018-12-31" in texts[4]
    assert plots == 1
