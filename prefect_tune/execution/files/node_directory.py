"""`NodeDirectory`: the directory in which an experiment's trials work on a node."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from pathlib import Path

from prefect_tune.checkpoint.files import remove_tree
from prefect_tune.execution.base import ExperimentEnv
from prefect_tune.filesystem.location import is_absolute
from prefect_tune.storage.experiment_dir import MARKER_FILE

#: Folder for downloaded checkpoints in the experiment's directory on a node.
FETCHED = ".fetched"
#: Environment variable of a worker; 0 makes it use a directory of its own even if it shares the
#: experiment directory, for shared file systems that are too slow or unreliable for trials.
SHARED_DIRECTORY = "PREFECT_TUNE_SHARED_DIRECTORY"
_LOCK = ".lock"


class NodeDirectory:
    """Directory of an experiment's trials on a node.

    It is the experiment directory if the node shares that, else one of the node's own.

    The node's own directory is below the temporary directory. It is removed with the experiment,
    or by the next experiment if this process is killed.

    Args:
        env: Description of the experiment.

    Attributes:
        path: The directory.
        shared: True if `path` is the experiment directory itself.

    Raises:
        OSError: If the directory cannot be created.
    """

    def __init__(self, env: ExperimentEnv) -> None:
        self.shared = _sees_experiment_dir(env)
        self._lock: int | None = None
        if self.shared:
            self.path = Path(env.experiment_dir)
            return
        parent = user_directory()
        _remove_abandoned(parent)
        # Unique for this agent, because several workers may run on one machine.
        self._lock, lock_file = tempfile.mkstemp(_LOCK, f"{env.experiment_id}-", parent)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = Path(lock_file.removesuffix(_LOCK))
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the node's own directory, but never the shared one."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        # Best effort: the next experiment removes the rest.
        with contextlib.suppress(OSError):
            remove_tree(self.path)
            Path(f"{self.path}{_LOCK}").unlink()
        os.close(lock)


def user_directory() -> Path:
    """Return this user's directory below the temporary directory of the node.

    Raises:
        OSError: If it cannot be created, or is another user's.
    """
    path = Path(tempfile.gettempdir()) / f"prefect_tune-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    if path.stat().st_uid != os.getuid():
        # Checkpoints in it are unpickled, so no other user may be able to write there.
        raise PermissionError(errno.EPERM, "it belongs to another user", str(path))
    return path


def in_storage(env: ExperimentEnv, path: str) -> str:
    """Return where users find a path of the experiment directory: a path or URL in storage."""
    if is_absolute(path):
        return path
    return str(Path(env.experiment_dir, path) if env.storage is None else env.storage / path)


def _sees_experiment_dir(env: ExperimentEnv) -> bool:
    if os.environ.get(SHARED_DIRECTORY) == "0":
        return False
    with contextlib.suppress(OSError, UnicodeDecodeError):
        marker = Path(env.experiment_dir) / MARKER_FILE
        return marker.read_text(encoding="utf-8").strip() == env.experiment_id
    return False


def _remove_abandoned(parent: Path) -> None:
    """Remove directories that killed agents have left, whose locks are free."""
    for lock_file in parent.glob(f"*{_LOCK}"):
        with contextlib.suppress(OSError), open(lock_file, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(str(lock_file).removesuffix(_LOCK))
            lock_file.unlink()
