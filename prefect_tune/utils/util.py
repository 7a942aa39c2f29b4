"""Ray Tune's import path; see `prefect_tune.utils`."""

from prefect_tune.logger.encoding import SafeFallbackEncoder
from prefect_tune.tools import Tee
from prefect_tune.utils import *  # noqa: F403
from prefect_tune.utils import __all__ as _of_utils

__all__ = [*_of_utils, "SafeFallbackEncoder", "Tee"]
