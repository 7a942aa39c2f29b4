"""Options of a cluster on this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
