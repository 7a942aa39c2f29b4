"""`init` and `shutdown` set the cluster that runs use; `connect` connects to it.

Dask itself is imported only when a cluster is needed.
"""

from __future__ import annotations

import atexit
import functools
import logging
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

from prefect_tune.error import ClusterError, InvalidArgument
from prefect_tune.execution.launch.helper_process import discard_zygote, prestart_zygote
from prefect_tune.resources import CPU, GPU, MILLI, canonical_name, to_milli
from prefect_tune.validation import check_count, check_flag, check_not_blank, check_type

if TYPE_CHECKING:
    from prefect_tune.execution.cluster.handle import ClusterHandle

_logger = logging.getLogger(__name__)

#: Arguments of `ray.init` that have no meaning here; scripts that pass them still run.
_WITHOUT_MEANING = frozenset(
    """
    allow_multiple autoscaling_config configure_logging driver_mode driver_object_store_memory
    enable_object_reconstruction huge_pages include_java include_webui internal_config
    java_worker_options job_config job_id labels load_code_from_local logging_config
    logging_format logging_level lru_evict memory namespace node_ip_address num_redis_shards
    object_id_seed object_store_memory plasma_directory plasma_store_socket_name
    raylet_socket_name redirect_output redirect_worker_output redis_max_memory redis_password
    redis_shard_ports runtime_env storage temp_dir use_pickle use_raylet webui_host
    """.split()
)


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Options of a cluster on this machine.

    Attributes:
        num_cpus: CPU slots; None for as many as this process may use.
        num_gpus: GPU slots; None for as many as this process may use.
        resources: Custom resources, in units.
        dashboard_address: Address of Dask's dashboard, e.g. ``:8787``; None for no dashboard.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    dashboard_address: str | None = None


@dataclass(frozen=True, slots=True)
class ClusterContext:
    """Addresses of the cluster of `init`; as a context manager it calls `shutdown` at its end.

    Attributes:
        address: Address of the Dask scheduler.
        dashboard_url: Address of Dask's dashboard, None without one.
    """

    address: str
    dashboard_url: str | None

    @property
    def address_info(self) -> dict[str, str | None]:
        """Return the addresses as a dict."""
        return {"address": self.address, "webui_url": self.dashboard_url}

    def disconnect(self) -> None:
        """Call `shutdown`."""
        shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.disconnect()


class _SharedCluster:
    """Cluster that this process keeps between runs."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.initialized = False
        self.local_mode = False
        self.log_to_driver = True
        self._handle: ClusterHandle | None = None
        self._of_parent: ClusterHandle | None = None
        #: Makes a cluster, or connection, like the last one that was kept.
        self.make: Callable[[], ClusterHandle] | None = None
        self._registered = False

    def start(self, make: Callable[[], ClusterHandle]) -> ClusterHandle:
        """Make a cluster, or a connection to one, and keep it."""
        handle = make()
        if not self._registered:
            self._registered = True
            atexit.register(self.close)
        handle.shared = True
        self._handle, self.make = handle, make
        return handle

    def get(self) -> ClusterHandle | None:
        """Return the cluster that is kept; None if it is lost, of which `make` is kept."""
        if self._handle is not None and not self._handle.alive:
            self._end()
        return self._handle

    def close(self) -> None:
        """End the cluster, or the connection to it, and keep nothing of it."""
        self._end()
        self.make = None
        self.initialized = self.local_mode = False
        self.log_to_driver = True

    def _end(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            discard_zygote()
            handle.shutdown()

    def forked(self) -> None:
        """Drop the cluster after a fork, which lacks its threads; `connect` makes a similar one."""
        self.lock = threading.RLock()
        # The parent ends the cluster; references are kept so that nothing is closed here.
        self._of_parent = self._handle
        self._handle = None


_shared = _SharedCluster()
os.register_at_fork(after_in_child=_shared.forked)


def init(
    address: str | None = None,
    *,
    num_cpus: float | None = None,
    num_gpus: float | None = None,
    resources: Mapping[str, float] | None = None,
    local_mode: bool = False,
    log_to_driver: bool = True,
    ignore_reinit_error: bool = False,
    include_dashboard: bool | None = None,
    dashboard_host: str = "127.0.0.1",
    dashboard_port: int | None = None,
    **ray_arguments: Any,
) -> ClusterContext:
    """Set the cluster for later runs, as `ray.init` does.

    Runs start a cluster by themselves; call this to say what it has, or to use an existing one.

    Args:
        address: Address of a Dask scheduler (``tcp://...``); None starts a cluster in this process.
        num_cpus: CPU slots of that cluster; by default the CPUs that this process may use.
        num_gpus: GPU slots; by default the GPUs there are. More than there are can be declared,
            for tests.
        resources: Custom resources, e.g. ``{"license": 2}``.
        local_mode: Run trials one by one in this process, for debugging.
        log_to_driver: True to show the output of trials on the console; a run's own `log_to_driver`
            wins. In local mode it always does.
        ignore_reinit_error: Do nothing if `init` has been called before.
        include_dashboard: Start Dask's dashboard.
        dashboard_host: Host name or address on which the dashboard listens.
        dashboard_port: Port of the dashboard, 8787 by default; implies `include_dashboard`.
        **ray_arguments: Arguments that only Ray has; ignored with a log line.

    Raises:
        InvalidArgument: If an argument cannot be used.
        ClusterError: If the address does not answer within 10 s.
        RuntimeError: If `init` has been called before without `shutdown`.
    """
    _check_ray_arguments(ray_arguments)
    if isinstance(address, str):
        check_not_blank("address", address, "an address such as 'tcp://10.0.0.1:8786'")
    existing = address not in (None, "local")
    options = _local_options(num_cpus, num_gpus, resources)
    check_flag("local_mode", local_mode)
    check_flag("log_to_driver", log_to_driver)
    if include_dashboard is not None:
        check_flag("include_dashboard", include_dashboard)
    if dashboard_port is not None:
        check_count("dashboard_port", dashboard_port, at_least=0, at_most=65535)
    check_type("dashboard_host", dashboard_host, str, "a host name or address")
    if include_dashboard or (dashboard_port is not None and include_dashboard is not False):
        port = 8787 if dashboard_port is None else dashboard_port
        options = replace(options, dashboard_address=f"{dashboard_host}:{port}")
    if existing and options != LocalOptions():
        raise InvalidArgument(
            "address",
            "an existing cluster has the resources that its workers were started with.",
            "Leave out num_cpus, num_gpus, resources and the dashboard.",
        )
    with _shared.lock:
        known = _shared.get()
        if _shared.initialized and known is not None:
            if ignore_reinit_error:
                return ClusterContext(known.address, known.dashboard())
            raise RuntimeError(
                "tune.init() has been called before: call tune.shutdown() first, or pass "
                "ignore_reinit_error=True"
            )
        _shared.close()
        handle = _shared.start(
            functools.partial(_join, address) if existing else functools.partial(_start, options)
        )
        _shared.initialized = True
        _shared.local_mode = local_mode
        _shared.log_to_driver = log_to_driver
        return ClusterContext(handle.address, handle.dashboard())


def shutdown() -> None:
    """End the cluster that `init` or a run has started, or the connection to an existing one."""
    with _shared.lock:
        _shared.close()


def is_initialized() -> bool:
    """Return True after `init`, until `shutdown`."""
    with _shared.lock:
        return _shared.get() is not None and _shared.initialized


def is_local_mode() -> bool:
    """Return True after ``init(local_mode=True)``, until `shutdown`."""
    return _shared.local_mode


def is_output_shown() -> bool:
    """Return False after ``init(log_to_driver=False)``, until `shutdown`."""
    return _shared.log_to_driver


def connect(cluster: Any = None, *, autostart: bool = True) -> ClusterHandle:
    """Connect to a cluster.

    Args:
        cluster: None for the cluster of `init`, else one in this process, which is started at the
            first call and kept; an address (``tcp://...``, ``tls://...``); a scheduler file; a
            Dask cluster object; a synchronous `distributed.Client`; or a `DaskCluster` block, or
            its ``block://``.
        autostart: Start a cluster if `cluster` is None and there is none.

    Raises:
        InvalidArgument: If `cluster` is something else.
        ClusterError: If it does not answer within 10 s.
    """
    if cluster is None:
        with _shared.lock:
            known = _shared.get()
            if known is not None:
                prestart_zygote()
                return known
            if _shared.make is None:
                if not autostart:
                    raise ClusterError("There is no cluster: call tune.init() or pass `cluster`.")
                return _shared.start(functools.partial(_start, _local_options(None, None, None)))
            return _shared.start(_shared.make)
    return _join(cluster)


def _start(options: LocalOptions) -> ClusterHandle:
    prestart_zygote()  # boots while this process is still importing Dask
    from prefect_tune.execution.cluster.connections import start_local_cluster

    try:
        return start_local_cluster(options)
    except RuntimeError as error:
        if options.dashboard_address is None:
            raise
        raise InvalidArgument(
            "dashboard_host",
            f"the cluster cannot listen on {options.dashboard_address}: {error}.",
            "Give an address of this machine, or leave it out.",
        ) from error


def _join(cluster: Any) -> ClusterHandle:
    from prefect_tune.execution.cluster.connections import join_cluster

    return join_cluster(cluster)


def _local_options(
    num_cpus: float | None, num_gpus: float | None, resources: Mapping[str, float] | None
) -> LocalOptions:
    for argument, amount in (("num_cpus", num_cpus), ("num_gpus", num_gpus)):
        if amount is not None:
            to_milli(amount, argument)
    custom: dict[str, float] = {}
    if not isinstance(resources or {}, Mapping):
        raise InvalidArgument("resources", f"got {resources!r}.", 'Give a dict, e.g. {"disk": 2}.')
    for name, amount in (resources or {}).items():
        if not isinstance(name, str):
            raise InvalidArgument("resources", f"it names {name!r}.", "Names are strings.")
        if canonical_name(name) in (CPU, GPU):
            raise InvalidArgument(
                "resources", f"it names {name!r}.", "Use num_cpus and num_gpus for these."
            )
        custom[name] = to_milli(amount, f'resources["{name}"]') / MILLI
    return LocalOptions(num_cpus, num_gpus, custom)


def _check_ray_arguments(arguments: Mapping[str, Any]) -> None:
    for name, value in arguments.items():
        if value is not None and name not in _WITHOUT_MEANING and not name.startswith("_"):
            raise InvalidArgument(
                name, "tune.init() has no such argument.", "See help(tune.init) for those it has."
            )
    if arguments:
        _logger.info("tune.init() ignores %s: only Ray has it.", ", ".join(sorted(arguments)))
