"""Decides from the user's arguments where an experiment's files go."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, replace
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.filesystem.location import Location
from prefect_tune.filesystem.parse import parse_location
from prefect_tune.storage.sync.sync_config import SyncConfig
from prefect_tune.storage.sync.user_sync import UserSync

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoragePlan:
    """Directories and storage locations for the files of experiments.

    Attributes:
        root: Local parent of experiment directories.
        location: Parent of experiment directories in storage; None without remote storage.
        user_sync: The user's own way to copy the experiment directory.
        user_target: Where the user's own sync copies to, as the user wrote it.
        period_s: Seconds between copies of results and logs.
        timeout_s: Seconds after which one transfer is given up.
    """

    root: str
    location: Location | None = None
    user_sync: UserSync | None = None
    user_target: str = ""
    period_s: float = 300.0
    timeout_s: float = 1800.0

    @property
    def permanent_location(self) -> Location:
        """Parent of the experiments' permanent files: in storage, or `root` without storage."""
        return Location(self.root) if self.location is None else self.location

    def in_folder(self, folders: str) -> StoragePlan:
        """Return a plan for experiments in subfolders of this plan's directories.

        Args:
            folders: Relative path of the subfolder; may be empty.
        """
        if not folders:
            return self
        return replace(
            self,
            root=os.path.join(self.root, folders),
            location=self.location_of(folders),
            user_target=self.user_target_of(folders) if self.user_target else "",
        )

    def location_of(self, name: str) -> Location | None:
        """Return where one experiment is in storage; None without remote storage."""
        return None if self.location is None else self.location / name

    def user_target_of(self, name: str) -> str:
        """Return where the user's own sync copies one experiment to."""
        return f"{self.user_target.rstrip('/')}/{name}"


def make_storage_plan(
    *,
    storage_path: Any = None,
    local_dir: Any = None,
    storage_filesystem: Any = None,
    sync_config: Any = None,
    default_root: str,
    cloud_sync_s: float | None = None,
    global_checkpoint_s: float | str | None = None,
) -> StoragePlan:
    """Decide where files go, without asking the storage or creating anything.

    Args:
        storage_path: A path, URL or block from the user; None uses `local_dir`.
        local_dir: A local path from the user.
        storage_filesystem: An fsspec file system from the user, which `storage_path` is a path on.
        sync_config: The user's `SyncConfig`.
        default_root: The local directory unless the user gives one.
        cloud_sync_s: `TUNE_CLOUD_SYNC_S`; overrides the period of the `SyncConfig`.
        global_checkpoint_s: `TUNE_GLOBAL_CHECKPOINT_S`, in seconds or "auto": the shortest time
            between copies.

    Raises:
        InvalidArgument: If the arguments are invalid or contradict each other.
    """
    sync = _checked(sync_config)
    sync.log_unused_syncer()
    root = default_root
    remote: Location | None = None
    if storage_path is not None or storage_filesystem is not None:
        place = parse_location(storage_path, "storage_path", storage_filesystem)
        if place.is_local:
            root = place.path
        else:
            remote = place
    if local_dir is not None:
        local = parse_location(local_dir, "local_dir")
        if not local.is_local:
            raise InvalidArgument(
                "local_dir", f"got {local}.", "Give a local path; URLs go into `storage_path`."
            )
        root = local.path
    own = sync.user_sync()
    if sync.upload_dir and sync.syncer is None:
        log.warning("Nothing is copied to %s, because of SyncConfig(syncer=None).", sync.upload_dir)
    elif sync.upload_dir:
        if remote is not None:
            raise InvalidArgument(
                "upload_dir", "`storage_path` is a URL already.", "Give one of the two."
            )
        if own is None:
            remote = _upload_location(sync.upload_dir, root)
    period = sync.period_s if cloud_sync_s is None else cloud_sync_s
    slowest = 0.0 if isinstance(global_checkpoint_s, str) else float(global_checkpoint_s or 0.0)
    return StoragePlan(
        root=root,
        location=remote,
        user_sync=own,
        user_target=str(sync.upload_dir) if own is not None else "",
        period_s=max(1.0, period, slowest),
        timeout_s=sync.sync_timeout,
    )


def _checked(sync_config: Any) -> SyncConfig:
    if sync_config is None:
        return SyncConfig()
    if isinstance(sync_config, dict):
        try:
            return SyncConfig(**sync_config)
        except TypeError as error:
            raise InvalidArgument("sync_config", f"{error}.") from None
    if not isinstance(sync_config, SyncConfig):
        raise InvalidArgument("sync_config", f"got {sync_config!r}.", "Give a SyncConfig.")
    return sync_config


def _upload_location(upload_dir: Any, root: str) -> Location:
    location = parse_location(upload_dir, "upload_dir")
    if location.is_local and location.path == root:
        raise InvalidArgument(
            "upload_dir",
            f"it is {root}, where experiments are made.",
            "Give another place, or none.",
        )
    return location
