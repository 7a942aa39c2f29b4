"""The Prefect server dies in the middle of a sweep."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = """
    import os, signal, time
    import httpx, psutil
    import prefect_tune as tune
    from prefect_tune.orchestration.server.api import start_server_early

    def train(config):
        for step in range(5):
            tune.report({"score": step})

    class KillServer(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            if trial is not trials[0]:
                return
            # Trials start before their record does.
            api = start_server_early()
            api.wait_ready(print)
            # The first one is the coordinator's.
            while httpx.post(f"{api.ui_url}/api/task_runs/count", json={}).json() < 2:
                time.sleep(0.1)
            for child in psutil.Process().children():
                if "prefect_tune.orchestration.server.process" in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    print("killed", flush=True)

    if __name__ == "__main__":
        analysis = tune.run(train, config={}, num_samples=20, metric="score", mode="max",
                            storage_path="results", verbose=0, callbacks=[KillServer()])
        print("finished", sum(trial.status == "TERMINATED" for trial in analysis.trials))
"""


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_sweep_outlives_its_prefect_server(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    process = subprocess.Popen(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**environment, "PREFECT_HOME": str(tmp_path / "prefect")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    # The time limit is the test: left alone, Prefect's clients would go on trying for minutes.
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "killed" in out
    assert "finished 20" in out
    assert "The Prefect API has gone away" in err


KILLED = """
    import os, pathlib, signal
    import psutil
    import prefect_tune as tune

    def train(config):
        with open(pathlib.Path(config["root"], f"ran-{config['x']}"), "a") as file:
            file.write("x")
        for step in range(3):
            tune.report({"score": step})

    def killed(process):
        os.kill(process.pid, signal.SIGKILL)

    class KillServerAndSelf(tune.Callback):
        ended = 0

        def on_trial_complete(self, **info):
            self.ended += 1
            if self.ended == 3 and not os.path.exists("once"):
                open("once", "w").close()
                for child in psutil.Process().children():
                    if "prefect_tune.orchestration.server.process" in child.cmdline():
                        killed(child)
            if self.ended == 6 and not os.path.exists("twice"):
                open("twice", "w").close()
                killed(psutil.Process())

    if __name__ == "__main__":
        space = {"x": tune.grid_search(list(range(10))), "root": os.getcwd()}
        analysis = tune.run(train, config=space, metric="score", mode="max", name="sweep",
                            storage_path="results", resume="AUTO", max_concurrent_trials=1,
                            verbose=0, callbacks=[KillServerAndSelf()])
        print("finished", sum(trial.status == "TERMINATED" for trial in analysis.trials))
"""


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_first_the_server_then_the_process_is_killed(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(KILLED))
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment["PREFECT_HOME"] = str(tmp_path / "prefect")

    def execute() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=100,
        )

    assert execute().returncode == -signal.SIGKILL
    again = execute()
    assert again.returncode == 0
    assert "finished 10" in again.stdout
    ran = [(tmp_path / f"ran-{x}").read_text() for x in range(10)]
    # Five had ended for good, perhaps six, and one may have run when the process was killed.
    assert set(ran) <= {"x", "xx"}
    assert ran[:5] == ["x"] * 5
    assert ran.count("xx") <= 1
