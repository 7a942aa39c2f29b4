"""The files of a running experiment and their copy in storage, opened and closed by the engine.

How it is used::

    directory = ExperimentDir(plan.root, name, experiment_id)      # local, locked
    storage = ExperimentStorage(directory.path, experiment_id, storage_plan, on_lost=inbox.fail)
    storage.open(resume=True)      # lease acquired, journal and states fetched
    journal = storage.journal      # a LocalJournal, to read and to append to
    journal.append([header])
    storage.start()                # from here on journal and files are copied to storage
    storage.delete_checkpoint("trial_1/checkpoint_000003")
    storage.flush(10)              # at a signal: copy for as long as there is progress
    storage.close(60)

Without storage (`plan.location` is None) everything is local: there is no lease besides the lock of
the directory, nothing is copied, and `flush` has nothing to do.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from prefect_tune.checkpoint.checkpoint import Checkpoint, open_checkpoint
from prefect_tune.error import StorageError
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.retry import FOREGROUND, Limits
from prefect_tune.filesystem.store import Store, open_store
from prefect_tune.storage.checkpoints import CheckpointStore
from prefect_tune.storage.deletions import Deletions
from prefect_tune.storage.fetch import begin_run, fetch_experiment
from prefect_tune.storage.journal.file import JOURNAL_FILE, LocalJournal
from prefect_tune.storage.journal.segments import Continuation
from prefect_tune.storage.journal.shipper import Shipment
from prefect_tune.storage.journal.uploader import Upload, Uploader
from prefect_tune.storage.lease import Holder, Lease
from prefect_tune.storage.mirror import ChangedFiles
from prefect_tune.storage.storage_plan import StoragePlan

log = logging.getLogger(__name__)

# The user waits for these requests.
_OPENING = replace(FOREGROUND, total_s=1800.0)
# The callers of these repeat them later.
_SHIPPING = Limits(request_s=20.0, outage_s=5.0)
_LEASING = Limits(request_s=10.0, outage_s=10.0)
_SHIP_EVERY_S, _SHIP_AGAIN_S = 1.0, 5.0
_MIRROR_FIRST_S = 2.0
_JOURNAL_FIRST_S = 15.0
_DELETING_IDLE_S = 10.0


class ExperimentStorage:
    """Journal, lease, uploads and deletions of one experiment.

    Args:
        directory: The local experiment directory, which exists and is locked.
        experiment_id: Id of this opening of the experiment.
        plan: Where the files go.
        on_lost: Called once, from another thread, if another process has taken over the
            experiment, so that this run has to end. Nothing is written to storage from then on.

    Attributes:
        location: The experiment directory in storage, None if it is `directory` itself.
        journal: The journal; set by `open`.
    """

    journal: LocalJournal

    def __init__(
        self,
        directory: Path,
        experiment_id: str,
        plan: StoragePlan,
        *,
        on_lost: Callable[[StorageError], None] | None = None,
    ) -> None:
        self.location = plan.location_of(directory.name)
        self._directory = directory
        self._plan = plan
        self._id = experiment_id
        self._on_lost = on_lost
        self._cancelled = threading.Event()
        self._store: Store | None = None
        self._lease: Lease | None = None
        self._continuation: Continuation | None = None
        self._shipper: Uploader | None = None
        self._mirror: Uploader | None = None
        self._is_open = False
        self._is_resumed = False
        if self.location is not None:
            self._store = open_store(self.location, _OPENING, self._cancelled)
            holder = Holder.this_process(experiment_id)
            # Without the cancel event, because the lease is released after everything is cancelled.
            self._lease = Lease(
                open_store(self.location, _LEASING), holder, on_lost=self._on_lease_lost
            )
        self._deletions = Deletions(self._checkpoint_stores(), self._cancelled)

    def open(self, *, resume: bool) -> None:
        """Acquire the lease, fetch the experiment from storage, and open the journal.

        Args:
            resume: True to continue the experiment, False to begin a new run.

        Raises:
            ExperimentLocked: If another process runs it; names the process and the lease's expiry.
            StorageError: If the storage does not answer, refuses, or has a newer format.
        """
        self._is_resumed = resume
        if not resume:
            _repair_journal(self._directory / JOURNAL_FILE)
        if self._lease is not None and self._store is not None:
            self._lease.acquire()
            try:
                prepare = fetch_experiment if resume else begin_run
                self._continuation = prepare(self._store, self._directory)
            except BaseException:
                self._lease.close()
                raise
        elif resume:
            self._fetch_with_user_sync()
        self.journal = LocalJournal(self._directory / JOURNAL_FILE)
        self._is_open = True

    def start(self) -> None:
        """Start the threads that copy to storage; the journal must have this opening's header."""
        self._deletions.start()
        if self._continuation is not None and self.location is not None:
            self._shipper = self._make_shipper(self._continuation, self.location)
            self._shipper.start()
        self._mirror = self._make_mirror()
        if self._mirror is not None:
            self._mirror.start()

    @property
    def checkpoints(self) -> CheckpointStore:
        """Return the store of checkpoints, with limits for requests that the user waits for."""
        return CheckpointStore(self._store or open_store(Location(str(self._directory))))

    def upload_now(self, rel: str, data: bytes) -> None:
        """Upload a file at once, before the journal refers to it; if that fails, it follows later.

        Args:
            rel: Its path relative to the experiment directory.
            data: Its content.
        """
        if self.location is None:
            return
        try:
            open_store(self.location, _SHIPPING, self._cancelled).write(rel, data)
        except StorageError as error:
            log.warning("%s is not in %s yet: %s", rel, self.location, error)

    def delete_checkpoint(self, rel: str) -> None:
        """Queue a checkpoint for deletion, in the experiment directory and in storage.

        Args:
            rel: Its path relative to the experiment directory.
        """
        self._deletions.delete(rel)

    def flush(self, idle_s: float, total_s: float | None = None) -> bool:
        """Copy everything that storage lacks.

        Args:
            idle_s: Seconds to wait at most while nothing gets there.
            total_s: Seconds to wait at most; None waits as long as there is progress.

        Returns:
            False if storage still lacks something; a warning says what.
        """
        begun = time.monotonic()
        problems = []
        if self._shipper is not None and self._shipper.flush(idle_s, total_s) is not None:
            problems.append("the end of the journal")
        if self._mirror is not None:
            # The user's own command or function reports no progress, but has its own limit.
            idle_s = idle_s if self._plan.user_sync is None else max(idle_s, self._plan.timeout_s)
            problem = self._mirror.flush(idle_s, _seconds_left(begun, total_s))
            if problem is not None:
                problems.append(f"results and logs ({str(problem).rstrip('.')})")
        if problems:
            log.warning(
                "Not in %s after %.0f s: %s. It is in %s; resume on this machine to continue.",
                self.location or self._plan.user_target,
                time.monotonic() - begun,
                "; ".join(problems),
                self._directory,
            )
        return not problems

    def close(self, idle_s: float = 60.0, total_s: float | None = None) -> None:
        """Copy everything that storage lacks, end the threads, and release the lease.

        Args:
            idle_s: Seconds to wait at most while nothing gets there; what is missing then is said
                in a warning, and is on this machine's disk.
            total_s: Seconds to wait at most; None waits as long as there is progress.
        """
        begun = time.monotonic()
        if not self._cancelled.is_set():
            self.flush(idle_s, total_s)
        left_s = _seconds_left(begun, total_s)
        deleting_s = max(0.5, min(idle_s, _DELETING_IDLE_S))
        self._deletions.close(deleting_s, None if left_s is None else max(0.5, left_s))
        if self._mirror is not None:
            self._mirror.stop()
        if self._shipper is not None:
            self._shipper.stop()
        self._cancelled.set()
        if self._is_open:
            self.journal.close()
        if self._lease is not None:
            self._lease.close()

    def _checkpoint_stores(self) -> list[CheckpointStore]:
        here = CheckpointStore(open_store(Location(str(self._directory))))
        if self.location is None:
            return [here]
        return [here, CheckpointStore(open_store(self.location, _SHIPPING, self._cancelled))]

    def _make_shipper(self, continuation: Continuation, location: Location) -> Uploader:
        store = open_store(location, _SHIPPING, self._cancelled)
        journal = self._directory / JOURNAL_FILE
        shipment = Shipment(store, journal, continuation, self._id[:8])
        return Uploader(
            shipment,
            "the journal",
            str(location),
            _SHIP_EVERY_S,
            retry_s=_SHIP_AGAIN_S,
            cancelled=self._cancelled,
        )

    def _make_mirror(self) -> Uploader | None:
        """Return what uploads results and logs; None if everything stays in the directory."""
        upload, target = self._make_upload()
        if upload is None:
            return None
        period_s = self._plan.period_s
        return Uploader(
            upload,
            "results and logs",
            target,
            period_s,
            first_s=min(_MIRROR_FIRST_S, period_s),
            cancelled=self._cancelled,
        )

    def _make_upload(self) -> tuple[Upload | None, str]:
        sync, timeout_s = self._plan.user_sync, self._plan.timeout_s
        if sync is not None:
            target = self._plan.user_target_of(self._directory.name)
            return lambda _: sync.up(str(self._directory), target, timeout_s), target
        if self.location is None:
            return None, ""
        limits = Limits(request_s=60.0, outage_s=20.0, total_s=timeout_s)
        store = open_store(self.location, limits, self._cancelled)
        files = ChangedFiles(self._directory, store, self._journal_is_safe, self._is_resumed)
        return files, str(self.location)

    def _journal_is_safe(self) -> bool:
        shipper = self._shipper
        return shipper is None or shipper.flush(_JOURNAL_FIRST_S, _JOURNAL_FIRST_S) is None

    def _fetch_with_user_sync(self) -> None:
        """Fetch the experiment with the user's own sync if the local directory has no journal."""
        sync = self._plan.user_sync
        if sync is not None and not (self._directory / JOURNAL_FILE).exists():
            target = self._plan.user_target_of(self._directory.name)
            log.info("Fetching the experiment from %s.", target)
            sync.down(target, str(self._directory), self._plan.timeout_s)

    def _on_lease_lost(self, error: StorageError) -> None:
        self._cancelled.set()
        log.error("This run ends: %s", error)
        if self._on_lost is not None:
            self._on_lost(error)

    def open_checkpoint(self, saved: TrialCheckpoint) -> Checkpoint:
        """Return a checkpoint as the `Checkpoint` object that callbacks and users get."""
        return open_checkpoint(saved, self.location or Location(str(self._directory)))


def _repair_journal(path: Path) -> None:
    """Cut off the damaged end of an earlier run's journal, so that a new run can be appended.

    Raises:
        StorageError: If the journal cannot be read or repaired.
    """
    if not path.exists():
        return
    journal = LocalJournal(path)
    try:
        for _ in journal.read():
            pass
        journal.cut_damage()
    finally:
        journal.close()


def _seconds_left(begun: float, total_s: float | None) -> float | None:
    """Return the seconds left of `total_s` since `begun`; None is no limit."""
    return None if total_s is None else max(0.0, begun + total_s - time.monotonic())
