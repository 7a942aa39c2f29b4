"""Ray Tune's import path; see `prefect_tune.utils`."""

from prefect_tune.trainable.shipping.checks import diagnose_serialization

__all__ = ["diagnose_serialization"]
