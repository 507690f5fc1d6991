"""Events from files: what a line says, what is wrong with one, and what is projected."""

import gzip
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from jobs import events
from stockbatch.exceptions import BadFile, UnreadableFile
from stockbatch.store import events as event_store
from stockbatch.store import instruments
from tests.support.market import NOW, calendar, fetch
from tests.support.places import DATA

COLUMNS = "ticker, kind, date, timing, known_at, assumed"


@pytest.fixture
def importing(app, tmp_path):
    def do(text, name="events.csv"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return events.import_(app, file)

    return do


def kept(app, where="withdrawn_at IS NULL AND NOT projected"):
    query = (
        f"SELECT {COLUMNS} FROM stockbatch.events AS e LEFT JOIN stockbatch.instruments AS i"
        f" ON i.id = instrument_id WHERE {where} ORDER BY ticker, date"
    )
    return [tuple(row.values()) for row in fetch(app.engine, query)]


def test_dates_alone_are_history_and_what_is_ahead_is_known_now(app, importing):
    done = importing("symbol,date\nAAA,2024-08-01\nAAA,2025-02-06\nBBB,2024-08-02\n")
    assert done.recorded == (3, 0, 0, 0)
    assert (done.failures, done.unknown) == ((), {})
    assert kept(app) == [
        ("AAA", "earnings", date(2024, 8, 1), "unknown", NOW, True),
        ("AAA", "earnings", date(2025, 2, 6), "unknown", NOW, False),
        ("BBB", "earnings", date(2024, 8, 2), "unknown", NOW, True),
    ]
    assert importing("symbol,date\nAAA,2024-08-01\n").recorded == (0, 0, 0, 1)


@pytest.mark.parametrize(
    ("line", "timing"),
    [
        ("AAA,2024-08-01,16:05,", "after_close"),
        ("AAA,2024-08-01,4:05 PM,", "after_close"),
        ("AAA,2024-08-01,08:00:00,", "before_open"),
        ("AAA,2024-08-01,12:30 am,", "before_open"),
        ("AAA,2024-08-01,12:30,", "during"),
        ("AAA,2024-08-01,00:00,", "unknown"),
        ("AAA,2024-08-01,,BMO", "before_open"),
        ("AAA,2024-08-01,,post-market", "after_close"),
        ("AAA,2024-08-01,08:00,after_close", "after_close"),
        ("AAA,2024-08-01,--,-", "unknown"),
    ],
)
def test_times_and_timings(app, importing, line, timing):
    importing(f"Ticker,Report Date,Time,Timing\n{line}\n")
    assert [row[3] for row in kept(app)] == [timing]


@pytest.mark.parametrize(
    ("said", "known_at"),
    [
        ("2024-07-01T12:00Z", datetime(2024, 7, 1, 12, tzinfo=UTC)),
        ("2024-07-01 08:00-04:00", datetime(2024, 7, 1, 12, tzinfo=UTC)),
        ("2024-07-01 12:00", datetime(2024, 7, 1, 12, tzinfo=UTC)),
        ("2024-07-01", datetime(2024, 7, 2, tzinfo=UTC)),
        ("2024-12-02", NOW),  # today, which is not over
    ],
)
def test_since_when_it_was_known(app, importing, said, known_at):
    importing(f"symbol,date,known_at\nAAA,2024-08-01,{said}\n")
    assert [row[4:] for row in kept(app)] == [(known_at, False)]


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        ("AAA,2024-13-01,,,,", 2, "'2024-13-01' is no date"),
        ("AAA,01/02/2024,,,,", 2, "is no date such as 2024-07-25"),
        ("AAA,,,,,", 2, "'' is no date"),
        ("AAA,9999-12-31,,,,", 2, "beyond the sessions of XNYS"),
        ("AAA,1066-10-14,,,,", 2, "beyond the sessions of XNYS"),
        (",2024-08-01,,,,", 1, "there is no symbol"),
        ("AAA,2024-08-01,25:00,,,", 3, "'25:00' is no time such as 16:05"),
        ("AAA,2024-08-01,noon,,,", 3, "'noon' is no time"),
        ("AAA,2024-08-01,,at lunch,,", 4, "'at lunch' is none of before_open"),
        ("AAA,2024-08-01,,,Earnings!,", 5, "is no kind of event"),
        ("AAA,2024-08-01,,,,2031-01-01", 6, "is yet to come: nobody knows it now"),
        ("AAA,2024-08-01,,,,9999-12-31", 6, "is yet to come"),
        ("AAA,2024-08-01,,,,0001-01-01T00:00+14:00", 6, "is before 1990"),
        ("AAA,2024-08-01,,,,soon", 6, "'soon' is no instant"),
        ("XNYS,2024-08-01,,,,", 1, "is an exchange, which reports no earnings"),
        ("AAA,2024-08-01,,,,,more", 2, "there are 7 cells below 6 headings"),
    ],
)
def test_a_bad_line_is_an_error_with_its_number_and_keeps_no_other_out(
    app, importing, line, column, words
):
    head = "symbol,date,time,timing,kind,known_at\n"
    done = importing(f"{head}BBB,2024-08-02,,,,\n# a comment\n{line}\nCCC,2024-08-03,,,,\n")
    assert [row[0] for row in kept(app)] == ["BBB", "CCC"]
    (failure,) = done.failures
    assert f"line 4, column {column}: " in str(failure)
    assert words in str(failure)


def test_unknown_symbols_are_told_with_their_number(app, importing):
    done = importing("symbol,date\nZZZ,2024-08-01\nZZZ,no date\nAAA,2024-08-01\nY,2024-08-01\n")
    assert done.unknown == {"ZZZ": 2, "Y": 1}
    assert done.recorded.new == 1


def test_events_of_an_exchange_and_other_kinds(app, importing):
    importing("symbol;date;event\nXNYS;2024-12-18;Central bank\nAAA;2024-12-19;index-change\n")
    assert [row[:3] for row in kept(app)] == [
        ("AAA", "index_change", date(2024, 12, 19)),
        (None, "central_bank", date(2024, 12, 18)),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "symbol,date\nAAA,2024-08-01\n".encode("utf-16"),
        gzip.compress(b"symbol\tdate\nAAA\t2024-08-01\n", mtime=0),
        b'\xef\xbb\xbf"Symbol", "Date" \r\n"AAA" , 2024-08-01\r\n\r\n',
        b"symbol|date\naaa|2024-08-01\n",
    ],
)
def test_files_as_people_have_them(app, importing, text):
    assert importing(text).recorded.new == 1
    assert kept(app)[0][:3] == ("AAA", "earnings", date(2024, 8, 1))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "no headings"),
        (b"AAA,2024-08-01\n", "the first line has no headings such as symbol and date"),
        (b"symbol\nAAA\n", "no headings"),
        (b"symbol,date\nAAA,2024\0-08-01\n", "there is a NUL byte"),
        (
            gzip.compress(b"symbol,date\nAAA,2024-08-01\n", mtime=0)[:-9],
            "the compressed data is broken",
        ),
        (b'symbol,date\n"AAA,2024-08-01\n' + b"x" * 200_000, "field larger than"),
    ],
)
def test_what_is_no_such_file_is_refused_whole(app, importing, text, words):
    with pytest.raises(BadFile, match=words):
        importing(text)
    assert kept(app) == []


def test_a_file_that_is_not_there(app, tmp_path):
    with pytest.raises(UnreadableFile):
        events.import_(app, tmp_path / "none.csv")


def test_what_a_hostile_file_says_is_repeated_in_part_only(importing):
    (failure,) = importing(f"symbol,date\nAAA,{'x' * 100_000}\n").failures
    assert len(str(failure)) < 2000


def projections(app, where="withdrawn_at IS NULL"):
    return [row[:3] for row in kept(app, f"projected AND {where}")]


def test_the_next_report_is_projected_until_it_is_stated(app, importing):
    days = ("2023-12-14", "2024-03-14", "2024-06-13", "2024-09-12")
    lines = "".join(f"AAA,{day}\n" for day in days)
    done = importing(f"symbol,date\n{lines}BBB,2022-05-05\nCCC,2024-09-10\n")
    expected = date(2023, 12, 14) + timedelta(days=364)
    # BBB has not reported for years, and CCC, once, a year from now.
    assert projections(app) == [
        ("AAA", "earnings", expected),
        ("CCC", "earnings", date(2025, 9, 9)),
    ]
    assert done.projected == 2
    assert importing("symbol,date\nAAA,2024-12-10\n").projected == 1
    assert projections(app) == [("CCC", "earnings", date(2025, 9, 9))]


def test_a_projection_that_passed_is_withdrawn(app, importing):
    importing("symbol,date\nAAA,2023-12-14\nAAA,2024-09-12\n")
    assert len(projections(app)) == 1
    app.clock = lambda: NOW + timedelta(days=30)
    assert events.project(app) == 0
    assert projections(app) == []
    assert len(projections(app, "withdrawn_at IS NOT NULL")) == 1


def test_real_report_dates(app, importing):
    file = DATA / "earnings_dates" / "sp500_2013_2018.csv"
    if not file.exists():
        pytest.skip("the real report dates are not here")
    text = file.read_text().replace("AAPL,", "AAA,").replace("\nMSFT,", "\nBBB,")
    done = importing(text)
    apple, microsoft = (text.count(f"\n{ticker},") for ticker in ("AAA", "BBB"))
    assert done.recorded.new == apple + microsoft > 30
    assert sum(done.unknown.values()) == text.count("\n") - 1 - apple - microsoft
    days = calendar().window(date(2018, 2, 7), 1000)
    with app.transaction() as db:
        known = event_store.load_reports(
            db, instruments.find(db, ["AAA", "BBB"]), days, calendar(), 5
        )
    assert known.came.sum(axis=1).tolist() == [16, 16]
    assert np.array_equal(known.due[:, :-1], known.came[:, 1:])
    assert known.covered.all()
