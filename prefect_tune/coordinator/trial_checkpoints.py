"""The checkpoints of one trial: which are kept, and which one its next attempt goes on from."""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace

from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import Trial

#: `TrialCheckpoint.problem` of those from before a trial was started from scratch.
SUPERSEDED = "the trial was started from scratch since"

_MISSING = object()


def newest_usable(
    checkpoints: Sequence[TrialCheckpoint], without: Container[str] = ()
) -> TrialCheckpoint | None:
    """The newest one that an attempt can go on from, None if there is none.

    Args:
        checkpoints: Oldest first.
        without: Paths of those that are not to be tried.
    """
    for checkpoint in reversed(checkpoints):
        if not checkpoint.problem and checkpoint.path not in without:
            return checkpoint
    return None


class CheckpointBook:
    """What an unfinished trial can go on from.

    Its own checkpoints are in `Trial.checkpoints`; on top of them there may be one that a scheduler
    took from another trial, and below them what the user gave to start from.

    Args:
        trial: The trial.
        origin: What its first attempt starts from, None for afresh.

    Attributes:
        origin: The same.
        adopted: Another trial's checkpoint that this one goes on from; gone as soon as it has saved
            one of its own after that.
        suspects: Own checkpoints, by path, whose attempt failed before its first report. They are
            passed over, but nothing is proven.
        spared: Own checkpoints, by path, whose attempt was killed before its first report. Such a
            death says little about what it was to go on from; a second one makes a suspect.
        furthest: The highest iteration of any own checkpoint so far.
        unclean: True once an attempt was cut off from us: its process may still write checkpoints.
        due: Iteration of the newest checkpoint that the newest attempt has to write, until it is in
            storage; None if it has none to write.
        problem: Why it is not in storage, if that is known.
        problem_lost: Whether that is because its node is gone.
    """

    __slots__ = (
        "_current",
        "_trial",
        "adopted",
        "due",
        "furthest",
        "origin",
        "problem",
        "problem_lost",
        "spared",
        "suspects",
        "unclean",
    )

    def __init__(self, trial: Trial, origin: TrialCheckpoint | None) -> None:
        self._trial = trial
        self._current: set[str] = set()
        self.origin = origin
        self.adopted: TrialCheckpoint | None = None
        self.suspects: set[str] = set()
        self.spared: set[str] = set()
        self.furthest = max((c.progress.iteration for c in trial.checkpoints), default=0)
        self.unclean = False
        self.due: int | None = None
        self.problem = ""
        self.problem_lost = False

    def start(self) -> TrialCheckpoint | None:
        """What the next attempt goes on from; None for afresh."""
        if self.adopted is not None:
            return self.adopted
        own = newest_usable(self._trial.checkpoints, without=self.suspects)
        return self.origin if own is None else own

    def suffix(self, attempt: int) -> str:
        """What ends the names of an attempt's checkpoints, so that none is ever written twice."""
        start = self.start()
        begins = 0 if start is None else start.progress.iteration
        return f"_{attempt}" if self.unclean or self.furthest > begins else ""

    def launched(self, owes: bool = False) -> None:
        """An attempt starts.

        Args:
            owes: Whether it is there to write what is due.
        """
        self._current.clear()
        self.expect(self.due if owes else None)

    def expect(self, iteration: int | None) -> None:
        """A checkpoint of this iteration is to be written, at least; None if none is."""
        self.due = iteration
        self.problem = ""
        self.problem_lost = False

    def failed(self, problem: str, lost: bool) -> None:
        """A checkpoint will never be in storage.

        Args:
            problem: Why.
            lost: Whether its node is gone.
        """
        # Part of it may lie where it was to be.
        self.unclean = True
        self.problem = problem
        self.problem_lost = lost

    def add(self, checkpoint: TrialCheckpoint) -> bool:
        """Add a checkpoint of the newest attempt; False if it is known already."""
        own = self._trial.checkpoints
        if any(known.path == checkpoint.path for known in own):
            return False
        place = len(own)
        iteration = checkpoint.progress.iteration
        # Uploads may overtake each other.
        while (
            place
            and own[place - 1].path in self._current
            and own[place - 1].progress.iteration > iteration
        ):
            place -= 1
        self._trial.checkpoints = (*own[:place], checkpoint, *own[place:])
        self._current.add(checkpoint.path)
        self.furthest = max(self.furthest, iteration)
        self.adopted = None
        if self.due is not None and iteration >= self.due:
            self.expect(None)
        return True

    def spare(self, checkpoint: TrialCheckpoint) -> bool:
        """Try a checkpoint once more although its attempt was killed; False the second time."""
        if checkpoint.path in self.spared:
            return False
        self.spared.add(checkpoint.path)
        return True

    def doubt(self, checkpoint: TrialCheckpoint) -> bool:
        """Pass a checkpoint over from now on; False if there is nothing to put in its place."""
        if checkpoint == self.origin:
            # What the user asked for is never silently left out.
            return False
        if checkpoint == self.adopted:
            self.adopted = None
        else:
            self.suspects.add(checkpoint.path)
        return True

    def give_up(self, checkpoint: TrialCheckpoint, problem: str) -> bool:
        """Never go on from a checkpoint again; False if there is nothing to put in its place.

        It is not deleted before its time: what is wrong may be the code that reads it.
        """
        if not self.doubt(checkpoint):
            return False
        self._trial.checkpoints = tuple(
            replace(known, problem=problem) if known.path == checkpoint.path else known
            for known in self._trial.checkpoints
        )
        return True

    def begin_again(self) -> None:
        """Start from scratch."""
        self.adopted = None
        self._trial.checkpoints = tuple(
            replace(known, problem=SUPERSEDED) for known in self._trial.checkpoints
        )

    def rehabilitate(self) -> None:
        """Try everything once more, e.g. with corrected code."""
        self.suspects.clear()
        self.spared.clear()
        self._trial.checkpoints = tuple(
            replace(known, problem="") if known.problem != SUPERSEDED else known
            for known in self._trial.checkpoints
        )
