"""An experiment on disk, as loggers and journal leave it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from prefect_tune.coordinator.events import AttemptEnded, Fate, Outcome, TrialSuggested
from prefect_tune.coordinator.records import encode_event
from prefect_tune.experiment.attempt import AttemptError
from prefect_tune.resources import Resources
from prefect_tune.storage.journal.file import encode_line
from prefect_tune.storage.journal.header import JournalHeader


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Ten trials with a loss; the last one has failed."""
    directory = tmp_path / "root" / "exp"
    directory.mkdir(parents=True)
    arguments = {"`metric`": "'loss'", "`mode`": "'min'"}
    records = [JournalHeader("a", "a", "exp", 1.0, "train", arguments=arguments).encode()]
    for number in range(10):
        trial_id = f"abcde_{number:05d}"
        config = {"lr": number / 10, "kind": "ab"[number % 2], "fixed": 7}
        searched = {"lr": config["lr"], "kind": config["kind"]}
        name = f"train_{trial_id}_{number}"
        resources = Resources.parse(None)
        records.append(
            encode_event(
                TrialSuggested(1.0, trial_id, config, searched, f"{number}_lr", resources, name)
            )
        )
        failed = number == 9
        error = AttemptError("ValueError", "bad <lr>", "Traceback\nValueError: bad <lr>")
        records.append(
            encode_event(
                AttemptEnded(
                    2.0,
                    trial_id,
                    1,
                    Outcome.FAILED if failed else Outcome.FINISHED,
                    error if failed else None,
                    Fate.FAILED if failed else Fate.TERMINATED,
                )
            )
        )
        trial = directory / name
        trial.mkdir()
        (trial / "params.json").write_text(json.dumps(config))
        rows = [
            {"loss": 10 - number + 1 / step, "training_iteration": step, "time_total_s": 0.5 * step}
            for step in (1, 2, 3)
        ]
        (trial / "result.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "journal.jsonl").write_bytes(b"".join(map(encode_line, records)))
    return directory
