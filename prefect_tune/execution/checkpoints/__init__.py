"""Checkpoints between a node and remote storage, in a process of their own.

Neither the Dask worker nor the trials get the libraries of a file system, their threads and their
connections: a trial is forked from a process that has none of them.
"""
