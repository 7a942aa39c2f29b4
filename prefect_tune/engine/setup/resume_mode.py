"""Reads the `resume` argument and decides whether an experiment goes on."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from prefect_tune.config import ResumeConfig, ResumeType
from prefect_tune.coordinator.events import EndedPolicy, Resumed
from prefect_tune.error import InvalidArgument

#: The values of `resume` without a suffix; `ResumeMode.place` says what each means.
_PLACES = ("LOCAL", "REMOTE", "AUTO", "PROMPT")
_DEFAULT_TRIALS = ResumeConfig()
_SUFFIXES = {
    "ERRORED": ResumeConfig(errored=ResumeType.RESUME),
    "ERRORED_ONLY": ResumeConfig(unfinished=ResumeType.SKIP, errored=ResumeType.RESUME),
    "RESTART_ERRORED": ResumeConfig(errored=ResumeType.RESTART),
    "RESTART_ERRORED_ONLY": ResumeConfig(unfinished=ResumeType.SKIP, errored=ResumeType.RESTART),
}
_HELP = (
    f"It is True, False, one of {', '.join(map(repr, _PLACES))}, each with one of "
    f"{', '.join('+' + suffix for suffix in _SUFFIXES)} behind it if you like, "
    "or 'ERRORED_ONLY'."
)


@dataclass(frozen=True, slots=True)
class ResumeMode:
    """The parsed `resume` argument.

    Attributes:
        place: ``LOCAL`` (resume from the local directory or from storage), ``REMOTE`` (from storage
            only), ``AUTO`` (if there is an experiment) or ``PROMPT`` (if there is one and the user
            agrees).
        trials: Which trials run again.
    """

    place: str
    trials: ResumeConfig = _DEFAULT_TRIALS


def parse_resume(resume: Any, config: ResumeConfig | None = None) -> ResumeMode | None:
    """Parse the user's `resume` argument.

    Args:
        resume: False or None, True, or a string as in Ray Tune.
        config: The user's `resume_config`, a more detailed form of the suffix of `resume`.

    Returns:
        The mode; None if a new run is to begin.

    Raises:
        InvalidArgument: If `resume` has another value, or if both say which trials run again.
    """
    if config is not None and not isinstance(config, ResumeConfig):
        raise InvalidArgument("resume_config", f"got {config!r}.", "Give a ResumeConfig.")
    mode = _parse(resume)
    if mode is None or config is None:
        return mode
    if mode.trials != _DEFAULT_TRIALS:
        raise InvalidArgument(
            "resume_config",
            f"resume={resume!r} says already which trials run again.",
            "Give only one of the two.",
        )
    return replace(mode, trials=config)


def _parse(resume: Any) -> ResumeMode | None:
    if resume is None or resume is False:
        return None
    if resume is True:
        return ResumeMode("LOCAL")
    if resume == "ERRORED_ONLY":
        # As in Ray Tune, where these are reset: they begin from scratch.
        return ResumeMode("LOCAL", _SUFFIXES["RESTART_ERRORED_ONLY"])
    place, plus, suffix = resume.partition("+") if isinstance(resume, str) else ("", "", "")
    if place not in _PLACES or (plus and suffix not in _SUFFIXES):
        raise InvalidArgument("resume", f"got {resume!r}.", _HELP)
    return ResumeMode(place, _SUFFIXES[suffix] if plus else _DEFAULT_TRIALS)


def choose_trials(
    mode: ResumeMode | None, found: bool, where: str, ask: Callable[[str], bool] | None = None
) -> ResumeConfig | None:
    """Decide whether to resume an experiment, and which of its trials run again.

    Args:
        mode: The user's `resume` argument.
        found: Whether there is an experiment.
        where: Location of the experiment, for messages.
        ask: Asks the user a question; None asks on the terminal.

    Returns:
        Which trials run again; None begins a new run.

    Raises:
        InvalidArgument: If the mode requires an experiment and there is none, or if there is no
            terminal to ask on.
    """
    if mode is None:
        return None
    if found:
        question = f"There is an experiment in {where}. Go on with it? [Y/n] "
        agreed = mode.place != "PROMPT" or (ask or _ask_on_terminal)(question)
        return mode.trials if agreed else None
    if mode.place in ("LOCAL", "REMOTE"):
        raise InvalidArgument(
            "resume",
            f"there is no experiment in {where}.",
            "Give the `name` and `storage_path` of the one to go on with, or resume='AUTO' to "
            "begin a new one where there is none.",
        )
    return None


def resumed_event(trials: ResumeConfig, time: float) -> Resumed:
    """Return the event that tells the coordinator which trials of a resumed experiment run again.

    Args:
        trials: Which trials run again.
        time: Seconds since the epoch.
    """

    def again(kind: ResumeType | str) -> EndedPolicy:
        return EndedPolicy.KEEP if kind == ResumeType.SKIP else EndedPolicy(kind)

    return Resumed(
        time,
        errored=again(trials.errored),
        only_errored=trials.unfinished is ResumeType.SKIP,
        finished=again(trials.finished),
        restart_unfinished=trials.unfinished is ResumeType.RESTART,
    )


def _ask_on_terminal(question: str) -> bool:
    if not (sys.stdin is not None and sys.stdin.isatty()):
        raise InvalidArgument(
            "resume",
            "'PROMPT' needs a terminal to ask on, and standard input is none.",
            "Give 'AUTO' to go on with the experiment if there is one.",
        )
    while True:
        try:
            answer = input(question).strip().lower()
        except EOFError:
            answer = "n"
        if answer in ("", "y", "yes"):
            return True
        if answer in ("n", "no"):
            return False
