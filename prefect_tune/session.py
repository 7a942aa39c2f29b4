"""Ray's path of the functions a trial calls: ``from prefect_tune import session``."""

from prefect_tune.trainable import *  # noqa: F403
