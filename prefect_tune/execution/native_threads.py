"""Thread pools of native libraries (OpenMP, OpenBLAS, MKL): sizing them per trial.

The libraries read their environment variables when they are loaded, which for a forked trial was
in the zygote. The zygote loads them with one thread each, which keeps it single-threaded and so
safe to fork; a trial with more CPUs then raises the limit through the libraries' own functions.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Mapping
from pathlib import Path

OMP = "OMP_NUM_THREADS"
VARIABLES = (
    OMP,
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
#: Part of a library's file name -> its functions that set the number of threads.
_SETTERS = {
    "openblas": tuple(
        f"{prefix}openblas_set_num_threads{suffix}"
        for prefix in ("", "scipy_")
        for suffix in ("", "64_", "_64", "64")
    ),
    "gomp": ("omp_set_num_threads",),
    "iomp": ("omp_set_num_threads",),
    "libomp": ("omp_set_num_threads",),
    "mkl_rt": ("MKL_Set_Num_Threads",),
}


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
    """Apply the variables in `env` to the libraries that are loaded already (Linux only)."""
    wanted = env.get(OMP, "1")
    if not wanted.isdigit() or int(wanted) <= 1:
        return
    for path in _loaded_libraries():
        for part, setters in _SETTERS.items():
            if part in path.name:
                _call_first(path, setters, int(wanted))


def _loaded_libraries() -> set[Path]:
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    return {Path(line.split(maxsplit=5)[-1]) for line in maps.splitlines() if ".so" in line}


def _call_first(path: Path, names: tuple[str, ...], threads: int) -> None:
    with contextlib.suppress(OSError):
        library = ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
        for name in names:
            setter = getattr(library, name, None)
            if setter is not None:
                setter(ctypes.c_int(threads))
                return
