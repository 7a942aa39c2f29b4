"""`Callback`: the base class of user code that an experiment calls when something happens.

Hooks, names and arguments are Ray Tune's. A hook does nothing unless it is overridden.
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
    error.add_note(_failure_text(callback, hook, error))


def callback_error(callback: object, hook: str, error: BaseException) -> Exception:
    """Return the error that ends the experiment after a callback has raised.

    This is the callback's own error with a note that names the hook. An exception that would end
    the process, such as `SystemExit`, becomes the cause of a `TuneError` instead.
    """
    if isinstance(error, Exception):
        name_callback(callback, hook, error)
        return error
    raised = TuneError(_failure_text(callback, hook, error))
    raised.__cause__ = error
    return raised


def _failure_text(callback: object, hook: str, error: BaseException) -> str:
    described = f"{type(error).__name__}: {in_words(error)}"
    return f"The callback {type(callback).__name__} failed in {hook}: {described}"


class CallbackFailures:
    """Logs the errors of callbacks, for experiments that go on after such errors.

    A hook that fails at each result must not flood the log: the first failure of each hook of each
    callback is logged with its traceback, the others are counted.

    An object is for one thread only.
    """

    def __init__(self) -> None:
        self._failures: Counter[tuple[int, str, str]] = Counter()

    def log(self, callback: object, hook: str, error: BaseException) -> None:
        """Log the first failure of a hook of a callback; count the later ones."""
        failed = (id(callback), type(callback).__name__, hook)
        self._failures[failed] += 1
        if self._failures[failed] == 1:
            log.error(
                "%s. The experiment goes on (PREFECT_TUNE_LOG_CALLBACK_ERRORS).",
                _failure_text(callback, hook, error),
                exc_info=error,
            )

    def summarise(self) -> None:
        """Log how often each hook has failed, if more than once, and reset the counts."""
        for (_, name, hook), count in self._failures.items():
            if count > 1:
                log.error("The callback %s failed %d times in %s.", name, count, hook)
        self._failures.clear()


class Callback:
    """Base class of callbacks: the engine calls their hooks when something happens.

    `iteration` counts the rounds of the engine's loop, `trials` are all trials so far, and `trial`
    is the trial concerned. Trials are shared, not copied: read them, do not change them.
    """

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Called before the first trial.

        Args:
            stop: Stopping criteria of the experiment, as given; an empty dict if there are none.
            num_samples: `num_samples` as given.
            total_num_samples: Number of trials that will be created, if known.
            info: `time_budget_s`, as given.
        """

    def on_step_begin(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called at the beginning of each round of the engine's loop."""

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Called at the end of each round of the engine's loop."""

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after an attempt of a trial has started, the first one or a later one."""

    def on_trial_restore(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after `on_trial_start`, if the attempt goes on from a checkpoint."""

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Called after `on_checkpoint`, for callbacks that do not need the checkpoint itself."""

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        """Called after a trial has reported a result.

        `result` is a copy of the reported result. A callback may change it: later callbacks and the
        loggers get the changed result. `trial.last_result`, which may be of a later report already,
        is not changed.

        Values are as they were reported: numpy arrays and scalars, tuples, sets, and objects that
        can be pickled, of up to 1 MiB each. Larger values, values that cannot be pickled, tensors
        of other libraries, and mappings that are no dicts are converted to JSON types: lists,
        numbers, dicts and strings. So are results from before a resume, and all results in files.
        """

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial has ended without an error."""

    def on_trial_recover(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after an attempt has failed or was lost with its node, if the trial is retried."""

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        """Called after a trial has failed for good."""

    def on_checkpoint(
        self, iteration: int, trials: list[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """Called after a checkpoint of the trial, `checkpoint`, is complete in storage."""

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Called after the last trial has ended."""

    def get_state(self) -> dict[str, Any] | None:
        """Return the state to save with the experiment, which must be picklable; None for none."""
        return None

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore a `state` that `get_state` has returned, when an experiment is resumed."""


#: Names of the methods of `Callback` that are called when something happens.
HOOKS = frozenset(name for name in vars(Callback) if name == "setup" or name.startswith("on_"))


class CallbackList:
    """Calls the hooks of several callbacks in order; has every hook of `Callback` as a method.

    Args:
        callbacks: The callbacks.
        log_errors: True logs what callbacks raise and goes on.

    Raises:
        Exception: What a callback raises in a hook, unless `log_errors`; a note in it names the
            callback and the hook.
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
        """Return True if any callback overrides the hook, so that its arguments are needed."""
        return bool(self._overriding(hook))

    def call(self, hook: str, **arguments: Any) -> None:
        """Call one hook of all callbacks, e.g. ``call("on_step_end", iteration=3, trials=[])``."""
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
        """Return the states of the callbacks that have one, by position and class name."""
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
        """Restore the states that `get_state` has returned for the same list of callbacks."""
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
    """Return True if the callback overrides this hook of `Callback`."""
    found = getattr(callback, hook, None)
    if found is None:
        return False
    return getattr(found, "__func__", found) is not getattr(Callback, hook)


#: Variable with the import paths of callbacks for every experiment of a process, comma-separated.
CALLBACKS_VARIABLE = "RAY_TUNE_CALLBACKS"


def callbacks_of_environment(environ: Mapping[str, str] | None = None) -> list[Callback]:
    """Make the callbacks that `RAY_TUNE_CALLBACKS` names, such as ``my.module.MyCallback,other.C``.

    Args:
        environ: The environment variables; None is the process's environment.

    Raises:
        InvalidArgument: If a class cannot be imported, is no subclass of `Callback`, or raises when
            it is called without arguments; the message names it.
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
