"""Write the dashboards of this folder: `python -m deployment.grafana.build` after a change here.

Queries read schema `bi` only. A dashboard has the variable `kind`: live forecasts where there are
any, else late ones, else backtests (kinds sort as they are preferred); titles name it. All times
are UTC, so that a session's date does not shift.
"""

import json
from pathlib import Path

from deployment.grafana.accuracy import accuracy
from deployment.grafana.market import market
from deployment.grafana.operations import operations
from deployment.grafana.ticker import ticker


def main() -> None:
    folder = Path(__file__).parent / "dashboards"
    for make in (market, ticker, accuracy, operations):
        content = json.dumps(make(), indent=2, ensure_ascii=False)
        (folder / f"{make.__name__}.json").write_text(content + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
