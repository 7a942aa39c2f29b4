"""Checks `checkpoint_freq` and `checkpoint_at_end`, which apply to class trainables."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.trainable.function import takes_checkpoint_dir, trainable_name
from prefect_tune.trainable.trainable import can_save
from prefect_tune.validation import check_count, check_flag

_BY_THEMSELVES = (
    "Functions write checkpoints by themselves: use `tune.checkpoint_dir` or "
    "`tune.report(..., checkpoint=...)`."
)
_METHODS = "Give it the methods `save_checkpoint` and `load_checkpoint`."


def drop_rules_of_functions(trainable: Any, frequency: Any, at_end: Any) -> tuple[Any, Any]:
    """Drop checkpoint arguments that have no effect on a function trainable, with a warning.

    Ray Tune accepts these arguments for functions, where they have no effect, unless the function
    takes a ``checkpoint_dir``, for which they are an error.

    Args:
        trainable: A function or class trainable.
        frequency: The user's `checkpoint_freq`.
        at_end: The user's `checkpoint_at_end`.

    Returns:
        Both arguments, without dropped values.
    """
    if inspect.isclass(trainable) or not callable(trainable) or takes_checkpoint_dir(trainable):
        return frequency, at_end
    dropped = []
    if isinstance(frequency, int) and not isinstance(frequency, bool) and frequency > 0:
        dropped.append("`checkpoint_freq`")
        frequency = 0
    if at_end is True:
        dropped.append("`checkpoint_at_end`")
        at_end = False
    if dropped:
        warnings.warn(
            f"{trainable_name(trainable)} is a function, for which {' and '.join(dropped)} "
            f"{'has' if len(dropped) == 1 else 'have'} no effect. {_BY_THEMSELVES}",
            stacklevel=3,
        )
    return frequency, at_end


def validate_checkpoint_rules(
    trainable: Any, frequency: Any = 0, at_end: Any = None
) -> CheckpointRules:
    """Check the rules by which a trainable's checkpoints are written, and return them.

    Args:
        trainable: A function or class trainable.
        frequency: `checkpoint_freq`: a checkpoint every so many iterations; 0 for none.
        at_end: `checkpoint_at_end`: a checkpoint at the end of each trial; None for the default,
            which is True for classes that have `save_checkpoint` and False for everything else.

    Raises:
        InvalidArgument: If an argument has a wrong type, or needs what the trainable cannot do.
    """
    check_count("checkpoint_freq", frequency, at_least=0)
    if at_end is not None:
        check_flag("checkpoint_at_end", at_end)
    is_class = inspect.isclass(trainable)
    able = is_class and can_save(trainable)
    if not able:
        argument = "checkpoint_freq" if frequency else "checkpoint_at_end" if at_end else ""
        if argument and is_class:
            problem = f"{trainable.__name__} cannot save its state."
            raise InvalidArgument(argument, problem, _METHODS)
        if argument:
            problem = f"{trainable_name(trainable)} is a function."
            raise InvalidArgument(argument, problem, _BY_THEMSELVES)
    return CheckpointRules(int(frequency), able if at_end is None else bool(at_end))
