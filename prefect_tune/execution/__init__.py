"""Runs attempts on Dask clusters; the only package that imports Dask."""
