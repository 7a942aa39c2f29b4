"""Chooses the Prefect server, and starts an embedded one if none is configured."""
