"""How long a finished-but-for-a-few sweep takes from the call that resumes it to a new trial."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Outcome, Row, compare
from benchmarks.subject import FirstStart, Values
from benchmarks.trial_overhead import noop
from prefect_tune.storage.snapshot_files import SNAPSHOT_FILE

NAME = "sweep"
LEFT = 20
"""Trials that are left to do when the sweep is interrupted."""


class _InterruptAfter(tune.Callback):
    """Interrupts the sweep, as Ctrl-C does, once so many trials are finished."""

    def __init__(self, trials: int) -> None:
        self._left = trials

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)


class _InterruptAtStart(tune.Callback):
    """Interrupts the sweep when a trial starts, so that the same sweep can be resumed again."""

    def __init__(self, first: FirstStart) -> None:
        self._first = first

    def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
        if self._first.seen(trials):
            os.kill(os.getpid(), signal.SIGINT)


def measure(*, storage: str, trials: int, step: str) -> Values:
    """One of the two processes of the measurement.

    Args:
        storage: Directory of both.
        trials: How many trials are finished, or are to be; 20 more are left to do.
        step: "prepare" runs the sweep up to there, in threads; "snapshot" and "replay" resume it
            until a trial starts, "replay" from the journal alone; "new" begins another one.
    """
    slots = os.cpu_count() or 1
    tune.init(num_cpus=slots)
    try:
        if step == "prepare":
            began = time.perf_counter()
            _sweep(storage, trials, [_InterruptAfter(trials)], isolation="thread")
            return {"prepared_s": time.perf_counter() - began}
        snapshot = Path(storage) / NAME / SNAPSHOT_FILE
        if step == "snapshot" and not snapshot.exists():
            raise RuntimeError("the sweep left no snapshot")
        if step == "replay":
            snapshot.unlink()
        if step == "new":
            storage = tempfile.mkdtemp()
        first = FirstStart()
        _sweep(storage, trials, [_InterruptAtStart(first)], resume=step != "new")
        # Those that ran when it was interrupted have finished as well.
        return first.values(finished=trials)
    finally:
        tune.shutdown()


def _sweep(storage: str, trials: int, callbacks: list[tune.Callback], **options: Any) -> None:
    with contextlib.suppress(tune.ExperimentInterrupted):
        tune.run(
            noop,
            name=NAME,
            num_samples=trials + LEFT,
            config={"x": tune.uniform(0, 1)},
            resources_per_trial={"cpu": 1},
            storage_path=storage,
            callbacks=callbacks,
            verbose=0,
            orchestrate=False,
            **options,
        )


def rows(bench: Bench) -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="bench-resume-") as storage:
        trials = bench.size(10_000, quick=500)
        # A short sweep would be over before its first snapshot.
        often = {"TUNE_GLOBAL_CHECKPOINT_S": "0.5"} if bench.quick else {}
        bench.ours(
            "resume",
            timeout_s=1800,
            environment=often,
            storage=storage,
            trials=trials,
            step="prepare",
        )
        snapshot, replay, new = (
            bench.ours("resume", storage=storage, trials=finished, step=step)
            for finished, step in ((trials, "snapshot"), (trials, "replay"), (0, "new"))
        )
    ray = _ray(bench)
    for what, ours, peers in (
        ("resume, with snapshot", snapshot, [ray]),
        ("resume, full replay", replay, [ray]),
        ("the same sweep begun anew", new, []),
    ):
        yield from compare(f"call to first trial, {what}", "to_start_s", "s", ours, peers)
    for what, ours in (("with snapshot", snapshot), ("full replay", replay)):
        # Ray Tune's is spread over daemons.
        yield from compare(f"CPU of that call, resume, {what}", "cpu_s", "s", ours, [])
    yield from compare(
        "process start to first trial, resume with snapshot",
        "from_process_start_s",
        "s",
        snapshot,
        [ray],
    )


def _ray(bench: Bench) -> Outcome:
    sizes: dict[str, Any] = {
        "trials": bench.size(1000, quick=100),
        "left": LEFT,
        "slots": os.cpu_count() or 1,
    }
    label = "Ray Tune reuse_actors"
    with tempfile.TemporaryDirectory(prefix="bench-resume-") as storage:
        for step in ("prepare", "resume"):
            outcome = bench.peer(
                "ray_tune", "resume", label=label, storage=storage, step=step, **sizes
            )
            if outcome.problem:
                break
        return outcome
