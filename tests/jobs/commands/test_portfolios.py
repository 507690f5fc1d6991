"""`stockbatch portfolios`."""

import json

import pytest

from tests.support.market import ORIGIN, run


def test_what_is_held_is_imported_and_listed(app, stockbatch, tmp_path):
    run(app)
    file = tmp_path / "portfolios.csv"
    file.write_text(
        f"portfolio,ticker,quantity,from\nFund,AAA,1234567,{ORIGIN}\nFund,BBB,-5,{ORIGIN}\n"
        f"Bad,ZZZ,1,{ORIGIN}\nBad,AAA,1,{ORIGIN}\n"
    )
    answer = stockbatch("portfolios", "import", str(file))
    assert answer.exit_code == 4
    assert "2 added, 0 changed, 0 known already" in answer.output
    assert "the next session's run tells the risk" in answer.output
    assert f"error: {file}, line 4, column 2: ZZZ is not on the watchlist" in answer.output
    assert "1 portfolio left as before: Bad" in answer.output
    listed = stockbatch("portfolios", "list").output.splitlines()
    assert "1 portfolio" in listed[0]
    assert any(line.split()[:3] == ["Fund", "AAA", "1,234,567"] for line in listed)
    rows = json.loads(stockbatch("portfolios", "list", "--format", "json").output)
    assert [row["quantity"] for row in rows] == [1_234_567, -5]
    assert rows[0]["value"] == pytest.approx(1_234_567 * rows[0]["close"], rel=1e-5)
    assert sum(abs(row["exposure_pct"]) for row in rows) == pytest.approx(100)
