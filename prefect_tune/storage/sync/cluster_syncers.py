"""Ray Tune's syncers for containers, accepted as names that have no effect."""

from __future__ import annotations

from prefect_tune.error import InvalidArgument
from prefect_tune.storage.sync.sync_config import ClusterSyncer


class DockerSyncer(ClusterSyncer):
    """Accepted as ``SyncConfig(sync_to_driver=DockerSyncer)``.

    Files of nodes in containers come through Dask's own connections, without docker commands; a
    line in the log says so.
    """


__all__ = ["DockerSyncer"]


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
