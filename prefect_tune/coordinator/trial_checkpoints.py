"""The checkpoints of one unfinished trial, and the choice of one for its next attempt."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prefect_tune.experiment.checkpoints import TrialCheckpoint, newest_usable
from prefect_tune.experiment.trial import Trial

#: `TrialCheckpoint.problem` of checkpoints from before a trial was started from scratch.
SUPERSEDED = "the trial was started from scratch since"


@dataclass(slots=True, eq=False, repr=False)
class CheckpointBook:
    """The checkpoints from which an unfinished trial can go on.

    These are, the first one before the others: a checkpoint that a scheduler took from another
    trial, the trial's own checkpoints, and the checkpoint that the user gave to start from.

    Args:
        trial: The trial.
        origin: The checkpoint that the first attempt starts from, if any.

    Attributes:
        origin: The checkpoint that the first attempt starts from, if any.
        adopted: Another trial's checkpoint that this trial goes on from, until it has saved one of
            its own.
        suspects: Paths of own checkpoints from which an attempt has failed before its first report.
            They are not used, although something else may have caused the failure.
        spared: Paths of own checkpoints from which an attempt was killed before its first report.
            They are used again; a second such end makes them suspects.
        furthest: The highest iteration of any own checkpoint so far.
        unclean: True once the connection to an attempt was lost: its process may still write
            checkpoints.
        due: Iteration of the last checkpoint that the newest attempt has to write, until that
            checkpoint is in storage; None if there is none to write.
        problem: Why that checkpoint is not in storage, if known.
        problem_lost: Whether that is because its node is gone.
    """

    _trial: Trial
    origin: TrialCheckpoint | None
    # Frozen: most trials have none of them, and an empty set takes 200 bytes.
    _current: frozenset[str] = frozenset()
    adopted: TrialCheckpoint | None = None
    suspects: frozenset[str] = frozenset()
    spared: frozenset[str] = frozenset()
    furthest: int = 0
    unclean: bool = False
    due: int | None = None
    problem: str = ""
    problem_lost: bool = False

    def __post_init__(self) -> None:
        own = self._trial.checkpoints
        self.furthest = max((one.progress.iteration for one in own), default=0)

    def start(self) -> TrialCheckpoint | None:
        """Return the checkpoint that the next attempt starts from; None if it starts afresh."""
        if self.adopted is not None:
            return self.adopted
        own = newest_usable(self._trial.checkpoints, without=self.suspects)
        return self.origin if own is None else own

    def suffix(self, attempt: int) -> str:
        """Return the suffix of an attempt's checkpoint names, which keeps all names different."""
        start = self.start()
        begins = 0 if start is None else start.progress.iteration
        return f"_{attempt}" if self.unclean or self.furthest > begins else ""

    def launched(self, owes: bool = False) -> None:
        """Note that a new attempt starts.

        Args:
            owes: Whether it has to write the checkpoint that the last attempt did not store.
        """
        self._current = frozenset()
        self.expect(self.due if owes else None)

    def expect(self, iteration: int | None) -> None:
        """Note the iteration of the checkpoint that the attempt has to write; None for none."""
        self.due = iteration
        self.problem = ""
        self.problem_lost = False

    def failed(self, problem: str, lost: bool) -> None:
        """Note that a checkpoint will never be in storage.

        Args:
            problem: The reason.
            lost: Whether its node is gone.
        """
        # A part of it may be in storage under its name.
        self.unclean = True
        self.problem = problem
        self.problem_lost = lost

    def add(self, checkpoint: TrialCheckpoint) -> bool:
        """Add a checkpoint of the newest attempt; return False if it is known already."""
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
        self._current |= {checkpoint.path}
        self.furthest = max(self.furthest, iteration)
        self.adopted = None
        if self.due is not None and iteration >= self.due:
            self.expect(None)
        return True

    def retry_once(self, checkpoint: TrialCheckpoint) -> bool:
        """Use a checkpoint again although its attempt was killed; return False the second time."""
        if checkpoint.path in self.spared:
            return False
        self.spared |= {checkpoint.path}
        return True

    def suspect(self, checkpoint: TrialCheckpoint) -> bool:
        """Do not use a checkpoint any more; return False if it is the user's own `origin`."""
        if checkpoint == self.origin:
            # The user has asked for this checkpoint, so it must not be left out silently.
            return False
        if checkpoint == self.adopted:
            self.adopted = None
        else:
            self.suspects |= {checkpoint.path}
        return True

    def reject(self, checkpoint: TrialCheckpoint, problem: str) -> bool:
        """Mark a checkpoint as unusable; return False if it is the user's own `origin`.

        The checkpoint is retained as before: the code that loads it may be wrong.
        """
        if not self.suspect(checkpoint):
            return False
        self._trial.checkpoints = tuple(
            replace(known, problem=problem) if known.path == checkpoint.path else known
            for known in self._trial.checkpoints
        )
        return True

    def supersede_all(self) -> None:
        """Mark all checkpoints as superseded, for a trial that starts from scratch."""
        self.adopted = None
        self._trial.checkpoints = tuple(
            replace(known, problem=SUPERSEDED) for known in self._trial.checkpoints
        )

    def clear_problems(self) -> None:
        """Make failed checkpoints usable again, e.g. because the code was corrected."""
        self.suspects = self.spared = frozenset()
        self._trial.checkpoints = tuple(
            replace(known, problem="") if known.problem != SUPERSEDED else known
            for known in self._trial.checkpoints
        )
