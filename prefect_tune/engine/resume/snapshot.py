"""The content of a snapshot: how it is pickled, and how it is restored."""

from __future__ import annotations

import io
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
from prefect_tune.engine.resume.replay import AttemptConstants
from prefect_tune.experiment.pickling.large import LargeValues
from prefect_tune.experiment.pickling.plain import Unpickler, array_reference, data_reference
from prefect_tune.experiment.trial import Trial
from prefect_tune.schedulers import TrialScheduler
from prefect_tune.stopper import Stopper
from prefect_tune.storage.journal.file import LocalJournal
from prefect_tune.storage.snapshot_files import SnapshotFiles, SnapshotHead, SnapshotUnusable

#: The version of Python that pickles depend on.
PYTHON = ".".join(platform.python_version_tuple()[:2])


@dataclass(frozen=True, slots=True)
class StatefulParts:
    """The objects whose state a snapshot holds, beside the coordinator.

    Attributes:
        scheduler: The scheduler.
        stopper: The stopping criteria.
        search_alg: The searcher, whose state is saved elsewhere; a scheduler may refer to it.
        scheduler_print: Fingerprint of the scheduler before the run.
        stopper_print: Fingerprint of the stopper before the run.
    """

    scheduler: TrialScheduler
    stopper: Stopper
    search_alg: Any = None
    scheduler_print: str = ""
    stopper_print: str = ""

    def named_objects(self, coordinator: Coordinator) -> dict[str, Any]:
        """Return the objects that a snapshot refers to by name instead of pickling them."""
        return {
            "coordinator": coordinator,
            "scheduler": self.scheduler,
            "stopper": self.stopper,
            "search_alg": self.search_alg,
        }


@dataclass
class SnapshotBody:
    """The state of an experiment in a snapshot; pickled by `dump_state`.

    Attributes:
        coordinator: State of the coordinator.
        scheduler: State of the scheduler.
        stopper: State of the stopping criteria.
        constants: The values that results are completed with.
        suggested: Suggestions that the saved state of the search lacks.
        tells: Results and ends that the saved state of the search lacks.
    """

    coordinator: Any
    scheduler: Any
    stopper: Any
    constants: AttemptConstants
    suggested: list[TrialSuggested]
    tells: list[TellSearch]


@dataclass
class Position:
    """How far an experiment has got: counts of records and of calls to the search.

    Attributes:
        origin: Id of the experiment's first run.
        records: How many records its journal has.
        suggested: How many trials the search has suggested.
        told: How many results and ends the search has been told.
        constants: The values that results are completed with.
        files: The snapshot files; they continue those that the experiment was resumed from.
        stored: Ids of the finished trials in `files`.
    """

    origin: str
    files: SnapshotFiles
    records: int = 0
    suggested: int = 0
    told: int = 0
    constants: AttemptConstants = field(default_factory=AttemptConstants)
    stored: set[str] = field(default_factory=set)


def records_after(journal: LocalJournal, run: RunRecords, head: SnapshotHead) -> Iterator[bytes]:
    """Return the records of the journal behind a snapshot.

    Raises:
        SnapshotUnusable: If the journal is not the one that the snapshot was taken of.
    """
    if run.count < head.records:
        raise SnapshotUnusable("the journal has lost records that it includes")
    records = journal.read(run.start + head.records - 1)
    if zlib.crc32(next(records)) != head.last_record:
        raise SnapshotUnusable("the journal is another one")
    return records


def restore_snapshot(
    files: SnapshotFiles,
    head: SnapshotHead,
    stateful_parts: StatefulParts,
    coordinator: Coordinator,
) -> tuple[SnapshotBody, set[str]]:
    """Restore coordinator, scheduler and stopper from a snapshot.

    Args:
        files: The snapshot files.
        head: The snapshot's head.
        stateful_parts: Scheduler and stopper that have not been used yet.
        coordinator: A coordinator without trials.

    Returns:
        The state, already given to them, and the ids of the finished trials in the files.

    Raises:
        SnapshotUnusable: If the snapshot does not fit; nothing was changed.
        Exception: What objects in the snapshot, scheduler or stopper raise.
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
        # A trial that was run again after its end is in several frames: the last one counts.
        finished |= {trial.trial_id: trial for trial in load_state(frame, {}, {}, large)}
    body: SnapshotBody = load_state(
        data, stateful_parts.named_objects(coordinator), finished, large
    )
    coordinator.set_state(body.coordinator)
    stateful_parts.scheduler.set_state(body.scheduler)
    stateful_parts.stopper.set_state(body.stopper)
    unfinished = {t.trial_id for t in coordinator.get_trials() if not t.is_finished()}
    return body, finished.keys() - unfinished


_TRIAL = "trial:"


def stands_for(name: str) -> Any:
    """Stand for a named object in the pickle of a snapshot; `load_state` puts the object there.

    Raises:
        RuntimeError: If the pickle is loaded by other means.
    """
    raise RuntimeError(f"{name!r} belongs to a snapshot, which only `load_state` can read")


def dump_state(
    state: Any,
    parts: Mapping[str, Any],
    is_stored: Callable[[Trial], bool],
    large: LargeValues | None = None,
) -> bytes:
    """Pickle the state of a snapshot, with named objects and stored trials as references.

    Args:
        state: The state.
        parts: Objects that exist already when the pickle is loaded, by name.
        is_stored: True for a trial that is written elsewhere.
        large: Keeps large values in files of their own.

    Raises:
        Exception: What objects in the state raise that cannot be pickled.
    """
    buffer = io.BytesIO()
    # This pickler calls Python code for every single object, which is slow.
    kind = _LargeValuePickler if large is not None and large.has_data else _Pickler
    kind(buffer, parts, is_stored, large).dump(state)
    return buffer.getvalue()


def load_state(
    data: bytes,
    parts: Mapping[str, Any],
    trials: Mapping[str, Trial],
    large: LargeValues | None = None,
) -> Any:
    """Load the state that `dump_state` has pickled.

    Args:
        data: The pickle; must come from a process of this experiment.
        parts: The objects by name.
        trials: The trials that were written elsewhere, by id.
        large: Has the large values.

    Raises:
        Exception: What unpickling raises.
    """
    return _Unpickler(data, parts, trials, large).load()


#: The module of `stands_for`, and its module in earlier versions.
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


class _LargeValuePickler(_Pickler):
    def persistent_id(self, obj: Any) -> str | None:
        return data_reference(obj, self._large)


class _Unpickler(Unpickler):
    def __init__(
        self,
        data: bytes,
        parts: Mapping[str, Any],
        trials: Mapping[str, Trial],
        large: LargeValues | None,
    ) -> None:
        super().__init__(data, large)
        self._parts = parts
        self._trials = trials

    def find_class(self, module: str, name: str) -> Any:
        if name == stands_for.__name__ and module in _MODULES_OF_STANDS_FOR:
            return self._find
        return super().find_class(module, name)

    def _find(self, name: str) -> Any:
        if name.startswith(_TRIAL):
            return self._trials[name.removeprefix(_TRIAL)]
        return self._parts[name]
