"""What it costs a small sweep to keep everything in object storage rather than on a local disk."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Outcome, Row, compare
from benchmarks.object_store import running, services
from benchmarks.subject import Values, sleeping_values, write_file

SLOTS = 8
RESULTS = 20
SECONDS = 0.25
CHECKPOINT_EVERY = 5
CHECKPOINT_MEGABYTES = 1


def train(config: dict[str, Any]) -> None:
    for step in range(1, config["results"] + 1):
        time.sleep(config["seconds"])
        if step % CHECKPOINT_EVERY == 0:
            with tune.checkpoint_dir(step=step) as directory:
                write_file(Path(directory, "model"), CHECKPOINT_MEGABYTES)
        tune.report({"score": config["x"] * step})


class _Phases(tune.Callback):
    """When trials began and ended: what comes before and after that is not theirs."""

    def __init__(self) -> None:
        self.begin = time.perf_counter()
        self._first: float | None = None
        self._last = 0.0

    def on_trial_start(self, *args: Any, **info: Any) -> None:
        self._first = self._first or time.perf_counter()

    def on_trial_complete(self, *args: Any, **info: Any) -> None:
        self._last = time.perf_counter()

    def values(self) -> Values:
        """Seconds until the first trial started, from there to the last one's end, and after it."""
        if self._first is None:
            raise RuntimeError("the sweep ended without a trial")
        return {
            "begin_s": self._first - self.begin,
            "trials_s": self._last - self._first,
            "end_s": time.perf_counter() - self._last,
        }


def measure(
    *, trials: int, slots: int, results: int, seconds: float, storage: str | None
) -> Values:
    """Run trials that report, and make a checkpoint of 1 MB at every fifth result.

    Args:
        trials: Number of trials.
        slots: How many run at once.
        results: Results of each.
        seconds: Seconds between them.
        storage: URL of the storage; None for a local directory.
    """
    os.environ["TUNE_RESULT_DIR"] = tempfile.mkdtemp()
    tune.init(num_cpus=slots)
    try:
        _sweep(slots, 1, seconds, None, _Phases())
        phases = _Phases()
        _sweep(trials, results, seconds, storage, phases)
        run_s = time.perf_counter() - phases.begin
    finally:
        tune.shutdown()
    return sleeping_values(run_s, trials, slots, seconds * results) | phases.values()


def _sweep(trials: int, results: int, seconds: float, storage: str | None, phases: _Phases) -> None:
    tune.run(
        train,
        num_samples=trials,
        config={"x": tune.uniform(0, 1), "results": results, "seconds": seconds},
        resources_per_trial={"cpu": 1},
        storage_path=storage,
        keep_checkpoints_num=2,
        callbacks=[phases],
        verbose=0,
        orchestrate=False,
    )


def rows(bench: Bench) -> Iterator[Row]:
    sizes: dict[str, Any] = {
        "trials": bench.size(64, quick=16),
        "slots": SLOTS,
        "results": RESULTS,
        "seconds": SECONDS,
    }
    ours: dict[str, Outcome] = {}
    rays: dict[str, Outcome] = {}

    def run(where: str, storage: str | None, environment: Mapping[str, str]) -> None:
        ours[where] = bench.ours("sync_cost", environment=environment, storage=storage, **sizes)
        rays[where] = bench.peer(
            "ray_tune",
            "sync_cost",
            label="Ray Tune reuse_actors",
            environment=environment,
            storage=storage,
            **sizes,
        )

    run("local", None, {})
    service = services()[0]
    with running(service) as bucket:
        run(service, bucket.url, bucket.endpoint.environ)
    for where in ours:
        what = f"sweep of {sizes['trials']} trials with checkpoints, over ideal, {where}"
        yield from compare(what, "over_ideal_percent", "%", ours[where], [rays[where]])
    mine, theirs = (_share(outcomes, service) for outcomes in (ours, rays))
    yield from compare(f"share of that sweep's time for {service}", "percent", "%", mine, [theirs])


def _share(outcomes: dict[str, Outcome], service: str) -> Outcome:
    """Which part of the sweep's time storage took, beside a local disk."""
    local, remote = outcomes["local"], outcomes[service]
    if local.problem or remote.problem:
        return replace(remote, values={}, problem=local.problem or remote.problem)
    percent = (1 - local.values["run_s"] / remote.values["run_s"]) * 100
    return replace(remote, values={"percent": percent})
