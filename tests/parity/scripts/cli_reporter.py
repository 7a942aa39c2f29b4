"""Progress tables with chosen columns."""

import json

import prefect_tune as tune
from prefect_tune import CLIReporter

asked = []


class TrialTerminationReporter(CLIReporter):
    """Reports only when something has ended."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.num_terminated = 0

    def should_report(self, trials, done=False):
        asked.append(done)
        old = self.num_terminated
        self.num_terminated = len([t for t in trials if t.status == "TERMINATED"])
        return done or self.num_terminated > old


def objective(config):
    for step in range(3):
        tune.report({"mean_loss": config["lr"] * step, "width": 7.5, "hidden": 1})


reporter = TrialTerminationReporter(
    metric_columns={"mean_loss": "Loss", "training_iteration": "It"},
    parameter_columns=["lr"],
    max_progress_rows=5,
    sort_by_metric=True,
    metric="mean_loss",
    mode="min",
)
reporter.add_metric_column("width", "wide")
analysis = tune.run(
    objective,
    config={"lr": tune.grid_search([0.25, 0.125, 0.5])},
    progress_reporter=reporter,
    verbose=2,
)
print(json.dumps({"asked_when_done": True in asked, "trials": len(analysis.trials)}))
