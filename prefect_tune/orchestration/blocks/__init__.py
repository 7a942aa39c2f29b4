"""The Prefect blocks that `prefect_tune.blocks` offers."""
