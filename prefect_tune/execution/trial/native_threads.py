"""Sizes the thread pools of native libraries (OpenMP, OpenBLAS, MKL) for each trial.

The libraries read their environment variables when they are loaded, for a forked trial
in the zygote. The zygote loads them with one thread each, which keeps it single-threaded and so
safe to fork; a trial with more CPUs then raises the limit with threadpoolctl.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

OMP = "OMP_NUM_THREADS"
VARIABLES = (
    OMP,
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def with_sister_variables(env: Mapping[str, str]) -> dict[str, str]:
    """Copy ``OMP_NUM_THREADS`` to the other libraries' variables that `env` does not set."""
    if OMP not in env:
        return dict(env)
    return {**dict.fromkeys(VARIABLES, env[OMP]), **env}


def limit_to_one() -> dict[str, str | None]:
    """Limit libraries loaded later to one thread; return the previous values of the variables.

    It must be called before numpy is imported.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    return before


def restored(env: Mapping[str, str], before: Mapping[str, str | None]) -> dict[str, str]:
    """Return `env` with the values of the variables before `limit_to_one`."""
    kept = {name: value for name, value in env.items() if name not in before}
    return kept | {name: value for name, value in before.items() if value is not None}


def resize_loaded_pools(env: Mapping[str, str]) -> None:
    """Apply the number of threads in `env` to libraries that are already loaded."""
    wanted = env.get(OMP, "1")
    if wanted.isdigit() and int(wanted) > 1:
        # Imported here because most trials have one thread and do not need it.
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(wanted))
