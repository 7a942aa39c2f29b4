"""Prefect's run context around trials, in processes that have no route to an API."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.warm_python import run_script

FLOW_RUN = "11111111-1111-4111-8111-111111111111"
TASK_RUN = "22222222-2222-4222-8222-222222222222"

_TRIAL = f"""
    import importlib.abc, json, logging, os, sys, threading
    from prefect_tune.orchestration.record.trial_context import TrialContext

    flow_run = {{"id": "{FLOW_RUN}", "name": "sweep", "flow_id": "{FLOW_RUN}", "run_count": 1,
                "parameters": {{"metric": "loss"}}}}
    task_run = {{"id": "{TASK_RUN}", "name": "train_1", "flow_run_id": "{FLOW_RUN}",
                "task_key": "trial", "dynamic_key": "1"}}
    around = TrialContext("tune-train", json.dumps(flow_run), json.dumps(task_run))
    lines = []
"""


def in_trial(
    code: str,
    home: Path,
    run: Callable[..., subprocess.CompletedProcess[str]] = run_script,
    **environment: str,
) -> list[Any]:
    """What a trial's process prints, as JSON lines; it has no `PREFECT_API_URL`.

    Prefect has been imported there, if `run` is not another one.
    """
    environ = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environ |= {"PREFECT_HOME": str(home), **environment}
    out = run([sys.executable, "-c", textwrap.dedent(_TRIAL) + textwrap.dedent(code)], env=environ)
    assert out.returncode == 0, out.stderr
    return [json.loads(line) for line in out.stdout.splitlines()]


def boot(command: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script for which Prefect has not been imported."""
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=100)


def test_imports_of_user_code_find_the_context(tmp_path: Path) -> None:
    """In any order, in any thread; and Prefect has not been imported before."""
    (found,) = in_trial(
        """
        with around(lines.append, True):
            assert "prefect" not in sys.modules
            from prefect.runtime import task_run, flow_run
            import prefect.runtime as runtime
            from prefect.logging import get_run_logger

            def log():
                get_run_logger().warning("from a thread")

            get_run_logger().info("hello %s", "trial")
            thread = threading.Thread(target=log)
            thread.start(); thread.join()
            logging.getLogger("prefect.flow_runs").info("without ids")
            get_run_logger().debug("below the level")
            found = [runtime.flow_run.id, flow_run.name, flow_run.flow_name, task_run.id,
                     task_run.name, flow_run.parameters]
        records = [json.loads(line) for line in lines]
        logged = [(r["name"], r["level"], r["message"], r["of_task"]) for r in records]
        print(json.dumps([found, logged, "prefect.server.api.server" in sys.modules]))
        """,
        tmp_path,
        boot,
    )
    assert found == [
        [FLOW_RUN, "sweep", "tune-train", TASK_RUN, "train_1", {"metric": "loss"}],
        [
            ["prefect.task_runs", 20, "hello trial", True],
            ["prefect.task_runs", 30, "from a thread", True],
            ["prefect.flow_runs", 20, "without ids", True],
        ],
        False,
    ]


def test_it_is_over_with_the_trial(tmp_path: Path) -> None:
    """A process that is reused has one trial after the other."""
    (found,) = in_trial(
        """
        from prefect.exceptions import MissingContextError
        from prefect import get_run_logger, runtime

        ids = []
        for number in (1, 2):
            task_run["id"] = task_run["id"][:-1] + str(number)
            next_one = TrialContext("tune-train", json.dumps(flow_run), json.dumps(task_run))
            with next_one(lines.append, True):
                ids.append(runtime.task_run.id[-1])
        ids.append(runtime.task_run.id)
        try:
            get_run_logger()
        except MissingContextError:
            print(json.dumps(ids))
        """,
        tmp_path,
    )
    assert found == ["1", "2", None]


def test_without_prefect_its_import_fails_and_nothing_else(tmp_path: Path) -> None:
    (found,) = in_trial(
        """
        class Without(importlib.abc.MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name.partition(".")[0] == "prefect":
                    raise ModuleNotFoundError(f"No module named {name!r}", name=name)

        sys.meta_path.insert(0, Without())
        with around(lines.append, True):
            try:
                from prefect import get_run_logger
            except ModuleNotFoundError as error:
                print(json.dumps(str(error)))
        """,
        tmp_path,
        boot,
    )
    assert found == "No module named 'prefect'"


def test_trials_that_are_threads_have_one_each(tmp_path: Path) -> None:
    (found,) = in_trial(
        """
        from concurrent.futures import ThreadPoolExecutor
        import threading

        both = threading.Barrier(2)

        def trial(number):
            mine = dict(task_run, id=task_run["id"][:-1] + str(number))
            around = TrialContext("tune-train", json.dumps(flow_run), json.dumps(mine))
            logged = []
            with around(logged.append, False):
                both.wait()
                from prefect import get_run_logger, runtime
                get_run_logger().info(f"of {number}")
                both.wait()
                return runtime.task_run.id[-1], [json.loads(line)["message"] for line in logged]

        with ThreadPoolExecutor() as pool:
            found = list(pool.map(trial, (1, 2)))
        from prefect import runtime
        print(json.dumps([found, runtime.task_run.id]))
        """,
        tmp_path,
        boot,
    )
    assert found == [[["1", ["of 1"]], ["2", ["of 2"]]], None]


def test_a_trial_without_a_task_run_logs_to_the_flow_run(tmp_path: Path) -> None:
    (found,) = in_trial(
        """
        with TrialContext("tune-train", json.dumps(flow_run))(lines.append, True):
            from prefect import get_run_logger, runtime
            get_run_logger().info("hello")
            print(json.dumps([runtime.task_run.id, json.loads(lines[0])["of_task"]]))
        """,
        tmp_path,
    )
    assert found == [None, False]


def test_what_is_kept_from_the_api_is_not_sent(tmp_path: Path) -> None:
    (found,) = in_trial(
        """
        with around(lines.append, True):
            from prefect import get_run_logger
            get_run_logger().info("hello")
        print(json.dumps(lines))
        """,
        tmp_path,
        PREFECT_LOGGING_TO_API_ENABLED="false",
    )
    assert found == []
