"""The lease of an experiment: an object in storage that names its one writer and an expiry time.

A lease cannot exclude a second writer, because clocks differ and stores do not promise the order
of two writes; the openings of the journal do that. A lease keeps users from starting the same
experiment twice, and tells them who runs it.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import orjson
import psutil

from prefect_tune.error import ExperimentLocked, StorageError
from prefect_tune.filesystem.store import Store
from prefect_tune.storage.journal.background_worker import Outage

log = logging.getLogger(__name__)

LEASE_FILE = "lease.json"
DURATION_S = 60.0
_RENEWALS = 3  # in one duration
_CONFIRM_S = 0.4
_SKEW_S = 5.0
#: Experiment ids of leases that this process has released, even if the storage was unavailable.
_released: set[str] = set()


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that runs an experiment.

    Attributes:
        experiment_id: Id of this opening of the experiment.
        host: Name of the machine.
        pid: Id of the process.
        user: Name of the user.
        machine: Id of the machine's boot and process namespace, in which `pid` is unique.
        started: When the process began, in seconds since the epoch.
        expires: When the lease ends, in seconds since the epoch.
    """

    experiment_id: str
    host: str = ""
    pid: int = 0
    user: str = ""
    machine: str = ""
    started: float = 0.0
    expires: float = 0.0

    @classmethod
    def this_process(cls, experiment_id: str) -> Holder:
        """Return a holder that describes this process."""
        return cls(
            experiment_id,
            socket.gethostname(),
            os.getpid(),
            _user(),
            _machine(),
            psutil.Process().create_time(),
        )

    def encode(self) -> bytes:
        """Return the content of the lease object."""
        return orjson.dumps({"lease": 1, **asdict(self)})

    @classmethod
    def decode(cls, data: bytes) -> Holder | None:
        """Return the holder that `encode` has written; None if the content is damaged."""
        try:
            body = orjson.loads(data)
            known = {field.name: body[field.name] for field in fields(cls) if field.name in body}
            return cls(**known)
        except (ValueError, TypeError):
            return None

    def has_ended(self) -> bool:
        """Return True if the holder was a process of this machine and has certainly ended."""
        if not self.machine or self.machine != _machine():
            return False
        try:
            process = psutil.Process(self.pid)
            # A killed process stays a zombie until its parent takes notice.
            is_zombie = process.status() == psutil.STATUS_ZOMBIE
            return is_zombie or bool(abs(process.create_time() - self.started) > 1.0)
        except psutil.NoSuchProcess:
            return True

    def __str__(self) -> str:
        return f"process {self.pid} of {self.user} on {self.host}"


class Lease:
    """Lease of one experiment, renewed by a thread until it is closed.

    Args:
        store: The experiment directory in storage; its time limits should be short.
        holder: The process that wants the lease.
        duration_s: Seconds until a lease expires; it is renewed three times in this time.
        on_lost: Called once, from the lease's thread, if another process has taken the lease.
    """

    def __init__(
        self,
        store: Store,
        holder: Holder,
        duration_s: float = DURATION_S,
        on_lost: Callable[[ExperimentLocked], None] | None = None,
    ) -> None:
        self._store = store
        self._holder = holder
        self._duration_s = duration_s
        self._on_lost = on_lost or (lambda error: None)
        self._closing = threading.Event()
        self._outage = Outage()
        self._thread = threading.Thread(
            target=self._renew_until_closed, name="storage-lease", daemon=True
        )

    def acquire(self) -> None:
        """Acquire the lease and start to renew it.

        If another process's lease is no longer renewed, wait until it expires.

        Raises:
            ExperimentLocked: If another process holds the lease; names the process and the expiry.
            StorageError: If the storage fails.
        """
        while not self._try_acquire():
            pass
        self._thread.start()

    def close(self) -> None:
        """Release the lease; a failure is only logged, because the lease expires by itself."""
        self._closing.set()
        _released.add(self._holder.experiment_id)
        if self._thread.ident is not None:
            self._thread.join(5.0)
        try:
            found = self._read()
            if found is not None and found.experiment_id == self._holder.experiment_id:
                self._store.delete([LEASE_FILE])
        except StorageError as error:
            log.debug("The lease was not released: %s", error)

    def _try_acquire(self) -> bool:
        """Write the lease if it is free; return False if the caller has to try again."""
        found = self._read()
        if found is not None and not self._is_free(found):
            self._wait_until_expired(found)
            return False
        self._write()
        # Another process that read before this write has written by then. If one was slower still,
        # the first renewal finds its lease, and this run ends.
        time.sleep(_CONFIRM_S)
        again = self._read()
        if again is not None and again.experiment_id != self._holder.experiment_id:
            raise self._locked_error(again)
        return again is not None

    def _is_free(self, found: Holder) -> bool:
        mine = found.experiment_id in (self._holder.experiment_id, *_released)
        if not mine and found.has_ended():
            log.info("Taking over from %s, which has ended.", found)
            return True
        return mine or found.expires < time.time()

    def _wait_until_expired(self, found: Holder) -> None:
        """Wait until a lease that is no longer renewed has expired."""
        left = found.expires - time.time()
        overdue = left < self._duration_s * (1 - 1 / _RENEWALS) - _SKEW_S
        if not overdue:
            raise self._locked_error(found)
        log.warning(
            "The experiment was run by %s, which seems to have died; waiting %.0f s for its lease "
            "in %s to expire.",
            found,
            left,
            self._store.location,
        )
        while time.time() <= found.expires:
            time.sleep(min(1.0, max(0.0, found.expires - time.time()) + 0.01))
            now = self._read()
            if now is None:
                return
            if now.expires > found.expires or now.experiment_id != found.experiment_id:
                raise self._locked_error(now)

    def _renew_until_closed(self) -> None:
        while not self._closing.wait(self._duration_s / _RENEWALS):
            try:
                if not self._renew():
                    return
            except StorageError as error:
                if self._outage.begin():
                    log.debug("The lease was not renewed: %s", error)

    def _renew(self) -> bool:
        """Renew the lease; return False if it has been closed, or lost to another process."""
        found = self._read()
        if self._closing.is_set():
            return False
        if found is not None and found.experiment_id != self._holder.experiment_id:
            self._on_lost(self._locked_error(found))
            return False
        self._write()
        away = self._outage.end()
        if away is not None and away > self._duration_s:
            log.warning(
                "The lease in %s was not renewed for %.0f s; nobody else has taken it.",
                self._store.location,
                away,
            )
        return True

    def _read(self) -> Holder | None:
        data = self._store.read(LEASE_FILE)
        return None if data is None else Holder.decode(data)

    def _write(self) -> None:
        expires = time.time() + self._duration_s
        self._store.write(LEASE_FILE, replace(self._holder, expires=expires).encode())

    def _locked_error(self, holder: Holder) -> ExperimentLocked:
        until = time.strftime("%H:%M:%S", time.localtime(holder.expires))
        return ExperimentLocked(
            f"`name`: the experiment in {self._store.location} is run by {holder} (at least until "
            f"{until}). Give this one another `name` or `storage_path`, or wait for the other to "
            "end."
        )


def _user() -> str:
    try:
        return str(psutil.Process().username())
    except (KeyError, psutil.Error):
        return str(os.getuid())


def _machine() -> str:
    """Return an id of this machine's boot and process namespace; "" if the system gives none."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{os.readlink('/proc/self/ns/pid')}"
    except OSError:
        return ""
