"""An executor without a cluster: attempts are threads that end as their trial id says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from prefect_tune.coordinator.commands import Decide, Kill, Launch
from prefect_tune.coordinator.events import AttemptEnded, Node, Outcome
from prefect_tune.execution.base import Emit, ExperimentEnv, TrialPlace
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources

OUTCOMES = list(Outcome)


def launch_of(number: int, attempt: int = 1) -> tuple[Launch, TrialPlace]:
    launch = Launch(str(number), attempt, f"train_{number:05d}", {}, "node", Resources.parse(None))
    return launch, TrialPlace(f"train_{number:05d}", f"{number}_lr=0.1")


def ending_of(trial_id: str, attempt: int = 1) -> AttemptEnded:
    outcome = OUTCOMES[int(trial_id) % len(OUTCOMES)]
    failed = outcome in (Outcome.FAILED, Outcome.LOST)
    error = AttemptError("ValueError", "boom", "the traceback", 1) if failed else None
    return AttemptEnded(time.time(), trial_id, attempt, outcome, error)


class FakeExecutor:
    """Ends attempts when `go` is set; it is from the start unless `held`."""

    def __init__(self, held: bool = False) -> None:
        self.go = threading.Event()
        self.launched: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self._pool = ThreadPoolExecutor(8)
        if not held:
            self.go.set()

    def open(self, env: ExperimentEnv, emit: Emit) -> None:
        raise NotImplementedError

    def capacity(self) -> tuple[Node, ...]:
        return ()

    def launch(self, launch: Launch, place: TrialPlace) -> Future[AttemptEnded]:
        self.launched.append(launch.name)
        return self._pool.submit(self._end, launch)

    def submit_body(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        annotations: dict[str, Any],
    ) -> Future[Any]:
        self.bodies.append(annotations)
        return self._pool.submit(fn, *args, **kwargs)

    def decide(self, decisions: Sequence[Decide]) -> None:
        raise NotImplementedError

    def kill(self, kills: Sequence[Kill]) -> None:
        raise NotImplementedError

    def show_demand(self, waiting: Any) -> None:
        pass

    def dashboard(self) -> str | None:
        return None

    def close(self) -> None:
        self._pool.shutdown()

    def _end(self, launch: Launch) -> AttemptEnded:
        self.go.wait()
        return ending_of(launch.trial_id, launch.attempt)
