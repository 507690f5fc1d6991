"""Feeds from a loopback server."""

import socket
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from stockbatch.config import Settings, load
from stockbatch.events.base import SourceSetup
from stockbatch.exceptions import BadAnswer, ConfigurationError, ProviderUnavailable, RateLimited
from stockbatch.news import feeds as feeds_module
from stockbatch.news.base import NewsRequest
from stockbatch.news.feeds import Feeds, urls_of
from stockbatch.records import NewsItem
from tests.support.loopback import Reply, serving

RSS = """<?xml version="1.0"?><rss version="2.0"><channel><title>News</title>
<item><title>Up &amp; away</title><link>https://e.com/1</link>
<pubDate>Fri, 14 Jun 2024 08:00:00 -0400</pubDate><description>a long text</description></item>
<item><title>No date</title><link>https://e.com/2</link></item>
<item><pubDate>Fri, 14 Jun 2024 12:00:00 GMT</pubDate></item>
</channel></rss>"""
ATOM = """<?xml version="1.0"?><feed xmlns="http://www.w3.org/2005/Atom"><title>News</title>
<entry><title>Down</title><link href="https://e.com/3"/><updated>2024-06-14T12:00:00Z</updated>
</entry></feed>"""
NOON = datetime(2024, 6, 14, 12, tzinfo=UTC)


@pytest.fixture
def replies():
    return {}


@pytest.fixture
def ask(replies, tmp_path):
    asked = []

    def answer(path):
        asked.append(path)
        return replies.get(path, Reply("not here", 404))

    with serving(answer) as port:

        def do(*tickers, feeds=("{}/{{ticker}}.xml",)):
            named = tuple(feed.format(f"http://127.0.0.1:{port}") for feed in feeds)
            setup = SourceSetup(settings=Settings(home=tmp_path, news_feeds=named))
            source = Feeds(setup, rate=1e6, timeout=5)
            try:
                return list(source.news([NewsRequest(symbol=ticker) for ticker in tickers]))
            finally:
                source.close()

        do.asked = asked
        yield do


def test_rss_and_atom(ask, replies):
    replies |= {"/AAA.xml": Reply(RSS, kind="text/xml"), "/own": Reply(ATOM, kind="text/xml")}
    found = ask("AAA", "BBB", feeds=("AAA={}/AAA.xml", "BBB={}/own"))
    rss, atom = (one.items for one in found)
    item = {"published_at": NOON, "source": "feeds"}
    assert rss == (NewsItem(symbol="AAA", title="Up & away", url="https://e.com/1", **item),)
    assert atom == (NewsItem(symbol="BBB", title="Down", url="https://e.com/3", **item),)


def test_a_ticker_has_its_feeds_and_those_of_all(ask, replies):
    replies |= {"/%5EGSPC.xml": Reply(RSS), "/own": Reply(ATOM)}
    (one,) = ask("^GSPC", feeds=("{}/{{ticker}}.xml", "^GSPC={}/own", "BBB={}/other"))
    assert [item.title for item in one.items] == ["Up & away", "Down"]
    (none,) = ask("CCC", feeds=("BBB={}/other",))
    assert none.items == ()
    assert urls_of(["https://e.com/?a=1&t={ticker}"], "A&B") == ["https://e.com/?a=1&t=A%26B"]


def test_hostile_titles_come_as_text(ask, replies):
    titles = "&lt;img src=x onerror=alert(1)&gt;", "=1+1", "\u202egnp", "m" * 2**20
    stamp = "<pubDate>Fri, 14 Jun 2024 12:00:00 GMT</pubDate>"
    items = "".join(f"<item><title>{title}</title>{stamp}</item>" for title in titles)
    replies["/AAA.xml"] = Reply(f'<rss version="2.0"><channel>{items}</channel></rss>')
    (one,) = ask("AAA")
    found = [item.title for item in one.items]
    assert "onerror" not in found[0] or found[0].startswith("<img")
    assert found[-3:] == ["=1+1", "\u202egnp", "m" * 2**20]


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (Reply("not here", 404), ProviderUnavailable, "HTTP status 404"),
        (Reply("slow down", 429), RateLimited, "too many requests"),
        (Reply("<html><p>sorry</p></html>"), BadAnswer, "is no RSS or Atom feed"),
        (Reply(""), BadAnswer, "is no RSS or Atom feed"),
        (Reply("/etc/passwd"), BadAnswer, "is no RSS or Atom feed"),
        (Reply("http://127.0.0.1:1/"), BadAnswer, "is no RSS or Atom feed"),
    ],
)
def test_what_is_no_feed_is_an_error_of_its_ticker(ask, replies, reply, kind, words):
    replies |= {"/BAD.xml": reply, "/AAA.xml": Reply(RSS)}
    bad, *_ = ask("BAD", "AAA")
    assert type(bad) is kind
    assert bad.values["ticker"] == "BAD"
    assert words in str(bad)


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply("not here", 404), "/BAD.xml: HTTP status 404"),
        (Reply("<html><p>sorry</p></html>"), "/BAD.xml is no RSS or Atom feed"),
        (Reply("x" * 2000), "/BAD.xml has more than 0 MiB"),
        (None, "/BAD.xml: ConnectionError: "),
    ],
)
def test_no_error_tells_what_is_secret_in_an_address(tmp_path, monkeypatch, reply, words):
    monkeypatch.setattr(feeds_module, "LARGEST", 1000)
    with serving(lambda path: reply) as port:
        where = f"127.0.0.1:{port if reply else 1}"
        feed = f"http://me:s3cr3t@{where}/{{ticker}}.xml?apikey=s3cr3t"
        source = Feeds(SourceSetup(settings=Settings(home=tmp_path, news_feeds=(feed,))))
        (bad,) = source.news([NewsRequest(symbol="BAD")])
        source.close()
    assert f"http://…@{where}{words}" in str(bad)
    assert "s3cr3t" not in str(bad)


def test_a_bomb_of_entities_is_harmless(ask, replies):
    layers = "".join(f'<!ENTITY a{n + 1} "{f"&a{n};" * 10}">' for n in range(9))
    text = f'<?xml version="1.0"?><!DOCTYPE rss [<!ENTITY a0 "x">{layers}]>'
    text += RSS.partition("?>")[2].replace("Up &amp; away", "&a9;")
    replies["/AAA.xml"] = Reply(text)
    (one,) = ask("AAA")
    assert all(len(item.title) < 1000 for item in getattr(one, "items", ()))


def test_more_than_a_feed_can_be_is_not_read_to_its_end(ask, replies, monkeypatch):
    monkeypatch.setattr(feeds_module, "LARGEST", 1000)
    replies["/AAA.xml"] = Reply(RSS + " " * 1000)
    (bad,) = ask("AAA")
    assert type(bad) is BadAnswer


@contextmanager
def trickling(start):
    """Serve `start`, then a byte each twentieth of a second for ten seconds; yield the port."""
    over = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            connection.recv(10_000)
            connection.sendall(start)
            for _ in range(200):
                if over.wait(0.05):
                    return
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        over.set()
        thread.join()


@pytest.mark.parametrize(
    "start", [b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n", b"HTTP/1.1 200 OK\r\nName: "]
)
def test_a_server_that_sends_a_byte_now_and_then_holds_nobody(tmp_path, start):
    with trickling(start) as port:
        feed = f"http://127.0.0.1:{port}/{{ticker}}"
        source = Feeds(
            SourceSetup(settings=Settings(home=tmp_path, news_feeds=(feed,))), timeout=0.5
        )
        begun = time.monotonic()
        (bad,) = source.news([NewsRequest(symbol="AAA")])
        source.close()
    assert time.monotonic() - begun < 5
    assert type(bad) is ProviderUnavailable
    assert "imed out" in str(bad)


@pytest.mark.parametrize(
    "feed", ["https://e.com/all.xml", "ftp://e.com/{ticker}", "AAA=e.com", "{ticker}"]
)
def test_a_feed_of_nobody_is_refused(tmp_path, feed):
    with pytest.raises(ValidationError, match=r"URL|ticker"):
        Settings(home=tmp_path, news_feeds=(feed,))


def test_nor_does_what_refuses_an_address(tmp_path):
    with pytest.raises(ConfigurationError) as refused:
        load(home=tmp_path, news_feeds=("https://me:s3cr3t@e.com/all.xml?key=s3cr3t",))
    assert "https://…@e.com/all.xml' names no ticker" in str(refused.value)
    assert "s3cr3t" not in str(refused.value)
