"""Starts the processes of trials on a node."""
