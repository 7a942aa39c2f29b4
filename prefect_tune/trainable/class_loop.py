"""Runs a class trainable: step, report, save, wait."""

from __future__ import annotations

from typing import Any

from prefect_tune.error import TuneError
from prefect_tune.trainable.attempt_session import Session
from prefect_tune.trainable.stopping import TrialEnding, TrialPaused
from prefect_tune.trainable.trainable import Trainable, can_save


class RestoreFailed(TuneError):
    """The checkpoint to go on from could not be loaded; its cause says why."""


def run_class(trainable: type[Trainable], session: Session) -> None:
    """Run a class trainable until it is done or ended.

    Raises:
        TrialEnding: If the attempt was ended at a report.
        RestoreFailed: If the checkpoint to go on from cannot be loaded.
    """
    training = trainable(session.context.config)
    try:
        _restore(training, session)
        done = False
        while not done:
            result = training.train()
            done = bool(result["done"])
            _report(training, result, session)
    finally:
        training.stop()


def _restore(training: Trainable, session: Session) -> None:
    context = session.context
    if context.checkpoint is None:
        return
    try:
        training.restore(context.checkpoint)
    except Exception as error:
        raise RestoreFailed(f"{context.checkpoint} cannot be loaded: {error}") from error
    # What the experiment has acknowledged counts, not what the directory says.
    session.auto_metrics.restart(context.progress)


def _report(training: Trainable, result: dict[str, Any], session: Session) -> None:
    """Report a result, with a checkpoint where the rules, the result or its consequence ask."""
    rules = session.context.checkpoint_rules
    saves = can_save(type(training))
    # An ending that comes in the middle of a step leaves nothing that could be saved.
    session.send(result)
    try:
        due = rules.frequency > 0 and training.iteration % rules.frequency == 0
        due = due or (rules.at_end and bool(result["done"]))
        if due or (saves and result.get("should_checkpoint")):
            session.save(training.save)
        session.settle()
    except TrialEnding as ending:
        wanted = saves and (rules.at_end or isinstance(ending, TrialPaused))
        if wanted and not session.has_saved:
            session.save(training.save)
        raise
