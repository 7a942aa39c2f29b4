"""Transfers files of trials between a node and the driver."""
