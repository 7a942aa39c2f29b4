"""Sends a trainable from the driver to the processes that run trials."""
