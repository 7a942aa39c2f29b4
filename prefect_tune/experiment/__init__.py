"""What everybody knows about an experiment: its trials, and decisions about them."""

from prefect_tune.experiment.trial import Trial as Trial
