"""What the cells of a table of bars say in numbers, and how a whole file writes its numbers."""

import re
from collections import Counter
from collections.abc import Iterable
from fractions import Fraction

import numpy as np

from stockbatch.records import Floats

UNKNOWN = (
    *("", "NaN", "nan", "NAN", "null", "NULL", "Null", "None", "none", "NA", "N/A", "n/a", "#N/A"),
    *("#N/A N/A", "<NA>", "NaT", "nil", "(null)", r"\N", "-", "--", "---", "\u2013", "\u2014"),
)
"""Cells that state no number."""
SIMPLE_RATIO_ERROR = 1e-4
"""A split ratio so close to a fraction of small numbers is taken for it: 7.000007 is 7."""

_PLAIN = r"(?:\d+{mark}?\d*|{mark}\d+)(?:e[+-]?\d+)?|inf(?:inity)?"
_GROUPED = r"[1-9]\d{{0,2}}(?:{group}\d{{3}})+(?:{mark}\d*)?"
_LAKHS = r"[1-9]\d?(?:,\d\d)+,\d{3}(?:\.\d*)?"
"""As India groups: 1,00,123.45."""
_SPACES = (" ", "\u00a0", "\u2007", "\u2009", "\u202f", "'", "\u2019")
"""What groups thousands whatever marks the decimals."""
_GROUPS = {".": (",", *_SPACES), ",": (".", *_SPACES)}
_CURRENCY = re.compile(
    r"^(?:[A-Z]{1,3})?[$\u00a2-\u00a5\u20a0-\u20c0\uffe5]\s*|\s*[$\u00a2-\u00a5\u20a0-\u20c0]$"
    r"|^(?:[A-Z]{3}\s|Rs\.?)\s*|\s+[A-Z]{3}$"
)
"""Signs and codes of currencies: $, CA$, EUR before or behind a blank, Rs."""
_SIZES = {"k": 3, "m": 6, "b": 9, "t": 12}
_SIZED = re.compile(r"(.*\d[.,]?)\s*([kmbt])n?", re.IGNORECASE)
_RATIO = re.compile(r"(\d+(?:\.\d+)?)\s*(?::|/|-?\s*for\s*-?)\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


class AmbiguousNumber(ValueError):  # noqa: N818 (named like those of exceptions.py)
    """A number that is another one with another mark of decimals."""


def _pattern(mark: str) -> re.Pattern[str]:
    kinds = [_PLAIN.format(mark=re.escape(mark))]
    kinds += [
        _GROUPED.format(mark=re.escape(mark), group=re.escape(group)) for group in _GROUPS[mark]
    ]
    kinds += [_LAKHS] if mark == "." else []
    return re.compile(f"[+-]?(?:{'|'.join(kinds)})", re.IGNORECASE | re.ASCII)


_NUMBERS = {mark: _pattern(mark) for mark in _GROUPS}
_REMOVED = {mark: str.maketrans("", "", "".join(groups)) for mark, groups in _GROUPS.items()}


def as_number(text: str, mark: str | None = ".") -> float:
    """Read a number, thousands grouped or not, a cell of UNKNOWN as NaN; raises ValueError.

    A sign of a currency around it does not matter. The decimals follow `mark`; where it is None,
    raises AmbiguousNumber for what has two readings.
    """
    plain = text.strip()
    if plain in UNKNOWN:
        return float("nan")
    values = _readings(plain, mark) or _readings(_CURRENCY.sub("", plain), mark)
    if len(values) > 1:
        raise AmbiguousNumber(f"{shown(text)} can be read as two numbers")
    if not values:
        raise ValueError(f"{shown(text)} is not a number")
    return values.pop()


def _readings(plain: str, mark: str | None) -> set[float]:
    return {
        float(plain.translate(_REMOVED[possible]).replace(possible, "."))
        for possible in (_NUMBERS if mark is None else mark)
        if _NUMBERS[possible].fullmatch(plain)
    }


def as_volume(text: str, mark: str | None = ".") -> float:
    """Read a number of shares as `as_number` does, 55.74M too; raises ValueError."""
    sized = _SIZED.fullmatch(text.strip())
    if sized is None:
        return as_number(text, mark)
    # Behind a size, the one point or comma there is marks decimals: nobody writes 1.234.567M.
    number = as_number(sized[1].replace(",", ".") if mark is None else sized[1], mark or ".")
    return float(f"{number!r}e{_SIZES[sized[2].lower()]}")


def as_split(text: str, mark: str | None = ".") -> float:
    """Read how many shares one becomes, 4 or 4:1 or 4-for-1; raises ValueError."""
    ratio = _RATIO.fullmatch(text.strip())
    if ratio is None or not float(ratio[2]):
        return as_number(text, mark)
    return float(ratio[1]) / float(ratio[2])


class Marks:
    """Counts what shows whether a point or a comma marks the decimals of a file's numbers."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def see(self, texts: Iterable[str]) -> None:
        """Count some more of the file's cells."""
        self._seen.update(shape for text in texts if (shape := _shape(text)))

    @property
    def settled(self) -> bool:
        """Tell whether one number was seen that cannot be read with the other mark."""
        return self._seen["."] != self._seen[","]

    @property
    def grouped(self) -> bool:
        """Tell whether there is a number that is another one if its mark groups thousands."""
        return bool(self._seen["?."] + self._seen["?,"])

    def mark(self, *, long_settles: bool = False) -> str | None:
        """Return the mark; None where the numbers read either way, but differently.

        `long_settles` says that who writes 12345 without a group groups no other number.
        """
        # One number such as 1.234,5 tells: of the marks, that which reads more numbers is meant.
        if self.settled:
            return "." if self._seen["."] > self._seen[","] else ","
        if not self._seen["?,"] and long_settles and self._seen["long"]:
            return "."
        return None if self.grouped else "."


def _shape(text: str) -> str | None:
    """Say which mark a number tells of; with ? before it where it tells of none, but has one."""
    plain = _CURRENCY.sub("", text.strip())
    if sized := _SIZED.fullmatch(plain):
        plain = sized[1]
        return next((mark for mark in ".," if mark in plain), None)
    fits = [mark for mark, pattern in _NUMBERS.items() if pattern.fullmatch(plain)]
    if len(fits) == 1:
        return fits[0]
    if len(fits) == 2:
        if mark := next((mark for mark in ".," if mark in plain), None):
            return f"?{mark}"
        if plain.isdecimal() and len(plain) > 3:
            return "long"
    return None


def decimal_mark(texts: Iterable[str]) -> str | None:
    """Tell what marks decimals in these numbers; None where they read either way, but differently.

    >>> decimal_mark(["1.234,5"]), decimal_mark(["1,234"]), decimal_mark(["7", "8.25"])
    (',', None, '.')
    """
    marks = Marks()
    marks.see(texts)
    return marks.mark()


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
