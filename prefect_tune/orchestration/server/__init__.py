"""The Prefect server that is used, ours if there is no other."""
