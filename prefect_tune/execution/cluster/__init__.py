"""Starts a local Dask cluster, or connects to an existing one."""
