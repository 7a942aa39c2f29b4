"""`SyncConfig`: where an experiment is copied to, with the arguments of all Ray Tune versions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect_tune.error import InvalidArgument
from prefect_tune.storage.sync.syncer import Syncer
from prefect_tune.storage.sync.user_sync import UserSync, make_user_sync
from prefect_tune.validation import check_number, is_number

log = logging.getLogger(__name__)

DEFAULT_PERIOD_S = 300.0
DEFAULT_TIMEOUT_S = 1800.0


class ClusterSyncer:
    """Base of Ray Tune's syncers between nodes, which have no effect."""


@dataclass
class SyncConfig:
    """Where an experiment is copied to, and how often.

    Checkpoints are uploaded from the trial's node directly to `upload_dir` during training; the
    journal follows within about a second; results and logs every `sync_period`. Without
    `upload_dir` everything is in the experiment directory, to which checkpoints and logs of nodes
    that do not share it travel through Dask's own connections.

    Args:
        upload_dir: A URL that fsspec knows, such as ``s3://bucket/path``, a TuneStorage block, or a
            path; the experiment's name is added to it. `RunConfig(storage_path=)` says the same.
        syncer: ``"auto"``, a `Syncer` that copies the experiment directory in place of what is
            built in, or None to copy nothing.
        sync_to_cloud: A command with ``{source}`` and ``{target}``, or ``f(source, target)``, that
            copies the experiment directory in place of what is built in; needs `upload_dir`.
        sync_to_driver: With False, nothing is fetched from nodes that do not share the experiment
            directory: without remote storage their trials cannot keep checkpoints. Else what they
            write travels through Dask's connections.
        sync_on_checkpoint: Accepted: checkpoints are always copied as soon as they are complete.
        sync_period: Seconds between copies of results and logs. `TUNE_CLOUD_SYNC_S` wins.
        sync_timeout: Seconds after which one transfer is given up.
        node_sync_period: Accepted: see `sync_to_driver`.
        cloud_sync_period: The name of `sync_period` in version 1; None is `sync_period`.
        sync_artifacts: Accepted: everything in the experiment directory is copied.
        sync_artifacts_on_checkpoint: Accepted, as `sync_artifacts`.

    Raises:
        InvalidArgument: On impossible values, and for `sync_to_cloud` without `upload_dir`.
    """

    upload_dir: Any = None
    syncer: Any = "auto"
    sync_to_cloud: str | Callable[[str, str], Any] | None = None
    sync_to_driver: Any = None
    sync_on_checkpoint: bool = True
    sync_period: float = DEFAULT_PERIOD_S
    sync_timeout: float = DEFAULT_TIMEOUT_S
    node_sync_period: float | None = None
    cloud_sync_period: float | None = None
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = True

    def __post_init__(self) -> None:
        check_number("sync_period", self.sync_period, at_least=0)
        check_number("sync_timeout", self.sync_timeout, above=0)
        if self.cloud_sync_period is not None and not is_number(self.cloud_sync_period):
            raise InvalidArgument(
                "cloud_sync_period", f"got {self.cloud_sync_period!r}.", "Give seconds."
            )
        if self.syncer not in ("auto", None) and not isinstance(self.syncer, Syncer):
            raise InvalidArgument(
                "syncer", f"got {self.syncer!r}.", 'It is "auto", a Syncer object or None.'
            )
        if self.sync_to_cloud is not None:
            if isinstance(self.syncer, Syncer):
                raise InvalidArgument(
                    "sync_to_cloud", "it is given together with `syncer`.", "Give one of the two."
                )
            if not self.upload_dir:
                raise InvalidArgument(
                    "upload_dir",
                    "it is missing, though `sync_to_cloud` is given.",
                    "Say where to copy to: SyncConfig(upload_dir='s3://bucket/path', ...).",
                )
        if isinstance(self.syncer, Syncer) and not self.upload_dir:
            raise InvalidArgument(
                "upload_dir", "it is missing, though a `syncer` is given.", "Say where to copy to."
            )
        self.user_sync()

    def user_sync(self) -> UserSync | None:
        """Return the user's own way to copy; None if the built-in one is used.

        Raises:
            InvalidArgument: If `sync_to_cloud` is neither a command nor a function.
        """
        if isinstance(self.syncer, Syncer):
            return make_user_sync(self.syncer, "syncer")
        return None if self.sync_to_cloud is None else make_user_sync(self.sync_to_cloud)

    @property
    def period_s(self) -> float:
        """Seconds between copies; a negative `cloud_sync_period` is the default, as in Ray."""
        if isinstance(self.syncer, Syncer):
            return self.syncer.sync_period
        period = self.sync_period if self.cloud_sync_period is None else self.cloud_sync_period
        return DEFAULT_PERIOD_S if period < 0 else float(period)

    def log_unused_syncer(self) -> None:
        """Log that `sync_to_driver` has no effect if it names one of Ray Tune's syncers."""
        given = self.sync_to_driver
        if isinstance(given, type) and issubclass(given, ClusterSyncer):
            name = given.__name__
        elif isinstance(given, ClusterSyncer):
            name = type(given).__name__
        elif given is None or isinstance(given, bool):
            return
        else:
            name = f"sync_to_driver={given!r}"
        log.info(
            "%s is not needed: files of other nodes come through Dask's own connections.", name
        )


class DockerSyncer(ClusterSyncer):
    """Accepted as ``SyncConfig(sync_to_driver=DockerSyncer)``.

    Files of nodes in containers come through Dask's own connections, without docker commands; a
    line in the log says so.
    """


class KubernetesSyncer(ClusterSyncer):
    """Accepted as ``SyncConfig(sync_to_driver=KubernetesSyncer)``.

    Files of nodes in pods come through Dask's own connections, without kubectl; a line in the log
    says so.
    """


def NamespacedKubernetesSyncer(namespace: str) -> type[KubernetesSyncer]:  # noqa: N802 (Ray's name)
    """Return a `KubernetesSyncer` class for a namespace; the namespace has no effect.

    Args:
        namespace: Name of a Kubernetes namespace.

    Raises:
        InvalidArgument: If `namespace` is not a name.
    """
    if not isinstance(namespace, str) or not namespace:
        raise InvalidArgument("namespace", f"got {namespace!r}.", "Give the name of a namespace.")
    return type(
        "NamespacedKubernetesSyncer",
        (KubernetesSyncer,),
        {"namespace": namespace, "__doc__": KubernetesSyncer.__doc__},
    )
