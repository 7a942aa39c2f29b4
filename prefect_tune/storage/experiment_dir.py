"""The directory of one experiment on the flow process's node."""

from __future__ import annotations

import fcntl
import json
import os
import pickle
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect_tune.atomic_write import write_atomic
from prefect_tune.error import ExperimentLocked, InvalidArgument, StorageError, TrialFailed
from prefect_tune.experiment.attempt_error import ERROR_FILE, ERROR_PICKLE_FILE, AttemptError
from prefect_tune.experiment.pickling.encryption import is_encrypted
from prefect_tune.filesystem.location import Location

#: Holds the id of the run that uses the directory: a node that finds the same id shares the disk.
MARKER_FILE = ".prefect_tune_experiment"
LOCK_FILE = ".lock"
#: The arguments of a `Tuner`.
TUNER_FILE = "tuner.pkl"
#: Its trainable.
TRAINABLE_FILE = "trainable.pkl"


class ExperimentDir:
    """Creates, marks and locks an experiment directory.

    Args:
        root: Where experiment directories lie; created if missing.
        name: Name of the experiment.
        experiment_id: Unique id of this run.
        fresh: Take no directory that is there already: a number is added to the name then.

    Attributes:
        name: The name it got.
        path: The directory.

    Raises:
        InvalidArgument: If `root` cannot be a directory that is written to.
        ExperimentLocked: If another live process runs an experiment in the same directory.
    """

    def __init__(
        self, root: str | Path, name: str, experiment_id: str, *, fresh: bool = False
    ) -> None:
        self.root = _local(Location(os.fspath(root)))
        self.name = name
        self.path = self.root / name
        try:
            if fresh:
                self.path = _make_fresh(self.path)
                self.name = self.path.name
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path / LOCK_FILE)
            try:
                (self.path / MARKER_FILE).write_text(experiment_id)
            except OSError:
                self.close()  # or this process itself would hold it against its next try
                raise
        except OSError as error:
            problem = _in_the_way(self.path) or error.strerror or error
            raise InvalidArgument(
                "storage_path",
                f"cannot write to {self.path}: {problem}.",
                "Give a directory that this user may create and write.",
            ) from error

    def make_trial_dir(self, relative: str) -> Path:
        """Create a trial's directory.

        Raises:
            StorageError: If it cannot be created.
        """
        path = self.path / relative
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"cannot create the trial directory {path}: {error}") from error
        return path

    def write(self, name: str, data: bytes | None) -> None:
        """Write a file of the experiment; a reader sees all of it or none.

        What is encrypted, because it holds secrets, only this user may read at all.

        Args:
            name: Name of the file.
            data: What is in it; None removes a file from before.

        Raises:
            StorageError: If it cannot be written.
        """
        try:
            if data is None:
                (self.path / name).unlink(missing_ok=True)
            else:
                mode = 0o600 if is_encrypted(data) else 0o666
                write_atomic(self.path / name, data, mode=mode)
        except OSError as error:
            raise StorageError(f"cannot write {self.path / name}: {error}") from error

    def write_error(self, relative: str, error: AttemptError) -> None:
        """Add a failure to a trial's ``error.txt``, and its exception as ``error.pkl``.

        Raises:
            StorageError: If they cannot be written.
        """
        path = self.make_trial_dir(relative)
        try:
            # Messages may hold file names that are not UTF-8.
            text = f"{error.text()}\n".encode(errors="backslashreplace")
            with open(path / ERROR_FILE, "ab") as file:
                file.write(text)
            # What killed a process, or cannot be pickled, is told about in words.
            pickled = error.pickled or pickle.dumps(TrialFailed(error.text()))
            (path / ERROR_PICKLE_FILE).write_bytes(pickled)
        except OSError as problem:
            raise StorageError(f"cannot write {path / ERROR_FILE}: {problem}") from problem

    def add_policy(self, trial_id: str, source_id: str, row: Sequence[Any]) -> None:
        """Log that a trial goes on from another one, as Ray Tune's PBT does.

        ``pbt_global.txt`` has the rows of all trials; ``pbt_policy_<trial>.txt`` those that have
        led to the trial, its source's among them.

        Raises:
            StorageError: If they cannot be written.
        """
        line = json.dumps(row, default=repr) + "\n"
        own, other = (self.path / f"pbt_policy_{name}.txt" for name in (trial_id, source_id))
        try:
            with open(self.path / "pbt_global.txt", "a") as file:
                file.write(line)
            before = other.exists() or own.exists()
            known = (other if other.exists() else own).read_text() if before else ""
            own.write_text(known + line)
        except OSError as problem:
            raise StorageError(f"cannot write {own}: {problem}") from problem

    def close(self) -> None:
        """Release the lock."""
        os.close(self._lock)


def is_in_use(path: str | Path) -> bool:
    """True if a process of this machine, or of one that shares the disk, runs the experiment."""
    lock = Path(path) / LOCK_FILE
    return lock.exists() and _is_locked(lock)


def is_abandoned(path: Path) -> bool:
    """True if the process that ran an experiment last was on this machine and has ended."""
    try:
        words = (path / LOCK_FILE).read_text(errors="replace").split(maxsplit=3)
    except OSError:
        return False
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    # Asking for the lock keeps a run from starting, for an instant: the process id comes first.
    return not os.path.exists(f"/proc/{words[1]}") and not _is_locked(path / LOCK_FILE)


def _is_locked(path: Path) -> bool:
    """True if a process holds the lock, which may be one of a container, with ids of its own."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _make_fresh(path: Path) -> Path:
    """Make the directory, or `path_2`, `path_3` ... if others have made those before."""
    # Apart from the loop: there a name that is taken means to try another one.
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, number = path, 1
    while True:
        try:
            fresh.mkdir()
            return fresh
        except FileExistsError:
            number += 1
            fresh = path.with_name(f"{path.name}_{number}")


def _in_the_way(path: Path) -> str:
    """What keeps a path from being a directory, for people; "" if nothing of that kind does."""
    for place in (*reversed(path.parents), path):
        if os.path.lexists(place) and not place.is_dir():
            if not place.is_symlink():
                return f"{place} is not a directory"
            return (
                f"{place} is a symbolic link to {os.readlink(place)}, which is not a directory "
                "(is a disk not mounted?)"
            )
    return ""


def _local(root: Location) -> Path:
    if not root.is_local:
        raise InvalidArgument(
            "storage_path",
            f"got {root.url!r}; remote storage is not supported here.",
            "Give a local path; a path on a file system that all nodes share works too.",
        )
    return Path(root.path).expanduser().absolute()


def _lock(path: Path) -> int:
    """Hold an exclusive lock for the life of this process; its text says who holds it."""
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 200).decode(errors="replace") or "another process"
        os.close(fd)
        raise ExperimentLocked(
            f"`name`: an experiment is running in {path.parent} already (by {holder}). "
            f"Give this one another `name` or `storage_path`, or wait for the other to end."
        ) from None
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"process {os.getpid()} on {socket.gethostname()}".encode(), 0)
    return fd
