"""What came of an experiment, in markdown, as its flow run shows it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from prefect_tune.experiment.trial import ERROR, Trial
from prefect_tune.orchestration.record.sanitize import show_value
from prefect_tune.reporters.progress import Best

_MOST_ERRORS = 20
_LONGEST_ERROR = 300
#: What markdown or HTML would take for more than a character.
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&$])")


def summary(
    title: str,
    standing: str,
    best: Best | None,
    metric: str | None,
    trials: Sequence[Trial],
    place: str,
) -> str:
    """Say how an experiment has ended.

    Args:
        title: Its name.
        standing: How many trials there were, in words.
        best: The best trial and its value, None if there is none.
        metric: What it is the best by.
        trials: All trials.
        place: Where the results are.
    """
    lines = [f"# {plain(title)}", "", f"{standing}.", ""]
    if best is not None:
        lines += [f"**Best {plain(metric)}: {best.value:.6g}** ({plain(best.trial)})", ""]
        lines += ["| parameter | value |", "|---|---|"]
        lines += [f"| {plain(k)} | {plain(v)} |" for k, v in best.trial.evaluated_params.items()]
        lines += [""]
    failed = [trial for trial in trials if trial.status == ERROR]
    if failed:
        lines += ["## Errors", ""]
        lines += [
            f"* {plain(trial)}: {plain(show_value(trial.error)[:_LONGEST_ERROR])}"
            for trial in failed[:_MOST_ERRORS]
        ]
        if len(failed) > _MOST_ERRORS:
            lines += [f"* and {len(failed) - _MOST_ERRORS} more"]
        lines += [""]
    return "\n".join([*lines, f"Results: {plain(place)}"])


def plain(value: Any) -> str:
    """A value on one line that markdown shows as it is."""
    return _MARKUP.sub(r"\\\1", " ".join(show_value(value).split()))
