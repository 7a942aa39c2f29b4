"""The thread of the search."""

from __future__ import annotations

import threading

import pytest

from prefect_tune.coordinator.commands import AskSearch
from prefect_tune.engine.search_feed import SearchFeed
from prefect_tune.search.source import FINISHED


class Source:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.let_go = threading.Event()

    def __repr__(self) -> str:
        return "Source()"

    def save_state(self) -> bytes:
        return b""

    def next(self) -> object:
        self.asked.set()
        assert self.let_go.wait(30)
        return FINISHED


@pytest.mark.parametrize("hangs", [True, False])
def test_a_search_that_is_left_behind_is_named(caplog, hangs):
    source = Source()
    events: list[object] = []
    feed = SearchFeed(source, None, events.append, events.append)
    feed.start()
    feed.put(AskSearch(1))
    assert source.asked.wait(30)
    if not hangs:
        source.let_go.set()
    feed.close(0.05 if hangs else 30)
    source.let_go.set()
    assert ("Source() has not come back" in caplog.text) == hangs
