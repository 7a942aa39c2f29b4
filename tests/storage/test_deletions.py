from __future__ import annotations

import threading
from typing import Any

import pytest

from prefect_tune.error import StorageError
from prefect_tune.storage.deletions import Deletions


class Place:
    """Where checkpoints are deleted, in whatever way a test wants it."""

    def __init__(self, delete: Any) -> None:
        self._delete = delete
        self.gone: set[str] = set()

    def delete(self, rel: str) -> None:
        self._delete(rel)
        self.gone.add(rel)

    def url(self, rel: str) -> str:
        return f"memory://x/{rel}"


def begun(place: Place) -> Deletions:
    deletions = Deletions([place])  # type: ignore[list-item]
    deletions.start()
    return deletions


def test_several_are_deleted_at_once() -> None:
    together = threading.Barrier(3)
    place = Place(lambda rel: together.wait(30))
    deletions = Deletions([place])  # type: ignore[list-item]
    for rel in "abc":
        deletions.delete(rel)
    deletions.start()
    deletions.close(60)
    assert place.gone == set("abc")


@pytest.mark.parametrize("error", [StorageError("read-only."), ValueError("a bug")])
def test_one_that_fails_does_not_keep_the_others(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def delete(rel: str) -> None:
        if rel == "bad":
            raise error

    place = Place(delete)
    deletions = begun(place)
    for rel in ("bad", "good"):
        deletions.delete(rel)
    deletions.close(60)
    assert place.gone == {"good"}
    assert "stays" in caplog.text


def test_those_that_take_long_are_waited_for_as_long_as_some_are_deleted() -> None:
    slow = threading.Event()
    place = Place(lambda rel: slow.wait(0.05))
    deletions = begun(place)
    for number in range(200):
        deletions.delete(f"{number}")
    deletions.close(0.7)
    assert len(place.gone) == 200


def test_it_ends_although_there_is_nothing_to_do_or_it_never_began() -> None:
    deletions = begun(Place(lambda rel: None))
    deletions.close(60)
    never = Deletions([])
    never.delete("a")
    never.close(10**6)
