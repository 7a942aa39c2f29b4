"""Runs tuning scripts one after another in one process and prints what each printed last.

The scripts are written as a Ray Tune user would write them after having changed the imports. With
``--ray`` the imports are changed back and the very same code runs on Ray Tune::

    python run_scripts.py scripts/grid.py          # on prefect_tune
    python run_scripts.py --ray scripts/grid.py    # on Ray Tune, in an environment that has it

For each script there is one line of JSON: ``script``, ``output`` (all that it printed), ``summary``
(its last line, decoded), ``error`` (the traceback if it did not come to its end) and ``seconds``.
"""

from __future__ import annotations

import io
import json
import os
import re
import runpy
import sys
import tempfile
import time
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

#: Top-level names that Ray keeps in other places than `ray.tune`.
_ELSEWHERE = {
    r"^import prefect_tune as tune$": "from ray import tune",
    r"^from prefect_tune import (tune|air|train)\b": r"from ray import \1",
    r"^from prefect_tune\.(air|train)\b": r"from ray.\1",
    r"^from prefect_tune\b": "from ray.tune",
}


def to_ray(source: str) -> str:
    """The source of a script with its imports changed back to Ray Tune's."""
    for ours, rays in _ELSEWHERE.items():
        source = re.sub(ours, rays, source, flags=re.MULTILINE)
    return source


def run_script(path: Path) -> dict[str, Any]:
    """Run one script as `python path` would."""
    printed = io.StringIO()
    error = None
    began = time.perf_counter()
    try:
        with redirect_stdout(printed):
            runpy.run_path(str(path), run_name="__main__")
    except Exception:
        error = traceback.format_exc()
    lines = printed.getvalue().strip().splitlines()
    summary = json.loads(lines[-1]) if error is None else None
    return {
        "script": path.stem,
        "summary": summary,
        "error": error,
        "output": printed.getvalue(),
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(arguments: list[str]) -> None:
    """Run the scripts that are named on the command line; the results go to the real stdout."""
    on_ray = "--ray" in arguments
    paths = [Path(argument).resolve() for argument in arguments if argument != "--ray"]
    # What libraries write to the file descriptor must not get between the results.
    results = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as ported:
        if on_ray:
            import ray

            ray.init(include_dashboard=False, num_cpus=2, log_to_driver=False)
        else:
            import prefect_tune

            prefect_tune.init(num_cpus=2)
        for path in paths:
            script = path
            if on_ray:
                script = Path(ported) / path.name
                script.write_text(to_ray(path.read_text()))
            print(json.dumps(run_script(script)), file=results, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
