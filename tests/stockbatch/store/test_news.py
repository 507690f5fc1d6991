"""News are kept once, with when they could be known; no session knows what came later."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text

from stockbatch.market import news as known
from stockbatch.records import NewsItem
from stockbatch.store import bi, news, retention
from tests.support.ledger import listed, opened, rows
from tests.support.market import NOW, ORIGIN, calendar, session

FIRST, LAST = -20, 20
DAYS = np.array([session(n) for n in range(FIRST, LAST + 1)], dtype="datetime64[D]")
LONG_AFTER = datetime(2024, 11, 4, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def close(offset=0):
    return calendar().close(session(offset))


def item(published_at, title="Some news", ticker="AAA", **more):
    return NewsItem(
        symbol=ticker,
        published_at=published_at,
        title=title,
        source=more.pop("source", "x"),
        **more,
    )


def kept(db, columns="title, score, scored_by"):
    return [tuple(row.values()) for row in rows(db, f"SELECT {columns} FROM stockbatch.news")]


def at(matrix, row=0):
    """Return by offset of the session what is not 0."""
    return {int(i) + FIRST: matrix[row][i] for i in np.flatnonzero(matrix[row])}


class TestRecord:
    def test_the_first_score_stays_whoever_scores_again(self, db, one):
        url = "https://example.com/a"
        first = item(close(), url=url, score=0.5, scored_by="v", source="v", relevance=0.9)
        assert news.record(db, [one], [first], LONG_AFTER) == (1, 0, 0)
        again = item(close() + MINUTE, "Other words", url=url, score=-1.0, scored_by="w")
        assert news.record(db, [one], [again, again], LONG_AFTER) == (0, 2, 0)
        assert kept(db, "title, url, score, scored_by, source, relevance") == [
            ("Some news", url, 0.5, "v", "v", 0.9)
        ]

    def test_the_same_item_is_one_row_per_ticker(self, db):
        both = listed(db, "AAA", "BBB")
        found = [item(close(), ticker=one.ticker, url="https://e.com/a") for one in both]
        assert news.record(db, both, [*found, *found], LONG_AFTER) == (2, 2, 0)

    def test_without_a_url_instant_and_title_tell_items_apart(self, db, one):
        told = [item(close()), item(close()), item(close() + MINUTE), item(close(), "Other")]
        assert news.record(db, [one], told, LONG_AFTER) == (3, 1, 0)

    def test_what_is_dated_ahead_is_one_item_however_often_it_comes(self, db, one):
        ahead = item(close(1))
        assert news.record(db, [one], [ahead], close()) == (1, 0, 0)
        assert news.record(db, [one], [ahead], close() + MINUTE) == (0, 1, 0)
        assert kept(db, "published_at, seen_at") == [(close(), close())]

    @pytest.mark.parametrize(
        "url",
        [
            "javascript:alert(1)",
            "ftp://example.com/",
            "https://e.com/" + "a" * 5000,
            "https://e.com/\u202efdp",
            "https://e.com/ b",
            "",
        ],
    )
    def test_what_a_browser_should_not_be_sent_to_is_no_url(self, db, one, url):
        news.record(db, [one], [item(close(), url=url)], LONG_AFTER)
        assert kept(db, "url") == [(None,)]

    @pytest.mark.parametrize(
        ("title", "stored"),
        [
            ("<script>alert(1)</script>", "<script>alert(1)</script>"),
            ("=HYPERLINK(1)", "=HYPERLINK(1)"),
            ("up \u202e10 %", "up \\u202e10 %"),
            (" two\nlines\t\x1b[2J\0", "two lines \\x1b[2J\\x00"),
            ("m" * 2**20, "m" * 499 + "…"),
            ("\u202e" * 2**20, ("\\u202e" * 100)[:499] + "…"),
        ],
    )
    def test_a_hostile_title_is_one_line_of_text(self, db, one, title, stored):
        news.record(db, [one], [item(close(), title)], LONG_AFTER)
        assert kept(db, "title") == [(stored,)]

    def test_nothing_is_published_after_it_was_seen(self, db, one):
        news.record(db, [one], [item(close(9)), item(close(-1), "b")], close())
        found = kept(db, "published_at, seen_at, session")
        assert found == [(close(), close(), ORIGIN), (close(-1), close(), session(-1))]

    def test_what_no_calendar_reaches_is_told(self, db, one):
        old = item(datetime(1066, 10, 14, tzinfo=UTC))
        assert news.record(db, [one], [old], LONG_AFTER) == (0, 0, 1)

    def test_the_database_says_when_a_row_came(self, db, one):
        before = db.scalar(text("SELECT clock_timestamp()"))
        news.record(db, [one], [item(close())], LONG_AFTER)
        assert kept(db, "recorded_at")[0][0] >= before

    def test_what_has_no_score_is_scored_once(self, db, one):
        told = [item(close(), "bad"), item(close(), "x", score=0.25, scored_by="v")]
        news.record(db, [one], told, LONG_AFTER)
        assert news.unscored(db) == 1
        assert news.score(db, "words", lambda titles: [-7.0 for _ in titles]) == 1
        assert news.score(db, "other", lambda titles: [0.0 for _ in titles]) == 0
        assert sorted(kept(db)) == [("bad", -1.0, "words"), ("x", 0.25, "v")]

    def test_old_items_may_go(self, db, one):
        news.record(db, [one], [item(close()), item(close(-3), "old")], LONG_AFTER)
        assert retention.drop_news(db, close(-1)) == 1
        assert kept(db, "title") == [("Some news",)]


# ---- what each session knew


def load(db, one, **options):
    return news.load(db, one, DAYS, calendar(), **options)


def test_an_item_counts_for_the_session_by_whose_close_it_was_published(db, one):
    published = [close(), close() + timedelta(microseconds=1), close(1), close(2) - MINUTE]
    told = [item(instant, str(n), score=0.5, scored_by="v") for n, instant in enumerate(published)]
    news.record(db, [one], told[:1], close())
    for one_item in told[1:]:
        news.record(db, [one], [one_item], one_item.published_at)
    found = load(db, [one])
    assert at(found.items) == {0: 1, 1: 2, 2: 1}
    assert at(found.scored) == {0: 1, 1: 2, 2: 1}
    assert at(found.total) == {0: 0.5, 1: 1.0, 2: 0.5}


def test_what_was_published_over_a_weekend_is_of_the_next_session(db, one):
    friday = close(4)
    news.record(db, [one], [item(friday + timedelta(days=1))], friday + timedelta(days=1))
    assert at(load(db, [one]).items) == {5: 1}


def test_what_was_seen_after_the_deadline_counts_for_nobody(db, one):
    deadline = calendar().deadline(session(1))
    news.record(db, [one], [item(close(), "in time")], deadline - MINUTE)
    news.record(db, [one], [item(close(), "late")], deadline)
    assert at(load(db, [one]).items) == {0: 1}


def test_what_was_seen_after_the_first_run_began_counts_for_nobody(db, one):
    opened(db)
    begun = close() + timedelta(hours=1)
    db.execute(text("UPDATE stockbatch.runs SET started_at = :at"), {"at": begun})
    news.record(db, [one], [item(close(), "before")], begun - MINUTE)
    news.record(db, [one], [item(close(), "after")], begun)
    assert at(load(db, [one]).items) == {0: 1}


def test_imported_history_counts_by_publication_and_is_marked(db, one):
    told = [item(close(), "old"), item(LONG_AFTER - MINUTE, "fresh")]
    news.record(db, [one], told, LONG_AFTER, history=True)
    assert sorted(kept(db, "title, assumed")) == [("fresh", False), ("old", True)]
    assert at(load(db, [one]).items) == {0: 1}


def test_what_a_source_brings_late_is_no_history(db, one):
    news.record(db, [one], [item(close())], LONG_AFTER)
    assert kept(db, "assumed") == [(False,)]
    assert at(load(db, [one]).items) == {}


def test_a_replay_sees_what_its_run_saw(db, one):
    days = DAYS[:-LAST]
    news.record(db, [one], [item(close())], LONG_AFTER, history=True)
    # the run begins after what is there, and before what comes then
    opened(db)
    db.execute(text("UPDATE stockbatch.runs SET started_at = clock_timestamp()"))
    news.record(db, [one], [item(close(), "imported later")], LONG_AFTER, history=True)
    replayed = news.load(db, [one], days, calendar())
    assert at(replayed.items) == {0: 1}
    assert at(news.load(db, [one], days, calendar(), as_run=False).items) == {0: 2}


HOURS = st.integers(0, 40 * 24)
ITEM = st.tuples(HOURS, HOURS, st.floats(-1, 1), st.booleans())
BEGINNING = calendar().close(session(FIRST))


def arrays(told):
    """Return items as the store reads them: published at an hour, seen some hours later."""
    seen = [BEGINNING + timedelta(hours=p + d) for p, d, _, _ in told]
    days = [calendar().closing_after(BEGINNING + timedelta(hours=p)) for p, _, _, _ in told]
    return known.Items(
        row=np.zeros(len(told), np.intp),
        session=np.array(days, dtype="datetime64[D]"),
        assumed=np.zeros(len(told), bool),
        seen_at=np.array([instant.timestamp() for instant in seen]),
        score=np.array([score if scored else np.nan for _, _, score, scored in told]),
    )


CUTS = np.array([calendar().deadline(calendar().next(day)).timestamp() for day in DAYS.tolist()])


@given(st.lists(ITEM, max_size=20), st.lists(ITEM, max_size=20), st.integers(0, len(DAYS) - 1))
def test_what_becomes_known_later_changes_nothing_earlier(told, more, place):
    # whatever of `more` was seen by the cut of a session may matter to it, and nothing else does
    later = [one for one in more if arrays([one]).seen_at[0] >= CUTS[place]]
    before = known.counted(arrays(told), DAYS, CUTS, 1)
    after = known.counted(arrays(told + later), DAYS, CUTS, 1)
    for name in ("items", "scored", "total"):
        upto = slice(None, place + 1)
        assert np.array_equal(getattr(before, name)[0, upto], getattr(after, name)[0, upto])


@given(st.lists(ITEM, max_size=20))
def test_each_item_counts_once_at_most_as_a_plain_loop_says(told):
    found = known.counted(arrays(told), DAYS, CUTS, 1)
    expected = np.zeros((2, len(DAYS)))
    for published, delay, score, scored in told:
        instant = BEGINNING + timedelta(hours=published)
        for column, day in enumerate(DAYS.tolist()):
            opens = calendar().close(calendar().previous(day)) if column else None
            inside = instant <= calendar().close(day) and (opens is None or instant > opens)
            seen = (instant + timedelta(hours=delay)).timestamp()
            if inside and seen < CUTS[column]:
                expected[0, column] += 1
                expected[1, column] += score if scored else 0.0
    assert np.array_equal(found.items[0], expected[0])
    assert np.allclose(found.total[0], expected[1], atol=1e-12)


# ---- seen by people


def test_sentiment_is_told_against_what_is_usual(db, one):
    scores = {}
    for offset in range(-60, 0):
        for n in range(2 if offset % 2 else 0):
            score = 0.1 * n + (offset % 4) / 10 - 0.2
            scores[offset, n] = score
            told = item(close(offset), f"{offset} {n}", score=score, scored_by="v")
            news.record(db, [one], [told], LONG_AFTER)
    for n, score in enumerate((-0.9, -0.8, -0.7, None)):
        by = None if score is None else "v"
        news.record(db, [one], [item(close(), f"today {n}", score=score, scored_by=by)], LONG_AFTER)
    found = bi.news.sentiment(db, "AAA").rows()
    assert [row["items"] for row in found] == [2] * 30 + [4]
    assert [row["usual_items"] is None for row in found[:11]] == [True] * 10 + [False]
    last, usual = found[-1], np.array(list(scores.values()))
    assert last["usual_items"] == pytest.approx(60 / 59)  # of the first session on
    assert last["mean_score"] == pytest.approx(-0.8)
    assert last["score_spread"] == pytest.approx(0.1)
    assert last["usual_score"] == pytest.approx(usual.mean())
    assert last["items_ratio"] == pytest.approx(4 / (60 / 59))
    deviation = (-0.8 - usual.mean()) * np.sqrt(3) / usual.std(ddof=1)
    assert last["score_deviation"] == pytest.approx(deviation)
    assert [row["is_unusual"] for row in found] == [False] * 30 + [True]
    (unusual,) = bi.news.unusual(db, session(-5)).rows()
    assert (unusual["ticker"], unusual["session"]) == ("AAA", ORIGIN)
    assert bi.news.unusual(db, session(1)).rows() == []


def test_the_newest_come_first(db):
    both = listed(db, "AAA", "BBB")
    told = [item(close(n), f"{n}", ticker) for n in range(3) for ticker in ("AAA", "BBB")]
    news.record(db, both, told, NOW)
    found = bi.news.newest(db, "AAA", 2).rows()
    assert [(row["ticker"], row["title"]) for row in found] == [("AAA", "2"), ("AAA", "1")]
    assert len(bi.news.newest(db, None, 100).values) == 6
    (row,) = rows(db, "SELECT * FROM bi.news WHERE ticker = 'AAA' AND title = '2'")
    expected = {"session": session(2), "session_close_at": close(2), "is_demo": False}
    expected |= {"seen_at": NOW, "is_assumed": False, "source": "x", "scored_by": None}
    assert row | expected == row
