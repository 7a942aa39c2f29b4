"""Where the trials of an experiment work on a node."""

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

#: Below the experiment's directory on a node: checkpoints that were brought there.
FETCHED = ".fetched"
#: Set to 0 in a worker's environment, it works in a directory of its own in any case: for a shared
#: file system that is too slow or unreliable for trials.
SHARED_DIRECTORY = "PREFECT_TUNE_SHARED_DIRECTORY"
_LOCK = ".lock"


class NodeDirectory:
    """The experiment directory itself if this node sees it, else one of the node's own.

    The own one lies below the temporary directory and is removed with the experiment, or by whoever
    comes next if this process is killed.

    Args:
        env: The experiment.

    Attributes:
        path: The directory.
        shared: True if it is the experiment directory.

    Raises:
        OSError: If it cannot be created.
    """

    def __init__(self, env: ExperimentEnv) -> None:
        self.shared = _is_here(env)
        self._lock: int | None = None
        if self.shared:
            self.path = Path(env.experiment_dir)
            return
        parent = Path(tempfile.gettempdir()) / f"prefect_tune-{os.getuid()}"
        parent.mkdir(mode=0o700, exist_ok=True)
        if parent.stat().st_uid != os.getuid():
            # What others may write there would be loaded as checkpoints.
            raise PermissionError(errno.EPERM, "it belongs to another user", str(parent))
        _sweep(parent)
        # Of this agent alone: several workers may run on one machine.
        self._lock, lock_file = tempfile.mkstemp(_LOCK, f"{env.experiment_id}-", parent)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.path = Path(lock_file.removesuffix(_LOCK))
        self.path.mkdir(mode=0o700)

    def remove(self) -> None:
        """Remove the node's own directory; never the shared one."""
        if self._lock is None:
            return
        lock, self._lock = self._lock, None
        # Best effort: what stays is swept by the next experiment.
        with contextlib.suppress(OSError):
            remove_tree(self.path)
            Path(f"{self.path}{_LOCK}").unlink()
        os.close(lock)


def in_storage(env: ExperimentEnv, path: str) -> str:
    """A path relative to the experiment directory as users see it: a path or URL in storage."""
    if is_absolute(path):
        return path
    return str(Path(env.experiment_dir, path) if env.storage is None else env.storage / path)


def _is_here(env: ExperimentEnv) -> bool:
    if os.environ.get(SHARED_DIRECTORY) == "0":
        return False
    with contextlib.suppress(OSError, UnicodeDecodeError):
        marker = Path(env.experiment_dir) / MARKER_FILE
        return marker.read_text(encoding="utf-8").strip() == env.experiment_id
    return False


def _sweep(parent: Path) -> None:
    """Remove what killed agents have left behind: directories whose lock nobody holds."""
    for lock_file in parent.glob(f"*{_LOCK}"):
        with contextlib.suppress(OSError), open(lock_file, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(str(lock_file).removesuffix(_LOCK))
            lock_file.unlink()
