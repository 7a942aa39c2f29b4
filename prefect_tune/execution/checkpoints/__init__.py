"""Transfers checkpoints between a node and remote storage, in a separate process.

So the Dask worker and the trials do not load the libraries of a file system with their threads and
connections: trials must be forked from a process without these.
"""
