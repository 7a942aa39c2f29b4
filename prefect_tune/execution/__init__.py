"""Where attempts run. The only package that imports Dask."""
