"""Callbacks: user code that is told what happens in an experiment.

Hooks, names and arguments are Ray Tune's. Every hook does nothing unless it is overridden.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.trial import Trial
from prefect_tune.text import in_words

log = logging.getLogger(__name__)


def name_callback(callback: object, hook: str, error: Exception) -> None:
    """Add a note to an error that names the callback and the hook in which it was raised."""
    error.add_note(_told(callback, hook, error))


def callback_error(callback: object, hook: str, error: BaseException) -> Exception:
    """What ends the experiment: the error as it was raised, with a note that names the hook.

    What would end the process, such as `SystemExit`, becomes the cause of a `TuneError` instead.
    """
    if isinstance(error, Exception):
        name_callback(callback, hook, error)
        return error
    raised = TuneError(_told(callback, hook, error))
    raised.__cause__ = error
    return raised


def _told(callback: object, hook: str, error: BaseException) -> str:
    said = f"{type(error).__name__}: {in_words(error)}"
    return f"The callback {type(callback).__name__} failed in {hook}: {said}"


class CallbackFailures:
    """Logs what callbacks raise, where the experiment is to go on.

    A hook that fails at each result must not flood the log: the first failure of each hook of each
    callback is logged with its traceback, the others are counted.

    Used by one thread.
    """

    def __init__(self) -> None:
        self._failures: Counter[tuple[int, str, str]] = Counter()

    def log(self, callback: object, hook: str, error: BaseException) -> None:
        """Log a failure, or count it."""
        failed = (id(callback), type(callback).__name__, hook)
        self._failures[failed] += 1
        if self._failures[failed] == 1:
            log.error(
                "%s. The experiment goes on (PREFECT_TUNE_LOG_CALLBACK_ERRORS).",
                _told(callback, hook, error),
                exc_info=error,
            )

    def summarise(self) -> None:
        """Log how often hooks have failed after the first time; once."""
        for (_, name, hook), count in self._failures.items():
            if count > 1:
                log.error("The callback %s failed %d times in %s.", name, count, hook)
        self._failures.clear()


class Callback:
    """Base class of callbacks.

    `iteration` counts the rounds of the experiment's loop, `trials` are all trials so far, `trial`
    is the one that the hook is about. Trials are shared, not copied: read them, do not change them.
    """

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Before the first trial.

        Args:
            stop: Stopping criteria of the experiment, as given; an empty dict if there are none.
            num_samples: `num_samples` as given.
            total_num_samples: Number of trials that will be created, if known.
            info: `time_budget_s`, as given.
        """

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """At the beginning of each round of the loop."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """At the end of each round of the loop."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """After an attempt of a trial has started, be it its first or a later one."""

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """After `on_trial_start`, if the attempt goes on from a checkpoint."""

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """After `on_checkpoint`, for what does not need the checkpoint itself."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """After a result.

        `result` is a copy of what the trial has reported. What a callback adds to it or changes in
        it is seen by the callbacks behind it and written down by the loggers; `trial.last_result`,
        which may already be a later one, does not have it.

        Values are as they were reported: numpy's arrays and scalars, tuples, sets, and objects that
        can be pickled, of up to 1 MiB each. What is larger or cannot be pickled, tensors of other
        libraries and mappings that are no dicts have come as JSON: lists, numbers, dicts and texts.
        So have results from before a resume, and all that is in files.
        """

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """After a trial has ended without an error."""

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """After an attempt has failed, or got lost with its node, if the trial is tried again."""

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """After a trial has failed for good."""

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """After `checkpoint`, one of the trial's, is complete in storage."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """After the last trial has ended."""

    def get_state(self) -> dict[str, Any] | None:
        """State to save with the experiment; None if there is none. Must be picklable."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over `state` from `get_state`, when an experiment is resumed."""


#: The methods of `Callback` that tell something.
HOOKS = frozenset(name for name in vars(Callback) if name == "setup" or name.startswith("on_"))


class CallbackList:
    """Calls several callbacks in list order; has every hook of `Callback` as a method.

    Args:
        callbacks: The callbacks.
        log_errors: Log what they raise and go on.

    Raises:
        Exception: From every hook, what a callback raises, if `log_errors` is false; a note in it
            names the callback and the hook.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), *, log_errors: bool = False) -> None:
        self._callbacks = list(callbacks)
        self._failures = CallbackFailures() if log_errors else None
        self._listeners: dict[str, list[Callback]] = {}

    def __len__(self) -> int:
        return len(self._callbacks)

    def __iter__(self) -> Iterator[Callback]:
        return iter(self._callbacks)

    def listens(self, hook: str) -> bool:
        """True if any callback overrides the hook; lets a caller save the work of preparing it."""
        return bool(self._overriding(hook))

    def call(self, hook: str, **arguments: Any) -> None:
        """Call one hook of every callback, e.g. ``call("on_step_end", iteration=3, trials=[])``."""
        for callback in self._overriding(hook):
            try:
                getattr(callback, hook)(**arguments)
            except Exception as error:
                if self._failures is None:
                    name_callback(callback, hook, error)
                    raise
                self._failures.log(callback, hook, error)
        if hook == "on_experiment_end" and self._failures is not None:
            self._failures.summarise()

    def __getattr__(self, hook: str) -> Callable[..., None]:
        if hook not in HOOKS:
            raise AttributeError(f"{type(self).__name__} has no attribute {hook!r}")
        return partial(self.call, hook)

    def get_state(self) -> dict[str, dict[str, Any]]:
        """The states of the callbacks that have one, by position and class name."""
        states: dict[str, dict[str, Any]] = {}
        for key, callback in self._keyed():
            try:
                state = callback.get_state()
            except Exception as error:
                name_callback(callback, "get_state", error)
                raise
            if state is not None:
                states[key] = state
        return states

    def set_state(self, states: dict[str, dict[str, Any]]) -> None:
        """Give the callbacks back what `get_state` returned for the same list."""
        for key, callback in self._keyed():
            if key not in states:
                continue
            try:
                callback.set_state(states[key])
            except Exception as error:
                name_callback(callback, "set_state", error)
                raise

    def _keyed(self) -> Iterator[tuple[str, Callback]]:
        for position, callback in enumerate(self._callbacks):
            yield f"{position}-{type(callback).__name__}", callback

    def _overriding(self, hook: str) -> list[Callback]:
        listeners = self._listeners.get(hook)
        if listeners is None:
            listeners = [c for c in self._callbacks if overrides(c, hook)]
            self._listeners[hook] = listeners
        return listeners


def overrides(callback: object, hook: str) -> bool:
    """True if the callback does something in this hook."""
    found = getattr(callback, hook, None)
    if found is None:
        return False
    return getattr(found, "__func__", found) is not getattr(Callback, hook)


#: Names callbacks that every experiment of a process has, as import paths with commas between.
CALLBACKS_VARIABLE = "RAY_TUNE_CALLBACKS"


def callbacks_of_environment(environ: Mapping[str, str] | None = None) -> list[Callback]:
    """Make the callbacks that `RAY_TUNE_CALLBACKS` names, such as ``my.module.MyCallback,other.C``.

    Args:
        environ: Where to look; None is the process's environment.

    Raises:
        InvalidArgument: If one cannot be imported, is no subclass of `Callback`, or raises when it
            is called without arguments; names it.
    """
    values = os.environ if environ is None else environ
    paths = values.get(CALLBACKS_VARIABLE, "").split(",")
    return [_imported(path.strip()) for path in paths if path.strip()]


def _imported(path: str) -> Callback:
    module, _, name = path.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidArgument(
            CALLBACKS_VARIABLE,
            f"{path!r} cannot be imported: {error}.",
            "Name classes as `package.module.Class`, with commas between them.",
        ) from error
    if not (isinstance(kind, type) and issubclass(kind, Callback)):
        raise InvalidArgument(
            CALLBACKS_VARIABLE, f"{path!r} is no subclass of `Callback`.", "Derive it from that."
        )
    try:
        return kind()
    except Exception as error:
        raise InvalidArgument(
            CALLBACKS_VARIABLE,
            f"{path!r} raised {type(error).__name__}: {error}.",
            "It is called without arguments.",
        ) from error
