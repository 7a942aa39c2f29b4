"""Compatibility with Ray Tune: its import paths, missing names, arguments and variables."""
