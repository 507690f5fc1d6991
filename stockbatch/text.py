"""Text: what others wrote, whether it names a ticker or a group of them; numbers and nouns."""

import re
from collections.abc import Sequence

LONGEST_SYMBOL = 64
"""Characters; REST's paging and the database hold to it as well."""
LONGEST_NAME = 100
"""Characters of the name of a group; the longest industries of published lists have some 60."""
SEPARATORS = ",;|"
"""What stands between tags where several are named in one text."""

# What steers a terminal, or turns the order of letters; and what is no text at all.
_STEERING = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""Return `text` with all that is no letter, sign, line break or tab spelled out: \x1b."""
    return _STEERING.sub(_escaped, text)


def plain(text: str, longest: int) -> str:
    r"""Return `text` as one printable line, cut where it has more than `longest` characters.

    >>> plain(" Up\n10\t% \x1b", 20), plain("a long title", 7)
    ('Up 10 % \\x1b', 'a long…')
    """
    # Of a megabyte only the beginning is looked at; blanks may be most of it.
    line = printable(" ".join(text[: 20 * longest].split()))
    return line if len(line) <= longest else line[: longest - 1] + "…"


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a file name that is not UTF-8, as Python holds it
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def wrong_symbol(text: str) -> str | None:
    r"""Return why a text cannot be the symbol of a ticker, None where it can.

    >>> wrong_symbol("BRK-B"), wrong_symbol(""), wrong_symbol("A\x1b[2J")
    (None, 'it is empty', 'it has characters that cannot be seen')
    """
    if reason := _unfit(text, LONGEST_SYMBOL):
        return reason
    if not any(character.isalnum() for character in text):
        return "it has no letter and no digit"
    return None


def wrong_name(text: str) -> str | None:
    r"""Return why a text cannot name a group of tickers, None where it can.

    >>> wrong_name("Oil, Gas & Coal"), wrong_name("=cmd"), wrong_name("a\u202eb")
    (None, 'it begins with no letter or digit', 'it has characters that cannot be seen')
    """
    if reason := _unfit(text, LONGEST_NAME):
        return reason
    # What else may begin one, a spreadsheet takes for a formula and a command for an option.
    return None if text[0].isalnum() else "it begins with no letter or digit"


def wrong_tag(text: str) -> str | None:
    """Return why a text cannot be a tag, of which one line may name several; None where it can."""
    if any(mark in text for mark in SEPARATORS):
        return "a tag has no comma, semicolon or bar: these stand between tags"
    return wrong_name(text)


def _unfit(text: str, longest: int) -> str | None:
    if not text:
        return "it is empty"
    if len(text) > longest:
        return f"it has more than {longest} characters"
    if not text.isprintable() or "\ufffd" in text:
        return "it has characters that cannot be seen"
    return "it begins or ends with a blank" if text != text.strip() else None


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, which takes an s where it is not one.

    >>> counted(1, "ticker"), counted(0, "named watchlist")
    ('1 ticker', '0 named watchlists')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def some_of(names: Sequence[str], most: int = 5) -> str:
    """Return the first names, and how many there are more.

    >>> some_of(["A", "B", "C"], 2)
    'A, B and 1 more'
    """
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")


def quoted(text: str) -> str:
    """Return a text as a message quotes it, however long it is."""
    return repr(text if len(text) <= 40 else text[:40] + "…")


def without_secrets(url: str) -> str:
    """Return a URL as a message names it: who asks, and what with, may be secret.

    >>> without_secrets("https://me:s3cr3t@example.com/news?key=s3cr3t")
    'https://…@example.com/news'
    """
    return re.sub("[?#].*", "", re.sub("//[^/]*@", "//…@", url), flags=re.DOTALL)
