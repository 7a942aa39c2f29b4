"""Columns of tables of trials, and values and names as text for them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from prefect_tune.experiment.plain import number_of
from prefect_tune.experiment.trial import ALL_AUTO_FILLED, Trial
from prefect_tune.nested import flatten
from prefect_tune.result import EXPR_ERROR_FILE
from prefect_tune.text import in_words

#: Metrics that tables show if they are reported, with their headings.
DEFAULT_METRICS = {
    "training_iteration": "iter",
    "time_total_s": "total time (s)",
    "mean_accuracy": "acc",
    "mean_loss": "loss",
    "episode_reward_mean": "reward",
}
Columns = dict[str, str]


def as_columns(given: Mapping[str, str] | Sequence[str] | None) -> Columns:
    """Return a user's columns, a dict or a list of names, as name -> heading."""
    if given is None:
        return {}
    return dict(given) if isinstance(given, Mapping) else {name: name for name in given}


def parameter_columns(trials: Iterable[Trial]) -> Columns:
    """Return the searched parameters of the trials, each with the last part of its path as heading.

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
        trials: The trials.
        limit: The most names to return.
    """
    known: dict[str, None] = {}
    for trial in trials:
        for name, value in flatten(trial.last_result).items():
            if name in ALL_AUTO_FILLED:
                continue
            if not isinstance(value, bool) and number_of(value) is not None:
                known[name] = None
        if limit is not None and len(known) >= limit:
            break
    return list(known)[:limit]


def as_cell(value: Any, max_length: int = 20, digits: int = 4) -> str:
    """Return a value as one line of text: numbers rounded, everything else cut to a length.

    Args:
        value: Any value; None gives "".
        max_length: The most characters of a value that is not a number.
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
    """Return a text as one line of at most `max_length` characters, without its beginning."""
    text = one_line(text)
    return text if len(text) <= max_length else "…" + text[len(text) - max_length + 1 :]


def one_line(text: str) -> str:
    """Replace line breaks and other unprintable characters, which would break tables, by spaces."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else " " for char in text)


def shorten_headings(names: Sequence[str], max_length: int) -> list[str]:
    """Shorten names to headings that differ from each other wherever that is possible.

    Names lose their beginning; those that would then look the same lose their middle instead.
    """
    cut = [shorten(name, max_length) for name in names]
    return [
        text if cut.count(text) == 1 else _cut_middle(name, max_length)
        for name, text in zip(names, cut, strict=True)
    ]


def _cut_middle(text: str, max_length: int) -> str:
    text = one_line(text)
    if len(text) <= max_length or max_length < 3:
        return shorten(text, max_length)
    head = max_length // 2
    return text[:head] + shorten(text[head:], max_length - head)


def format_parameters(trial: Trial, max_length: int = 20) -> str:
    """Return the searched parameters of a trial on one line: ``lr=0.01, units=64``."""
    names = parameter_columns([trial])
    return ", ".join(
        f"{one_line(heading)}={as_cell(trial.evaluated_params[name], max_length)}"
        for name, heading in names.items()
    )


def brief_parameters(
    given: Mapping[str, Any], max_length: int = 40, limit: int = 10, digits: int = 4
) -> str:
    """Return parameters as the text of a dict, with a limited number of shortened values.

    Args:
        given: The parameters.
        max_length: The most characters of a value that is not a number.
        limit: The most parameters.
        digits: Significant digits of numbers that are not whole.
    """
    shown = [
        f"{name!r}: {_format_briefly(value, max_length, digits)}"
        for name, value in islice(given.items(), limit)
    ]
    if len(given) > limit:
        shown.append(f"... {len(given) - limit} more")
    return "{" + ", ".join(shown) + "}"


def _format_briefly(value: Any, max_length: int, digits: int) -> str:
    if isinstance(value, str):
        return repr(shorten(value, max_length))
    return "None" if value is None else as_cell(value, max_length, digits)


def error_file(trial: Trial) -> str:
    """Return the path of the file with a failed trial's traceback."""
    return os.path.join(trial.logdir, EXPR_ERROR_FILE)


def format_duration(seconds: float) -> str:
    """Return seconds as h:mm:ss."""
    minutes, second = divmod(max(0, int(seconds)), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02d}:{second:02d}"
