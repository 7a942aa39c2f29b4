"""Runs attempts on Dask clusters; no other package imports Dask, but the block `DaskCluster`."""
