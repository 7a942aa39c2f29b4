"""What a cluster on this machine is to have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """What a cluster on this machine has.

    Attributes:
        num_cpus: CPU slots; None for as many as this process may use.
        num_gpus: GPU slots; None for as many as there are.
        resources: Custom resources, in units.
        dashboard_address: Where Dask's dashboard listens, e.g. ``:8787``; None for no dashboard.
    """

    num_cpus: float | None = None
    num_gpus: float | None = None
    resources: Mapping[str, float] = field(default_factory=dict)
    dashboard_address: str | None = None
