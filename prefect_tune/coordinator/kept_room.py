"""Keeps room for a large trial that smaller trials have overtaken too often.

A scheduler launches the next trial that fits. So small trials can for ever use, one after the
other, the room that a large trial needs at the same time.
"""

from __future__ import annotations

from prefect_tune.coordinator.node_slots import Slot
from prefect_tune.coordinator.placement import Placer
from prefect_tune.experiment.trial import Trial
from prefect_tune.resources import Resources

#: How often a trial may be overtaken, and how often more for each node.
_OVERTAKEN = 8
_OVERTAKEN_PER_NODE = 2


class KeptRoom:
    """Keeps room for the first trial that the scheduler would launch and that does not fit.

    Args:
        placer: The nodes.
    """

    def __init__(self, placer: Placer) -> None:
        self._placer = placer
        self._trial: Trial | None = None
        self._request = Resources()
        self._overtaken = 0
        #: Whether the scheduler has asked in this round for room for the trial, and found none.
        self._is_wanted = False

    def fits(self, trial: Trial) -> bool:
        """Return whether there is room for a trial that the scheduler would launch."""
        if trial is not self._trial:
            fits = self._placer.fits(trial.resources)
            if not fits and self._trial is None:
                self._trial, self._request = trial, trial.resources
                self._is_wanted = True
            return fits
        placer, keeps = self._placer, self._overtaken >= self._bound
        fits = placer.is_kept_free if keeps else placer.fits(trial.resources)
        if fits and keeps:
            placer.keep_nothing()
            fits = placer.fits(trial.resources)
            placer.keep_for(trial.resources)
        # A trial that fits and is not launched waits for another reason of the scheduler.
        self._is_wanted = not fits
        return fits

    def reserve(self, trial: Trial, avoid: str = "") -> Slot | None:
        """Reserve a slot for a trial, as `Placer.reserve` does; None if there is no room."""
        if trial is self._trial:
            self._placer.keep_nothing()
        overtakes = self._trial is not None and trial.resources != self._request
        slot = self._placer.reserve(trial.resources, avoid, pack=overtakes)
        if trial is self._trial and slot is not None:
            self._follow_nothing()
        elif slot is not None and overtakes:
            self._overtaken += 1
            if self._overtaken == self._bound:
                self._placer.keep_for(self._request)
        elif trial is self._trial and self._overtaken >= self._bound:
            self._placer.keep_for(self._request)
        return slot

    def end_round(self) -> bool:
        """Note that the scheduler launches no more trials now; True if kept room was given up."""
        is_wanted, self._is_wanted = self._is_wanted, False
        if is_wanted or self._trial is None:
            return False
        was_kept = self._overtaken >= self._bound
        self._placer.keep_nothing()
        self._follow_nothing()
        return was_kept

    @property
    def _bound(self) -> int:
        return _OVERTAKEN + _OVERTAKEN_PER_NODE * len(self._placer)

    def _follow_nothing(self) -> None:
        self._trial, self._overtaken = None, 0
