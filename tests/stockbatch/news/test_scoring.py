"""How titles sound, by the lexicon and by a list of words."""

import pytest

from stockbatch.exceptions import BadFile, UnknownScorer, UnreadableFile
from stockbatch.news import registry


def test_the_lexicon_tells_good_from_bad_and_is_frozen():
    scorer = registry.scorer("vader")
    good, bad, none = scorer.scores(["Profits are great", "A terrible loss", "The board met"])
    # the compound scores of VADER 3.3.2, which must not change
    assert (good, bad, none) == pytest.approx((0.7906, -0.6597, 0.0), abs=1e-4)


@pytest.fixture
def words(tmp_path):
    def make(text):
        file = tmp_path / "words.csv"
        file.write_text(text, encoding="utf-8")
        return registry.scorer(f"words:{file}")

    return make


def test_a_title_has_the_mean_of_its_words(words):
    scorer = words("word,score\n# mine\nPlunge,-0.8\nrecord;0.4\nübel\t-1\n\n")
    titles = ["Shares PLUNGE from record high", "Übel!", "Nothing known", "plunges"]
    assert scorer.scores(titles) == pytest.approx([-0.2, -1.0, 0.0, 0.0])
    assert scorer.name == "words"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("good,0.5\nbad\n", "line 2, column 1: 'bad' is no word with a score"),
        ("good,2\n", "line 1"),
        ("good,nan\n", "line 1"),
        ("two words,0.5\n", "line 1"),
        ("", "there is no word in it"),
    ],
)
def test_a_list_that_is_none_is_refused(words, text, said):
    with pytest.raises(BadFile, match=said):
        words(text)


def test_scorers_that_are_not_there(tmp_path):
    with pytest.raises(UnreadableFile):
        registry.scorer(f"words:{tmp_path / 'none.csv'}")
    with pytest.raises(UnknownScorer, match="one of vader, words"):
        registry.scorer("oracle")
