"""Code that runs in a Dask worker: the agent and its attempts."""
