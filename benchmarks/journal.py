"""What the journal costs: bytes and CPU time per result, and how far storage lags behind."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeVar
from unittest.mock import patch

import psutil

import prefect_tune as tune
from benchmarks.measure import Bench, Row, compare
from benchmarks.object_store import running, services
from benchmarks.subject import Values, percentile
from prefect_tune.coordinator.events import Event
from prefect_tune.coordinator.records import encode_event
from prefect_tune.engine import engine
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.journal.shipper import Shipment

T = TypeVar("T")

STORAGE_THREAD = "fsspecIO"
"""The thread of this process on which fsspec makes all requests."""


def stream(config: dict[str, Any]) -> None:
    for step in range(config["results"]):
        if config["pause_s"]:
            time.sleep(config["pause_s"])
        tune.report({"score": step})


class _Costs(tune.Callback):
    """Watches journal and shipper at work.

    CPU time rather than time on the clock: others that use the machine do not count.
    """

    def __init__(self) -> None:
        self.encode_s = self.append_s = self.ship_s = 0.0
        self.appended: list[tuple[float, int]] = []
        self.shipped: list[tuple[float, int]] = []
        self.first: tuple[float, float] | None = None

    def on_trial_result(self, *args: Any, **info: Any) -> None:
        self.first = self.first or (time.perf_counter(), time.thread_time())

    def install(self, stack: ExitStack) -> None:
        """Stand in for the three functions until the stack is left."""
        append, step = LocalJournal.append, Shipment.step

        def timed_encode(event: Event) -> bytes:
            record, seconds = _cpu(lambda: encode_event(event))
            self.encode_s += seconds
            return record

        def timed_append(journal: LocalJournal, records: Any) -> None:
            self.append_s += _cpu(lambda: append(journal, records))[1]
            self.appended.append((time.perf_counter(), journal.path.stat().st_size))

        def timed_step(shipment: Shipment) -> bool:
            more, seconds = _cpu(lambda: step(shipment))
            self.ship_s += seconds
            self.shipped.append((time.perf_counter(), shipment.position))
            return more

        for owner, name, stand_in in (
            (engine, "encode_event", timed_encode),
            (LocalJournal, "append", timed_append),
            (Shipment, "step", timed_step),
        ):
            stack.enter_context(patch.object(owner, name, stand_in))


def _cpu(call: Callable[[], T]) -> tuple[T, float]:
    began = time.thread_time()
    return call(), time.thread_time() - began


def measure(*, trials: int, results: int, pause_s: float, storage: str | None) -> Values:
    """Let `trials` trials at once report `results` results each, without loggers.

    Args:
        trials: Number of trials, all running at once.
        results: Results per trial.
        pause_s: Seconds between two of them; 0 is as fast as they can.
        storage: URL of the storage; None for a local directory.
    """
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_RESULT_DIR"] = tempfile.mkdtemp()
    costs = _Costs()
    tune.init(num_cpus=trials)
    try:
        with ExitStack() as stack:
            costs.install(stack)
            tune.run(
                stream,
                num_samples=trials,
                config={"results": results, "pause_s": pause_s},
                resources_per_trial={"cpu": 1},
                storage_path=storage,
                callbacks=[costs],
                verbose=0,
                orchestrate=False,
            )
            return _values(costs, trials * results)
    finally:
        tune.shutdown()


def _values(costs: _Costs, results: int) -> Values:
    if costs.first is None:
        raise RuntimeError("the sweep ended without a result")
    wall_s = time.perf_counter() - costs.first[0]
    loop_s = time.thread_time() - costs.first[1]
    journal_s = costs.encode_s + costs.append_s
    values = {
        "bytes": costs.appended[-1][1] / results,
        "encode_us": costs.encode_s / results * 1e6,
        "append_us": costs.append_s / results * 1e6,
        "journal_us": journal_s / results * 1e6,
        "loop_share_percent": journal_s / loop_s * 100,
        "results_per_s": results / wall_s,
        "appends": len(costs.appended),
    }
    if costs.shipped:
        requests_s = _thread_cpu(STORAGE_THREAD)
        lags = shipping_lags(costs.appended, costs.shipped)
        values |= {
            "ship_us": (costs.ship_s + requests_s) / results * 1e6,
            "ship_share_percent": (costs.ship_s + requests_s) / wall_s * 100,
            "lag_median_s": percentile(lags, 50),
            "lag_max_s": max(lags),
            "segments": len({position for _, position in costs.shipped}),
        }
    return values


def shipping_lags(
    appended: list[tuple[float, int]], shipped: list[tuple[float, int]]
) -> list[float]:
    """Seconds from each write into the journal until all of it was in storage.

    Args:
        appended: When the file had how many bytes, in order.
        shipped: When storage had how many of them, in order.

    Raises:
        RuntimeError: The end never got there.
    """
    positions = [position for _, position in shipped]
    if positions[-1] < appended[-1][1]:
        raise RuntimeError(f"{positions[-1]} of {appended[-1][1]} bytes are in storage")
    return [shipped[bisect_left(positions, size)][0] - when for when, size in appended]


def _thread_cpu(name: str) -> float:
    """CPU time of a thread of this process, in seconds, to a hundredth."""
    wanted = {thread.native_id for thread in threading.enumerate() if thread.name == name}
    threads = psutil.Process().threads()
    return float(sum(t.user_time + t.system_time for t in threads if t.id in wanted))


def rows(bench: Bench) -> Iterator[Row]:
    slots = os.cpu_count() or 1
    fast: dict[str, Any] = {
        "trials": slots,
        "results": bench.size(150_000, quick=10_000),
        "pause_s": 0.0,
    }
    steady: dict[str, Any] = {
        "trials": slots,
        "results": bench.size(15_000, quick=2000),
        "pause_s": 0.001,
    }
    local = bench.ours("journal", storage=None, **fast)
    for what, value, unit in (
        ("bytes per result", "bytes", "B"),
        ("CPU per result, encode and append", "journal_us", "us"),
        ("share of the loop's CPU", "loop_share_percent", "%"),
    ):
        yield from compare(f"journal, {what}", value, unit, local, [])
    service = services()[0]
    with running(service) as bucket:
        aws = bucket.endpoint.environ
        shipped = bench.ours("journal", environment=aws, storage=f"{bucket.url}/fast", **fast)
        paced = bench.ours("journal", environment=aws, storage=f"{bucket.url}/steady", **steady)
    for how, ours in (("as fast as it goes", shipped), ("1,000/s per trial", paced)):
        for what, value, unit in (
            ("shipping lag, median", "lag_median_s", "s"),
            ("shipping lag, longest", "lag_max_s", "s"),
            ("shipping, CPU per result", "ship_us", "us"),
            ("shipping, share of a core", "ship_share_percent", "%"),
        ):
            yield from compare(f"journal to {service}, {what}, {how}", value, unit, ours, [])
    for where, ours in (("local", local), (service, shipped)):
        what = f"streamed results, no loggers, journal {where}"
        yield from compare(what, "results_per_s", "/s", ours, [], better="higher")
