"""Tries on a real GPU what the tests try with stand-ins: ``make gpu-check``.

Prints a row for each check, and ends with status 1 if one has failed. Without a GPU it says so.
This process does not use CUDA itself. PyTorch, if it is installed, is used for one of the checks.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import prefect_tune as tune
from benchmarks import cuda_driver
from prefect_tune.execution.cluster.gpus import model_label, visible_devices
from prefect_tune.integration.torch import DistributedTrainableCreator
from prefect_tune.nvml import list_gpus
from prefect_tune.trainable.node_usage import wait_for_gpu

#: Seconds that one check may take, and all of them.
CHECK_S = 90.0
TOTAL_S = 450.0
_SETTINGS = {"TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1", "PREFECT_TUNE_ORCHESTRATE": "0"}


class Skipped(Exception):
    """Says why a check cannot be made here."""


def run(trainable: Any, **options: Any) -> list[dict[str, Any]]:
    """Run a sweep and return the last result of each trial, in the order of the trials."""
    directory = tempfile.mkdtemp(prefix="gpu-check-")
    defaults = {"verbose": 0, "local_dir": directory, "time_budget_s": CHECK_S - 10}
    trials = tune.run(trainable, **{**defaults, **options}).trials
    return [trial.last_result for trial in trials]


def require(truth: bool, what: str) -> None:
    """Fail the check, with a text, if something is not true."""
    if not truth:
        raise AssertionError(what)


def see(config: dict[str, Any]) -> None:
    """Report which GPU the trial has, when, and where the others have got to."""
    began = time.time()
    taken = cuda_driver.take(config.get("share", 0.05))
    if "meet" in config:
        (Path(config["meet"]) / str(os.getpid())).touch()
        deadline = time.monotonic() + 30
        while len(os.listdir(config["meet"])) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
    visible, number = os.environ["CUDA_VISIBLE_DEVICES"], cuda_driver.count()
    met = len(os.listdir(config["meet"])) if "meet" in config else 0
    time.sleep(config.get("seconds", 0.0))
    tune.report(devices=visible, seen=number, taken=taken, met=met, began=began, ended=time.time())


def discovery() -> str:
    """All GPUs that CUDA sees are found, with their model."""
    code = "from benchmarks.cuda_driver import count; print(count())"
    counted = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    devices = visible_devices()
    require(len(devices) == int(counted.stdout), f"{devices} found, CUDA sees {counted.stdout}")
    known = list_gpus()
    if known is None:
        return f"{len(devices)} by their device files; nvidia-ml-py is not installed"
    names = ", ".join(f"{gpu.name}, {gpu.total >> 20} MiB" for gpu in known)
    return f"{len(devices)}: {names}; {', '.join(model_label(devices)) or 'no label'}"


def exclusive_ids() -> str:
    """Trials with a whole GPU have one of their own, and see no other."""
    number = len(visible_devices())
    seen = run(
        see,
        config={"seconds": 1.0},
        num_samples=2 * number,
        resources_per_trial={"cpu": 0.1, "gpu": 1},
    )
    require(all(result["seen"] == 1 for result in seen), "a trial sees several GPUs")
    for one in seen:
        for other in seen:
            apart = one["ended"] <= other["began"] or other["ended"] <= one["began"]
            require(
                one is other or one["devices"] != other["devices"] or apart,
                f"two trials had {one['devices']} at once",
            )
    ids = sorted({result["devices"] for result in seen})
    return f"{len(seen)} trials on {', '.join(ids)}, never two at once"


def shared_gpu() -> str:
    """Two trials with half a GPU each run on one device at the same time."""
    with tempfile.TemporaryDirectory() as meet:
        seen = run(
            see,
            config={"meet": meet, "share": 0.1},
            num_samples=2,
            resources_per_trial={"cpu": 0.1, "gpu": 0.5},
        )
    require(seen[0]["devices"] == seen[1]["devices"], "they are on different GPUs")
    require([result["met"] for result in seen] == [2, 2], "they did not run at the same time")
    taken = ", ".join(f"{result['taken'] >> 20} MiB" for result in seen)
    return f"both on {seen[0]['devices']} at once, with {taken}"


def die_with_memory(config: dict[str, Any]) -> None:
    """Take memory, and be killed."""
    cuda_driver.take(0.3)
    os.kill(os.getpid(), signal.SIGKILL)


def free_after_kill() -> str:
    """The memory of a trial that was killed comes back."""
    started = time.monotonic()
    run(
        die_with_memory,
        config={},
        resources_per_trial={"cpu": 0.1, "gpu": 1},
        raise_on_failed_trial=False,
    )
    killed = time.monotonic()
    wait_for_gpu(visible_devices()[0].id, target_util=0.1, retry=60, delay_s=0.5)
    now = time.monotonic()
    return f"free {now - killed:.1f} s after a sweep of {killed - started:.1f} s"


_HOLDER = "from benchmarks.cuda_driver import take; take(0.2); print(flush=True); input()"


def waiting() -> str:
    """`wait_for_gpu` names who uses a GPU, and returns when it is free."""
    gpu = visible_devices()[0].id
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": gpu},
    ) as holder:
        assert holder.stdout is not None  # noqa: S101  for mypy
        holder.stdout.readline()
        try:
            wait_for_gpu(gpu, target_util=0.1, retry=2, delay_s=0.5)
        except RuntimeError as error:
            told = str(error)
        else:
            raise AssertionError("it returned although 20 % of the memory was in use")
        finally:
            holder.kill()
    wait_for_gpu(gpu, target_util=0.1, retry=60, delay_s=0.5)
    seen = "the process named" if str(holder.pid) in told else "no process seen (a container?)"
    return f"refused with {seen}, then free"


_AT_IMPORT = """\
import os
import prefect_tune as tune
from benchmarks.cuda_driver import count, take
count()  # initialises CUDA
IMPORTED = os.getpid()

def train(config):
    tune.report(is_spawned=IMPORTED == os.getpid(), taken=take(0.05))
"""
_SWEEP = """\
import prefect_tune as tune
from cuda_at_import import train

if __name__ == "__main__":
    options = {"resources_per_trial": {"cpu": 0.1, "gpu": 1}, "verbose": 0, "local_dir": "."}
    result = tune.run(train, **options).trials[0].last_result
    print(result["is_spawned"] and result["taken"] > 0)
"""


def start_methods() -> str:
    """Trials use CUDA in a fork, and are spawned where an import has initialised it."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "cuda_at_import.py").write_text(_AT_IMPORT)
        Path(directory, "sweep.py").write_text(_SWEEP)
        path = os.pathsep.join([os.getcwd(), directory, os.environ.get("PYTHONPATH", "")])
        swept = subprocess.run(
            [sys.executable, "sweep.py"],
            capture_output=True,
            text=True,
            cwd=directory,
            env={**os.environ, "PYTHONPATH": path},
            timeout=CHECK_S,
        )
    require(swept.stdout.strip().endswith("True"), f"after CUDA in an import: {swept.stderr}")
    (forked,) = run(see, config={}, resources_per_trial={"cpu": 0.1, "gpu": 1})
    require(forked["taken"] > 0, "the forked trial could not use CUDA")
    return "spawned after CUDA in an import, forked without; both used the GPU"


def take_too_much(config: dict[str, Any]) -> None:
    """Take more memory than the trial's share of its GPU."""
    cuda_driver.take(0.4)
    time.sleep(30)


def memory_guard() -> str:
    """A trial that takes more than its share of a GPU's memory is ended."""
    if list_gpus() is None:
        raise Skipped("nvidia-ml-py is not installed")
    os.environ["PREFECT_TUNE_GPU_MEMORY_GUARD"] = "1"
    try:
        directory = tempfile.mkdtemp(prefix="gpu-check-")
        (trial,) = tune.run(
            take_too_much,
            resources_per_trial={"cpu": 0.1, "gpu": 0.2},
            raise_on_failed_trial=False,
            verbose=0,
            local_dir=directory,
        ).trials
    finally:
        del os.environ["PREFECT_TUNE_GPU_MEMORY_GUARD"]
    if trial.error_file is None:
        raise AssertionError("it went on (NVML may not see processes of this container)")
    told = Path(trial.error_file).read_text()
    require("its share is" in told, told)
    return told[told.index("used ") : told.index(" (`resources")]


def train_together(config: dict[str, Any]) -> None:
    """Train one layer with DistributedDataParallel on the worker's GPU."""
    import torch
    import torch.distributed as dist
    from torch.nn.parallel import DistributedDataParallel

    device = torch.device("cuda", 0)
    model = DistributedDataParallel(torch.nn.Linear(64, 10).to(device), device_ids=[0])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    inputs = torch.randn(256, 64, device=device)
    labels = torch.randint(10, (256,), device=device)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    tune.report(
        first=losses[0], last=losses[-1], workers=dist.get_world_size(), backend=dist.get_backend()
    )


def torch_with_nccl() -> str:
    """DistributedDataParallel with NCCL, with one worker for each of at most two GPUs."""
    if importlib.util.find_spec("torch") is None:
        raise Skipped("PyTorch is not installed")
    workers = min(2, len(visible_devices()))
    trainable = DistributedTrainableCreator(
        train_together,
        num_workers=workers,
        num_cpus_per_worker=0.1,
        num_gpus_per_worker=1,
        backend="nccl",
    )
    (result,) = run(trainable, config={})
    require(result["last"] < result["first"], "the loss did not go down")
    return f"{result['backend']}, {result['workers']} worker(s), " + (
        f"loss {result['first']:.2f} to {result['last']:.2f}"
    )


CHECKS: dict[str, Callable[[], str]] = {
    "discovery": discovery,
    "exclusive ids": exclusive_ids,
    "two trials on one GPU": shared_gpu,
    "memory free after a kill": free_after_kill,
    "wait_for_gpu": waiting,
    "fork and spawn with CUDA": start_methods,
    "guard of GPU memory": memory_guard,
    "DDP with NCCL": torch_with_nccl,
}


def main() -> int:
    """Make all checks, print a table, and return the exit status."""
    if not visible_devices():
        print("gpu-check: this process may use no GPU, so nothing was checked.")
        return 0
    os.environ.update(_SETTINGS)
    started = time.monotonic()
    failed = False
    print(f"{'check':26} {'outcome':8} {'s':>6}  what was seen", flush=True)
    for name, check in CHECKS.items():
        began = time.monotonic()
        if began - started > TOTAL_S - CHECK_S:
            outcome, seen = "skipped", f"{TOTAL_S:.0f} s would be exceeded"
        else:
            try:
                outcome, seen = "ok", check()
            except Skipped as reason:
                outcome, seen = "skipped", str(reason)
            except Exception as error:
                outcome, seen, failed = "FAILED", f"{type(error).__name__}: {error}", True
        print(f"{name:26} {outcome:8} {time.monotonic() - began:6.1f}  {seen}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
