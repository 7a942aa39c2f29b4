"""How much the driver's memory grows while trials report faster than a callback takes it in."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

import psutil

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.subject import Values


def flood(config: dict[str, Any]) -> None:
    step, end = 0, time.monotonic() + config["seconds"]
    while time.monotonic() < end:
        tune.report({"score": step})
        step += 1


class _Slow(tune.Callback):
    """Takes 2 ms for each result; `warm` once everything that a run needs is there."""

    def __init__(self) -> None:
        self.warm = threading.Event()
        self._left = 500

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        time.sleep(0.002)
        self._left -= 1
        if self._left == 0:
            self.warm.set()


def measure(*, seconds: float) -> Values:
    """Flood a callback that takes 2 ms for each result, and compare the halves of the run.

    Args:
        seconds: How long the trial reports.
    """
    sizes: list[int] = []
    over = threading.Event()

    slow = _Slow()

    def watch() -> None:
        slow.warm.wait()
        while not over.wait(0.25):
            sizes.append(psutil.Process().memory_info().rss)

    watcher = threading.Thread(target=watch)
    tune.init(num_cpus=1)
    watcher.start()
    try:
        tune.run(
            flood,
            config={"seconds": seconds},
            storage_path=tempfile.mkdtemp(),
            callbacks=[slow],
            verbose=0,
            orchestrate=False,
        )
    finally:
        slow.warm.set()
        over.set()
        watcher.join()
        tune.shutdown()
    # The bounded queues fill in the first half.
    half = len(sizes) // 2
    return {"growth_mb": (max(sizes[half:]) - max(sizes[:half])) / 1e6}


def rows(bench: Bench) -> Iterator[Row]:
    ours = bench.ours("driver_memory", seconds=bench.size(30, quick=9))
    yield from compare(
        "driver's memory while a callback is too slow", "growth_mb", " MB", ours, [], better="lower"
    )
