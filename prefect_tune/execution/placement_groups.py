"""Ray Tune's import path; see `prefect_tune.resources`."""

from prefect_tune.resources import PlacementGroupFactory, resource_dict_to_pg_factory

__all__ = ["PlacementGroupFactory", "resource_dict_to_pg_factory"]
