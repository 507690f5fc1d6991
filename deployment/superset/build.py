"""Write the export of this folder: `python -m deployment.superset.build` after a change here.

Queries read schema `bi` only. No password is in it: Superset asks for it.
"""

import re
import shutil
from pathlib import Path

import yaml

from deployment.superset.accuracy import accuracy
from deployment.superset.datasets import DATASETS, Json, identity
from deployment.superset.overview import overview
from deployment.superset.risk import risk
from deployment.superset.ticker import ticker

FOLDER = Path(__file__).parent / "export"
DATABASE: Json = {
    "database_name": "stockbatch",
    "sqlalchemy_uri": "postgresql+psycopg2://superset:XXXXXXXXXX@localhost:5432/stockbatch"
    "?sslmode=require",
    "expose_in_sqllab": True,
    "allow_ctas": False,
    "allow_cvas": False,
    "allow_dml": False,
    "allow_csv_upload": False,
    "extra": {"allows_virtual_table_explore": True},
    "uuid": identity("database", "stockbatch"),
    "version": "1.0.0",
}
DASHBOARDS = (overview, ticker, accuracy, risk)
METADATA = {"version": "1.0.0", "type": "Dashboard", "timestamp": "2026-01-01T00:00:00+00:00"}


def files() -> dict[str, str]:
    """Return the text of every file of the export, by its path."""
    made: dict[str, Json] = {"metadata.yaml": METADATA, "databases/stockbatch.yaml": DATABASE}
    for dataset in DATASETS:
        made[f"datasets/stockbatch/{dataset.name}.yaml"] = dataset.file(DATABASE["uuid"])
    for make in DASHBOARDS:
        dashboard = make()
        made[f"dashboards/{dashboard.name}.yaml"] = dashboard.file()
        for chart in dashboard.charts:
            made[f"charts/{dashboard.name}_{named(chart.title)}.yaml"] = chart.file(dashboard.name)
    return {
        path: yaml.safe_dump(content, allow_unicode=True, sort_keys=False, width=100)
        for path, content in made.items()
    }


def named(title: str) -> str:
    return re.sub(r"\W+", "_", title.lower()).strip("_")


def main() -> None:
    shutil.rmtree(FOLDER, ignore_errors=True)  # a chart that is no more
    for path, content in files().items():
        file = FOLDER / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
