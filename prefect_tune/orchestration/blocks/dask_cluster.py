"""`DaskCluster`: a block that describes the Dask cluster for trials."""

# Annotations must stay objects, because Prefect makes the form from them.
import contextlib
import importlib
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from prefect.blocks.core import Block
from pydantic import ConfigDict, Field, model_validator

from prefect_tune.error import ClusterError
from prefect_tune.orchestration.prefect_internals import load_block
from prefect_tune.orchestration.spec.form import FormModel, Tabs

if TYPE_CHECKING:
    from distributed import Client


class LocalDask(FormModel):
    """A cluster on the machine that runs the flow, which starts and ends with it."""

    model_config = ConfigDict(title="This machine")

    cpus: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="CPU slots; empty for the CPUs of the machine."
    )
    gpus: Annotated[float, Field(ge=0)] = Field(default=0, description="GPU slots.")
    processes: Annotated[int, Field(ge=1)] = Field(
        default=1, description="Worker processes, which share the slots."
    )

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Start the cluster and end it afterwards."""
        from dask.system import CPU_COUNT
        from distributed import LocalCluster

        cpus = (CPU_COUNT if self.cpus is None else self.cpus) / self.processes
        with LocalCluster(
            n_workers=self.processes,
            processes=self.processes > 1,
            threads_per_worker=max(1, math.ceil(cpus)),
            resources={"CPU": cpus, "GPU": self.gpus / self.processes},
            dashboard_address=None,
        ) as cluster:
            yield cluster


class DaskAddress(FormModel):
    """A scheduler that is running."""

    model_config = ConfigDict(title="Address")

    address: str = Field(
        description="Address of the scheduler.",
        examples=["tcp://10.0.0.1:8786"],
        pattern=r"^[a-z]+://.+",
    )
    ca_file: str | None = Field(default=None, description="Certificate authority, for tls://.")
    cert_file: str | None = Field(default=None, description="Certificate, for tls://.")
    key_file: str | None = Field(default=None, description="Key of the certificate, for tls://.")

    @model_validator(mode="after")
    def _check_tls(self) -> "DaskAddress":
        if self.address.startswith("tls://") and not (self.ca_file and self.cert_file):
            raise ValueError("tls:// needs ca_file and cert_file")
        return self

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Return the address of a cluster that others have started."""
        yield self.address

    def security(self) -> Any:
        """Return what `distributed.Client` takes as its security; None without TLS."""
        if self.ca_file is None:
            return None
        from distributed.security import Security

        return Security(
            tls_ca_file=self.ca_file,
            tls_client_cert=self.cert_file,
            tls_client_key=self.key_file or self.cert_file,
            require_encryption=True,
        )


class DaskClass(FormModel):
    """A cluster class of dask-jobqueue, dask-kubernetes, dask-gateway, dask-cloudprovider, ..."""

    model_config = ConfigDict(title="Class")

    class_path: str = Field(
        description="Import path of the class.",
        examples=["dask_jobqueue.SLURMCluster"],
        pattern=r"^\w+(\.\w+)+$",
    )
    arguments: dict[str, Any] = Field(default={}, description="Its arguments, as JSON.")
    minimum: Annotated[int, Field(ge=0)] = Field(
        default=0,
        description="Workers that there are at least; 0 without `maximum` leaves its size alone.",
    )
    maximum: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Workers that waiting trials may scale it up to; empty for `minimum`.",
    )

    @contextlib.contextmanager
    def open(self) -> Iterator[Any]:
        """Start the cluster and end it afterwards."""
        module, _, name = self.class_path.rpartition(".")
        try:
            cls = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ClusterError(
                f"`class_path`: {self.class_path} cannot be imported ({error}). Install its "
                "package where the flow runs."
            ) from error
        with cls(**self.arguments) as cluster:
            if self.maximum is not None:
                cluster.adapt(minimum=self.minimum, maximum=self.maximum)
            elif self.minimum:
                cluster.scale(self.minimum)
            yield cluster


Connection = Annotated[LocalDask | DaskAddress | DaskClass, Tabs()]


class DaskCluster(Block):
    """The Dask cluster that trials run on.

    Give it, or ``block://dask-cluster/NAME``, as the `cluster` of a run.

    Example:
        Load a saved block and use it:
        ```python
        from prefect_tune.blocks import DaskCluster

        cluster = DaskCluster.load("BLOCK_NAME")
        ```
    """

    _block_type_name = "Dask Cluster"
    _block_type_slug = "dask-cluster"
    _logo_url = "https://raw.githubusercontent.com/dask/dask/main/docs/source/images/dask_icon.svg"  # type: ignore[assignment]
    _documentation_url = "https://docs.dask.org/en/stable/deploying.html"  # type: ignore[assignment]

    connection: Connection = Field(
        default=LocalDask(), description="The cluster: on this machine, running elsewhere, or made."
    )

    @contextlib.contextmanager
    def open_client(self) -> Iterator["Client"]:
        """Connect to the cluster, and start it first unless the block has an address.

        Raises:
            ClusterError: If it cannot be started or does not answer within 10 s.
        """
        from prefect_tune.execution.cluster.connections import connect_client

        with self.connection.open() as target:
            security = getattr(self.connection, "security", lambda: None)()
            with connect_client(target, security) as client:
                yield client

    def get_client(self) -> "Client":
        """Connect to the cluster; the caller closes the client, which ends a cluster started here.

        Raises:
            ClusterError: If it cannot be started or does not answer within 10 s.
        """
        stack = contextlib.ExitStack()
        client = stack.enter_context(self.open_client())
        close = client.close

        def close_all(*args: Any, **kwargs: Any) -> Any:
            client.close = close
            stack.close()

        client.close = close_all
        return client


def load_cluster(slug: str) -> DaskCluster:
    """Load a saved block.

    Args:
        slug: ``dask-cluster/NAME``.

    Raises:
        InvalidArgument: If there is no such block, or it is one of another kind.
    """
    block: DaskCluster = load_block(slug, "cluster", "open_client", "dask-cluster/NAME")
    return block
