"""Events arrive in order, and an error does not overtake them."""

from __future__ import annotations

import pytest

from prefect_tune.coordinator.events import Tick
from prefect_tune.engine.inbox import Inbox
from prefect_tune.error import ClusterError


def test_what_came_before_an_error_is_not_lost():
    inbox = Inbox()
    inbox.put(Tick(1.0))
    inbox.put(Tick(2.0))
    inbox.fail(ClusterError("the scheduler is gone"))
    inbox.put(Tick(3.0))
    assert inbox.take(0) == [Tick(1.0), Tick(2.0)]
    with pytest.raises(ClusterError):
        inbox.take(0)
    assert inbox.take(0) == [Tick(3.0)]
