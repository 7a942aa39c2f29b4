"""Functions of a main script, or of a flow's file, that user code pickles by name."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types

import pytest

from prefect_tune.trainable.shipping.packing import pack_trainable

_FUNCTIONS = """
class Point:
    def __init__(self, x):
        self.x = x

def square(point):
    return Point(point.x * point.x)

def plain(x):
    return x * x

def main(config):
    import multiprocessing, os, pickle, sys
    with multiprocessing.get_context(config["method"]).Pool(1) as pool:
        got = pool.map(plain, [2, 3])
        if config["method"] == "fork":
            got += [point.x for point in pool.map(square, [Point(2)])]
    tune.report(got=got, argv=sys.argv[1:], named=pickle.loads(pickle.dumps(square)) is square)
"""
_SCRIPT = (
    "import sys\nimport prefect_tune as tune\n"
    + _FUNCTIONS
    + """
if __name__ == "__main__":
    analysis = tune.run(
        main, config={"method": tune.grid_search(["fork", "spawn"])}, verbose=0, orchestrate=False,
        storage_path=sys.argv[1], trial_time_limit_s=100,
    )
    print([trial.last_result["got"] for trial in analysis.trials])
    print(all(trial.last_result["argv"] == sys.argv[1:] for trial in analysis.trials))
    print(all(trial.last_result["named"] for trial in analysis.trials))
"""
)


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_processes_of_a_trial_run_functions_of_the_script(tmp_path, monkeypatch, start_method):
    monkeypatch.setenv("PREFECT_TUNE_START_METHOD", start_method)
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    said = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "--flag", "7"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout.splitlines() == ["[[4, 9, 4], [4, 9]]", "True", "True"]


def test_what_came_from_a_file_that_is_no_module_is_found_by_name():
    """As Prefect loads the file of a flow."""
    loader = types.ModuleType("__prefect_loader_7__")
    exec(_FUNCTIONS, vars(loader))  # it is never in `sys.modules`, as Prefect's is not for long
    packed = pack_trainable(loader.main)
    code = (
        "import pickle, sys\n"
        "from prefect_tune.trainable.shipping.packing import load_for_trials\n"
        "main = load_for_trials(pickle.load(sys.stdin.buffer))\n"
        "square = main.__globals__['square']\n"
        "assert pickle.loads(pickle.dumps(square)) is square\n"
        "import importlib\n"
        "assert importlib.import_module('__prefect_loader_7__').main is main\n"
    )
    subprocess.run([sys.executable, "-c", code], input=pickle.dumps(packed), check=True)


def test_functions_of_modules_stay_as_they_are():
    code = (
        "import json.decoder\n"
        "from prefect_tune.trainable.shipping.packing import register_by_value\n"
        "before = dict(vars(json.decoder))\n"
        "register_by_value(json.decoder.JSONDecoder)\n"
        "assert vars(json.decoder) == before\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
