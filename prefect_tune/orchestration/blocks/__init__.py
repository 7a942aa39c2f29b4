"""Prefect blocks, which users import from `prefect_tune.blocks`."""
