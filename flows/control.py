"""Serve the flow that controls sweeps: `python flows/control.py`.

Its form in the UI has a field for the sweep, the id of its flow run, and a tab for each of what can
be done: pause, resume, stop, cancel, stop a trial, add samples, set limits. For an experiment that
is kept on a disk of its own machine only, serve it there.
"""

from prefect_tune.flows import control_sweep

if __name__ == "__main__":
    control_sweep.serve(name="control")
