"""Runs class trainables: trains, reports, saves and waits for decisions."""

from __future__ import annotations

import functools
import inspect
import logging
import os
from typing import Any

from prefect_tune.checkpoint.conversion import SAVED_FILE
from prefect_tune.error import InvalidTrainable, TuneError
from prefect_tune.trainable.runtime.attempt import TrialEnding, TrialPaused, TrialStopped
from prefect_tune.trainable.runtime.attempt_session import Session
from prefect_tune.trainable.trainable import Trainable, can_save, check_result

_logger = logging.getLogger("prefect_tune")


class RestoreFailed(TuneError):
    """Error for a checkpoint that could not be restored; the cause says why."""


class ExportFailed(TuneError):
    """Error for a model that could not be exported at a trial's end; the cause says why."""


class ResetRefused(TuneError):
    """Error for an object that cannot be reused for another trial."""


class ClassRunner:
    """Runs attempts of a class trainable in one process, one after the other.

    Args:
        reuse: True to reuse an object for several trials, False to create one for each attempt.
    """

    def __init__(self, reuse: bool = False) -> None:
        self._reuse = reuse
        self._reusable: Trainable | None = None

    @property
    def has_reusable(self) -> bool:
        """True if there is an object to reuse for the next trial."""
        return self._reusable is not None

    def run(self, trainable: type[Trainable], session: Session) -> None:
        """Run an attempt until training is done or a decision ends it.

        Raises:
            TrialEnding: If the attempt was ended at a report.
            RestoreFailed: If the checkpoint cannot be restored.
            ExportFailed: If the model cannot be exported at the end.
            ResetRefused: If the object of the last trial cannot be reused for this one.
        """
        training = self._training(trainable, session)
        may_reuse = False
        try:
            _restore(training, session)
            try:
                done = False
                while not done:
                    result = _next_result(training)
                    done = bool(result["done"])
                    _report(training, result, session)
            except TrialStopped:
                _export(training, session)
                raise
            _export(training, session)
            may_reuse = self._reuse
        except (TrialStopped, TrialPaused):
            may_reuse = self._reuse
            raise
        finally:
            if may_reuse:
                self._reusable = training
            else:
                training.stop()

    def close(self) -> None:
        """End the training of the object that is kept for reuse."""
        reusable, self._reusable = self._reusable, None
        if reusable is not None:
            reusable.stop()

    def _training(self, trainable: type[Trainable], session: Session) -> Trainable:
        reusable, self._reusable = self._reusable, None
        if reusable is None:
            training = trainable(session.context.launch.config)
            _check_initialized(training)
            return training
        was_reset = False
        try:
            was_reset = reusable.reset(session.context.launch.config)
        finally:
            if not was_reset:
                reusable.stop()
        if not was_reset:
            raise ResetRefused(
                f"with `reuse_actors`, {trainable.__name__}.reset_config() has to prepare the "
                "object for the next trial and return True"
            )
        return reusable


def _restore(training: Trainable, session: Session) -> None:
    context = session.context
    if context.checkpoint is None:
        return
    try:
        training.restore(context.checkpoint)
    except Exception as error:
        raise RestoreFailed(f"{context.checkpoint} cannot be loaded: {error}") from error
    # The progress that the experiment has recorded counts, not that of the directory.
    session.auto_metrics.restart(context.launch.progress)


def _report(training: Trainable, result: dict[str, Any], session: Session) -> None:
    """Report a result; save a checkpoint if the rules, the result or the decision require it."""
    rules = session.context.checkpoint_rules
    saves = can_save(type(training))
    due = rules.frequency > 0 and training.iteration % rules.frequency == 0
    due = due or (rules.at_end and bool(result["done"]))
    due = due or (saves and bool(result.get("should_checkpoint")))
    # If the attempt was ended during the step, `send` raises: there is no state to save.
    session.send(result, training.config, saves=due)
    try:
        if due:
            session.save(functools.partial(save_into, training))
        session.await_decision()
        if session.is_save_wanted and saves and not session.has_saved:
            session.save(functools.partial(save_into, training))
        if saves and session.should_checkpoint():
            session.leave()
    except TrialEnding as ending:
        wanted = saves and (rules.at_end or isinstance(ending, TrialPaused))
        if wanted and not session.has_saved:
            session.save(functools.partial(save_into, training))
        raise


def _export(training: Trainable, session: Session) -> None:
    """Export the model at the end of a trial."""
    formats = session.context.export_formats
    if not formats:
        return
    try:
        exported = training.export_model(list(formats))
    except Exception as error:
        raise ExportFailed(f"the model cannot be exported: {error}") from error
    _logger.info("%s: exported %s", session.context.launch.name, exported)


def _next_result(training: Trainable) -> dict[str, Any]:
    """Run one iteration of a trainable, which may override `train`.

    Raises:
        InvalidTrainable: If `train` returns anything but a dict.
    """
    metrics = training._metrics
    before = metrics.since_restore
    result = training.train()
    if type(training).train is Trainable.train:
        return result
    check_result(training, "train", result)
    if metrics.since_restore == before:
        return metrics.complete(result)
    return {**result, **{k: v for k, v in metrics.totals().items() if k not in result}}


def _check_initialized(training: Trainable) -> None:
    """Check that a class's own `__init__` has called that of `Trainable`.

    Raises:
        InvalidTrainable: If it has not.
    """
    if not hasattr(training, "_metrics"):
        name = type(training).__name__
        raise InvalidTrainable(
            "trainable",
            f"{name}.__init__() does not call `super().__init__(config)`.",
            "Call it there, or write `setup(self, config)` in place of `__init__`.",
        )


def save_into(training: Trainable, checkpoint_dir: str) -> str:
    """Write a checkpoint of a trainable, which may override `save`, into a directory.

    Args:
        training: The trainable.
        checkpoint_dir: An empty directory.

    Returns:
        The directory.

    Raises:
        InvalidTrainable: If an overriding `save` does not call that of `Trainable`.
    """
    if not _overrides_save(type(training)):
        return training._save_into(checkpoint_dir)
    training._draft = checkpoint_dir
    try:
        training.save()
    finally:
        training._draft = None
    if not os.path.isfile(os.path.join(checkpoint_dir, SAVED_FILE)):
        name = type(training).__name__
        raise InvalidTrainable(
            "trainable",
            f"{name}.save() does not call `super().save(checkpoint_dir)`.",
            "Call it there, or override `save_checkpoint` in place of `save`.",
        )
    return checkpoint_dir


def _overrides_save(trainable: type[Trainable]) -> bool:
    """Return True if a class overrides `save` with a method that needs no arguments."""
    if trainable.save is Trainable.save:
        return False
    try:
        inspect.signature(trainable.save).bind(None)
    except TypeError:
        return False
    return True
