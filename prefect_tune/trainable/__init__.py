"""Trainables, and the functions that user code calls inside a trial."""

from prefect_tune.trainable.session import get_experiment_name as get_experiment_name
from prefect_tune.trainable.trainable import Trainable as Trainable
from prefect_tune.trainable.wrappers import with_parameters as with_parameters
from prefect_tune.trainable.wrappers import with_resources as with_resources
