"""Parsing source in several threads at once."""

from __future__ import annotations

import ast
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator

import pytest

import prefect_tune
from prefect_tune import parse_lock

assert prefect_tune.__version__  # importing the package installs the lock
SOURCE = "\n".join(f"def f{n}(a):\n    return [a + {n}, (a * ({n} - a))]" for n in range(60))


@pytest.fixture
def busy_collector() -> Iterator[None]:
    """Garbage collections are frequent and let other threads run, as with Dask's callbacks."""

    def let_others_run(phase: str, info: object) -> None:
        sum(range(50))

    threshold, interval = gc.get_threshold(), sys.getswitchinterval()
    gc.callbacks.append(let_others_run)
    gc.set_threshold(50)
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)
    gc.set_threshold(*threshold)
    gc.callbacks.remove(let_others_run)


@pytest.mark.parametrize(
    "parse",
    [
        lambda: ast.parse(SOURCE),
        lambda: ast.literal_eval(f"[{'(1, [2]), ' * 300}]"),
    ],
    ids=["parse", "literal_eval"],
)
def test_threads_parse_at_the_same_time(busy_collector: None, parse: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def parse_often() -> None:
        try:
            for _ in range(20):
                parse()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=parse_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.skipif(not parse_lock.is_needed(), reason="this Python parses in threads")
def test_a_process_forked_while_a_thread_parses_can_parse() -> None:
    parsing, forked = threading.Event(), threading.Event()

    def hold(phase: str, info: object) -> None:
        if threading.current_thread().name == "parser":
            parsing.set()
            forked.wait(60)

    gc.callbacks.append(hold)
    thread = threading.Thread(target=ast.parse, args=((SOURCE + "\n") * 20,), name="parser")
    try:
        thread.start()
        assert parsing.wait(60)
        pid = os.fork()
        if not pid:
            signal.alarm(20)  # ends a child that waits for ever
            ast.parse("1 + 1")
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        forked.set()
        thread.join()
        gc.callbacks.remove(hold)
