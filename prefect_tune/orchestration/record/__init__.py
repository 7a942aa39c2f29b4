"""Records sweeps in Prefect: flow run, task runs, artifacts and events."""
