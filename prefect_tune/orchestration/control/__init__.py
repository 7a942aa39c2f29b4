"""Lets Prefect cancel, suspend and resume sweeps."""
