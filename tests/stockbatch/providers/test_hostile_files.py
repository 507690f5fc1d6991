"""From the bytes of a file to the rows of the table: good bars are stored, and nothing wrong."""

import csv
import io
from datetime import date

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from stockbatch.exceptions import BadFile
from stockbatch.market.quality import check
from stockbatch.providers.csv.provider import CsvFiles
from stockbatch.records import BarRequest
from stockbatch.store import bars
from tests.support.ledger import listed
from tests.support.market import calendar

LAST = date(2024, 6, 28)
DAYS = calendar().window(LAST, 18).tolist()
GOOD = ("10", "11.5", "9.25", "10.75", "1000")
CELLS = st.one_of(
    st.sampled_from([*GOOD, "", "x", "#N/A", "halted", "-1", "0", "inf", "-inf", "1e400", "nan"]),
    st.sampled_from(["$10", "1,000", "10,5", "1 000", "9" * 30, "1e-320", "=A1", '"', "'"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=4),
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[CELLS] * 5), max_size=8), st.randoms(use_true_random=False))
def test_beside_hostile_rows_the_good_ones_are_stored(db, tmp_path_factory, hostile, random):
    rows = [*hostile, *[GOOD] * (len(DAYS) - len(hostile))]
    random.shuffle(rows)
    table = [(day, *row) for day, row in zip(DAYS, rows, strict=True)]
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("date", *bars.PRICES, "volume"), *table])
    path = tmp_path_factory.getbasetemp() / "AAA.csv"
    path.write_bytes(buffer.getvalue().encode())
    source = CsvFiles(str(path))
    (answer,) = source.fetch([BarRequest(symbol="AAA", first=None, last=LAST)])
    assert not isinstance(answer, BadFile), answer

    checked = check(answer, calendar().sessions, LAST)
    (one,) = listed(db, "AAA")
    bars.add(db, {one.id: checked.accepted}, provider="csv", price_basis=source.price_basis)
    found = db.execute(text("SELECT session, open, high, low, close FROM stockbatch.bars")).all()
    db.rollback()
    stored = {row.session: tuple(row[1:]) for row in found}
    told = {finding.session for finding in checked.findings}
    for day, row in zip(DAYS, rows, strict=True):
        if row[:4] == GOOD[:4]:
            assert stored[day] == tuple(map(float, GOOD[:4]))
        elif day not in stored:
            assert day in told, "what is refused has its finding"
