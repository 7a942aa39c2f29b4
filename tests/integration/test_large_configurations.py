"""Large values in a configuration cost their bytes once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import prefect_tune as tune

ARRAY = np.random.default_rng(0).normal(size=200_000)


def train(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": float(config["data"].sum() * config["x"]), "rows": len(config["rows"])}


def sweep(samples: int, **options: Any) -> tune.ExperimentAnalysis:
    space = {"x": tune.grid_search([1, 2]), "data": ARRAY, "rows": list(range(100_000))}
    return tune.run(
        train, config=space, num_samples=samples, name="t", verbose=0, orchestrate=False, **options
    )


def test_they_are_on_disk_once_and_come_back(tmp_path, caplog):
    url = f"memory://{tmp_path.name}"
    found = sweep(3, storage_path=url, local_dir=str(tmp_path))
    assert caplog.text.count("tune.with_parameters") == 1
    directory = tmp_path / "t"
    total = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    assert total < 2.5 * ARRAY.nbytes
    shown = Path(found.trials[0].logdir, "params.json").read_text()
    assert "<ndarray float64 (200000,), 1.5 MiB>" in shown
    for place in (str(directory), f"{url}/t"):
        trials = tune.ExperimentAnalysis(place).trials
        assert {trial.config["x"] for trial in trials} == {1, 2}
        assert all(np.array_equal(trial.config["data"], ARRAY) for trial in trials)
        assert len({id(trial.config["data"]) for trial in trials}) == 1
    # Another machine has nothing of it.
    resumed = sweep(4, storage_path=url, local_dir=str(tmp_path / "there"), resume=True)
    assert len(resumed.trials) == 8
    assert {trial.last_result["rows"] for trial in resumed.trials} == {100_000}
    assert all(np.array_equal(trial.config["data"], ARRAY) for trial in resumed.trials)
