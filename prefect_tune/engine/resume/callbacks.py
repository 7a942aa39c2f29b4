"""What callbacks and loggers had when an experiment was left: states, and results in files."""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prefect_tune.callback import Callback, overrides
from prefect_tune.experiment.pickling.encryption import decrypt, encrypt_if_secret, is_encrypted
from prefect_tune.experiment.pickling.plain import dump, load_plain
from prefect_tune.experiment.pickling.signing import OF_THIS_PROCESS, Pickles
from prefect_tune.experiment.trial import Trial
from prefect_tune.logger.base import LoggerCallback
from prefect_tune.logger.threads import Backlog
from prefect_tune.storage.experiment_dir import ExperimentDir

CALLBACKS_FILE = "callbacks.pkl"
_PURPOSE = "callback"
_logger = logging.getLogger(__name__)


class CallbackStates:
    """Saves the states of callbacks in an experiment directory, and restores them at a resume.

    A callback whose state cannot be saved or restored is named in a warning; the sweep goes on.

    Args:
        callbacks: All callbacks; those that do not override `get_state` have no state.
        directory: The experiment directory.
        pickles: Signs the saved states, and decides which may be loaded.
    """

    def __init__(
        self,
        callbacks: Sequence[Callback],
        directory: ExperimentDir,
        pickles: Pickles = OF_THIS_PROCESS,
    ) -> None:
        self._pickles = pickles
        self._callbacks = list(callbacks)
        self._directory = directory
        self._stateful = {id(one): one for one in callbacks if overrides(one, "get_state")}
        self._has_states = bool(self._stateful)
        self._states: dict[int, bytes] = {}

    def restore(self) -> None:
        """Restore each callback from the first saved state of its class that is not used yet."""
        path = self._directory.path / CALLBACKS_FILE
        try:
            # Earlier versions wrote no signatures.
            saved: list[tuple[str, bytes, str | None]] = [
                (*entry, None)[:3] for entry in load_plain(path.read_bytes())
            ]
        except FileNotFoundError:
            return
        except Exception as error:
            # Unpickling a damaged file may raise anything.
            _logger.warning(
                "The states of the callbacks in %s cannot be read (%s: %s); callbacks begin anew.",
                path,
                type(error).__name__,
                error,
            )
            return
        for callback in self._callbacks:
            name = _name(callback)
            index = next((i for i, (other, *_) in enumerate(saved) if other == name), None)
            if index is None:
                continue
            _, state, signature = saved.pop(index)
            try:
                callback.set_state(self._load(state, signature))
            except Exception as error:
                self._warn(callback, "set_state", "begins anew", error)

    def _load(self, state: bytes, signature: str | None) -> Any:
        if is_encrypted(state):
            # Only a holder of the signing key can have encrypted the state.
            return pickle.loads(decrypt(self._pickles, state))
        return self._pickles.load(_PURPOSE, state, signature)

    def collect(self, callback: Callback) -> None:
        """Get the state of a callback; call this in the thread in which the callback is called."""
        if id(callback) not in self._stateful:
            return
        try:
            state = callback.get_state()
            if state is not None:
                self._states[id(callback)] = encrypt_if_secret(self._pickles, dump(state))
        except Exception as error:
            del self._stateful[id(callback)]
            self._states.pop(id(callback), None)
            self._warn(callback, "get_state", "will begin anew if the experiment is resumed", error)

    def save(self) -> None:
        """Write the collected states into the experiment directory.

        Raises:
            StorageError: If the file cannot be written.
        """
        if not self._has_states:
            return
        saved = [
            (_name(self._stateful[key]), state, self._pickles.sign(_PURPOSE, state))
            for key, state in self._states.items()
        ]
        self._directory.write(CALLBACKS_FILE, dump(saved))

    def collect_all(self) -> None:
        """Get the states of all callbacks, once none of them is called any more."""
        for callback in list(self._stateful.values()):
            self.collect(callback)

    def _warn(self, callback: Callback, hook: str, outcome: str, error: Exception) -> None:
        _logger.warning(
            "The callback %s failed in %s and %s: %s: %s",
            type(callback).__name__,
            hook,
            outcome,
            type(error).__name__,
            error,
        )


def _name(callback: Callback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"


@dataclass(slots=True)
class _LoggingProgress:
    """How many results of a trial were replayed, and how many each logger has written."""

    count: int
    written: list[int | None]


class BacklogFinder:
    """Compares the results of a replay with the number that each logger has written.

    A logger appends the results of a trial in order, so missing results are always the last ones.

    Args:
        callbacks: All callbacks; only loggers that can count their written results are compared.
        before: How many results of each trial came before the replay; loggers have written these.
    """

    def __init__(self, callbacks: Sequence[Callback], before: Mapping[str, int]) -> None:
        self._before = before
        self._loggers = [
            callback
            for callback in callbacks
            if isinstance(callback, LoggerCallback)
            and type(callback).count_results is not LoggerCallback.count_results
        ]
        self._progress: dict[str, _LoggingProgress] = {}
        self._backlogs: dict[tuple[int, str], Backlog] = {}

    def add(self, trial: Trial, result: dict[str, Any]) -> None:
        """Compare the next replayed result of a trial."""
        progress = self._progress.get(trial.trial_id)
        if progress is None:
            written = self._count(trial)
            count = self._before.get(trial.trial_id, 0)
            progress = self._progress[trial.trial_id] = _LoggingProgress(count, written)
        progress.count += 1
        for index, written_count in enumerate(progress.written):
            if written_count is not None and progress.count > written_count:
                key = (index, trial.trial_id)
                if key not in self._backlogs:
                    self._backlogs[key] = Backlog(self._loggers[index], trial)
                self._backlogs[key].results.append(result)

    def backlogs(self) -> list[Backlog]:
        """Return the results that loggers lack, by logger and trial."""
        return list(self._backlogs.values())

    def drop_unjournaled_results(self, trials: Iterable[Trial]) -> None:
        """Cut off the results in result files that the journal lacks; call after the replay.

        On one machine the journal is written first. In storage, the copy of a result file may be
        ahead of the journal's copy; if the machine is lost then, these results are reported again.

        Args:
            trials: All trials; those that had ended before the replay are left alone.
        """
        for trial in trials:
            progress = self._progress.get(trial.trial_id)
            if progress is not None:
                written = progress.written
            elif trial.is_finished() or not os.path.isdir(trial.logdir):
                continue
            else:
                written = self._count(trial)
            for logger, count in zip(self._loggers, written, strict=True):
                if count is not None and count > trial.results_seen:
                    _logger.info(
                        "%s: %d results of %s are not in the journal; they are left out.",
                        type(logger).__name__,
                        count - trial.results_seen,
                        trial,
                    )
                    logger.keep_results(trial, trial.results_seen)

    def _count(self, trial: Trial) -> list[int | None]:
        return [logger.count_results(trial) for logger in self._loggers]
