"""Attempts as their own processes see them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from prefect_tune.coordinator.commands import Launch
from prefect_tune.resources import Resources
from prefect_tune.trainable.runtime.attempt import AttemptContext

# The checkpoint of a context is a directory on its node.
_OF_LAUNCH = {field.name for field in dataclasses.fields(Launch)} - {"checkpoint"}


def make_context(trial_dir: Path | str = "/trial", **changes: Any) -> AttemptContext:
    """The context of the first attempt of a trial, with changes to it or to its launch."""
    launch = Launch("t1", 1, "train_t1", {}, "tcp://node:1", Resources.of(CPU=1.0))
    context = AttemptContext(launch, "e1", "exp", "0", str(trial_dir))
    return changed(context, **changes)


def changed(context: AttemptContext, **changes: Any) -> AttemptContext:
    """The same context with changes to it or to its launch."""
    of_launch = {name: changes.pop(name) for name in _OF_LAUNCH & changes.keys()}
    launch = dataclasses.replace(context.launch, **of_launch)
    return dataclasses.replace(context, launch=launch, **changes)
