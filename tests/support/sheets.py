"""The tables of pages and reports, as a reader of HTML sees them on a screen that is not small."""

import re
from xml.etree import ElementTree

_TABLE = re.compile('<div class="sheet">.*?</div>', re.DOTALL)


def sheets(html: str) -> list[list[dict[str, str]]]:
    """Return the rows of each table by their headings; what stands small is after a blank."""
    return [_rows(ElementTree.fromstring(found)) for found in _TABLE.findall(html)]


def _rows(sheet: ElementTree.Element) -> list[dict[str, str]]:
    for only_there in sheet.findall(".//small[@class='phone']"):
        only_there.text = None
    headings = [cell.text or "" for cell in sheet.findall(".//thead//th")]
    return [
        dict(zip(headings, (" ".join(cell.itertext()) for cell in row), strict=True))
        for row in sheet.findall(".//tbody/tr")
    ]
