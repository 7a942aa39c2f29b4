"""Optuna without its messages, and the trials of a resumed search in an Optuna storage.

A resumed search begins with an older state and repeats the calls that came after it. The storage
already has their trials: trials are marked with their ids, so that they are found there instead of
being created and reported again.
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import FrozenTrial, Trial

_MARK = "prefect_tune:trial"
_POINT = "prefect_tune:point"


class StoredTrials:
    """The trials that one search has made in a study.

    A pickled copy reads the study once, when it is first used.
    """

    def __init__(self) -> None:
        # Other experiments may use the same study, with the same seed and so the same ids.
        self._token = uuid.uuid4().hex
        self._is_restored = False
        self._trials: dict[str, FrozenTrial] = {}
        self._finished: set[int] = set()
        self._reached: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"token": self._token}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__()  # type: ignore[misc]
        self._token = state["token"]
        self._is_restored = True

    def mark(self, trial: Trial, trial_id: str) -> None:
        """Store a trial's id in the Optuna trial's attributes."""
        trial.set_user_attr(_MARK, f"{self._token}:{trial_id}")

    def point_mark(self, index: int) -> dict[str, str]:
        """Return the attributes that mark a trial as that of a preset."""
        return {_POINT: f"{self._token}:{index}"}

    def points(self, study: Study) -> set[int]:
        """Return the indices of the presets that are in the study already."""
        found = {self.point_of(trial) for trial in study.get_trials(deepcopy=False)}
        return {index for index in found if index is not None}

    def point_of(self, trial: Trial | FrozenTrial) -> int | None:
        """Return the index of the preset that a trial was created for, None if there is none."""
        token, _, index = trial.user_attrs.get(_POINT, "").partition(":")
        return int(index) if token == self._token else None

    def take_up(self, study: Study, trial_id: str) -> Trial | None:
        """Return the trial that an earlier process created for an id, None if there is none."""
        self._find_restored_trials(study)
        found = self._trials.pop(trial_id, None)
        if found is None:
            return None
        from optuna.trial import Trial

        _repeat_draw(study, found)
        return Trial(study, found._trial_id)

    def is_finished(self, study: Study, trial: Trial) -> bool:
        """Return True if an earlier process reported the end of a trial."""
        self._find_restored_trials(study)
        return trial._trial_id in self._finished

    def reached(self, study: Study, trial: Trial) -> int:
        """Return the last step of a trial that an earlier process reported, -1 without one."""
        self._find_restored_trials(study)
        return self._reached.get(trial._trial_id, -1)

    def _find_restored_trials(self, study: Study) -> None:
        if not self._is_restored:
            return
        self._is_restored = False
        for trial in study.get_trials(deepcopy=False):
            token, _, trial_id = trial.user_attrs.get(_MARK, "").partition(":")
            if token == self._token:
                self._trials[trial_id] = trial
                self._reached[trial._trial_id] = max(trial.intermediate_values, default=-1)
                if trial.state.is_finished():
                    self._finished.add(trial._trial_id)


def _repeat_draw(study: Study, found: FrozenTrial) -> None:
    """Advance the sampler's random state as the first creation of a trial did.

    A copy of the sampler draws the trial again, in a new study with the trials of that time, since
    a sampler may cache data of its own study.
    """
    import optuna

    from prefect_tune.search.optuna.space import suggest

    try:
        twin = copy.deepcopy(study.sampler)
        _forget_study(twin)
        with quiet_optuna():
            scratch = optuna.create_study(sampler=twin, directions=study.directions)
        earlier = study.get_trials(deepcopy=False)
        scratch.add_trials(trial for trial in earlier if trial.number < found.number)
        trial = scratch.ask()
        for name, distribution in found.distributions.items():
            if name not in found.system_attrs.get("fixed_params", {}):
                suggest(trial, name, distribution)
        _take_random_numbers(study.sampler, twin)
    except Exception:
        # For a sampler that does not work with another study, the numbers are merely new ones.
        study.sampler.reseed_rng()


def _forget_study(sampler: BaseSampler) -> None:
    """Clear a sampler's caches about the trials of its study."""
    from optuna.samplers import BaseSampler
    from optuna.search_space import IntersectionSearchSpace
    from optuna.search_space.group_decomposed import _GroupDecomposedSearchSpace

    for value in vars(sampler).values():
        if isinstance(value, BaseSampler):
            _forget_study(value)
        elif isinstance(value, IntersectionSearchSpace | _GroupDecomposedSearchSpace):
            value.__init__(value._include_pruned)  # type: ignore[misc]


def _take_random_numbers(sampler: BaseSampler, other: BaseSampler) -> None:
    """Give a sampler the random states of another sampler of its class."""
    from optuna.samplers import BaseSampler
    from optuna.samplers._lazy_random_state import LazyRandomState

    for name, value in vars(other).items():
        if isinstance(value, BaseSampler):
            _take_random_numbers(getattr(sampler, name), value)
        elif isinstance(value, LazyRandomState):
            setattr(sampler, name, value)


@contextmanager
def quiet_optuna() -> Iterator[None]:
    """Suppress Optuna's log messages below warnings, such as those about new studies."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(verbosity)
