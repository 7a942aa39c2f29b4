"""Syne Tune's side of the benchmarks: its Python backend, one process per trial."""
# Syne Tune is not installed where this is type-checked.
# mypy: disable-error-code="import-not-found,import-untyped,misc,no-any-unimported"

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from benchmarks.subject import (
    Values,
    overhead_values,
    seconds_since_start,
    serve,
    sleeping_values,
)

DEFAULT_POLL_S = 5.0
"""Syne Tune's default of `Tuner(sleep_time=)`: how long it sleeps while all workers are busy."""


def trial_overhead(*, trials: int, slots: int, poll_s: float = DEFAULT_POLL_S) -> Values:
    _run(_noop, slots, slots, poll_s=poll_s)
    start_s = seconds_since_start()
    began = time.perf_counter()
    _run(_noop, trials, slots, poll_s=poll_s)
    return overhead_values(start_s, time.perf_counter() - began, trials)


def sleeping_trials(*, trials: int, slots: int, seconds: float) -> Values:
    began = time.perf_counter()
    _run(_sleeping, trials, slots, {"seconds": seconds})
    return sleeping_values(time.perf_counter() - began, trials, slots, seconds)


def first_result(*, slots: int) -> Values:
    from syne_tune.tuner_callback import TunerCallback

    class First(TunerCallback):
        def on_trial_result(self, *args: Any, **info: Any) -> None:
            after_s.append(seconds_since_start())

    after_s: list[float] = []
    _run(_noop, 1, slots, callbacks=[First()])
    return {"first_result_s": after_s[0], "whole_run_s": seconds_since_start()}


# The backend sends the bare code objects of these to the trial's process: they may refer to
# nothing outside themselves.
def _noop(x: float) -> None:
    from syne_tune import Reporter

    Reporter()(score=x)


def _sleeping(x: float, seconds: float) -> None:
    import time

    from syne_tune import Reporter

    time.sleep(seconds)
    Reporter()(score=x)


def _run(
    function: Callable[..., None],
    trials: int,
    slots: int,
    config: dict[str, Any] | None = None,
    *,
    poll_s: float = DEFAULT_POLL_S,
    callbacks: list[Any] | None = None,
) -> None:
    from syne_tune import StoppingCriterion, Tuner
    from syne_tune.backend import PythonBackend
    from syne_tune.config_space import uniform
    from syne_tune.optimizer.baselines import RandomSearch
    from syne_tune.results_callback import StoreResultsCallback

    space = {"x": uniform(0.0, 1.0), **(config or {})}
    Tuner(
        trial_backend=PythonBackend(tune_function=function, config_space=space),
        scheduler=RandomSearch(space, metrics=["score"], random_seed=0),
        stop_criterion=StoppingCriterion(max_num_trials_finished=trials),
        n_workers=slots,
        sleep_time=poll_s,
        callbacks=[StoreResultsCallback(), *(callbacks or [])],
        tuner_name="benchmark",
    ).run()


WORKLOADS = {
    workload.__name__: workload for workload in (trial_overhead, sleeping_trials, first_result)
}

if __name__ == "__main__":
    serve(WORKLOADS, requires=("syne-tune",))
