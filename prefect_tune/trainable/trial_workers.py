"""`trial_workers`: the bundles of a running trial, in which it can start functions.

Each function runs in its own process on the node of its bundle, with the bundle's devices,
and is killed at the end of the trial.
"""

from __future__ import annotations

import contextlib
import functools
import os
import pickle
import random
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import cloudpickle
import numpy as np

from prefect_tune.error import InvalidArgument, TrialWorkerFailed, TuneError
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.trainable.runner import outcome_of
from prefect_tune.trainable.runtime.attempt_session import current_session

_load: Callable[[], Any] | None = None


class WorkerCall(Future[Any]):
    """Future of a function that runs in a bundle.

    `result` waits for the return value, or raises the function's exception; `TrialWorkerFailed` if
    the process has ended otherwise.
    """

    #: Ends the function.
    _end: Callable[[], None]

    def end(self) -> None:
        """Kill the function's process; `result` then raises `TrialWorkerFailed`."""
        self._end()

    def _ended(self, returned: bool, payload: bytes | None) -> None:
        if payload is None:
            self.set_exception(TrialWorkerFailed("the connection to its node is closed"))
            return
        try:
            loaded = pickle.loads(payload)
            if returned:
                self.set_result(loaded)
                return
            failed = TrialWorkerFailed(loaded.text())
            error = failed if loaded.pickled is None else pickle.loads(loaded.pickled)
        except Exception as problem:  # a user's object may raise anything
            error = failed = TrialWorkerFailed(f"its result cannot be loaded here: {problem!r}")
        if error is not failed:
            error.__cause__ = failed
        self.set_exception(error)


@dataclass(frozen=True, slots=True)
class TrialWorker:
    """One bundle of the running trial.

    Attributes:
        bundle: Place of the bundle in the request; the trial itself runs in bundle 0.
        address: Address of the bundle's Dask worker.
        host: Name or IP address of that worker's host.
        resources: Resources of the bundle, in units.
        devices: Ids of the bundle's GPUs, as in `CUDA_VISIBLE_DEVICES`.
    """

    bundle: int
    address: str
    host: str
    resources: dict[str, float]
    devices: tuple[str, ...]

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> WorkerCall:
        """Start a function in this bundle, in its own process.

        The function works in the trial's directory on that node, prints to files there
        (`worker_<bundle>_stdout`, `..._stderr`), and has the environment of a trial with these
        resources. It is killed when the trial ends.

        Args:
            function: The function. The function, its arguments and its return value are pickled.
            *args: Positional arguments of the function.
            **kwargs: Keyword arguments of the function.

        Returns:
            A future of the return value.

        Raises:
            InvalidArgument: If the function or an argument cannot be pickled.
        """
        session = current_session()
        if session is None:
            raise InvalidArgument(
                "start", "the trial has ended, or this is another process.", "Call it in the trial."
            )
        try:
            call = cloudpickle.dumps((function, args, kwargs))
        except Exception as error:  # a user's object may raise anything when it is pickled
            raise InvalidArgument(
                "function",
                f"it or an argument cannot be pickled ({error!r}).",
                "Create objects that cannot be pickled in the function.",
            ) from error
        started = WorkerCall()
        started.set_running_or_notify_cancel()
        number = session.start_call(self.bundle, call, started._ended)
        started._end = lambda: session.end_call(self.bundle, number)
        return started


def trial_workers() -> list[TrialWorker]:
    """Return the bundles of the running trial, in the order of its `PlacementGroupFactory`.

    The trial itself runs in the first one; there are no others unless the trial requests several.
    The list is empty outside a trial.
    """
    session = current_session()
    if session is None:
        return []
    launch = session.context.launch
    places = [(launch.node, launch.devices), *((s.node, s.devices) for s in launch.others)]
    bundles = zip(launch.resources.bundles, places, strict=True)
    return [
        TrialWorker(number, node, urlsplit(node).hostname or node, dict(resources), devices)
        for number, (resources, (node, devices)) in enumerate(bundles)
    ]


def loaded_trainable() -> Any:
    """Return the trial's trainable, in a function that the trial has started.

    Raises:
        TuneError: In any other process.
        Exception: What loading it raises.
    """
    if _load is None:
        raise TuneError("this is no function that a trial has started in a bundle")
    return _load()


def run_call(call: bytes, directory: str, load: Callable[[], Any]) -> tuple[bool, bytes]:
    """Run a function that a trial has started; in the function's own process.

    Args:
        call: Function and arguments, pickled.
        directory: Where it is to work.
        load: Gives the trial's trainable.

    Returns:
        Whether it has returned, and its pickled result or `AttemptError`.
    """
    global _load
    _load = functools.cache(load)
    with contextlib.suppress(Exception):  # for most functions, its modules are what counts
        _load()
    os.chdir(directory)
    random.seed()
    np.random.seed()
    try:
        function, args, kwargs = pickle.loads(call)
        return True, cloudpickle.dumps(function(*args, **kwargs))
    except BaseException as error:
        end = outcome_of(error)
        if not isinstance(end, AttemptError):
            end = AttemptError("exit", "the function called sys.exit()")
        return False, pickle.dumps(end)
