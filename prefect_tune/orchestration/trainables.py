"""Makes trainables of Prefect's flows, tasks and deployments."""

from __future__ import annotations

import asyncio
import inspect
import json
import time
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from prefect import Flow, Task
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.deployments import run_deployment
from prefect.exceptions import MissingResult, ObjectNotFound
from prefect.states import Cancelling

from prefect_tune.error import InvalidArgument, InvalidTrainable, TuneError
from prefect_tune.orchestration.record.artifacts import find_artifact
from prefect_tune.orchestration.server.api import check_lasting_server
from prefect_tune.trainable.session import report


class StepTrainable:
    """A flow or task of Prefect that each trial calls with its configuration.

    Args:
        step: The flow or task. What it returns is its result; it may also call `tune.report`.
        space: The search space, which has to have the arguments of `step`.

    Raises:
        InvalidTrainable: If `step` cannot be called with the parameters of the space.
    """

    def __init__(self, step: Flow[Any, Any] | Task[Any, Any], space: Any) -> None:
        self._step = step
        self.__name__ = getattr(step.fn, "__name__", "step")
        signature = inspect.signature(step.fn)
        self._takes_config = "config" in signature.parameters
        if not self._takes_config and isinstance(space, Mapping):
            try:
                signature.bind(**dict.fromkeys(space))
            except TypeError as error:
                raise InvalidTrainable(
                    "trainable",
                    f"{self.__name__}{signature} cannot be called with the parameters of the space "
                    f"({error}).",
                    "Its arguments are those of the space, or one called `config`.",
                ) from None

    def __call__(self, config: dict[str, Any]) -> Any:
        """Call the flow or task in a trial."""
        step: Any = self._step
        outcome = step(config=config) if self._takes_config else step(**config)
        return asyncio.run(_await(outcome)) if inspect.isawaitable(outcome) else outcome


async def _await(outcome: Any) -> Any:
    return await outcome


def deployment(
    name: str,
    parameters: Mapping[str, Any] | None = None,
    metrics: str | None = None,
    poll_s: float = 2.0,
) -> Deployment:
    """Make a trainable of a deployment: each trial is a run of it, with the trial's configuration.

    The trial ends as the run does, and a trial that is stopped cancels its run. The run appears as
    a subflow of the sweep::

        tune.run(tune.deployment("train/prod", metrics="epochs"), config={"lr": ...})

    Trials need a route to the Prefect API, and `PREFECT_API_KEY` where it demands one.

    Args:
        name: ``flow/deployment``.
        parameters: Parameters besides those of the configuration.
        metrics: None takes what the flow returns, a dict or a number, for which it has to have
            `persist_result=True`. A key takes its table artifact of this key: each row is a result,
            also while it runs, so schedulers may stop it early.
        poll_s: Seconds between two looks at the run.

    Raises:
        InvalidArgument: If an argument cannot work.
    """
    return Deployment(name, parameters, metrics, poll_s)


class Deployment:
    """A deployment as a trainable; made by `deployment`."""

    def __init__(
        self, name: str, parameters: Mapping[str, Any] | None, metrics: str | None, poll_s: float
    ) -> None:
        if not isinstance(name, str) or name.count("/") != 1:
            raise InvalidArgument("name", f"got {name!r}.", "Give `flow/deployment`.")
        if not poll_s > 0:
            raise InvalidArgument("poll_s", f"got {poll_s!r}.", "It is more than 0.")
        self.name = name
        self._parameters = dict(parameters or {})
        self._metrics = metrics
        self._poll_s = poll_s
        self._rows = 0
        self.__name__ = name.replace("/", "-")

    def check(self) -> None:
        """Check that the deployment exists.

        Raises:
            InvalidTrainable: If it does not.
            PrefectUnavailable: If no server is configured, or it does not answer.
        """
        check_lasting_server()
        with get_client(sync_client=True) as client:
            try:
                client.read_deployment_by_name(self.name)
            except ObjectNotFound:
                raise InvalidTrainable(
                    "trainable",
                    f"there is no deployment {self.name!r}.",
                    "`prefect deployment ls` lists those there are.",
                ) from None

    def __call__(self, config: dict[str, Any]) -> Any:
        """Run the deployment in a trial."""
        run: Any = run_deployment(self.name, parameters={**self._parameters, **config}, timeout=0)
        with get_client(sync_client=True) as client:
            try:
                ended = self._follow(client, run.id)
            except BaseException:
                client.set_flow_run_state(run.id, Cancelling(message="its trial has ended"))
                raise
        state = ended.state
        if state is None or not state.is_completed():
            how = "" if state is None else f"{state.name}: {state.message}"
            raise TuneError(f"{self.name} ({ended.name}) did not complete ({how}).")
        if self._metrics is not None:
            if not self._rows:
                raise TuneError(
                    f"{self.name} ({ended.name}) has no table artifact {self._metrics!r} with rows."
                )
            return None
        try:
            return state.result()
        except MissingResult:
            raise TuneError(
                f"The result of {self.name} ({ended.name}) is not persisted. Give its flow "
                "`persist_result=True` and a storage that trials can read, or `metrics` the key of "
                "an artifact."
            ) from None

    def _follow(self, client: SyncPrefectClient, flow_run_id: UUID) -> FlowRun:
        while True:
            run = client.read_flow_run(flow_run_id)
            self._report_rows(client, flow_run_id)
            if run.state is not None and run.state.is_final():
                return run
            time.sleep(self._poll_s)

    def _report_rows(self, client: SyncPrefectClient, flow_run_id: UUID) -> None:
        if self._metrics is None:
            return
        artifact = find_artifact(client, flow_run_id, self._metrics)
        data = None if artifact is None else artifact.data
        rows = json.loads(data) if isinstance(data, str) else data
        for row in (rows if isinstance(rows, list) else [])[self._rows :]:
            self._rows += 1
            report(row)


def wrap_prefect_trainable(trainable: Any, space: Any) -> Any:
    """Make a trainable of a flow or task of Prefect; return other trainables unchanged.

    Raises:
        InvalidTrainable: If it cannot be run with the space, or does not exist.
    """
    if isinstance(trainable, Deployment):
        trainable.check()
    if isinstance(trainable, (Flow, Task)):
        return StepTrainable(trainable, space)
    return trainable
