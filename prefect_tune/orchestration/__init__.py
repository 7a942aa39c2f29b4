"""The Prefect side of an experiment. The only package that imports Prefect.

* `record`: an experiment as a flow run with a coordinator task, and its attempts as task runs.
* `server`: which API is used; a server of our own if there is none.
* `control`: what Prefect asks of a sweep: cancel, suspend, run again.
* `blocks`: where experiments are kept and run, as people fill it in in the UI.
* `spec`: an experiment as plain data, for the form of the deployable flow and for files.
"""
