"""The Prefect server dies in the middle of a sweep."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

SCRIPT = """
    import os, signal
    import psutil
    import prefect_tune as tune

    def train(config):
        for step in range(5):
            tune.report({"score": step})

    class KillServer(tune.Callback):
        def on_trial_complete(self, iteration, trials, trial, **info):
            if trial is not trials[0]:
                return
            for child in psutil.Process().children():
                if "prefect_tune.orchestration.server_process" in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)
                    print("killed", flush=True)

    if __name__ == "__main__":
        analysis = tune.run(train, config={}, num_samples=20, metric="score", mode="max",
                            storage_path="results", verbose=0, callbacks=[KillServer()])
        print("finished", sum(trial.status == "TERMINATED" for trial in analysis.trials))
"""


@pytest.mark.chaos
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
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0
    assert "killed" in out
    assert "finished 20" in out
    assert "The Prefect API has gone away" in err
