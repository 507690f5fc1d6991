"""What the cells of a table of bars say: numbers, sessions, split ratios. Nothing is guessed."""

import re
from collections.abc import Iterable
from datetime import date
from fractions import Fraction

import numpy as np

from stockbatch.records import Floats

UNKNOWN = ("", "NaN", "nan", "null", "NULL", "None", "NA", "N/A", "-")
"""Cells that state no number."""
SIMPLE_RATIO_ERROR = 1e-4
"""A split ratio so close to a fraction of small numbers is taken for it: 7.000007 is 7."""

_PLAIN = r"(?:\d+{mark}?\d*|{mark}\d+)(?:e[+-]?\d+)?|inf(?:inity)?"
_GROUPED = r"[1-9]\d{{0,2}}(?:{group}\d{{3}})+(?:{mark}\d*)?"
_SPACES = (" ", "\u00a0", "\u202f", "'", "\u2019")
"""What groups thousands whatever marks the decimals."""
_GROUPS = {".": (",", *_SPACES), ",": (".", *_SPACES)}


class AmbiguousNumber(ValueError):  # noqa: N818 (named like those of exceptions.py)
    """A number that is another one with another mark of decimals."""


def _pattern(mark: str) -> re.Pattern[str]:
    kinds = [_PLAIN.format(mark=re.escape(mark))]
    kinds += [
        _GROUPED.format(mark=re.escape(mark), group=re.escape(group)) for group in _GROUPS[mark]
    ]
    return re.compile(f"[+-]?(?:{'|'.join(kinds)})", re.IGNORECASE | re.ASCII)


_NUMBERS = {mark: _pattern(mark) for mark in _GROUPS}
_REMOVED = {mark: str.maketrans("", "", "".join(groups)) for mark, groups in _GROUPS.items()}

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_TIME = r"(?:[T ]\s*\d.*)?"
_YEAR_FIRST = re.compile(
    rf"(\d{{4}})([-/.])(\d\d?)\2(\d\d?){_TIME}|(\d{{4}})(\d\d)(\d\d)", re.ASCII
)
_YEAR_LAST = re.compile(rf"(\d\d?)([-/.])(\d\d?)\2(\d{{4}}){_TIME}", re.ASCII)
_DAY_MONTH = re.compile(r"(\d\d?)[- ]([a-z]{3})[a-z]*\.?[- ,]\s*(\d{4})", re.ASCII | re.IGNORECASE)
_MONTH_DAY = re.compile(r"([a-z]{3})[a-z]*\.? (\d\d?),? (\d{4})", re.ASCII | re.IGNORECASE)


def as_number(text: str, mark: str | None = ".") -> float:
    """Read a number, thousands grouped or not, a cell of UNKNOWN as NaN; raises ValueError.

    The decimals follow `mark`; where it is None, raises AmbiguousNumber for what has two readings.
    """
    plain = text.strip()
    if plain in UNKNOWN:
        return float("nan")
    values = {
        float(plain.translate(_REMOVED[possible]).replace(possible, "."))
        for possible in (_NUMBERS if mark is None else mark)
        if _NUMBERS[possible].fullmatch(plain)
    }
    if len(values) > 1:
        reason = "can be read as two numbers: write it without a comma"
        raise AmbiguousNumber(f"{shown(text)} {reason}")
    if not values:
        raise ValueError(f"{shown(text)} is not a number")
    return values.pop()


def decimal_mark(texts: Iterable[str]) -> str | None:
    """Tell what marks decimals in these numbers; None where they read either way, but differently.

    >>> decimal_mark(["1.234,5"]), decimal_mark(["1,234"]), decimal_mark(["7", "8.25"])
    (',', None, '.')
    """
    numbers = [text.strip() for text in texts if text.strip() not in UNKNOWN]
    fits = {
        mark: sum(pattern.fullmatch(text) is not None for text in numbers)
        for mark, pattern in _NUMBERS.items()
    }
    # One number such as 1.234,5 tells: of the marks, that which reads more numbers is meant.
    if fits["."] != fits[","]:
        return max(fits, key=fits.__getitem__)
    both = [text for text in numbers if all(p.fullmatch(text) for p in _NUMBERS.values())]
    grouped = any("," in text for text in both)  # a point alone is the usual mark of decimals
    return None if grouped else "."


def day_first(texts: Iterable[str]) -> bool | None:
    """Tell whether dates like 3/12/2024 begin with the day; None where nothing shows it."""
    pairs = [(int(found[1]), int(found[3])) for text in texts if (found := _slashed(text))]
    if any(first > 12 for first, _ in pairs):
        return True
    return False if any(second > 12 for _, second in pairs) else None


def _slashed(text: str) -> re.Match[str] | None:
    found = _YEAR_LAST.fullmatch(text.strip())
    return found if found and found[2] != "." else None


def as_session(text: str, days_first: bool | None = None) -> date:
    """Read a date, with or without a time behind it; raises ValueError.

    Year first (2024-12-31, 20241231), day first with dots (31.12.2024), or with an English month;
    12/31/2024 only where `days_first` tells which of its numbers is the day.
    """
    plain = text.strip()
    if found := _YEAR_FIRST.fullmatch(plain):
        year, month, day = (found[1], found[3], found[4]) if found[1] else found.group(5, 6, 7)
    elif found := _YEAR_LAST.fullmatch(plain):
        first, second, year = found[1], found[3], found[4]
        if found[2] != "." and days_first is None:
            raise ValueError(f"{shown(text)} can be read as two dates: write it as 2024-12-31")
        day, month = (first, second) if found[2] == "." or days_first else (second, first)
    elif (found := _DAY_MONTH.fullmatch(plain)) and found[2].lower() in _MONTHS:
        day, month, year = found[1], str(_MONTHS.index(found[2].lower()) + 1), found[3]
    elif (found := _MONTH_DAY.fullmatch(plain)) and found[1].lower() in _MONTHS:
        month, day, year = str(_MONTHS.index(found[1].lower()) + 1), found[2], found[3]
    else:
        raise ValueError(f"{shown(text)} is not a date like 2024-12-31")
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        raise ValueError(f"{shown(text)} is not a date of the calendar") from None


def simple_ratios(ratios: Floats) -> Floats:
    """Replace split ratios that are nearly a fraction of small numbers by that fraction."""
    # Providers divide adjusted prices to get at a ratio: rounding leaves 7.00000700001 of a 7.
    simple = ratios.copy()
    for at in np.flatnonzero((ratios != 1) & (ratios > 1e-6) & (ratios < 1e6)):
        larger = max(ratios[at], 1 / ratios[at])
        fraction = float(Fraction(larger).limit_denominator(10))
        if abs(larger / fraction - 1) < SIMPLE_RATIO_ERROR:
            simple[at] = fraction if ratios[at] > 1 else 1 / fraction
    return simple


def shown(text: str) -> str:
    """Return a cell as a message quotes it."""
    return repr(text if len(text) <= 40 else text[:40] + "…")
