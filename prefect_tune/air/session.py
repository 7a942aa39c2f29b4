"""Ray AIR's path of the session: ``from prefect_tune.air import session``."""

from prefect_tune.trainable import *  # noqa: F403
