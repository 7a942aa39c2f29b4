"""Thread pools of native libraries are sized after they have been loaded."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

PROGRAM = """
import json, sys
from prefect_tune.execution.trial.native_threads import limit_to_one, resize_loaded_pools
limit_to_one()
import numpy
from threadpoolctl import threadpool_info
before = {pool["num_threads"] for pool in threadpool_info()}
resize_loaded_pools({"OMP_NUM_THREADS": sys.argv[1]})
print(json.dumps([sorted(before), sorted({pool["num_threads"] for pool in threadpool_info()})]))
"""


@pytest.mark.parametrize(("wanted", "threads"), [("2", 2), ("1", 1), ("many", 1)])
def test_a_loaded_library_gets_the_threads_of_the_trial(wanted: str, threads: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, wanted], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [[1], [threads]]
