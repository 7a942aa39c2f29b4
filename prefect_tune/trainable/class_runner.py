"""Runs class trainables: step, report, save, wait."""

from __future__ import annotations

import functools
import logging
from typing import Any

from prefect_tune.error import TuneError
from prefect_tune.trainable.runtime.attempt_session import Session
from prefect_tune.trainable.runtime.stopping import TrialEnding, TrialPaused, TrialStopped
from prefect_tune.trainable.trainable import (
    Trainable,
    can_save,
    check_made,
    next_result,
    save_into,
)

_logger = logging.getLogger("prefect_tune")


class RestoreFailed(TuneError):
    """The checkpoint to go on from could not be loaded; its cause says why."""


class ExportFailed(TuneError):
    """The model could not be exported at the end of a trial; its cause says why."""


class ResetRefused(TuneError):
    """An object was to serve another trial, and cannot."""


class ClassRunner:
    """Runs attempts of a class trainable in a process, one after the other.

    Args:
        keep: Whether an object serves several trials; else each attempt has an object of its own.
    """

    def __init__(self, keep: bool = False) -> None:
        self._keep = keep
        self._kept: Trainable | None = None

    @property
    def has_kept(self) -> bool:
        """True if there is an object for another trial."""
        return self._kept is not None

    def run(self, trainable: type[Trainable], session: Session) -> None:
        """Run an attempt until it is done or ended.

        Raises:
            TrialEnding: If the attempt was ended at a report.
            RestoreFailed: If the checkpoint to go on from cannot be loaded.
            ExportFailed: If the model cannot be exported at the end.
            ResetRefused: If the object of the trial before cannot serve this one.
        """
        training = self._training(trainable, session)
        stays = False
        try:
            _restore(training, session)
            try:
                done = False
                while not done:
                    result = next_result(training)
                    done = bool(result["done"])
                    _report(training, result, session)
            except TrialStopped:
                _export(training, session)
                raise
            _export(training, session)
            stays = self._keep
        except (TrialStopped, TrialPaused):
            stays = self._keep
            raise
        finally:
            if stays:
                self._kept = training
            else:
                training.stop()

    def close(self) -> None:
        """End the training of the object that was kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.stop()

    def _training(self, trainable: type[Trainable], session: Session) -> Trainable:
        kept, self._kept = self._kept, None
        if kept is None:
            training = trainable(session.context.launch.config)
            check_made(training)
            return training
        able = False
        try:
            able = kept.reset(session.context.launch.config)
        finally:
            if not able:
                kept.stop()
        if not able:
            raise ResetRefused(
                f"with `reuse_actors`, {trainable.__name__}.reset_config() has to prepare the "
                "object for the next trial and return True"
            )
        return kept


def _restore(training: Trainable, session: Session) -> None:
    context = session.context
    if context.checkpoint is None:
        return
    try:
        training.restore(context.checkpoint)
    except Exception as error:
        raise RestoreFailed(f"{context.checkpoint} cannot be loaded: {error}") from error
    # What the experiment has acknowledged counts, not what the directory says.
    session.auto_metrics.restart(context.launch.progress)


def _report(training: Trainable, result: dict[str, Any], session: Session) -> None:
    """Report a result, with a checkpoint where the rules, the result or its consequence ask."""
    rules = session.context.checkpoint_rules
    saves = can_save(type(training))
    due = rules.frequency > 0 and training.iteration % rules.frequency == 0
    due = due or (rules.at_end and bool(result["done"]))
    due = due or (saves and bool(result.get("should_checkpoint")))
    # An ending that comes in the middle of a step leaves nothing that could be saved.
    session.send(result, training.config, saves=due)
    try:
        if due:
            session.save(functools.partial(save_into, training))
        session.await_decision()
        if session.is_save_wanted and saves and not session.has_saved:
            session.save(functools.partial(save_into, training))
    except TrialEnding as ending:
        wanted = saves and (rules.at_end or isinstance(ending, TrialPaused))
        if wanted and not session.has_saved:
            session.save(functools.partial(save_into, training))
        raise


def _export(training: Trainable, session: Session) -> None:
    """Export the model of a trial that has come to its end."""
    formats = session.context.export_formats
    if not formats:
        return
    try:
        exported = training.export_model(list(formats))
    except Exception as error:
        raise ExportFailed(f"the model cannot be exported: {error}") from error
    _logger.info("%s: exported %s", session.context.launch.name, exported)
