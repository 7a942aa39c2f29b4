"""Thread pools of native libraries (OpenMP, OpenBLAS, MKL): sizing them per trial.

The libraries read their environment variables when they are loaded, which for a forked trial was
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
    """Let ``OMP_NUM_THREADS`` stand for every native library that `env` does not name itself."""
    if OMP not in env:
        return dict(env)
    return {**dict.fromkeys(VARIABLES, env[OMP]), **env}


def limit_to_one() -> dict[str, str | None]:
    """Have libraries loaded from now on use one thread; returns the variables as they were.

    To be called before numpy is imported.
    """
    before = {name: os.environ.get(name) for name in VARIABLES}
    os.environ.update(dict.fromkeys(VARIABLES, "1"))
    return before


def restored(env: Mapping[str, str], before: Mapping[str, str | None]) -> dict[str, str]:
    """`env` with the variables as `limit_to_one` found them."""
    kept = {name: value for name, value in env.items() if name not in before}
    return kept | {name: value for name, value in before.items() if value is not None}


def resize_loaded_pools(env: Mapping[str, str]) -> None:
    """Apply the variables in `env` to the libraries that are loaded already."""
    wanted = env.get(OMP, "1")
    if wanted.isdigit() and int(wanted) > 1:
        # Imported here: most trials have one thread and need not pay for it.
        from threadpoolctl import threadpool_limits

        threadpool_limits(int(wanted))
