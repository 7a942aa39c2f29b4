"""What a snapshot holds, and where the experiment stands that it is of."""

from __future__ import annotations

import io
import pickle
import platform
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import cloudpickle

from prefect_tune._version import __version__
from prefect_tune.coordinator.commands import TellSearch
from prefect_tune.coordinator.coordinator import Coordinator
from prefect_tune.coordinator.events import TrialSuggested
from prefect_tune.engine.resume.last_run import RunRecords
from prefect_tune.engine.resume.result_constants import AttemptConstants
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.pickling.plain import (
    array_reference,
    data_reference,
    is_array_reference,
    load_plain,
)
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.snapshot_files import SnapshotFiles, SnapshotHead, SnapshotUnusable

#: The version of Python that pickles depend on.
PYTHON = ".".join(platform.python_version_tuple()[:2])


@dataclass(frozen=True, slots=True)
class StatefulParts:
    """What a snapshot holds the state of, beside the coordinator.

    Attributes:
        scheduler: The scheduler.
        stopper: The stopping criteria.
        search_alg: The searcher, which saves itself; a scheduler may refer to it.
        scheduler_print: Fingerprint of the scheduler before the run.
        stopper_print: Fingerprint of the stopper before the run.
    """

    scheduler: TrialScheduler
    stopper: Stopper
    search_alg: Any = None
    scheduler_print: str = ""
    stopper_print: str = ""

    def names(self, coordinator: Coordinator) -> dict[str, Any]:
        """The objects that a snapshot only names."""
        return {
            "coordinator": coordinator,
            "scheduler": self.scheduler,
            "stopper": self.stopper,
            "search_alg": self.search_alg,
        }


@dataclass
class SnapshotBody:
    """The state itself; pickled by `dump_state`.

    Attributes:
        coordinator: State of the coordinator.
        scheduler: State of the scheduler.
        stopper: State of the stopping criteria.
        constants: What results are completed with.
        suggested: Suggestions that the saved state of the search does not know.
        tells: What it has not been told.
    """

    coordinator: Any
    scheduler: Any
    stopper: Any
    constants: AttemptConstants
    suggested: list[TrialSuggested]
    tells: list[TellSearch]


@dataclass
class Position:
    """How far an experiment has got when it is opened.

    Attributes:
        origin: Id of the run.
        records: How many records its journal has.
        suggested: How many trials the search has suggested.
        told: How much it has been told.
        constants: What results are completed with.
        files: Where snapshots go; continues the one that the experiment was resumed from.
        stored: Ids of the finished trials in `files`.
    """

    origin: str
    files: SnapshotFiles
    records: int = 0
    suggested: int = 0
    told: int = 0
    constants: AttemptConstants = field(default_factory=AttemptConstants)
    stored: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was in a snapshot.

    Attributes:
        body: The state, already given to coordinator, scheduler and stopper.
        stored: Ids of the finished trials in the files.
    """

    body: SnapshotBody
    stored: set[str]


def tail_of(journal: LocalJournal, run: RunRecords, head: SnapshotHead) -> Iterator[bytes]:
    """The records behind a snapshot.

    Raises:
        SnapshotUnusable: If the journal is not the one that the snapshot was taken of.
    """
    if run.count < head.records:
        raise SnapshotUnusable("the journal has lost what it was taken behind")
    records = journal.read(run.start + head.records - 1)
    if zlib.crc32(next(records)) != head.last_record:
        raise SnapshotUnusable("the journal is another one")
    return records


def restore_snapshot(
    files: SnapshotFiles,
    head: SnapshotHead,
    stateful_parts: StatefulParts,
    coordinator: Coordinator,
) -> Restored:
    """Give coordinator, scheduler and stopper the state of a snapshot.

    Args:
        files: Where it is.
        head: Its head.
        stateful_parts: Scheduler and stopper that have not been used yet.
        coordinator: A coordinator without trials.

    Raises:
        SnapshotUnusable: If it cannot be used here; nothing was changed.
        Exception: Whatever the objects in it raise, or those that get it.
    """
    for name, before, now in (
        ("prefect_tune", head.prefect_tune, __version__),
        ("Python", head.python, PYTHON),
    ):
        if before != now:
            raise SnapshotUnusable(f"it was written by {name} {before}, this is {now}")
    if not head.scheduler or head.scheduler != stateful_parts.scheduler_print:
        raise SnapshotUnusable("the scheduler is not the same as it was")
    if not head.stopper or head.stopper != stateful_parts.stopper_print:
        raise SnapshotUnusable("the stopping criteria are of other kinds than they were")
    data, frames = files.load(head)
    large = files.pickles.large
    finished: dict[str, Trial] = {}
    for frame in frames:
        # A trial that was run again is there once more.
        finished |= {trial.trial_id: trial for trial in load_state(frame, {}, {}, large)}
    body: SnapshotBody = load_state(data, stateful_parts.names(coordinator), finished, large)
    coordinator.set_state(body.coordinator)
    stateful_parts.scheduler.set_state(body.scheduler)
    stateful_parts.stopper.set_state(body.stopper)
    unfinished = {t.trial_id for t in coordinator.get_trials() if not t.is_finished()}
    return Restored(body, finished.keys() - unfinished)


_TRIAL = "trial:"


def stands_for(name: str) -> Any:
    """What a name stands for; replaced by whoever loads the pickle.

    Raises:
        RuntimeError: If the pickle is loaded in any other way.
    """
    raise RuntimeError(f"{name!r} belongs to a snapshot, which only `load_state` can read")


def dump_state(
    state: Any,
    parts: Mapping[str, Any],
    is_stored: Callable[[Trial], bool],
    large: LargeValues | None = None,
) -> bytes:
    """Pickle a state.

    Args:
        state: What to pickle.
        parts: Objects that will be there when it is loaded, by name.
        is_stored: True for a trial that is written elsewhere.
        large: Keeps large values.

    Raises:
        Exception: Whatever objects in it raise that cannot be pickled.
    """
    buffer = io.BytesIO()
    # Python is asked about every single object then, which takes its time.
    kind = _KeepingPickler if large is not None and large.has_data else _Pickler
    kind(buffer, parts, is_stored, large).dump(state)
    return buffer.getvalue()


def load_state(
    data: bytes,
    parts: Mapping[str, Any],
    trials: Mapping[str, Trial],
    large: LargeValues | None = None,
) -> Any:
    """Load what `dump_state` has written.

    Args:
        data: The pickle; must come from a process of this experiment.
        parts: The objects by name.
        trials: The trials that were written elsewhere, by id.
        large: Has the large values.

    Raises:
        Exception: Whatever unpickling raises.
    """
    return _Unpickler(io.BytesIO(data), parts, trials, large).load()


#: Where `stands_for` is, and where it was when earlier snapshots were written.
_MODULES_OF_STANDS_FOR = (__name__, "prefect_tune.engine.snapshot_pickle")


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def __init__(
        self,
        buffer: io.BytesIO,
        parts: Mapping[str, Any],
        is_stored: Callable[[Trial], bool],
        large: LargeValues | None,
    ) -> None:
        super().__init__(buffer, protocol=5)
        self._large = large
        self._names = {id(part): name for name, part in parts.items() if part is not None}
        self._is_stored = is_stored

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is Trial:
            if self._is_stored(obj):
                return stands_for, (_TRIAL + obj.trial_id,)
            return NotImplemented
        name = self._names.get(id(obj))
        if name is not None:
            return stands_for, (name,)
        if type(obj).__module__ == "numpy" and (kept := array_reference(obj, self._large)):
            return kept
        return super().reducer_override(obj)


class _KeepingPickler(_Pickler):
    def persistent_id(self, obj: Any) -> str | None:
        return data_reference(obj, self._large)


class _Unpickler(pickle.Unpickler):
    def __init__(
        self,
        buffer: io.BytesIO,
        parts: Mapping[str, Any],
        trials: Mapping[str, Trial],
        large: LargeValues | None,
    ) -> None:
        super().__init__(buffer)
        self._large = large
        self._parts = parts
        self._trials = trials

    def find_class(self, module: str, name: str) -> Any:
        if name == stands_for.__name__ and module in _MODULES_OF_STANDS_FOR:
            return self._find
        if is_array_reference(module, name) and self._large is not None:
            return self._large.array
        return super().find_class(module, name)

    def persistent_load(self, name: Any) -> Any:
        if self._large is None:
            raise pickle.UnpicklingError(f"its large value {name!r} is elsewhere")
        return load_plain(self._large.data(name))

    def _find(self, name: str) -> Any:
        if name.startswith(_TRIAL):
            return self._trials[name.removeprefix(_TRIAL)]
        return self._parts[name]
