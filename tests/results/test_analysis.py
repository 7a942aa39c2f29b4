"""`ExperimentAnalysis`: the best trial, frames, and experiments read from a directory."""

from __future__ import annotations

import errno
import logging
import math
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.error import InvalidArgument, StorageError
from prefect_tune.experiment.checkpoints import TrialCheckpoint
from prefect_tune.experiment.trial import ERROR, TERMINATED, Trial
from prefect_tune.logger import CSVLoggerCallback, JsonLoggerCallback
from prefect_tune.nested import flatten
from prefect_tune.results import ExperimentAnalysis
from prefect_tune.results.ranking import SCOPES, best_of


def make_trial(number: int, values: list[Any], directory: Path | str = "") -> Trial:
    """A finished trial that has reported these values of `score`."""
    config = {"lr": 0.1 * (number + 1), "net": {"units": 2**number}, "fixed": 7}
    trial = Trial(
        f"c0ffe_{number:05d}",
        config,
        trainable_name="train",
        experiment_tag=f"{number + 1}_lr={config['lr']:.4f}",
        relative_logdir=f"train_c0ffe_{number:05d}_{number + 1}_lr_2026-01-31_12-00-01",
        local_experiment_dir=str(directory),
    )
    for step, value in enumerate(values, 1):
        result = {
            "score": value,
            "val": {"loss": -value if isinstance(value, (int, float)) else value},
            "training_iteration": step,
            "time_total_s": 0.5 * step,
            "timestamp": 1_700_000_000 + step,
            "trial_id": trial.trial_id,
            "experiment_tag": trial.experiment_tag,
            "config": config,
        }
        trial.update_last_result(result, flatten(result), 1_700_000_000.0 + step)
    trial.status = TERMINATED
    return trial


def write_experiment(directory: Path, *values: list[Any]) -> list[Trial]:
    """The files of an experiment, as the loggers leave them."""
    trials = [make_trial(number, reported, directory) for number, reported in enumerate(values)]
    for logger in (JsonLoggerCallback(), CSVLoggerCallback()):
        for trial, reported in zip(trials, values, strict=True):
            logger.log_trial_start(trial)
            for step in range(1, len(reported) + 1):
                partial = make_trial(trials.index(trial), reported[:step], directory)
                logger.log_trial_result(0, trial, partial.last_result)
        logger.on_experiment_end(trials)
    return trials


def analysis(*values: list[Any], **options: Any) -> ExperimentAnalysis:
    trials = [make_trial(number, reported) for number, reported in enumerate(values)]
    return ExperimentAnalysis("/nowhere", trials, **options)


class TestBestTrial:
    @pytest.mark.parametrize(
        ("scope", "mode", "expected"),
        [
            ("last", "max", 1),
            ("last", "min", 2),
            ("avg", "max", 0),
            ("avg", "min", 2),
            ("all", "max", 0),
            ("all", "min", 2),
            ("last-5-avg", "max", 2),
            ("last-10-avg", "min", 0),
        ],
    )
    def test_scopes(self, scope: str, mode: str, expected: int) -> None:
        grid = analysis([100] + [1] * 11, [1] + [5] * 11, [0, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 0])
        best = grid.get_best_trial("score", mode, scope)
        assert best is grid.trials[expected]

    def test_truth_values_are_ranked(self) -> None:
        grid = analysis([False], [True], [False])
        assert grid.get_best_trial("score", "max") is grid.trials[1]
        assert grid.get_best_trial("score", "min") is grid.trials[0]

    def test_one_number_without_a_name_is_the_metric(self) -> None:
        grid = analysis([1], [2])
        for trial in grid.trials:
            value = {"_metric": trial.last_result["score"]}
            trial.update_last_result(value, value, 0.0)
        assert grid.get_best_trial(mode="max") is grid.trials[1]

    def test_defaults_come_from_the_experiment(self) -> None:
        grid = analysis([1], [3], [2], default_metric="score", default_mode="max")
        assert grid.best_trial is grid.trials[1]
        assert grid.best_config == grid.trials[1].config
        assert grid.best_logdir == grid.trials[1].logdir
        assert grid.best_result == grid.trials[1].last_result
        assert grid.get_best_trial(mode="min") is grid.trials[0]
        assert grid.get_best_config("val/loss", "max") == grid.trials[0].config

    def test_metric_and_mode_are_needed(self) -> None:
        with pytest.raises(ValueError, match="metric"):
            _ = analysis([1]).best_trial
        with pytest.raises(ValueError, match="mode"):
            analysis([1]).get_best_trial("score")
        with pytest.raises(ValueError, match=r"mode.*median"):
            analysis([1]).get_best_trial("score", "median")
        with pytest.raises(ValueError, match=r"scope.*last-5-avg"):
            analysis([1]).get_best_trial("score", "max", scope="first")

    def test_several_objectives_have_no_default(self) -> None:
        grid = analysis([1], default_metric=["score", "x"], default_mode=["max", "min"])
        with pytest.raises(ValueError, match="metric"):
            _ = grid.best_trial

    def test_nothing_found_is_none_with_a_warning(self, caplog: pytest.LogCaptureFixture) -> None:
        grid = analysis([1], [], default_metric="nope", default_mode="max")
        with caplog.at_level(logging.WARNING):
            assert grid.best_trial is None
        assert "'nope'" in caplog.text
        assert grid.best_config is None
        assert grid.best_logdir is None
        assert grid.best_result is None
        assert len(grid.best_result_df) == 0

    def test_nan_is_never_best(self) -> None:
        grid = analysis([math.nan], [1.0], [math.inf], [-math.inf])
        for mode in ("min", "max"):
            assert grid.get_best_trial("score", mode) is grid.trials[1]
        unfiltered = {
            mode: grid.get_best_trial("score", mode, filter_nan_and_inf=False)
            for mode in ("min", "max")
        }
        assert unfiltered == {"max": grid.trials[2], "min": grid.trials[3]}
        assert analysis([math.nan]).get_best_trial("score", "max", filter_nan_and_inf=False) is None

    def test_auto_filled_metrics_can_be_asked_for(self) -> None:
        grid = analysis([1, 1], [1, 1, 1])
        assert grid.get_best_trial("training_iteration", "max") is grid.trials[1]
        assert grid.get_best_trial("timestamp", "min") is grid.trials[0]

    @given(
        st.lists(st.lists(st.floats(-10, 10) | st.just(math.nan), max_size=12), max_size=6),
        st.sampled_from(SCOPES),
        st.sampled_from(["min", "max"]),
    )
    def test_against_a_plain_reading(
        self, values: list[list[float]], scope: str, mode: str
    ) -> None:
        def plain(reported: list[float]) -> float:
            if not reported:
                return math.nan
            if scope == "last":
                return reported[-1]
            if scope == "all":
                known = [value for value in reported if not math.isnan(value)]
                return {"min": min, "max": max}[mode](known) if known else math.nan
            window = {"avg": len(reported), "last-5-avg": 5, "last-10-avg": 10}[scope]
            return sum(reported[-window:]) / len(reported[-window:])

        trials = [make_trial(number, reported) for number, reported in enumerate(values)]
        best = best_of(trials, "score", mode, scope)
        scores = [plain(reported) for reported in values]
        finite = [score for score in scores if not math.isnan(score)]
        if not finite:
            assert best is None
        else:
            assert best is not None
            wanted = {"min": min, "max": max}[mode](finite)
            assert scores[trials.index(best)] == pytest.approx(wanted, abs=1e-9)


class TestFrames:
    def test_one_row_per_trial(self, tmp_path: Path) -> None:
        trials = write_experiment(tmp_path, [1, 5, 2], [4, 3], [])
        grid = ExperimentAnalysis(tmp_path, trials)
        frame = grid.dataframe()
        assert frame["score"].tolist() == [2, 3]
        assert frame["config/net/units"].tolist() == [1, 2]
        assert frame["logdir"].tolist() == [trial.logdir for trial in trials[:2]]
        best = grid.dataframe("score", "max")
        assert best["score"].tolist() == [5, 4]
        assert best["training_iteration"].tolist() == [2, 1]
        assert grid.dataframe(metric="val/loss", mode="max")["val/loss"].tolist() == [-1, -3]

    def test_the_last_result_is_taken_without_a_mode_and_where_the_metric_is_not(
        self, tmp_path: Path
    ) -> None:
        trials = write_experiment(tmp_path, [1, 5, 2], [4, 3], [])
        loaded = ExperimentAnalysis(tmp_path, trials, "score", "max")
        assert loaded.dataframe(metric="score")["score"].tolist() == [2, 3]
        assert loaded.dataframe("unknown", "min")["score"].tolist() == [2, 3]

    def test_a_mode_without_a_metric(self) -> None:
        with pytest.raises(ValueError, match="metric"):
            analysis([1]).dataframe(mode="max")

    def test_all_results_of_each_trial(self, tmp_path: Path) -> None:
        trials = write_experiment(tmp_path, [1, 5, 2], [4, 3])
        grid = ExperimentAnalysis(tmp_path, trials, "score", "max")
        assert {path: len(frame) for path, frame in grid.trial_dataframes.items()} == {
            trials[0].logdir: 3,
            trials[1].logdir: 2,
        }
        assert grid.best_dataframe is not None
        assert grid.best_dataframe["score"].tolist() == [4, 3]
        assert "config/lr" not in grid.best_dataframe
        grid.set_filetype("json")
        assert grid.best_dataframe is not None
        assert grid.best_dataframe["config/net/units"].tolist() == [2, 2]
        with pytest.raises(ValueError, match="file_type"):
            grid.set_filetype("xml")

    def test_last_results_by_trial(self) -> None:
        grid = analysis([1], [3], [], default_metric="score", default_mode="max")
        assert list(grid.results) == [trial.trial_id for trial in grid.trials]
        assert grid.results_df["score"].to_dict() == {"c0ffe_00000": 1, "c0ffe_00001": 3}
        assert grid.best_result_df.index.tolist() == ["c0ffe_00001"]

    @pytest.mark.parametrize("with_json", [True, False])
    def test_texts_stay_texts_and_integers_integers(self, tmp_path: Path, with_json: bool) -> None:
        texts = {"phase": "001", "tag": "NA", "sha": "12e5", "empty": "", "under": "1_000"}
        more = {"flag": True, "count": 3, "ratio": 0.5, "far": math.inf, **texts}
        trial = Trial("65367445", {"x": 1}, relative_logdir="t", local_experiment_dir=str(tmp_path))
        result = {"score": 2, **more, "trial_id": trial.trial_id, "config": trial.config}
        for logger in (JsonLoggerCallback(), CSVLoggerCallback()):
            logger.log_trial_result(0, trial, result)
            logger.on_experiment_end([trial])
        trial.update_last_result(result, result, 0.0)
        if not with_json:
            (tmp_path / "t" / "result.json").unlink()
            more["empty"] = None  # a table does not tell
        silent = make_trial(1, [])
        silent.last_result = {"done": True}
        grid = ExperimentAnalysis(tmp_path, [trial, silent])
        (row,) = grid.dataframe("score", "max").to_dict("records")
        expected = {"score": 2, **more, "trial_id": "65367445", "config/x": 1}
        assert {name: row[name] for name in expected} == expected
        assert {type(row[name]) for name in ("score", "count")} == {int}
        assert grid.dataframe("score", "max")["score"].dtype == int
        assert len(grid.dataframe()) == len(grid.results_df) == 1

    def test_unreadable_files_are_counted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trials = write_experiment(tmp_path, [1], [2])
        (Path(trials[0].logdir) / "progress.csv").write_bytes(b'a,b\n"1,2\n3,4,5,6\n')
        grid = ExperimentAnalysis(tmp_path, trials)
        assert list(grid.trial_dataframes) == [trials[1].logdir]
        assert "1 of 2 trials are unreadable" in caplog.text

    def test_configurations_and_numbers(self) -> None:
        grid = analysis([1, 2], [3])
        first = grid.trials[0]
        assert grid.get_all_configs()[first.logdir] == first.config
        assert grid.get_all_configs(prefix=True)[first.logdir] == {
            "config/lr": 0.1,
            "config/net/units": 1,
            "config/fixed": 7,
        }
        stats = grid.stats()
        assert (stats["trials"], stats["results"], stats["status"]) == (2, 3, {"TERMINATED": 2})
        assert stats["trial_time_s"] == 1.5


class TestLoading:
    def test_a_moved_directory(self, tmp_path: Path) -> None:
        written = write_experiment(tmp_path / "old", [1, 5, 2], [4, 3], [])
        shutil.move(tmp_path / "old", tmp_path / "new")
        grid = ExperimentAnalysis(tmp_path / "new", default_metric="score", default_mode="max")
        assert [trial.trial_id for trial in grid.trials] == [t.trial_id for t in written]
        assert [str(trial) for trial in grid.trials] == [str(trial) for trial in written]
        assert grid.best_config == written[1].config
        assert grid.get_best_config(scope="all") == written[0].config
        assert grid.trials[0].last_result == written[0].last_result
        assert grid.trials[0].metric_analysis == written[0].metric_analysis
        assert grid.trials[0].evaluated_params == {"lr": 0.1, "net/units": 1}
        assert str(grid.best_logdir).startswith(str(tmp_path / "new"))
        assert len(grid.trial_dataframes) == 2

    def test_on_a_file_system_of_the_users_own(self, tmp_path: Path) -> None:
        write_experiment(tmp_path / "exp", [1], [2])
        there = fsspec.filesystem("dir", path=str(tmp_path), target_protocol="file")
        grid = ExperimentAnalysis("exp", storage_filesystem=there)
        assert [trial.last_result["score"] for trial in grid.trials] == [1, 2]

    def test_a_file_in_the_directory_will_do(self, tmp_path: Path) -> None:
        write_experiment(tmp_path, [1])
        (tmp_path / "experiment_state.json").write_text("{}")
        grid = ExperimentAnalysis(tmp_path / "experiment_state.json")
        assert grid.experiment_path == str(tmp_path)
        assert len(grid.trials) == 1

    def test_the_only_experiment_in_a_directory_will_do(self, tmp_path: Path) -> None:
        write_experiment(tmp_path / "runs" / "first", [1])
        (tmp_path / "runs" / "notes").mkdir()
        grid = ExperimentAnalysis(tmp_path / "runs")
        assert grid.experiment_path == str(tmp_path / "runs" / "first")
        assert len(grid.trials) == 1

    def test_several_experiments_are_put_together(self, tmp_path: Path) -> None:
        runs = tmp_path / "runs"
        for name, values in {"a": [1], "b": [2]}.items():
            write_experiment(runs / name, values)
        together = ExperimentAnalysis(runs, default_metric="score", default_mode="max")
        assert together.experiment_path == str(runs)
        assert len(together.dataframe()) == 2
        assert str(together.best_logdir).startswith(str(runs / "b"))
        for trial, name in zip(together.trials, "ab", strict=True):
            trial.checkpoints = (TrialCheckpoint(f"{trial.relative_logdir}/checkpoint_000001"),)
            ((path, _),) = together.get_trial_checkpoints_paths(trial)
            assert path == f"{runs}/{name}/{trial.relative_logdir}/checkpoint_000001"
            assert together.get_last_checkpoint(trial).path == path

    def test_a_directory_that_cannot_be_read_hides_no_other(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write_experiment(tmp_path / "mine", [1])
        (tmp_path / "locked").mkdir()
        scandir = os.scandir

        def refuse(path: str) -> Any:
            if os.path.basename(path) == "locked":
                raise PermissionError(errno.EACCES, "Permission denied")
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        assert len(ExperimentAnalysis(tmp_path).trials) == 1

    def test_a_directory_without_experiments_is_refused(self, tmp_path: Path) -> None:
        write_experiment(tmp_path / "runs" / "a", [1])
        (tmp_path / "empty").mkdir()
        with pytest.raises(StorageError, match=r"no experiment in .*empty"):
            ExperimentAnalysis(tmp_path / "empty")
        trial = next((tmp_path / "runs" / "a").iterdir())
        with pytest.raises(StorageError, match=r"of a trial; its experiment is .*runs/a\."):
            ExperimentAnalysis(trial)

    def test_truncated_files_are_skipped_and_counted(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        trials = write_experiment(tmp_path, [1, 2], [3, 4], [5, 6])
        results = Path(trials[0].logdir) / "result.json"
        results.write_bytes(results.read_bytes()[:-20])
        (Path(trials[1].logdir) / "params.json").write_text('{"lr": 0.')
        (Path(trials[2].logdir) / "params.json").unlink()
        (tmp_path / "driver_artifacts").mkdir()
        with caplog.at_level(logging.WARNING):
            grid = ExperimentAnalysis(tmp_path)
        assert [trial.last_result["score"] for trial in grid.trials] == [1, 4, 6]
        assert grid.trials[1].config == trials[1].config
        assert "2 damaged files" in caplog.text

    def test_nan_is_read_as_nan(self, tmp_path: Path) -> None:
        write_experiment(tmp_path, [math.nan], [1.0])
        grid = ExperimentAnalysis(tmp_path)
        assert math.isnan(grid.trials[0].last_result["score"])
        assert grid.get_best_trial("score", "min") is grid.trials[1]

    def test_failed_trials(self, tmp_path: Path) -> None:
        trials = write_experiment(tmp_path, [1], [2], [3])
        for trial in trials[:2]:
            path = Path(trial.logdir) / "error.txt"
            path.write_text("Traceback ...\nValueError: bad lr\n")
        (Path(trials[0].logdir) / "error.pkl").write_bytes(pickle.dumps(ValueError("bad lr")))
        # The second one was retried: it reported after the failure.
        os.utime(Path(trials[1].logdir) / "error.txt", (1_600_000_000, 1_600_000_000))
        grid = ExperimentAnalysis(tmp_path)
        assert [trial.status for trial in grid.trials] == [ERROR, TERMINATED, TERMINATED]
        assert grid.trials[0].error is not None
        assert str(grid.trials[0].error) == "ValueError: bad lr"
        assert grid.trials[0].error_file == f"{trials[0].logdir}/error.txt"
        assert grid.trials[0].pickled_error_file == f"{trials[0].logdir}/error.pkl"
        assert grid.trials[2].error_file is None
        assert grid.trials[0].local_dir == grid.trials[0].local_experiment_path == str(tmp_path)
        assert "ValueError: bad lr" in str(grid.trials[0].get_error())
        assert grid.trials[2].get_error() is None
        assert grid.trials[0].placement_group_factory.required_resources["CPU"] == 1

    def test_directories_of_the_users_own_naming(self, tmp_path: Path) -> None:
        trials = write_experiment(tmp_path, [1])
        Path(trials[0].logdir).rename(tmp_path / "mine")
        [trial] = ExperimentAnalysis(tmp_path).trials
        assert str(trial) == "mine"
        assert trial.trial_id == trials[0].trial_id

    def test_more_than_ten_trials_come_in_order(self, tmp_path: Path) -> None:
        trials = write_experiment(tmp_path, *([[n] for n in range(12)]))
        for trial in trials:
            Path(trial.logdir).rename(tmp_path / f"t{trial.experiment_tag.split('_')[0]}")
        grid = ExperimentAnalysis(tmp_path)
        assert [trial.last_result["score"] for trial in grid.trials] == list(range(12))

    def test_no_directory(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="nowhere"):
            ExperimentAnalysis(tmp_path / "nowhere")

    def test_wrong_mode(self) -> None:
        with pytest.raises(InvalidArgument, match="default_mode"):
            analysis([1], default_mode="best")


def test_nested_names_of_frames_are_joined_as_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_experiment(tmp_path, [1.0], [2.0])
    monkeypatch.setenv("TUNE_RESULT_DELIM", ".")
    analysis = ExperimentAnalysis(str(tmp_path), default_metric="val/loss", default_mode="min")
    assert {"val.loss", "config.net.units"} <= set(analysis.results_df)
    assert {"val.loss", "config.net.units"} <= set(analysis.best_result_df)
    assert "val/loss" in analysis.dataframe()
