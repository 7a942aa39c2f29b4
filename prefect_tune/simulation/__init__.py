"""Trials on a virtual clock: an executor, and runs of schedulers alone."""
