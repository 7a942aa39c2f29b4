"""How long training waits for a checkpoint of 1 GB, and how fast it gets to object storage."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import prefect_tune as tune
from benchmarks.measure import Bench, Outcome, Row, compare
from benchmarks.object_store import running, services
from benchmarks.subject import Values, waiting_values, write_file

MEGABYTES = 1000
ROUNDS = 3
UPLOADS = 2


def by_checkpoint_dir(config: dict[str, Any]) -> None:
    waited = None
    for step in range(config["rounds"]):
        asked = time.perf_counter()
        with tune.checkpoint_dir(step=step) as directory:
            began = time.perf_counter()
            write_file(Path(directory, "model"), config["megabytes"])
            written = time.perf_counter()
        tune.report({"waited_s": waited})
        waited = time.perf_counter() - written + began - asked
    tune.report({"waited_s": waited})


def by_from_directory(config: dict[str, Any]) -> None:
    source = tempfile.mkdtemp()
    write_file(Path(source, "model"), config["megabytes"])
    waited = None
    for _ in range(config["rounds"]):
        began = time.perf_counter()
        tune.report({"waited_s": waited}, checkpoint=tune.Checkpoint.from_directory(source))
        waited = time.perf_counter() - began
    tune.report({"waited_s": waited})


class BySaveCheckpoint(tune.Trainable):
    """Waits from the end of a step to the next one, less what writing takes."""

    def setup(self, config: dict[str, Any]) -> None:
        self._config = config
        self._stepped: float | None = None
        self._writing_s = 0.0

    def step(self) -> dict[str, Any]:
        now = time.perf_counter()
        waited = None if self._stepped is None else now - self._stepped - self._writing_s
        self._stepped = time.perf_counter()
        return {"waited_s": waited, "done": self.iteration == self._config["rounds"]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        began = time.perf_counter()
        write_file(Path(checkpoint_dir, "model"), self._config["megabytes"])
        self._writing_s = time.perf_counter() - began


WAYS: dict[str, Any] = {
    "checkpoint_dir": by_checkpoint_dir,
    "save_checkpoint": BySaveCheckpoint,
    "from_directory": by_from_directory,
}


class _Waits(tune.Callback):
    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_trial_result(
        self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        if result["waited_s"] is not None:
            self.seconds.append(result["waited_s"])


def measure(*, way: str, megabytes: int, rounds: int) -> Values:
    """Let one trial make checkpoints in a local storage.

    Args:
        way: One of `WAYS`.
        megabytes: Size of each.
        rounds: How many.
    """
    waits = _Waits()
    tune.init(num_cpus=1)
    try:
        tune.run(
            WAYS[way],
            config={"megabytes": megabytes, "rounds": rounds},
            storage_path=tempfile.mkdtemp(),
            keep_checkpoints_num=1,
            checkpoint_freq=1 if way == "save_checkpoint" else 0,
            callbacks=[waits],
            verbose=0,
            orchestrate=False,
        )
    finally:
        tune.shutdown()
    return waiting_values(waits.seconds, rounds)


def rows(bench: Bench) -> Iterator[Row]:
    sizes: dict[str, Any] = {"megabytes": bench.size(MEGABYTES, quick=100), "rounds": ROUNDS}
    ray = bench.peer("ray_tune", "checkpoints", label="Ray Tune from_directory", **sizes)
    for way in WAYS:
        ours = bench.ours("checkpoints", way=way, **sizes)
        what = f"checkpoint of {sizes['megabytes']} MB to a local path, training waits, {way}"
        yield from compare(what, "waited_ms", "ms", ours, [ray])
    for service in services():
        yield from _uploads(bench, service, sizes["megabytes"])


def _uploads(bench: Bench, service: str, megabytes: int) -> Iterator[Row]:
    with running(service) as bucket:
        idle, busy = (
            bench.ours(
                "checkpoint_upload",
                timeout_s=1200,
                environment=bucket.endpoint.environ,
                storage=bucket.url,
                megabytes=megabytes,
                rounds=UPLOADS,
                busy=busy,
            )
            for busy in (False, True)
        )
    what = f"checkpoint of {megabytes} MB to {service}"
    for beside, ours in (("idle", idle), ("busy", busy)):
        yield from compare(
            f"{what}, beside {beside} training",
            "mb_per_s",
            "MB/s",
            ours,
            [_plain_s3fs(ours)],
            better="higher",
        )
    yield from compare(f"{what}, training waits", "waited_ms", "ms", busy, [])
    small = f"checkpoint of 1 MB to {service}, until it is there"
    yield from compare(small, "small_ms", "ms", idle, [])
    yield from compare(
        f"{what}, speed of training meanwhile",
        "speed_percent",
        "%",
        busy,
        [_plain_s3fs(busy)],
        better="higher",
    )


def _plain_s3fs(outcome: Outcome) -> Outcome:
    """What the same process found for s3fs, as a peer."""
    begin = "s3fs_"
    values = {k.removeprefix(begin): v for k, v in outcome.values.items() if k.startswith(begin)}
    return replace(outcome, subject="s3fs put", values=values)
