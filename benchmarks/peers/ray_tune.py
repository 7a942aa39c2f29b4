"""Ray Tune's side of the benchmarks."""
# Ray is not installed where this is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported"

from __future__ import annotations

import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.regret_streams import regret_values
from benchmarks.scheduler_streams import write
from benchmarks.subject import (
    FirstStart,
    MemorySlope,
    ResultClock,
    Values,
    latency_summary,
    overhead_values,
    seconds_since_start,
    serve,
    sleeping_values,
    waiting_values,
    write_file,
)

OBJECT_STORE_BYTES = 100_000_000


def trial_overhead(*, trials: int, slots: int, reuse_actors: bool = False) -> Values:
    def noop(config: dict[str, Any]) -> None:
        from ray import tune

        tune.report({"score": config["x"]})

    with _cluster(slots):
        _run(noop, slots, reuse_actors=reuse_actors)
        start_s = seconds_since_start()
        began = time.perf_counter()
        _run(noop, trials, reuse_actors=reuse_actors)
        return overhead_values(start_s, time.perf_counter() - began, trials)


def sleeping_trials(
    *, trials: int, slots: int, seconds: float, reuse_actors: bool = False
) -> Values:
    def sleeping(config: dict[str, Any]) -> None:
        from ray import tune

        time.sleep(config["seconds"])
        tune.report({"score": config["x"]})

    with _cluster(slots):
        _run(sleeping, 2, {"seconds": 0.0}, reuse_actors=reuse_actors)
        began = time.perf_counter()
        _run(sleeping, trials, {"seconds": seconds}, reuse_actors=reuse_actors)
        return sleeping_values(time.perf_counter() - began, trials, slots, seconds)


def streamed_results(*, trials: int, results: int, loggers: str) -> Values:
    if loggers != "default":
        os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    from ray import tune
    from ray.tune.logger import CSVLoggerCallback, JsonLoggerCallback

    def stream(config: dict[str, Any]) -> None:
        for step in range(config["results"]):
            tune.report({"score": step})

    class Clocked(tune.Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            clock.result()

    clock = ResultClock()
    callbacks: list[Any] = [Clocked()]
    if loggers == "csv+json":
        callbacks += [CSVLoggerCallback(), JsonLoggerCallback()]
    with _cluster(trials):
        _run(stream, trials, {"results": results}, callbacks=callbacks)
        return clock.values(expected=trials * results)


def decision_latency(*, trials: int, reports: int, pause_s: float) -> Values:
    from ray import tune

    def awaiting(config: dict[str, Any]) -> None:
        latency_s = None
        for _ in range(config["reports"]):
            time.sleep(config["pause_s"])
            began = time.perf_counter()
            tune.report({"latency_s": latency_s})
            latency_s = time.perf_counter() - began

    class Latencies(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if result["latency_s"] is not None:
                seconds.append(result["latency_s"])

    seconds: list[float] = []
    with _cluster(trials):
        _run(
            awaiting,
            trials,
            {"reports": reports, "pause_s": pause_s},
            callbacks=[Latencies()],
            stop=lambda trial_id, result: False,
        )
    return latency_summary(seconds)


def first_result(*, slots: int) -> Values:
    from ray import tune

    def noop(config: dict[str, Any]) -> None:
        tune.report({"score": 1.0})

    class First(tune.Callback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            after_s.append(seconds_since_start())

    after_s: list[float] = []
    with _cluster(slots):
        _run(noop, 1, callbacks=[First()])
    return {"first_result_s": after_s[0], "whole_run_s": seconds_since_start()}


def coordinator_memory(*, trials: int, slots: int, traced: bool) -> Values:
    """Memory of the driver alone; what Ray's own daemons keep of a trial is not counted."""
    from ray import tune

    def noop(config: dict[str, Any]) -> None:
        tune.report({"score": config["x"]})

    class Counter(tune.Callback):
        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            slope.trial_finished()

    slope = MemorySlope(trials, traced=traced)
    with _cluster(slots):
        _run(noop, trials, reuse_actors=True, callbacks=[Counter()])
    return slope.values()


def checkpoints(*, megabytes: int, rounds: int) -> Values:
    from ray import tune

    def training(config: dict[str, Any]) -> None:
        source = tempfile.mkdtemp()
        write_file(Path(source, "model"), config["megabytes"])
        waited = None
        for _ in range(config["rounds"]):
            began = time.perf_counter()
            checkpoint = tune.Checkpoint.from_directory(source)
            tune.report({"waited_s": waited}, checkpoint=checkpoint)
            waited = time.perf_counter() - began
        tune.report({"waited_s": waited})

    class Waits(tune.Callback):
        def on_trial_result(
            self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if result["waited_s"] is not None:
                seconds.append(result["waited_s"])

    seconds: list[float] = []
    with _cluster(1):
        _run(
            training,
            1,
            {"megabytes": megabytes, "rounds": rounds},
            callbacks=[Waits()],
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        )
    return waiting_values(seconds, rounds)


def resume(*, storage: str, trials: int, left: int, slots: int, step: str) -> Values:
    """Prepare a sweep of which `left` trials are not finished, or resume it; see `ours`."""
    from ray import tune

    class InterruptAfter(tune.Callback):
        def __init__(self) -> None:
            self._left = trials

        def on_trial_complete(self, *args: Any, **info: Any) -> None:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGINT)

    class InterruptAtStart(tune.Callback):
        def on_trial_start(self, iteration: int, trials: Any, trial: Any, **info: Any) -> None:
            if first.seen(trials):
                os.kill(os.getpid(), signal.SIGINT)

    def noop(config: dict[str, Any]) -> None:
        tune.report({"score": config["x"]})

    with _cluster(slots):
        first = FirstStart()
        _run(
            noop,
            trials + left,
            name="sweep",
            storage_path=storage,
            reuse_actors=True,
            callbacks=[InterruptAfter() if step == "prepare" else InterruptAtStart()],
            resume=step != "prepare",
        )
        return {} if step == "prepare" else first.values(finished=trials)


def sync_cost(
    *, trials: int, slots: int, results: int, seconds: float, storage: str | None
) -> Values:
    def train(config: dict[str, Any]) -> None:
        from ray import tune

        for step in range(1, config["results"] + 1):
            time.sleep(config["seconds"])
            checkpoint = None
            with tempfile.TemporaryDirectory() as directory:
                if step % 5 == 0:
                    write_file(Path(directory, "model"), 1)
                    checkpoint = tune.Checkpoint.from_directory(directory)
                tune.report({"score": config["x"] * step}, checkpoint=checkpoint)

    from ray import tune

    place = {} if storage is None else _on_s3(storage)
    with _cluster(slots):
        _run(train, slots, {"results": 1, "seconds": seconds}, reuse_actors=True)
        began = time.perf_counter()
        _run(
            train,
            trials,
            {"results": results, "seconds": seconds},
            reuse_actors=True,
            checkpoint_config=tune.CheckpointConfig(num_to_keep=2),
            **place,
        )
        run_s = time.perf_counter() - began
    return sleeping_values(run_s, trials, slots, seconds * results)


def _on_s3(url: str) -> dict[str, Any]:
    """Where to keep an experiment; what the AWS variables say is told explicitly."""
    from pyarrow.fs import S3FileSystem

    options: dict[str, Any] = {}
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3")
    if endpoint:
        scheme, _, host = endpoint.partition("://")
        options = {"scheme": scheme, "endpoint_override": host}
    return {
        "storage_path": url.removeprefix("s3://"),
        "storage_filesystem": S3FileSystem(**options),
    }


def space_resolution(*, variants: int) -> Values:
    from ray import tune
    from ray.tune.search.variant_generator import generate_variants

    spec = {
        "config": {
            "lr": tune.loguniform(1e-5, 1e-1),
            "momentum": tune.uniform(0.5, 0.99),
            "dropout": tune.quniform(0.0, 0.5, 0.05),
            "noise": tune.randn(0.0, 1.0),
            "layers": tune.randint(1, 8),
            "width": tune.lograndint(8, 1024),
            "batch": tune.qrandint(16, 256, 16),
            "activation": tune.choice(["relu", "tanh", "gelu"]),
            "optimiser": tune.choice(["sgd", "adam"]),
            "decay": tune.sample_from(lambda spec: spec.config.lr / 10),
        }
    }
    began = time.perf_counter()
    for _ in range(variants):
        for _resolved, _variant in generate_variants(spec):
            pass
    return {"resolve_s": time.perf_counter() - began}


@contextmanager
def _cluster(slots: int) -> Iterator[None]:
    import ray

    ray.init(
        num_cpus=slots,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=OBJECT_STORE_BYTES,
        _node_ip_address="127.0.0.1",
        _temp_dir=tempfile.mkdtemp(prefix="ray"),
    )
    try:
        yield
    finally:
        ray.shutdown()


def _run(
    trainable: Callable[[dict[str, Any]], None],
    trials: int,
    config: dict[str, Any] | None = None,
    **options: Any,
) -> None:
    from ray import tune

    tune.run(
        trainable,
        num_samples=trials,
        config={"x": tune.uniform(0, 1), **(config or {})},
        resources_per_trial={"cpu": 1},
        verbose=0,
        **{"storage_path": tempfile.mkdtemp(), **options},
    )


def _told(base: Any) -> Any:
    """A scheduler of Ray Tune that tells the stream which trial becomes a copy of which."""

    class Told(base):
        def _exploit(self, controller: Any, trial: Any, source: Any) -> None:
            self._controller = controller
            super()._exploit(controller, trial, source)

        def _get_new_config(self, trial: Any, source: Any) -> Any:
            found = super()._get_new_config(trial, source)
            status = trial.status
            self._controller.restore_trial_from(trial, source, config=found[0])
            trial.status = status  # Ray pauses it
            return found

    return Told


def schedulers(*, kind: str, runs: int, path: str) -> Values:
    from ray.tune import schedulers as theirs

    return write(theirs, _told(theirs.PopulationBasedTraining), kind, runs, path)


def regret(*, way: str, seeds: int) -> Values:
    logging.disable(logging.CRITICAL)
    from ray.tune import schedulers as theirs
    from ray.tune.schedulers.pb2 import PB2

    pbt = _told(theirs.PopulationBasedTraining)
    return regret_values(theirs, pbt, _told(PB2), way, seeds)


WORKLOADS = {
    workload.__name__: workload
    for workload in (
        trial_overhead,
        sleeping_trials,
        streamed_results,
        decision_latency,
        first_result,
        coordinator_memory,
        checkpoints,
        resume,
        schedulers,
        regret,
        space_resolution,
        sync_cost,
    )
}

if __name__ == "__main__":
    serve(WORKLOADS, requires=("ray",))
