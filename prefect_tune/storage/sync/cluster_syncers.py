"""`DockerSyncer`, an accepted name."""

from __future__ import annotations

from prefect_tune.storage.sync.sync_config import ClusterSyncer


class DockerSyncer(ClusterSyncer):
    """Accepted as ``SyncConfig(sync_to_driver=DockerSyncer)``.

    Files of nodes in containers come through Dask's own connections, without docker commands; a
    line in the log says so.
    """


__all__ = ["DockerSyncer"]
