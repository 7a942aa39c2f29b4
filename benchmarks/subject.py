"""What a measured process needs: one workload in, one JSON line out.

Every system under test, ours included, is measured by a process of its own that is called as
`python -m MODULE WORKLOAD JSON-ARGUMENTS`. It prints exactly one JSON line to standard output;
whatever else a library prints goes to standard error. This module imports nothing but the
standard library (and psutil on demand), so that it works in a peer's virtual environment.
"""
# psutil publishes no types.
# mypy: disable-error-code="import-untyped"

from __future__ import annotations

import gc
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Values = dict[str, float]
Workload = Callable[..., Values]

STARTED_VARIABLE = "PREFECT_TUNE_BENCH_STARTED"
"""Environment variable in which the caller hands over when it started the process (Unix time)."""


def serve(workloads: Mapping[str, Workload], requires: Sequence[str]) -> None:
    """Run the workload named on the command line and print its values as one JSON line.

    Args:
        workloads: The measuring functions by name; each takes JSON-able keyword arguments and
            returns named numbers.
        requires: Distributions the workloads need. The first missing one is reported as
            `{"not_installed": name}` in place of values.
    """
    name, arguments = sys.argv[1], json.loads(sys.argv[2] if len(sys.argv) > 2 else "{}")
    with _stdout_kept_for_the_answer() as answer:
        versions = {"python": platform.python_version()}
        for distribution in requires:
            try:
                versions[distribution] = importlib.metadata.version(distribution)
            except importlib.metadata.PackageNotFoundError:
                answer({"not_installed": distribution})
                return
        if name not in workloads:
            known = ", ".join(sorted(workloads))
            raise SystemExit(f"unknown workload {name!r}; this subject has: {known}")
        answer({"values": workloads[name](**arguments), "versions": versions})


@contextmanager
def _stdout_kept_for_the_answer() -> Iterator[Callable[[dict[str, Any]], None]]:
    sys.stdout.flush()
    kept = os.dup(1)
    # On the descriptor, not only on sys.stdout: child processes inherit the descriptor.
    os.dup2(2, 1)

    def answer(content: dict[str, Any]) -> None:
        os.write(kept, json.dumps(content).encode() + b"\n")

    try:
        yield answer
    finally:
        os.close(kept)


def seconds_since_start() -> float:
    """Seconds since the caller started this process: interpreter start and imports included."""
    started = os.environ.get(STARTED_VARIABLE)
    if started is None:
        raise SystemExit(f"{STARTED_VARIABLE} is not set: the caller sets it to time.time()")
    return time.time() - float(started)


def percentile(values: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile of `values`, which must not be empty."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def latency_summary(seconds: Sequence[float]) -> Values:
    """Median, 99th percentile and number of latencies given in seconds, in milliseconds."""
    return {
        "median_ms": percentile(seconds, 50) * 1000,
        "p99_ms": percentile(seconds, 99) * 1000,
        "samples": len(seconds),
    }


def write_file(path: Path, megabytes: int) -> None:
    """Write a file of so many million bytes that cannot be compressed away."""
    block = os.urandom(1_000_000)
    with path.open("wb") as file:
        for _ in range(megabytes):
            file.write(block)


def waiting_values(seconds: Sequence[float], expected: int) -> Values:
    """Median and maximum of how long a trial waited, given in seconds, in milliseconds.

    Raises:
        RuntimeError: Not exactly `expected` were told.
    """
    if len(seconds) != expected:
        raise RuntimeError(f"{len(seconds)} waits were told, {expected} were expected")
    return {"waited_ms": percentile(seconds, 50) * 1000, "longest_ms": max(seconds) * 1000}


class ResultClock:
    """Rate of results, from the first one in a callback until everything is written."""

    def __init__(self) -> None:
        self._seen = 0
        self._first = 0.0

    def result(self) -> None:
        if not self._seen:
            self._first = time.perf_counter()
        self._seen += 1

    def values(self, *, expected: int) -> Values:
        """The rate up to now: call it when the run has returned.

        Raises:
            RuntimeError: Not exactly `expected` results arrived.
        """
        if self._seen != expected:
            raise RuntimeError(f"{self._seen} results arrived, {expected} were reported")
        return {"results_per_s": expected / (time.perf_counter() - self._first)}


AMORTISED_OVER_TRIALS = 200


def overhead_values(start_s: float, run_s: float, trials: int) -> Values:
    """Figures of a sweep of no-op trials.

    Args:
        start_s: Process start to the end of a first, tiny sweep: imports, cluster, pools.
        run_s: Length of the measured second sweep.
        trials: Its number of trials.

    Returns:
        `start_s`; `per_trial_ms` of the warm sweep; `per_trial_with_start_ms`, the same plus the
        start spread over 200 trials, whatever `trials` was, so that subjects compare.
    """
    per_trial_ms = run_s / trials * 1000
    return {
        "start_s": start_s,
        "per_trial_ms": per_trial_ms,
        "per_trial_with_start_ms": per_trial_ms + start_s * 1000 / AMORTISED_OVER_TRIALS,
    }


def sleeping_values(run_s: float, trials: int, slots: int, seconds: float) -> Values:
    """How far a sweep of `trials` sleeping trials was over the ideal time on `slots` slots."""
    ideal_s = math.ceil(trials / slots) * seconds
    return {"run_s": run_s, "ideal_s": ideal_s, "over_ideal_percent": (run_s / ideal_s - 1) * 100}


class FirstStart:
    """When the first trial starts, counted from the making of this object."""

    def __init__(self) -> None:
        self._began = time.perf_counter()
        self._began_cpu = time.process_time()
        self._finished = 0
        self._values: Values = {}

    def seen(self, trials: Sequence[Any]) -> bool:
        """A trial starts; True if it is the first one.

        Args:
            trials: All trials, finished ones of earlier runs included.
        """
        if self._values:
            return False
        self._values = {
            "to_start_s": time.perf_counter() - self._began,
            "cpu_s": time.process_time() - self._began_cpu,
            "from_process_start_s": seconds_since_start(),
        }
        self._finished = sum(trial.status == "TERMINATED" for trial in trials)
        return True

    def values(self, *, finished: int) -> Values:
        """The figures.

        Raises:
            RuntimeError: No trial started, or fewer were finished then: it was not the resumption
                that was to be measured.
        """
        if not self._values:
            raise RuntimeError("the sweep ended without a new trial")
        if self._finished < finished:
            raise RuntimeError(f"only {self._finished} of {finished} trials were finished")
        return self._values


class MemorySlope:
    """Memory of this process per finished trial, from two points of one run.

    The first point is taken after a quarter of the trials, so that what a run needs once (imports,
    pools, the cluster) is not charged to the trials.

    Args:
        trials: How many trials will finish.
        traced: Count what Python allocated (tracemalloc, exact and slow) rather than the
            resident set size (what the operating system sees).
    """

    def __init__(self, trials: int, *, traced: bool) -> None:
        self._marks = (max(1, trials // 4), trials)
        self._traced = traced
        self._finished = 0
        self._seen: dict[int, float] = {}
        if traced:
            tracemalloc.start()

    def trial_finished(self) -> None:
        self._finished += 1
        if self._finished in self._marks:
            gc.collect()
            self._seen[self._finished] = self._bytes()

    def values(self) -> Values:
        first, last = (self._seen[mark] for mark in self._marks)
        trials = self._marks[1] - self._marks[0]
        return {"kb_per_trial": (last - first) / trials / 1000, "end_mb": last / 1e6}

    def _bytes(self) -> float:
        if self._traced:
            return tracemalloc.get_traced_memory()[0]
        import psutil

        return float(psutil.Process().memory_info().rss)
