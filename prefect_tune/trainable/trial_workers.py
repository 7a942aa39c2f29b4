"""The bundles of a running trial, and functions that it starts in them.

Each function runs in a process of its own on the node of its bundle, with that bundle's devices,
and ends with the trial at the latest.
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
from prefect_tune.experiment.attempt_error import AttemptError
from prefect_tune.trainable.runner import outcome_of
from prefect_tune.trainable.runtime.current_session import current_session

_load: Callable[[], Any] | None = None


class WorkerCall(Future[Any]):
    """A function that runs in a bundle.

    `result` waits for what it returns, or raises what it has raised; `TrialWorkerFailed` if its
    process has ended otherwise.
    """

    #: Ends the function.
    _end: Callable[[], None]

    def end(self) -> None:
        """End the function's process at once; its `result` raises `TrialWorkerFailed` then."""
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
        except Exception as problem:  # whatever an object of the user's raises
            error = failed = TrialWorkerFailed(f"its result cannot be loaded here: {problem!r}")
        if error is not failed:
            error.__cause__ = failed
        self.set_exception(error)


@dataclass(frozen=True, slots=True)
class TrialWorker:
    """One bundle of the running trial.

    Attributes:
        bundle: Its place in the request; 0 is where the trial itself runs.
        address: Address of the Dask worker that it is on.
        host: Name or IP address of that worker's host.
        resources: What it has, in units.
        devices: Ids of its GPUs, as in `CUDA_VISIBLE_DEVICES`.
    """

    bundle: int
    address: str
    host: str
    resources: dict[str, float]
    devices: tuple[str, ...]

    def start(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> WorkerCall:
        """Start a function in this bundle, in a process of its own.

        It works in the trial's directory on that node, prints to files there
        (`worker_<bundle>_stdout`, `..._stderr`), and has the environment of a trial with these
        resources. When the trial ends, it is killed.

        Args:
            function: The function; pickled, as its arguments and what it returns are.
            *args: Its positional arguments.
            **kwargs: Its keyword arguments.

        Returns:
            Resolves to what it returns.

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
        except Exception as error:  # whatever an object of the user's raises when it is pickled
            raise InvalidArgument(
                "function",
                f"it or an argument cannot be pickled ({error!r}).",
                "Create what cannot in the function.",
            ) from error
        started = WorkerCall()
        started.set_running_or_notify_cancel()
        number = session.start_call(self.bundle, call, started._ended)
        started._end = lambda: session.end_call(self.bundle, number)
        return started


def trial_workers() -> list[TrialWorker]:
    """The bundles of the running trial, in the order of its `PlacementGroupFactory`.

    The first is the one that it runs in itself; there are no others unless it asked for several.
    Empty outside a trial.
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
