"""Read the data dictionary, which a test compares with the database."""

import re
from pathlib import Path

from stockbatch.store.bi.dictionary import Column

FILE = Path(__file__).with_name("data-dictionary.md")


def columns() -> dict[str, list[Column]]:
    """Return the columns of every view of schema `bi`, in their order."""
    result: dict[str, list[Column]] = {}
    for section in FILE.read_text(encoding="utf-8").split("\n## bi.")[1:]:
        view, grain, *_ = section.split("\n\n")
        cells = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", section, re.MULTILINE)
        result[view] = [Column(view, grain, *of_one) for of_one in cells]
    return result
