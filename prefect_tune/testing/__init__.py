"""Conformance tests for users' own schedulers, searchers, stoppers, loggers and executors."""
