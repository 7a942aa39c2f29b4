"""`progress.csv`, whose header grows."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.logger import CSVLoggerCallback
from prefect_tune.testing.logger import example_results, example_trial

names = st.sampled_from(["a", "b", "c", "long name", "x,y", 'q"t', "n/m"])
values = (
    st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(
        st.characters(blacklist_categories=("Cs",), blacklist_characters="\r\x00"), max_size=6
    )
    | st.none()
)


def rows(directory: Path) -> list[dict[str, str]]:
    with (directory / "progress.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_columns_are_flat_and_without_the_configuration(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    logger.log_trial_results(0, trial, example_results(trial, 2))
    logger.log_trial_end(trial)
    header = (Path(trial.logdir) / "progress.csv").read_text().splitlines()[0].split(",")
    assert header[:4] == ["loss", "val/loss", "val/top", "training_iteration"]
    assert header[-1] == "node_ip"
    assert not any(name.startswith("config") for name in header)
    assert rows(Path(trial.logdir))[1]["note"] == 'a "quoted", text'


def test_the_users_own_metrics_come_first(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    logger.log_trial_result(0, trial, {"done": False, "pid": 3, "acc": 0.5, "date": "x", "loss": 1})
    logger.log_trial_end(trial)
    assert list(rows(Path(trial.logdir))[0].items()) == [
        ("acc", "0.5"),
        ("loss", "1"),
        ("done", "False"),
        ("pid", "3"),
        ("date", "x"),
    ]


def test_a_later_metric_widens_the_file(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    logger.log_trial_result(0, trial, {"loss": 1.0, "training_iteration": 1})
    logger.flush()
    logger.log_trial_result(1, trial, {"loss": 0.5, "training_iteration": 2, "extra": 7})
    logger.flush()
    assert rows(Path(trial.logdir)) == [
        {"loss": "1.0", "training_iteration": "1", "extra": ""},
        {"loss": "0.5", "training_iteration": "2", "extra": "7"},
    ]
    logger.log_trial_result(2, trial, {"training_iteration": 3, "extra": 8})
    logger.log_trial_end(trial)
    assert rows(Path(trial.logdir))[2] == {"loss": "", "training_iteration": "3", "extra": "8"}


def test_the_file_is_written_anew_once_per_flush(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    logger.log_trial_results(0, trial, [{"training_iteration": 0, "x": 1}])
    logger.flush()
    before = (Path(trial.logdir) / "progress.csv").stat().st_ino
    inodes = set()
    for step in range(1, 30):
        logger.log_trial_results(step, trial, [{"training_iteration": step, "x": 1, f"m{step}": 1}])
        inodes.add((Path(trial.logdir) / "progress.csv").stat().st_ino)
    assert inodes == {before}
    logger.flush()
    assert len(rows(Path(trial.logdir))) == 30
    assert set(rows(Path(trial.logdir))[0]) == {"training_iteration", "x"} | {
        f"m{i}" for i in range(1, 30)
    }


def test_a_second_attempt_keeps_header_and_rows(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    for reported in ({"a": 1, "b": 2}, {"b": 3, "c": 4}):
        logger = CSVLoggerCallback()
        logger.log_trial_start(trial)
        logger.log_trial_result(0, trial, reported)
        logger.on_experiment_end([trial])
    assert rows(Path(trial.logdir)) == [
        {"a": "1", "b": "2", "c": ""},
        {"a": "", "b": "3", "c": "4"},
    ]


def test_a_metric_that_turns_into_a_dict_and_back(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    reported: list[Any] = [1, 2, {"deep": 3}, 4]
    for value in reported:
        logger.log_trial_result(0, trial, {"a": value, "b": 0})
    logger.log_trial_end(trial)
    assert [(row["a"], row["a/deep"]) for row in rows(Path(trial.logdir))] == [
        ("1", ""),
        ("2", ""),
        ("", "3"),
        ("4", ""),
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(
                st.dictionaries(names, values, min_size=1, max_size=5), min_size=1, max_size=4
            ),
            st.booleans(),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_whatever_is_reported_can_be_read_back(
    batches: list[tuple[list[dict[str, Any]], bool]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        trial = example_trial(Path(directory))
        logger = CSVLoggerCallback()
        results: list[dict[str, Any]] = []
        for batch, flush in batches:
            # As in real results there is always more than one metric.
            batch = [{"training_iteration": 1, **result} for result in batch]
            results += batch
            logger.log_trial_results(0, trial, batch)
            if flush:
                logger.flush()
        logger.on_experiment_end([trial])
        read = rows(Path(trial.logdir))
        assert len(read) == len(results)
        for row, result in zip(read, results, strict=True):
            written = {name: "" if value is None else str(value) for name, value in result.items()}
            assert row == dict.fromkeys(row, "") | written


def test_counts_the_whole_rows_of_earlier_processes(tmp_path: Path) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    assert logger.count_results(trial) == 0
    for step in range(3):
        logger.log_trial_result(0, trial, {"step": step, "text": 'two\nlines, "quoted"'})
    logger.log_trial_end(trial)
    path = Path(trial.logdir, "progress.csv")
    for torn in ["4,tor", '4,"two\n', '4,"two\nlines']:
        path.write_text(path.read_text() + torn)
        assert CSVLoggerCallback().count_results(trial) == 3
        assert len(rows(Path(trial.logdir))) == 3


@pytest.mark.parametrize("count", range(4))
def test_keeps_the_first_rows(tmp_path: Path, count: int) -> None:
    trial = example_trial(tmp_path)
    logger = CSVLoggerCallback()
    logger.keep_results(trial, count)  # nothing is there yet
    for step in range(3):
        logger.log_trial_result(0, trial, {"step": step, "text": 'two\nlines, "quoted"'})
    logger.log_trial_end(trial)
    CSVLoggerCallback().keep_results(trial, count)
    assert [row["step"] for row in rows(Path(trial.logdir))] == ["0", "1", "2"][:count]
    logger.log_trial_result(0, trial, {"step": 7, "text": ""})
    logger.on_experiment_end([trial])
    assert rows(Path(trial.logdir))[count]["step"] == "7"
