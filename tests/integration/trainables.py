"""Trainables for the integration tests; importable, as a user's would be."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import prefect_tune as tune


def quadratic(config: dict[str, Any]) -> None:
    """Reports a score that improves with each of ten iterations."""
    for step in range(1, 11):
        tune.report({"score": -((config["x"] - 0.3) ** 2) * 10 / step})


def countdown(config: dict[str, Any]) -> Iterator[dict[str, float]]:
    """Yields its results."""
    for step in range(5):
        yield {"loss": config.get("start", 5) - step}


def one_number(config: dict[str, Any]) -> float:
    """Returns a bare number."""
    return config["x"] * 2


def nan_or_number(config: dict[str, Any]) -> dict[str, float]:
    """NaN for the first configuration."""
    return {"acc": float("nan") if config["x"] == 0 else config["x"]}


def breaks(config: dict[str, Any]) -> None:
    """Fails in the way that `how` says, after one report."""
    tune.report({"x": 1.0})
    how = config["how"]
    if how == "raise":
        raise KeyError("a telling message")
    if how == "exit":
        print("about to leave", file=sys.stderr)
        sys.exit(3)
    if how == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


def fails_once(config: dict[str, Any]) -> dict[str, int]:
    """Fails in its first attempt; leaves a file behind to know by."""
    if not os.path.exists("tried"):
        open("tried", "w").close()
        raise RuntimeError("first attempt")
    return {"done_after": 2}


def cleans_up(config: dict[str, Any]) -> None:
    """Writes a file in `finally`, however it ends."""
    try:
        for step in range(1000):
            tune.report({"step": step})
    finally:
        with open("cleaned", "w") as file:
            file.write(str(step))


def sleeps(config: dict[str, Any]) -> dict[str, float]:
    """Sleeps and returns when it began and ended."""
    begin = time.time()
    time.sleep(config.get("seconds", 0.3))
    return {"begin": begin, "end": time.time()}


def environment(config: dict[str, Any]) -> dict[str, Any]:
    """What the process sees."""
    names = ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "MY_OWN")
    return {"env": {name: os.environ.get(name) for name in names}, "cwd": os.getcwd()}


def no_config() -> None:
    """Takes no configuration."""


def wrong_metric(config: dict[str, Any]) -> dict[str, Any]:
    """Reports something other than the metric."""
    return {"accuracy": 0.5}


def text_metric(config: dict[str, Any]) -> dict[str, Any]:
    """Reports a text as metric."""
    return {"acc": "high"}


def hang(config: dict[str, Any]) -> None:
    """Reports once, and then does not come back."""
    how = config["how"]
    if how == "says nothing":
        time.sleep(1000)
    tune.report(process=os.getpid())
    if how == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if how == "in C":
        re.match(r"(a+)+$", "a" * 40 + "b")
    while how == "swallows":
        with contextlib.suppress(BaseException):
            time.sleep(1000)
    while how == "reports":
        time.sleep(0.05)
        tune.report(process=os.getpid())
    time.sleep(1000)


def saves_its_last(config: dict[str, Any]) -> None:
    """Reports once, with a checkpoint."""
    directory = tune.make_checkpoint_dir()
    (Path(directory) / "weights").write_text("1")
    tune.save_checkpoint(directory)
    tune.report({"score": config["x"]})
