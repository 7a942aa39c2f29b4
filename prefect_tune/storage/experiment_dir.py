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
from prefect_tune.error import (
    ExperimentLocked,
    InvalidArgument,
    TrialFailed,
    storage_errors,
)
from prefect_tune.experiment.attempt import ERROR_FILE, ERROR_PICKLE_FILE, AttemptError
from prefect_tune.experiment.pickling.encryption import is_encrypted

#: Holds the id of the run that uses the directory; a node that reads the same id shares the disk.
MARKER_FILE = ".prefect_tune_experiment"
LOCK_FILE = ".lock"
#: The arguments of a `Tuner`.
TUNER_FILE = "tuner.pkl"
#: The trainable of a `Tuner`.
TRAINABLE_FILE = "trainable.pkl"


class ExperimentDir:
    """A locked experiment directory, with the files of the experiment as a whole.

    Args:
        root: Parent of all experiment directories; created if missing.
        name: Name of the experiment.
        experiment_id: Unique id of this run.
        fresh: Use a new directory: if the name is taken, a number is added to it.

    Attributes:
        name: Name of the directory, with the number if one was added.
        path: The directory.

    Raises:
        InvalidArgument: If `root` cannot be a directory that is written to.
        ExperimentLocked: If another live process runs an experiment in the same directory.
    """

    def __init__(
        self, root: str | Path, name: str, experiment_id: str, *, fresh: bool = False
    ) -> None:
        self.root = Path(root).expanduser().absolute()
        self.name = name
        self.path = self.root / name
        try:
            if fresh:
                self.path = _make_unused(self.path)
                self.name = self.path.name
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.path / LOCK_FILE)
            try:
                (self.path / MARKER_FILE).write_text(experiment_id)
            except OSError:
                self.close()  # otherwise this process's own lock would block its next try
                raise
        except OSError as error:
            problem = _find_obstacle(self.path) or error.strerror or error
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
        with storage_errors(f"create the trial directory {path}"):
            path.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, data: bytes | None) -> None:
        """Write a file into the experiment directory, atomically.

        A file with encrypted secrets gets permissions that let only this user read it.

        Args:
            name: Name of the file.
            data: Its content; None removes the file.

        Raises:
            StorageError: If it cannot be written.
        """
        with storage_errors(f"write {self.path / name}"):
            if data is None:
                (self.path / name).unlink(missing_ok=True)
            else:
                mode = 0o600 if is_encrypted(data) else 0o666
                write_atomic(self.path / name, data, mode=mode)

    def write_error(self, relative: str, error: AttemptError) -> None:
        """Append a failure to a trial's ``error.txt`` and save its exception as ``error.pkl``.

        Raises:
            StorageError: If they cannot be written.
        """
        path = self.make_trial_dir(relative)
        with storage_errors(f"write {path / ERROR_FILE}"):
            # Messages may hold file names that are not UTF-8.
            text = f"{error.text()}\n".encode(errors="backslashreplace")
            with open(path / ERROR_FILE, "ab") as file:
                file.write(text)
            # Without a picklable exception (a killed process, say), the text stands in for one.
            pickled = error.pickled or pickle.dumps(TrialFailed(error.text()))
            (path / ERROR_PICKLE_FILE).write_bytes(pickled)

    def add_policy(self, trial_id: str, source_id: str, row: Sequence[Any]) -> None:
        """Log that PBT lets a trial continue from another trial's checkpoint, in Ray Tune's files.

        ``pbt_global.txt`` has the rows of all trials; ``pbt_policy_<trial>.txt`` has the rows that
        led to this trial, including those of the trial it continues from.

        Raises:
            StorageError: If they cannot be written.
        """
        line = json.dumps(row, default=repr) + "\n"
        own, source = (self.path / f"pbt_policy_{name}.txt" for name in (trial_id, source_id))
        with storage_errors(f"write {own}"):
            with open(self.path / "pbt_global.txt", "a") as file:
                file.write(line)
            earlier = source if source.exists() else own
            own.write_text((earlier.read_text() if earlier.exists() else "") + line)

    def close(self) -> None:
        """Release the lock of the directory."""
        os.close(self._lock)


def is_in_use(path: str | Path) -> bool:
    """Return True if a process runs the experiment, on this machine or one that shares the disk."""
    lock = Path(path) / LOCK_FILE
    return lock.exists() and _is_locked(lock)


def is_abandoned(path: Path) -> bool:
    """Return True if the process that last ran the experiment was on this machine and has ended."""
    try:
        # As `_lock` has written it: process <pid> on <host>.
        words = (path / LOCK_FILE).read_text(errors="replace").split(maxsplit=3)
    except OSError:
        return False
    if len(words) != 4 or words[3] != socket.gethostname() or not words[1].isdecimal():
        return False
    # Checking the lock blocks a starting run for an instant, so the process id is checked first.
    return not os.path.exists(f"/proc/{words[1]}") and not _is_locked(path / LOCK_FILE)


def _is_locked(path: Path) -> bool:
    """Return True if a process holds the lock, even one in a container with its own process ids."""
    try:
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    return False


def _make_unused(path: Path) -> Path:
    """Create the directory `path`, or `path_2`, `path_3` ... if the earlier names are taken."""
    # Not in the loop, where FileExistsError means that the name is taken.
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh, number = path, 1
    while True:
        try:
            fresh.mkdir()
            return fresh
        except FileExistsError:
            number += 1
            fresh = path.with_name(f"{path.name}_{number}")


def _find_obstacle(path: Path) -> str:
    """Return which file or link keeps `path` from being a directory; "" if there is none."""
    for place in (*reversed(path.parents), path):
        if os.path.lexists(place) and not place.is_dir():
            if not place.is_symlink():
                return f"{place} is not a directory"
            return (
                f"{place} is a symbolic link to {os.readlink(place)}, which is not a directory "
                "(is a disk not mounted?)"
            )
    return ""


def _lock(path: Path) -> int:
    """Lock a file until this process ends, and write into the file which process holds the lock."""
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
