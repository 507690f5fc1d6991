"""How titles sound, told offline: by VADER's lexicon, or by a list of words of one's own."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from stockbatch.exceptions import BadFile, MissingExtra, UnreadableFile
from stockbatch.text import quoted

WORD = re.compile(r"[^\W_]+(?:['\u2019-][^\W_]+)*")


class Scorer(Protocol):
    """What tells how a title sounds."""

    @property
    def name(self) -> str:
        """What stands in `scored_by` of what it scored."""
        ...

    def scores(self, titles: Sequence[str]) -> Sequence[float]:
        """Return how each title sounds, -1 bad to 1 good, 0 where nothing tells."""
        ...


class Vader:
    """VADER's lexicon and rules (Hutto and Gilbert, 2014); made for English of social media."""

    name = "vader"

    def __init__(self, _option: str = "") -> None:
        try:
            from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer
        except ImportError:
            raise MissingExtra(what="the scorer vader", extra="news") from None
        self._analyzer = SentimentIntensityAnalyzer()

    def scores(self, titles: Sequence[str]) -> list[float]:
        """Return VADER's compound score of each title."""
        return [float(self._analyzer.polarity_scores(title)["compound"]) for title in titles]


class Words:
    """A file with a word and its score, -1 to 1, a line; a title has the mean of its words."""

    name = "words"

    def __init__(self, option: str) -> None:
        self._words = _read(Path(option).expanduser())

    def scores(self, titles: Sequence[str]) -> list[float]:
        """Return the mean score of the words of each title that are in the list."""
        return [self._score(title) for title in titles]

    def _score(self, title: str) -> float:
        words = WORD.findall(title.casefold())
        found = [self._words[word] for word in words if word in self._words]
        return math.fsum(found) / len(found) if found else 0.0


def _read(path: Path) -> Mapping[str, float]:
    """Return the scores of words; raises UnreadableFile, and BadFile for a line that is no pair."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableFile(path=path, reason=getattr(error, "strerror", None) or error) from None
    words: dict[str, float] = {}
    for line, written in enumerate(text.splitlines(), 1):
        plain = written.strip()
        if not plain or plain.startswith("#") or (not words and plain.lower() == "word,score"):
            continue
        word, _, number = re.sub(r"[,;\t]", ",", plain).rpartition(",")
        word = word.strip().casefold()
        score = _score(number)
        if score is None or not WORD.fullmatch(word):
            reason = f"{quoted(plain)} is no word with a score from -1 to 1, such as plunge,-0.8"
            raise BadFile(path=path, line=line, column=1, reason=reason)
        words[word] = score
    if not words:
        raise BadFile(path=path, line=1, column=1, reason="there is no word in it")
    return words


def _score(text: str) -> float | None:
    try:
        score = float(text)
    except ValueError:
        return None
    return score if -1 <= score <= 1 else None
