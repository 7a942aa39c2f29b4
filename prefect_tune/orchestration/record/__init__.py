"""What Prefect shows of a sweep: flow run, task runs, artifacts."""
