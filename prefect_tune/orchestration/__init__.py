"""Connects experiments with Prefect; the only package that imports Prefect.

* `record`: records an experiment as a flow run with a coordinator task, and attempts as task runs.
* `server`: chooses the API, and starts an embedded server if none is configured.
* `control`: lets Prefect cancel, suspend and resume a sweep.
* `blocks`: blocks with storage, cluster and defaults of experiments, which users fill in in the UI.
* `spec`: an experiment as plain data, for the form of the deployable flow and for files.
"""
