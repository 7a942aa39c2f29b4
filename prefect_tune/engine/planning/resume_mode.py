"""What `resume=` asks for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from prefect_tune.config import ResumeConfig, ResumeType
from prefect_tune.coordinator.events import Errored, Resumed
from prefect_tune.error import InvalidArgument

#: Where the experiment is looked for, and what happens if there is none.
_PLACES = ("LOCAL", "REMOTE", "AUTO", "PROMPT")
_AS_IT_WAS = ResumeConfig()
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
    """A way to go on with an experiment.

    Attributes:
        place: ``LOCAL`` (wherever it is found), ``REMOTE`` (only what is in storage counts),
            ``AUTO`` (if there is one) or ``PROMPT`` (if there is one and the user agrees).
        trials: Which trials run again.
    """

    place: str
    trials: ResumeConfig = _AS_IT_WAS

    @property
    def insists(self) -> bool:
        """True if it is an error that there is nothing to resume."""
        return self.place in ("LOCAL", "REMOTE")


def parse_resume(resume: Any, config: ResumeConfig | None = None) -> ResumeMode | None:
    """Read `resume` as users write it.

    Args:
        resume: False or None, True, or a text of Ray Tune's.
        config: The user's `resume_config`, which says the same as a suffix in more detail.

    Returns:
        None if a new run is to begin.

    Raises:
        InvalidArgument: If it is something else, or if both say which trials run again.
    """
    if config is not None and not isinstance(config, ResumeConfig):
        raise InvalidArgument("resume_config", f"got {config!r}.", "Give a ResumeConfig.")
    mode = _parse(resume)
    if mode is None or config is None:
        return mode
    if mode.trials != _AS_IT_WAS:
        raise InvalidArgument(
            "resume_config",
            f"resume={resume!r} says already which trials run again.",
            "Give one of both.",
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
    return ResumeMode(place, _SUFFIXES[suffix] if plus else _AS_IT_WAS)


def decide(
    mode: ResumeMode | None, found: bool, where: str, ask: Callable[[str], bool] | None = None
) -> ResumeConfig | None:
    """Whether to go on with an experiment.

    Args:
        mode: What the user asked for.
        found: Whether there is an experiment.
        where: Its place, for people.
        ask: Puts a question to the user; None does so on the terminal.

    Returns:
        Which trials run again; None begins a new run.

    Raises:
        InvalidArgument: If there is nothing to resume though there has to be, or nobody to ask.
    """
    if mode is None:
        return None
    if found:
        question = f"There is an experiment in {where}. Go on with it? [Y/n] "
        agreed = mode.place != "PROMPT" or (ask or _ask_on_terminal)(question)
        return mode.trials if agreed else None
    if mode.insists:
        raise InvalidArgument(
            "resume",
            f"there is no experiment in {where}.",
            "Give the `name` and `storage_path` of the one to go on with, or resume='AUTO' to "
            "begin a new one where there is none.",
        )
    return None


def resumed_event(trials: ResumeConfig, time: float) -> Resumed:
    """What the coordinator is told when an experiment goes on.

    Args:
        trials: Which trials run again.
        time: Seconds since the epoch.
    """
    again = {
        ResumeType.SKIP: Errored.KEEP,
        ResumeType.RESUME: Errored.RESUME,
        ResumeType.RESTART: Errored.RESTART,
    }
    return Resumed(
        time,
        errored=again[ResumeType(trials.errored)],
        only_errored=trials.unfinished is ResumeType.SKIP,
        finished=again[ResumeType(trials.finished)],
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
