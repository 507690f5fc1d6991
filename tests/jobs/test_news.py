"""News from files and from sources: what is kept, what is wrong, who scores what has no score."""

import gzip
import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pytest

from jobs import news
from stockbatch.exceptions import BadFile, ProviderUnavailable, UnknownNewsSource, UnreadableFile
from stockbatch.news import registry
from stockbatch.news.base import FetchedNews, NewsRequest
from stockbatch.news.feeds import Feeds
from stockbatch.records import NewsItem
from tests.support.market import NOW, fetch
from tests.support.packages import install

HEAD = "symbol,published_at,title,url,source,score,relevance\n"
NOON = datetime(2024, 8, 1, 12, tzinfo=UTC)


@pytest.fixture
def importing(app, tmp_path):
    def do(text, name="news.csv"):
        file = tmp_path / name
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return news.import_(app, file)

    return do


def kept(app, columns="ticker, published_at, title"):
    query = (
        f"SELECT {columns} FROM stockbatch.news AS n JOIN stockbatch.instruments AS i"
        " ON i.id = instrument_id ORDER BY ticker, published_at, n.id"
    )
    return [tuple(row.values()) for row in fetch(app.engine, query)]


def test_a_csv_file(app, importing):
    done = importing(
        f"{HEAD}AAA,2024-08-01T12:00Z,Good,https://e.com/1,wire,0.5,0.9\n"
        'bbb,2024-08-01 08:00-04:00,"Two\nlines, a comma",,,,\n'
        "AAA,2024-08-01,#1 of all,,,,\n"
    )
    assert (done.recorded, done.failures, done.unknown) == ((3, 0, 0), (), {})
    columns = "ticker, published_at, title, url, source, score, scored_by, relevance, assumed"
    day_over = datetime(2024, 8, 2, tzinfo=UTC)
    assert kept(app, columns) == [
        ("AAA", NOON, "Good", "https://e.com/1", "wire", 0.5, "wire", 0.9, True),
        ("AAA", day_over, "#1 of all", None, "import", None, None, None, True),
        ("BBB", NOON, "Two lines, a comma", None, "import", None, None, None, True),
    ]
    assert importing(f"{HEAD}AAA,2024-08-01T12:00Z,Better,https://e.com/1,wire,1,\n").recorded == (
        *(0, 1),
        0,
    )


def test_a_file_of_json_lines(app, importing):
    told = [
        {"symbol": "AAA", "published_at": "2024-08-01T12:00:00Z", "title": "One", "score": -0.25},
        {"Ticker": "BBB", "time_published": "2024-08-01T12:00", "headline": "Two", "link": None},
    ]
    text = "\n".join(map(json.dumps, told))
    assert importing(f"\n{text}\n\n", "news.jsonl").recorded == (2, 0, 0)
    assert kept(app, "ticker, published_at, title, score, scored_by") == [
        ("AAA", NOON, "One", -0.25, "import"),
        ("BBB", NOON, "Two", None, None),
    ]


@pytest.mark.parametrize(
    "title",
    [
        "<img src=x onerror=alert(1)>",
        "=cmd|' /C calc'!A0",
        "\u202egnp.exe",
        "a\x1b[2Jb",
        "m" * 10**6,
    ],
)
@pytest.mark.parametrize("form", ["csv", "json"])
def test_hostile_titles_are_text(app, importing, title, form):
    if form == "csv":
        text = f"symbol,published_at,title\nAAA,2024-08-01,{title}\n"
    else:
        text = json.dumps({"symbol": "AAA", "published_at": "2024-08-01", "title": title})
    assert importing(text).recorded.new == 1
    ((found,),) = kept(app, "title")
    assert found.isprintable()
    assert len(found) <= 500
    expected = title.replace("\u202e", "\\u202e").replace("\x1b", "\\x1b")
    assert found == (expected if len(expected) <= 500 else expected[:499] + "…")


@pytest.mark.parametrize(
    ("line", "column", "words"),
    [
        (",2024-08-01,x,,,,", 1, "there is no symbol"),
        ("AAA,,x,,,,", 2, "'' is no instant such as"),
        ("AAA,yesterday,x,,,,", 2, "'yesterday' is no instant"),
        ("AAA,2031-01-01,x,,,,", 2, "2031-01-01 is yet to come"),
        ("AAA,0001-01-01T00:00+14:00,x,,,,", 2, "is no instant"),
        ("AAA,2024-08-01,,,,,", 3, "there is no title"),
        ("AAA,2024-08-01,x,javascript:alert(1),,,", 4, "is no address such as https://"),
        ("AAA,2024-08-01,x,,,2,", 6, "'2' is no number from -1 to 1"),
        ("AAA,2024-08-01,x,,,nan,", 6, "'nan' is no number"),
        ("AAA,2024-08-01,x,,,,-0.1", 7, "'-0.1' is no number from 0 to 1"),
        ("AAA,2024-08-01,x,,,,,more", 8, "there are 8 cells below 7 headings"),
    ],
)
def test_a_bad_line_is_an_error_with_its_number_and_keeps_no_other_out(
    app, importing, line, column, words
):
    done = importing(f"{HEAD}BBB,2024-08-02,a,,,,\n{line}\nCCC,2024-08-03,b,,,,\n")
    assert [row[0] for row in kept(app)] == ["BBB", "CCC"]
    (failure,) = done.failures
    assert f"line 3, column {column}: " in str(failure)
    assert words in str(failure)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 2, column 1: it is no JSON object"),
        ("[1]", "line 2, column 1: it is no JSON object"),
        ("[" * 100_000, "line 2, column 1: it is no JSON object"),
        (
            '{"symbol": "AAA", "published_at": "2024-08-01", "title": ["x"]}',
            "line 2, column title: title is no text and no number",
        ),
        ('{"symbol": "AAA", "title": "x"}', "line 2, column published_at: '' is no instant"),
        (
            '{"symbol": "AAA", "date": "2024-08-01", "title": "x", "score": 7}',
            "line 2, column score: '7' is no number from -1 to 1",
        ),
    ],
)
def test_a_bad_line_of_json(app, importing, line, words):
    good = '{"symbol": "BBB", "published_at": "2024-08-02", "title": "a"}'
    done = importing(f"{good}\n{line}\n")
    assert [row[0] for row in kept(app)] == ["BBB"]
    (failure,) = done.failures
    assert words in str(failure)
    assert len(str(failure)) < 2000


GOOD = "AAA,2024-08-01,x,,,,\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            f'{HEAD}{GOOD}AAA,2024-08-01,"y,,,,\n{GOOD}',
            "line 3, column 1: a quote in this news item",
        ),
        (f'{HEAD}{GOOD}AAA,2024-08-01,"y', "line 3, column 1: a quote in this news item"),
        (
            f'{HEAD}{GOOD}AAA,2024-08-01,"y\n{GOOD * 60_000}',
            "line 3, column 1: a cell of this news",
        ),
        (f"{HEAD}{GOOD}AAA,2024-08-01,{'m' * 2**21},,,,\n", "no row of bars or news has"),
        ('{"title": "x"}\n{"title": "' + "m" * 2**21, "no row of bars or news has"),
    ],
)
def test_of_a_file_whose_lines_nobody_can_tell_apart_nothing_is_kept(app, importing, text, words):
    with pytest.raises(BadFile, match=words):
        importing(text)
    assert kept(app) == []


def test_a_quote_within_a_title_is_none_of_the_file(app, importing):
    text = 'symbol\tdate\ttitle\nAAA\t2024-08-01\tThe 5" disk, "so called\n'
    assert importing(text).recorded.new == 1
    assert kept(app, "title") == [('The 5" disk, "so called',)]


def test_unknown_symbols_and_days_beyond_the_calendar_are_told(app, importing):
    done = importing(f"{HEAD}ZZZ,2024-08-01,x,,,,\nZZZ,no date,x,,,,\nAAA,1066-10-14,x,,,,\n")
    assert done.unknown == {"ZZZ": 2}
    assert done.recorded == (0, 0, 1)


@pytest.mark.parametrize(
    "text",
    [
        f"{HEAD}AAA,2024-08-01,x,,,,\n".encode("utf-16"),
        gzip.compress(b"symbol\tdate\ttitle\nAAA\t2024-08-01\tx\n", mtime=0),
        b'\xef\xbb\xbf"Symbol", "Published At", "Title" \r\n"AAA", 2024-08-01, x\r\n\r\n',
        gzip.compress(b'{"ticker": "aaa", "date": "2024-08-01", "title": "x"}', mtime=0),
    ],
)
def test_files_as_people_have_them(app, importing, text):
    assert importing(text).recorded.new == 1
    assert [row[0] for row in kept(app)] == ["AAA"]


@pytest.mark.parametrize("text", [b"", b"AAA,2024-08-01,x\n", b"symbol,title\nAAA,x\n"])
def test_what_has_no_headings_is_refused_whole(app, importing, text):
    with pytest.raises(BadFile, match="no headings such as symbol, published_at and title"):
        importing(text)
    assert kept(app) == []


def test_a_file_that_is_not_there(app, tmp_path):
    with pytest.raises(UnreadableFile):
        news.import_(app, tmp_path / "none.csv")


# ---- scored


def set_to(app, **changes):
    app.settings = app.settings.model_copy(update=changes)


def test_what_has_no_score_is_scored_by_the_lexicon(app, importing):
    importing(f"{HEAD}AAA,2024-08-01,A great success,,,,\nAAA,2024-08-02,A disaster,,,0.75,\n")
    assert news.score(app) == 1
    (great, _, by), told = kept(app, "score, title, scored_by")
    assert great > 0.5
    assert by == "vader"
    assert told == (0.75, "A disaster", "import")
    assert news.score(app) == 0


def test_nobody_scores_where_nobody_is_set(app, importing):
    importing(f"{HEAD}AAA,2024-08-01,A great success,,,,\n")
    set_to(app, news_scorer="")
    assert news.score(app) == 0
    assert kept(app, "score") == [(None,)]


def test_a_scorer_that_fails_leaves_the_items_without_a_score(app, importing):
    importing(f"{HEAD}AAA,2024-08-01,A great success,,,,\n")
    set_to(app, news_scorer="nobody")
    assert "nobody is not a scorer: news_scorer is one of vader, words" in str(
        news.try_to_score(app)
    )
    assert kept(app, "score") == [(None,)]


STRANGER = '''
class Loud:
    """Scores by capitals: what a stranger may add in a file."""
    name = "loud"
    def __init__(self, option):
        self._most = float(option or 1)
    def scores(self, titles):
        return [self._most if title.isupper() else 0.0 for title in titles]
'''


def test_a_package_adds_a_scorer(app, importing, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    install(tmp_path, "loud", registry.SCORERS, {"loud": "loud:Loud"}, loud=STRANGER)
    importing(f"{HEAD}AAA,2024-08-01,quiet,,,,\nAAA,2024-08-02,LOUD,,,,\n")
    set_to(app, news_scorer="loud:0.5")
    assert news.score(app) == 2
    assert kept(app, "score, scored_by") == [(0.0, "loud"), (0.5, "loud")]


# ---- asked for


@dataclass
class Source:
    """Has what it is told to, by symbol: titles, an error, or an exception of its code."""

    found: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)

    def news(self, requests):
        for request in requests:
            self.asked.append(request.symbol)
            told = self.found.get(request.symbol, ())
            if isinstance(told, ZeroDivisionError):
                raise told
            yield told if isinstance(told, Exception) else self.answer(request, told)

    def answer(self, request: NewsRequest, titles):
        items = tuple(
            NewsItem(symbol=request.symbol, published_at=NOON, title=title, source="feeds")
            for title in titles
        )
        return FetchedNews(symbol=request.symbol, items=items)

    def close(self):
        pass


@pytest.fixture
def source(app):
    set_to(app, news_sources=("feeds",), news_feeds=("http://127.0.0.1:1/{ticker}",))
    app.news_sources["feeds"] = Source()
    return app.news_sources["feeds"]


def test_what_sources_have_is_kept_and_counts_from_when_it_was_seen(app, source):
    source.found = {"AAA": ["a", "b"], "BBB": ["c"]}
    (one,) = news.refresh(app)
    assert (one.asked, one.answered, one.new, one.problems) == (3, 3, 3, {})
    assert str(one) == "feeds: 3 of 3 tickers answered for; 3 news items new"
    assert kept(app, "ticker, title, seen_at, assumed, session") == [
        ("AAA", "a", NOW, False, date(2024, 8, 1)),
        ("AAA", "b", NOW, False, date(2024, 8, 1)),
        ("BBB", "c", NOW, False, date(2024, 8, 1)),
    ]
    app.clock = lambda: NOW + timedelta(days=1)
    (one,) = news.refresh(app, ["AAA"])
    assert (one.asked, one.new, source.asked[3:]) == (1, 0, ["AAA"])


def test_one_that_cannot_be_answered_keeps_no_other_out(app, source):
    gone = ProviderUnavailable(provider="feeds", ticker="AAA", reason="no route")
    source.found = {"AAA": gone, "BBB": ["\0 c"]}
    (one,) = news.refresh(app)
    assert (one.answered, list(one.problems)) == (2, ["AAA"])
    assert "no route" in str(one)
    assert kept(app, "title") == [("\\x00 c",)]


def test_a_mistake_of_a_source_is_told_of_those_it_left(app, source):
    source.found = {"AAA": ["a"], "BBB": ZeroDivisionError("of its own")}
    (one,) = news.refresh(app)
    assert (one.answered, sorted(one.problems)) == (1, ["BBB", "CCC"])
    assert "of its own" in one.problems["CCC"]


def test_a_source_that_nobody_has(app):
    set_to(app, news_sources=("nobody",))
    with pytest.raises(UnknownNewsSource, match="yahoo, alpha_vantage, feeds"):
        news.refresh(app)


@pytest.mark.parametrize(
    ("feeds", "asked", "strangers"),
    [
        (("http://127.0.0.1:1/{ticker}",), ["AAA", "BBB", "CCC"], []),
        (("BBB=http://127.0.0.1:1/", "NOPE=http://127.0.0.1:1/"), ["BBB"], ["NOPE"]),
        (
            ("http://127.0.0.1:1/{ticker}", "NOPE=http://127.0.0.1:1/"),
            ["AAA", "BBB", "CCC"],
            ["NOPE"],
        ),
    ],
)
def test_of_feeds_are_asked_tickers_that_have_one(app, source, feeds, asked, strangers):
    set_to(app, news_feeds=feeds)
    (one,) = news.refresh(app)
    assert (source.asked, one.asked, one.answered) == (asked, len(asked), len(asked))
    assert news.strangers(app) == strangers


@pytest.mark.parametrize("feeds", [(), ("NOPE=http://127.0.0.1:1/",)])
def test_where_no_ticker_has_a_feed_nobody_is_asked(app, feeds):
    set_to(app, news_sources=("feeds",), news_feeds=feeds)
    assert news.refresh(app) == []
    assert registry.kind("feeds").make.__module__ == Feeds.__module__
