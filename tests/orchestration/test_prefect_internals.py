"""That the installed Prefect has what is used of it, and what happens where it does not."""

from __future__ import annotations

import contextvars
import importlib
import signal
import sys
import threading
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from prefect._internal.concurrency import cancellation
from prefect.context import FlowRunContext
from prefect.events.worker import EventsWorker
from prefect.utilities import engine

from prefect_tune.orchestration import prefect_internals as internals

#: What `prefect_internals` uses: module, then the name in it.
USED = (
    "prefect._internal.compatibility.async_dispatch:async_dispatch",
    "prefect._internal.concurrency.cancellation:_get_thread_shield",
    "prefect._internal.control_listener:get_intent",
    "prefect.context:FlowRunContext.__var__",
    "prefect.context:FlowRunContext.model_fields.flow_run_suspension_request",
    "prefect.events.worker:EventsWorker._instances",
    "prefect.server.api.server:SubprocessASGIServer._instances",
    "prefect.transactions:BaseTransaction.__var__",
    "prefect.utilities.engine:_prefect_sigterm_bridge_lock",
    "prefect.utilities.engine:_prefect_sigterm_handler",
)


def missing() -> list[str]:
    """The names of `USED` that the installed Prefect does not have."""
    return [name for name in USED if not _exists(name)]


def _exists(name: str) -> bool:
    module, _, attributes = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for attribute in attributes.split("."):
            in_dict = isinstance(found, dict)
            found = found[attribute] if in_dict else getattr(found, attribute)
    except (ImportError, AttributeError, KeyError):
        return False
    return True


@pytest.mark.parametrize("name", USED)
def test_the_installed_prefect_has(name: str) -> None:
    assert name not in missing()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(engine, "_prefect_sigterm_handler")
    assert missing() == ["prefect.utilities.engine:_prefect_sigterm_handler"]


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have a module of Prefect not be there."""

    def remove(module: str) -> None:
        package, _, name = module.rpartition(".")
        monkeypatch.setitem(sys.modules, module, None)
        monkeypatch.delattr(sys.modules[package], name, raising=False)

    return remove


def test_without_its_dispatch_methods_are_as_they_were_written(without: Any) -> None:
    without("prefect._internal.compatibility.async_dispatch")

    async def aread() -> int:
        return 1

    def read() -> int:
        return 2

    assert internals.async_dispatch(aread)(read) is read


def test_without_its_listener_nothing_is_announced(without: Any) -> None:
    assert internals.announced_intent() is None
    without("prefect._internal.control_listener")
    assert internals.announced_intent() is None


@pytest.mark.parametrize("is_there", [True, False])
def test_its_sigterm_handler(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    if not is_there:
        monkeypatch.delattr(engine, "_prefect_sigterm_handler")
    before = getattr(engine, "_prefect_sigterm_handler", None)
    with internals.as_prefects_handler(signal.default_int_handler):
        now = getattr(engine, "_prefect_sigterm_handler", None)
        assert now is (signal.default_int_handler if is_there else None)
    assert getattr(engine, "_prefect_sigterm_handler", None) is before


@pytest.mark.parametrize("is_there", [True, False])
def test_its_server(monkeypatch: pytest.MonkeyPatch, is_there: bool) -> None:
    from prefect.server.api import server  # takes seconds

    running = SimpleNamespace(running=True, api_url="http://127.0.0.1:1/api")
    monkeypatch.setattr(server.SubprocessASGIServer, "_instances", {1: running})
    if not is_there:
        monkeypatch.delattr(server, "SubprocessASGIServer")
    assert internals.server_of_prefect() == (running.api_url if is_there else None)


def test_senders_that_cannot_be_found_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EventsWorker, "_instances", {1: SimpleNamespace()})
    assert internals.cancel_senders() == 0


def test_a_context_is_set_elsewhere_alone() -> None:
    context, value = contextvars.copy_context(), object()
    internals.set_context(context, FlowRunContext, value)
    assert context.run(FlowRunContext.get) is value
    assert FlowRunContext.get() is None
    internals.set_context(context, object, value)  # has no variable


def test_a_context_that_knows_no_suspension_stays_itself() -> None:
    context = SimpleNamespace()
    assert internals.suspension_request(context) is None
    assert internals.without_suspension(context) is context


def test_a_shield_holds_an_exception_back(without: Any) -> None:
    shield = internals.TimeoutDelay()
    found = []

    def guarded() -> None:
        with shield:
            found.append(shield.holds_back)
            of_prefect = cancellation._get_thread_shield(threading.current_thread())
            of_prefect.set_exception(TimeoutError())
            found.append(shield.holds_back)

    with pytest.raises(TimeoutError):
        guarded()
    assert found == [False, True]
    without("prefect._internal.concurrency.cancellation")
    with internals.TimeoutDelay() as nothing:
        assert nothing is None
    assert not internals.TimeoutDelay().holds_back


def test_a_runner_that_does_not_show_its_end_has_none() -> None:
    assert internals.is_told_to_end(SimpleNamespace(_started=False), None)
    assert not internals.is_told_to_end(SimpleNamespace(), uuid4())
