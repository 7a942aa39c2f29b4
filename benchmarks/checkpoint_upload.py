"""One trial that trains while its checkpoint is uploaded, beside the same file by plain s3fs."""

from __future__ import annotations

import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect_tune as tune
from benchmarks.subject import Values, write_file

STEP_LOOPS = 20_000
UNDISTURBED_S = 3.0
SMALL_MEGABYTES = 1
COMPARED = ("mb_per_s", "speed_percent")
FIGURES = ("waited_ms", "small_ms", *COMPARED, *(f"s3fs_{name}" for name in COMPARED))


def train(config: dict[str, Any]) -> None:
    training = _Training(config)
    for _ in range(2):  # the first one starts the process that uploads, and its connections
        training.upload(megabytes=SMALL_MEGABYTES)
    ways = [training.upload, training.plain_s3fs]
    for _ in range(config["rounds"]):
        training.undisturbed()
        for way in ways:
            way(config["megabytes"])
        ways.reverse()
    tune.report(training.figures())


class _Training:
    """Steps of training, counted during one thing or another."""

    def __init__(self, config: dict[str, Any]) -> None:
        self._config = config
        self._uploads = 0
        self._spent: dict[str, list[tuple[float, float, float]]] = {}

    def upload(self, megabytes: int) -> None:
        """Report a checkpoint, and train until it is in storage."""
        asked = time.perf_counter()
        with tune.checkpoint_dir(step=self._uploads) as directory:
            began = time.perf_counter()
            write_file(Path(directory, "model"), megabytes)
            written = time.perf_counter()
        tune.report({"megabytes": megabytes})
        begin = time.time()
        waited_s = time.perf_counter() - written + began - asked
        flag = Path(self._config["flags"], str(self._uploads))
        self._uploads += 1
        speed = self._train_until(flag.exists)
        way = "small" if megabytes == SMALL_MEGABYTES else "upload"
        self._note(way, float(flag.read_text()) - begin, speed, waited_s)

    def plain_s3fs(self, megabytes: int) -> None:
        """Train while another process, connected already, puts a file of this size."""
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, "model")
            write_file(file, megabytes)
            command = [sys.executable, "-m", "benchmarks.s3fs_put"]
            with subprocess.Popen(
                [*command, str(file), f"{self._config['storage']}/plain"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as process:
                answer, ask = process.stdout, process.stdin
                if answer is None or ask is None or not answer.readline():
                    raise RuntimeError("s3fs could not be started")
                ask.write(b"go\n")
                ask.flush()
                speed = self._train_until(lambda: bool(select.select([answer], [], [], 0)[0]))
                self._note("s3fs", float(answer.readline()), speed, 0.0)

    def undisturbed(self) -> None:
        """Train for a while."""
        end = time.perf_counter() + UNDISTURBED_S
        self._note("alone", UNDISTURBED_S, self._train_until(lambda: time.perf_counter() > end))

    def figures(self) -> dict[str, float]:
        """Everything that is measured; medians of the rounds, which see various machine loads."""
        alone = self._median("alone", 1)
        figures = {
            "waited_ms": self._median("upload", 2) * 1000,
            "small_ms": self._spent["small"][-1][0] * 1000,
        }
        for prefix, way in (("", "upload"), ("s3fs_", "s3fs")):
            figures[f"{prefix}mb_per_s"] = self._config["megabytes"] / self._median(way, 0)
            figures[f"{prefix}speed_percent"] = self._median(way, 1) / alone * 100
        return figures

    def _train_until(self, over: Callable[[], bool]) -> float:
        """Steps per second."""
        steps, begin = 0, time.perf_counter()
        while not over():
            if self._config["busy"]:
                sum(range(STEP_LOOPS))
            else:
                time.sleep(0.005)
            steps += 1
        return steps / (time.perf_counter() - begin)

    def _note(self, way: str, seconds: float, speed: float, waited_s: float = 0.0) -> None:
        self._spent.setdefault(way, []).append((seconds, speed, waited_s))

    def _median(self, way: str, index: int) -> float:
        return statistics.median(noted[index] for noted in self._spent[way])


class _Flags(tune.Callback):
    """Tells the trial that a checkpoint is in storage, and when that was."""

    def __init__(self, directory: str) -> None:
        self._directory = Path(directory)
        self._saved = 0

    def on_checkpoint(self, *args: Any, **info: Any) -> None:
        complete = self._directory / "next"
        complete.write_text(repr(time.time()))
        complete.rename(self._directory / str(self._saved))
        self._saved += 1


def measure(*, storage: str, megabytes: int, rounds: int, busy: bool) -> Values:
    """Upload a checkpoint by each of the two ways in each round.

    Args:
        storage: An S3 URL.
        megabytes: Size of the checkpoint.
        rounds: How often.
        busy: Whether training uses a core, or sleeps.
    """
    flags = tempfile.mkdtemp()
    os.environ["TUNE_RESULT_DIR"] = tempfile.mkdtemp()
    tune.init(num_cpus=1)
    try:
        analysis = tune.run(
            train,
            config={
                "flags": flags,
                "storage": storage,
                "megabytes": megabytes,
                "rounds": rounds,
                "busy": busy,
            },
            storage_path=storage,
            keep_checkpoints_num=1,
            callbacks=[_Flags(flags)],
            verbose=0,
            orchestrate=False,
        )
    finally:
        tune.shutdown()
    last = analysis.trials[0].last_result
    names = ("mb_per_s", "speed_percent")
    return {
        n: last[n] for n in ("waited_ms", "small_ms", *names, *(f"s3fs_{name}" for name in names))
    }
