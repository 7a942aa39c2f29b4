"""The Prefect record of an experiment. The only package that imports Prefect.

* `server`, `embedded`, `server_process`: which API is used; a server of our own if there is none.
* `flow`, `experiment`: an experiment as a flow run with a coordinator task.
* `launcher`, `trial_task`: each trial attempt as a task run that follows it.
* `task_runner`, `engine_loop`: task engines here, task bodies on the cluster.
* `artifacts`, `flush`, `quiet`: what is shown, when it has arrived, and what is not logged.
"""
