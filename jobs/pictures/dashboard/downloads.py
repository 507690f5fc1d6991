"""Tables of the pages as files to take away."""

from io import BytesIO

import pandas as pd

from jobs.words import cell


def csv(data: pd.DataFrame) -> bytes:
    """Return a CSV file in UTF-8, which a spreadsheet may open: no text in it is a formula."""
    return _safe(data).to_csv(index=False, date_format="%Y-%m-%d").encode("utf-8-sig")


def excel(data: pd.DataFrame) -> bytes:
    """Return an Excel file whose numbers are numbers and whose sessions are dates."""
    file = BytesIO()
    with pd.ExcelWriter(file, engine="openpyxl", date_format="YYYY-MM-DD") as book:
        _safe(data).to_excel(book, index=False, sheet_name="stockbatch", freeze_panes=(1, 1))
    return file.getvalue()


def _safe(data: pd.DataFrame) -> pd.DataFrame:
    words = data.select_dtypes(exclude=["number", "bool", "datetime", "datetimetz"])
    instants = data.select_dtypes("datetimetz")  # Excel knows no time zones: all are UTC
    changed = {str(name): words[name].map(cell) for name in words}
    changed |= {str(name): instants[name].dt.tz_localize(None) for name in instants}
    return data.assign(**changed)
