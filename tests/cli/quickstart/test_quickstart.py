"""The whole quickstart, as its user starts it."""

import csv
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def quickstart(storage, *options, **environment):
    inherited = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "prefect_tune", "quickstart", "--storage", storage, *options],
        cwd=ROOT,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


def test_it_leaves_what_it_says(tmp_path):
    out = quickstart(tmp_path, "--trials=3", "--epochs=2", "--no-prefect", "--search=random")

    assert "test accuracy" in out
    assert "Prefect " not in out
    (results,) = tmp_path.iterdir()
    assert f"results               {results}\n" in out
    assert (results / "quickstart.png").read_bytes().startswith(b"\x89PNG")
    tables = list(results.glob("*/progress.csv"))
    assert len(tables) == 3
    for table in tables:
        rows = list(csv.DictReader(table.open()))
        assert [row["training_iteration"] for row in rows] == ["1", "2"]
        assert all(0 <= float(row["accuracy"]) <= 1 for row in rows)


@pytest.mark.slow
def test_a_seed_repeats_the_trials(tmp_path):
    def scores(name):
        out = quickstart(
            tmp_path / name, "--trials=2", "--epochs=2", "--no-prefect", "--search=random"
        )
        return sorted(re.findall(r"accuracy=(\S+)  iter", out))

    first = scores("first")
    assert len(first) == 2
    assert first == scores("second")


@pytest.mark.slow
def test_its_flow_run_can_be_found_afterwards(tmp_path):
    home = tmp_path / "prefect"
    out = quickstart(tmp_path / "results", "--trials=2", "--epochs=2", PREFECT_HOME=str(home))
    assert "prefect server start" in out
    (flow_run,) = re.findall(r"http://127.0.0.1:4200/runs/flow-run/([0-9a-f-]{36})", out)
    assert flow_run.replace("-", "") in _flow_runs(home / "prefect.db")


def _flow_runs(database):
    connection = sqlite3.connect(database)
    try:
        rows = connection.execute("SELECT id FROM flow_run WHERE state_type = 'COMPLETED'")
        return {row[0].replace("-", "") for row in rows}
    finally:
        connection.close()
