"""Which columns a table of trials has, and how values look in it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import AUTO_FILLED, Trial
from prefect_tune.nested import flatten
from prefect_tune.result import EXPR_ERROR_FILE
from prefect_tune.text import in_words

#: Shown if reported, under these headings.
DEFAULT_METRICS = {
    "training_iteration": "iter",
    "time_total_s": "total time (s)",
    "mean_accuracy": "acc",
    "mean_loss": "loss",
    "episode_reward_mean": "reward",
}
_PROGRESS = frozenset({"training_iteration", "time_total_s"})  # of every trial
Columns = dict[str, str]


def as_columns(given: Mapping[str, str] | Sequence[str] | None) -> Columns:
    """Column name -> heading, from what a user gave: a dict, or a list of names."""
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {name: name for name in given}


def parameter_columns(trials: Iterable[Trial]) -> Columns:
    """Return the searched parameters of the trials, headed by the last part of their path.

    Parameters whose last part is the same keep the whole path.
    """
    names = dict.fromkeys(name for trial in trials for name in trial.evaluated_params)
    short = [str(name).rpartition("/")[2] for name in names]
    return {
        name: last if short.count(last) == 1 else str(name)
        for name, last in zip(names, short, strict=True)
    }


def user_metrics(trials: Iterable[Trial], limit: int | None = None) -> list[str]:
    """Return the names of the numbers that the trials themselves report, in order of appearance.

    Args:
        trials: Where to look.
        limit: How many names at most.
    """
    known: dict[str, None] = {}
    for trial in trials:
        for name, value in flatten(trial.last_result).items():
            if name in AUTO_FILLED or name in _PROGRESS:
                continue
            if not isinstance(value, bool) and number_of(value) is not None:
                known[name] = None
        if limit is not None and len(known) >= limit:
            break
    return list(known)[:limit]


def show(value: Any, max_length: int = 20, digits: int = 4) -> str:
    """Return a value as a cell of one line: numbers rounded, everything else cut to a length.

    Args:
        value: Anything; None is empty.
        max_length: Characters of what is not a number.
        digits: Significant digits of numbers that are not whole.
    """
    if value is None:
        return ""
    number = number_of(value)
    if isinstance(value, bool) or number is None:
        return shorten(in_words(value), max_length)
    if isinstance(number, int) and abs(number) < 10**9:
        return str(number)
    return f"{number:.{digits}g}"


def shorten(text: str, max_length: int) -> str:
    """Text on one line of at most so many characters, of which the last ones are kept."""
    text = printable(text)
    return text if len(text) <= max_length else "…" + text[len(text) - max_length + 1 :]


def printable(text: str) -> str:
    """Text on one line: a line break would tear a table apart, an escape code colour it."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def headings(names: Sequence[str], max_length: int) -> list[str]:
    """Names as headings of at most so many characters, different ones wherever that is possible.

    They are cut at their beginning; those that look the same then lose their middle instead.
    """
    cut = [shorten(name, max_length) for name in names]
    return [
        text if cut.count(text) == 1 else _without_middle(name, max_length)
        for name, text in zip(names, cut, strict=True)
    ]


def _without_middle(text: str, max_length: int) -> str:
    text = printable(text)
    if len(text) <= max_length or max_length < 3:
        return shorten(text, max_length)
    head = max_length // 2
    return text[:head] + shorten(text[head:], max_length - head)


def show_parameters(trial: Trial, max_length: int = 20) -> str:
    """Return the searched parameters of a trial on one line: ``lr=0.01, units=64``."""
    names = parameter_columns([trial])
    return ", ".join(
        f"{printable(heading)}={show(trial.evaluated_params[name], max_length)}"
        for name, heading in names.items()
    )


def brief_parameters(
    given: Mapping[str, Any], max_length: int = 40, limit: int = 10, digits: int = 4
) -> str:
    """Return parameters as a dict looks, without what would fill a screen.

    Args:
        given: The parameters.
        max_length: Characters of a value that is not a number.
        limit: Number of parameters.
        digits: Significant digits of numbers that are not whole.
    """
    shown = [
        f"{name!r}: {_brief(value, max_length, digits)}"
        for name, value in islice(given.items(), limit)
    ]
    if len(given) > limit:
        shown.append(f"... {len(given) - limit} more")
    return "{" + ", ".join(shown) + "}"


def _brief(value: Any, max_length: int, digits: int) -> str:
    if isinstance(value, str):
        return repr(shorten(value, max_length))
    return "None" if value is None else show(value, max_length, digits)


def error_file(trial: Trial) -> str:
    """Where the traceback of a failed trial is."""
    return os.path.join(trial.logdir, EXPR_ERROR_FILE)


def show_duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"
