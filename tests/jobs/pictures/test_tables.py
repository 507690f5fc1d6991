"""Tables of HTML: what a browser and a screen reader find in them."""

from datetime import UTC, date, datetime
from io import BytesIO
from xml.etree import ElementTree

import openpyxl
import pandas as pd
import pytest

from jobs.pictures import tables
from jobs.pictures.dashboard import downloads
from jobs.pictures.tables import Column, day, number, text
from tests.support.sheets import sheets

COLUMNS = {
    "ticker": text("ticker", below="name"),
    "move": number("move", "± {:.1f} %", about="how <far>"),
    "session": day("session", once=True),
}
DATA = pd.DataFrame(
    {
        "ticker": ["AAA", "B&B"],
        "name": ["Triple A", None],
        "move": [2.345, float("nan")],
        "session": pd.to_datetime(["2024-03-05", "2024-03-05"]),
    }
)


def parsed(html):
    return ElementTree.fromstring(html)


def test_a_table_is_text_and_what_is_unknown_is_empty():
    assert sheets(tables.html(DATA, COLUMNS)) == [
        [
            {"ticker": "AAA Triple A", "move": "± 2.3 %", "session": "2024-03-05"},
            {"ticker": "B&B", "move": "", "session": "2024-03-05"},
        ]
    ]


def test_what_a_phone_has_no_column_for_stands_below_another_there():
    columns = {"ticker": text("ticker", phone="event"), "event": text("event", wide=True)}
    data = pd.DataFrame({"ticker": ["AAA", "BBB"], "event": ["reports", None]})
    sheet = parsed(tables.html(data, columns))
    assert [small.text for small in sheet.findall(".//small[@class='phone']")] == ["reports"]
    assert "wide" in sheet.find(".//tbody/tr/td").get("class")


def test_methods_and_codes_are_written_as_people_write_them():
    columns = {"method": tables.method(), "reason": tables.word("reason")}
    data = pd.DataFrame({"method": ["rolling_quantile", "gone"], "reason": ["no_bar", None]})
    assert sheets(tables.html(data, columns)) == [
        [{"method": "Rolling quantiles", "reason": "no bar"}, {"method": "gone", "reason": ""}]
    ]
    assert downloads.csv(data).decode("utf-8-sig").splitlines()[1] == "rolling_quantile,no_bar"


def test_numbers_line_up_on_the_right_and_words_on_the_left():
    sheet = parsed(tables.html(DATA, COLUMNS))
    for row in sheet.iter("tr"):
        assert ["number" in cell.get("class", "") for cell in row] == [False, True, False]
    assert ".sheet td.number { text-align: right" in tables.STYLE


def test_a_whole_row_leads_to_one_place_where_the_keyboard_stops_once():
    sheet = parsed(tables.html(DATA, COLUMNS, link=lambda row: f"ticker?ticker={row['ticker']}"))
    for row, ticker in zip(sheet.findall(".//tbody/tr"), DATA["ticker"], strict=True):
        links = row.findall(".//a")
        assert [link.get("href") for link in links] == [f"ticker?ticker={ticker}"] * len(row)
        assert [link.get("tabindex") for link in links] == [None, "-1", "-1"]


def test_what_all_rows_have_in_common_is_said_once():
    kept, said = tables.varying(DATA, COLUMNS)
    assert list(kept) == ["ticker", "move"]
    assert said == ["session 2024-03-05"]
    other = DATA.assign(session=pd.to_datetime(["2024-03-05", "2024-03-06"]))
    assert tables.varying(other, COLUMNS) == (COLUMNS, [])
    assert list(tables.varying(DATA.assign(move=float("nan")), COLUMNS)[0]) == ["ticker"]
    nothing = DATA.assign(session=pd.NaT)
    assert tables.varying(nothing, COLUMNS)[1] == []


def test_what_others_wrote_is_no_markup():
    hostile = pd.DataFrame({"ticker": ["<b onclick='x'>"], "name": ["\x1b[2J\u202e<script>"]})
    html = tables.html(hostile, {"ticker": COLUMNS["ticker"]}, link=lambda row: row["ticker"])
    assert "<b" not in html
    assert "<script" not in html
    assert sheets(html) == [[{"ticker": r"<b onclick='x'> \x1b[2J\u202e<script>"}]]


def test_intervals_are_drawn_on_one_scale_and_said():
    ends = [(-4.0, -2.0, 2.0, 4.0), (-2.0, -1.0, 1.0, 1.5), (float("nan"),) * 4]
    data = pd.DataFrame({"ticker": ["A", "B", "C"], "interval": ends})
    html = tables.html(data, {"ticker": text("ticker"), "interval": Column(heading="i", bar=True)})
    bars = parsed(html).findall(".//span[@class='bar']")
    assert [[part.get("style") for part in bar] for bar in bars] == [
        ["left:0.0%;width:100.0%", "left:25.0%;width:50.0%"],
        ["left:25.0%;width:43.8%", "left:37.5%;width:25.0%"],
    ]
    assert bars[1].get("title") == "80 %: −1.0 to +1.0 %; 95 %: −2.0 to +1.5 %"


@pytest.fixture
def taken():
    return pd.DataFrame(
        {
            "ticker": ["AAA", "=1+1"],
            "move": [2.345, float("nan")],
            "session": pd.to_datetime(["2024-03-05", "2024-03-06"]),
            "raised": [datetime(2024, 3, 5, 20, 30, tzinfo=UTC)] * 2,
            "day": [date(2024, 3, 5), None],
        }
    )


def test_a_csv_file_to_take_away_holds_no_formula(taken):
    lines = downloads.csv(taken).decode("utf-8-sig").splitlines()
    assert lines[0] == "ticker,move,session,raised,day"
    assert lines[1].startswith("AAA,2.345,2024-03-05,2024-03-05")
    assert lines[2].startswith("'=1+1,,2024-03-06,")


def test_an_excel_file_to_take_away_holds_numbers_and_dates(taken):
    sheet = openpyxl.load_workbook(BytesIO(downloads.excel(taken))).active
    assert [cell.value for cell in sheet[1]] == list(taken.columns)
    found = [getattr(cell.value, "isoformat", lambda cell=cell: cell.value)() for cell in sheet[2]]
    day, instant = "2024-03-05T00:00:00", "2024-03-05T20:30:00"
    assert found == ["AAA", 2.345, day, instant, day]
    assert [sheet["A3"].value, sheet["B3"].value] == ["'=1+1", None]
