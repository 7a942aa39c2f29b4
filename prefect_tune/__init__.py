"""Hyper-parameter tuning as Prefect flows on Dask clusters, with Ray Tune's API.

``import prefect_tune as tune`` gives every public name. Names are loaded when they are first used:
importing the package itself imports neither Prefect nor Dask nor numpy.
"""

from __future__ import annotations

import importlib
from typing import Any

from prefect_tune._version import __version__
