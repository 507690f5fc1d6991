import threading

import pytest

from stockbatch.providers.pacing import Pauses, TokenBucket


class Clock:
    """Time that passes only while somebody waits; it stands for the stop event, too."""

    def __init__(self):
        self.now = 1000.0
        self.waits = []

    def __call__(self):
        return self.now

    def wait(self, seconds):
        self.waits.append(seconds)
        self.now += seconds

    def is_set(self):
        return False


@pytest.fixture
def clock():
    return Clock()


def pauses(clock, patience, **options):
    return Pauses("yahoo", patience, clock, clock=clock, **options)


def test_tokens_are_evenly_spaced(clock):
    bucket = TokenBucket(4, clock=clock, sleep=clock.wait)
    for _ in range(5):
        bucket.take()
    assert clock.waits == [0.25] * 4
    clock.now += 10  # idle time saves up nothing
    bucket.take()
    bucket.take()
    assert clock.waits == [0.25] * 5


def test_threads_share_the_tokens(clock):
    slept = []
    bucket = TokenBucket(2, clock=clock, sleep=slept.append)  # all come in the same instant
    threads = [threading.Thread(target=bucket.take) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == [0.5, 1.0, 1.5, 2.0]


def test_pauses_double_up_to_half_an_hour_until_patience_ends(clock):
    held = pauses(clock, 7200)
    lengths = []
    while not held.exhausted:
        before = clock.now
        held.begin(held.wait())
        lengths.append(clock.now - before)
    assert lengths == [0, 60, 120, 240, 480, 960, 1800, 1800, 1740]


def test_who_waits_says_every_minute_that_it_is_not_stuck(clock):
    said = []
    held = pauses(clock, 7200, first=600.0, waiting=lambda: said.append(clock.now))
    held.begin(held.wait())
    held.wait()
    assert said == [1060.0 + 60 * minute for minute in range(10)]
    said.clear()
    bucket = TokenBucket(
        1 / 1000, clock=clock, sleep=clock.wait, waiting=lambda: said.append(clock.now)
    )
    bucket.take()
    bucket.take()
    assert len(said) == 17
    assert clock.waits[-1] == 40


def test_requests_under_way_do_not_prolong_a_pause(clock):
    held = pauses(clock, 7200)
    known = held.wait()
    for _ in range(4):  # four workers are refused for what they asked at the same time
        held.begin(known)
    held.wait()
    assert clock.waits == [60]
    held.begin(known)
    assert held.wait() == 1
    assert not held.exhausted


def test_without_patience_there_is_no_pause(clock):
    held = pauses(clock, 0)
    held.begin(held.wait())
    assert held.exhausted
    held.wait()
    assert clock.waits == []


def test_stopping_ends_a_pause():
    stopped = threading.Event()
    held = Pauses("yahoo", 7200, stopped)
    held.begin(held.wait())
    threading.Timer(0.05, stopped.set).start()
    waiting = threading.Thread(target=held.wait)
    waiting.start()
    waiting.join(5)
    assert not waiting.is_alive()


def test_a_pause_is_logged(clock, caplog):
    pauses(clock, 7200).begin(0)
    assert caplog.messages == ["yahoo refuses: too many requests; asking again in 60 s"]
