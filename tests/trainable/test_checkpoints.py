"""Checkpoints that functions write."""

import errno
import os
import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest

import prefect_tune as tune
from prefect_tune import Checkpoint
from prefect_tune.checkpoint.manifest import read_manifest, verify
from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import CheckpointRules, Progress
from prefect_tune.experiment.decision import Action
from prefect_tune.trainable.runtime.attempt import TrialTerminated
from prefect_tune.trainable.runtime.attempt_session import current_session


def write(directory, text="state"):
    Path(directory, "state.txt").write_text(text)


def with_directory(config, checkpoint_dir=None):
    for x in (1, 2):
        with tune.checkpoint_dir(step=x * 10) as directory:
            write(directory, str(x))
        tune.report(x=x)


def with_report(config):
    for x in (1, 2):
        tune.report({"x": x}, checkpoint=Checkpoint.from_dict({"x": x}))


def test_a_directory_counts_from_the_next_report_on(trial):
    assert trial.run(with_directory) is Outcome.FINISHED

    assert trial.agent.of("result", "checkpoint") == [
        ("result", 1, 1),
        ("checkpoint", 1, "checkpoint_000010", 1),
        ("result", 2, 2),
        ("checkpoint", 2, "checkpoint_000020", 2),
    ]
    assert trial.names == ["checkpoint_000010", "checkpoint_000020"]
    assert verify(trial.dir / "checkpoint_000020") == ""
    assert (trial.dir / "checkpoint_000020" / "state.txt").read_text() == "2"
    assert read_manifest(trial.dir / "checkpoint_000020").iteration == 2


def test_a_directory_is_written_in_place(trial):
    def train(config):
        with tune.checkpoint_dir(step=1) as directory:
            write(directory)
            file.append(os.stat(Path(directory, "state.txt")).st_ino)
        tune.report(x=1)

    file = []
    trial.run(train)

    assert (trial.dir / "checkpoint_000001" / "state.txt").stat().st_ino == file[0]


def test_a_reported_checkpoint_goes_with_its_report_and_before_the_decision(trial):
    trial.run(with_report, Action.CONTINUE, Action.STOP)

    assert trial.agent.log == [
        ("room", 1),
        ("result", 1, 1),
        ("checkpoint", 1, "checkpoint_000001", 1),
        ("wait", 1),
        ("room", 1),
        ("result", 2, 2),
        ("checkpoint", 2, "checkpoint_000002", 2),
        ("wait", 2),
    ]
    assert Checkpoint(trial.dir / "checkpoint_000002").to_dict() == {"x": 2}


def test_names_follow_the_iteration_and_end_with_the_suffix(trial):
    trial.run(with_report, progress=Progress(7), checkpoint_suffix="-b")
    trial.run(with_directory, progress=Progress(7), checkpoint_suffix="-c")

    assert trial.agent.checkpoints == [
        "checkpoint_000008-b",
        "checkpoint_000009-b",
        "checkpoint_000010-c",
        "checkpoint_000020-c",
    ]


def test_a_name_is_never_used_twice(trial):
    def train(config):
        for x in range(3):
            with tune.checkpoint_dir(step=0) as directory:
                write(directory, str(x))
            tune.report(x=x)

    trial.run(train)

    assert trial.agent.checkpoints == [
        "checkpoint_000000",
        "checkpoint_000000_2",
        "checkpoint_000000_3",
    ]
    assert (trial.dir / "checkpoint_000000" / "state.txt").read_text() == "0"


def test_the_users_directory_stays_his(trial, tmp_path):
    own = tmp_path / "own"
    own.mkdir()

    def train(config):
        for x in (1, 2):
            write(own, str(x))
            tune.report(x=x, checkpoint=Checkpoint.from_directory(own))
            write(own, "written to meanwhile")

    assert trial.run(train) is Outcome.FINISHED

    for x in (1, 2):
        assert (trial.dir / f"checkpoint_00000{x}" / "state.txt").read_text() == str(x)
    assert (own / "state.txt").read_text() == "written to meanwhile"


def test_metadata_travels(trial, tmp_path):
    def train(config):
        checkpoint = Checkpoint.from_directory(tmp_path / "own")
        checkpoint.set_metadata({"a": float("inf")})
        tune.report(x=1, checkpoint=checkpoint)
        with tune.checkpoint_dir(step=2) as directory:
            Checkpoint(directory).set_metadata({"b": 2})
        tune.report(x=2)
        again = Checkpoint.from_directory(trial.dir / "checkpoint_000002")
        tune.report(x=3, checkpoint=again)

    (tmp_path / "own").mkdir()
    assert trial.run(train) is Outcome.FINISHED

    for number, metadata in ((1, {"a": float("inf")}), (2, {"b": 2}), (3, {"b": 2})):
        directory = trial.dir / f"checkpoint_00000{number}"
        assert Checkpoint(directory).get_metadata() == metadata
        assert read_manifest(directory).iteration == number
        assert os.listdir(directory) == [".is_checkpoint"]


def test_a_function_gets_what_it_goes_on_from(trial, tmp_path):
    def by_argument(config, checkpoint_dir=None):
        seen.append(checkpoint_dir)

    def by_call(config):
        checkpoint = tune.get_checkpoint()
        seen.append(checkpoint and (checkpoint.path, checkpoint.uri))

    seen = []
    for kept in ("s3://bucket/e/t/checkpoint_000001", "/results/e/t/checkpoint_000001"):
        for train in (by_argument, by_call):
            trial.run(train)
            trial.run(train, checkpoint=str(tmp_path), checkpoint_uri=kept)

    path = str(tmp_path)
    assert seen == [
        *(None, path, None, (path, "s3://bucket/e/t/checkpoint_000001")),
        *(None, path, None, (path, "file:///results/e/t/checkpoint_000001")),
    ]


def test_totals_go_on_and_counts_since_the_restore_begin_again(trial):
    def train(config):
        tune.report(x=1, timesteps_this_iter=5, episodes_this_iter=1)

    trial.run(train, progress=Progress(10, 100.0, 1000, 50))

    (result,) = trial.agent.results
    assert result["training_iteration"] == 11
    assert (result["timesteps_total"], result["timesteps_since_restore"]) == (1005, 5)
    assert result["episodes_total"] == 51
    assert result["iterations_since_restore"] == 1
    assert result["time_total_s"] > 100 > result["time_since_restore"]


def test_the_manifest_holds_the_progress_of_the_result(trial):
    def train(config):
        tune.report(x=1, timesteps_this_iter=5, checkpoint=Checkpoint.from_dict({}))

    trial.run(train, progress=Progress(10, 100.0, 1000, 50))

    expected = Progress.of(trial.agent.results[0])
    assert read_manifest(trial.dir / "checkpoint_000011").progress == expected
    assert expected.timesteps_total == 1005


def test_one_written_after_the_last_report_belongs_to_that(trial):
    def train(config):
        for x in (1, 2):
            tune.report(x=x)
            with tune.checkpoint_dir(step=x) as directory:
                write(directory)

    assert trial.run(train) is Outcome.FINISHED

    assert trial.agent.of("checkpoint") == [
        ("checkpoint", 2, "checkpoint_000001", 2),
        ("checkpoint", 2, "checkpoint_000002", 2),
    ]
    assert verify(trial.dir / "checkpoint_000002") == ""


def test_one_without_any_report_belongs_to_what_was_before(trial):
    def train(config):
        with tune.checkpoint_dir(step=5) as directory:
            write(directory)

    assert trial.run(train, progress=Progress(4, 2.0, 30)) is Outcome.FINISHED

    assert trial.agent.of("checkpoint") == [("checkpoint", 0, "checkpoint_000005", None)]
    assert read_manifest(trial.dir / "checkpoint_000005").progress == Progress(4, 2.0, 30)


class OwnError(Exception):
    pass


def fails_while_writing(config):
    tune.report(x=1)
    with tune.checkpoint_dir(step=1) as directory:
        write(directory, "half")
        raise OwnError


def fails_before_the_report(config):
    tune.report(x=1)
    with tune.checkpoint_dir(step=1) as directory:
        write(directory)
    raise OwnError


def never_saves_it(config):
    tune.report(x=1)
    write(tune.make_checkpoint_dir(step=1))
    raise OwnError


@pytest.mark.parametrize("train", [fails_while_writing, fails_before_the_report, never_saves_it])
def test_a_failure_leaves_nothing_half_written_behind(trial, train):
    assert trial.run(train).kind == "OwnError"

    assert trial.agent.checkpoints == []
    assert trial.names == []


def test_a_failure_that_user_code_survives_leaves_nothing_behind_either(trial):
    def train(config):
        with pytest.raises(OwnError):
            fails_while_writing(config)
        tune.report(x=2)

    assert trial.run(train) is Outcome.FINISHED

    assert trial.agent.of("checkpoint") == []
    assert trial.names == []


def test_leftovers_of_a_killed_attempt_are_removed_and_nothing_else(trial):
    def is_killed(config):
        tune.report(x=1)
        tune.make_checkpoint_dir(step=1)
        context = tune.checkpoint_dir(step=2)
        context.__enter__()
        Path(killed).mkdir()
        for directory in trial.dir.iterdir():
            directory.rename(Path(killed, directory.name))
        context.__exit__(None, None, None)

    killed = trial.dir.parent / "killed"
    trial.run(is_killed)
    assert len(os.listdir(killed)) == 2
    for name in os.listdir(killed):
        Path(killed, name).rename(trial.dir / name)
    kept = [".checkpoint_000001.tmp-arriving-0", "checkpoint_000001", "other"]
    for name in (".checkpoint_000001.old-99", *kept):
        (trial.dir / name).mkdir()
        write(trial.dir / name)

    trial.run(lambda config: None)

    assert trial.names == kept


def test_no_more_than_so_many_are_on_their_way(trial):
    waiting, kept = threading.Event(), threading.Event()

    def wait_uploaded(pending):
        if len(trial.agent.checkpoints) > pending:
            waiting.set()
            kept.wait()

    def train(config):
        for x in (1, 2, 3):
            tune.report(x=x, checkpoint=Checkpoint.from_dict({"x": x}))

    trial.agent.wait_uploaded = wait_uploaded
    rules = CheckpointRules(max_pending=2)
    attempt = threading.Thread(target=trial.run, args=(train,), kwargs={"checkpoint_rules": rules})
    attempt.start()
    waiting.wait()

    assert trial.names == ["checkpoint_000001", "checkpoint_000002"]
    assert len(trial.agent.results) == 2
    kept.set()
    attempt.join()
    assert trial.agent.checkpoints[2:] == ["checkpoint_000003"]


@pytest.mark.parametrize("train", [with_directory, with_report])
def test_an_agent_that_is_gone_ends_the_attempt_and_leaves_no_drafts(trial, train):
    trial.agent.gone_after = 1

    assert trial.run(train) is Outcome.STOPPED

    assert len(trial.agent.checkpoints) == 1
    assert not [name for name in trial.names if name.startswith(".")]


def test_an_agent_that_goes_while_room_is_awaited_ends_the_attempt(trial):
    def wait_uploaded(pending):
        raise ConnectionError

    trial.agent.wait_uploaded = wait_uploaded

    assert trial.run(with_directory) is Outcome.STOPPED
    assert trial.agent.log == []


def test_sigterm_while_writing_leaves_nothing_behind(trial):
    def train(config):
        tune.report(x=1)
        with tune.checkpoint_dir(step=1) as directory:
            write(directory)
            current_session().terminate()

    assert trial.run(train).kind == "signal"
    assert trial.names == []


def test_sigterm_between_a_result_and_its_checkpoint_waits_for_the_checkpoint(trial):
    send_result = trial.agent.send_result

    def send_and_be_terminated(*arguments):
        send_result(*arguments)
        current_session().terminate()

    trial.agent.send_result = send_and_be_terminated

    def train(config):
        try:
            with_report(config)
        except TrialTerminated:
            ended.append(True)
            raise

    ended = []
    assert trial.run(train).kind == "signal"
    assert ended
    assert trial.agent.of("result", "checkpoint") == [
        ("result", 1, 1),
        ("checkpoint", 1, "checkpoint_000001", 1),
    ]


def test_the_older_pair_of_functions(trial):
    def train(config):
        for x in (1, 2, 3):
            directory = tune.make_checkpoint_dir(step=x if x < 3 else None)
            write(directory)
            tune.save_checkpoint(directory if x == 1 else os.path.join(directory, "state.txt"))
            tune.report(x=x)

    assert trial.run(train) is Outcome.FINISHED

    assert trial.agent.checkpoints == [f"checkpoint_00000{x}" for x in (1, 2, 3)]


@pytest.mark.parametrize(
    ("call", "argument", "problem"),
    [
        (lambda: tune.report(x=1, checkpoint="path"), "checkpoint", "got str"),
        (lambda: tune.report(x=1, checkpoint={"a": 1}), "checkpoint", "got dict"),
        (
            lambda: tune.report(x=1, checkpoint=Checkpoint("/no/where")),
            "checkpoint",
            "no directory",
        ),
        (lambda: tune.checkpoint_dir("1").__enter__(), "step", "got '1'"),
        (lambda: tune.checkpoint_dir(None).__enter__(), "step", "got None"),
        (lambda: tune.checkpoint_dir(-1).__enter__(), "step", "got -1"),
        (lambda: tune.checkpoint_dir(1.0).__enter__(), "step", "got 1.0"),
        (lambda: tune.checkpoint_dir(True).__enter__(), "step", "got True"),
        (lambda: tune.make_checkpoint_dir("x"), "step", "got 'x'"),
        (lambda: tune.save_checkpoint("/somewhere"), "checkpoint", "'/somewhere' is not a dir"),
        (lambda: tune.save_checkpoint(3), "checkpoint", "3 is not a dir"),
    ],
)
def test_bad_input_names_the_argument_and_sends_nothing(trial, call, argument, problem):
    def train(config):
        with pytest.raises(InvalidArgument, match=f"`{argument}`: .*{problem}"):
            call()
        tune.report(x=2, checkpoint=Checkpoint.from_dict({}))

    assert trial.run(train) is Outcome.FINISHED
    assert [(result["x"]) for result in trial.agent.results] == [2]
    assert trial.names == ["checkpoint_000001"]


def test_a_result_that_cannot_be_sent_takes_its_checkpoint_along(trial):
    def train(config):
        itself = {}
        itself["itself"] = itself
        with pytest.raises(InvalidArgument, match="contains itself"):
            tune.report(itself, checkpoint=Checkpoint.from_dict({"x": 1}))
        tune.report(x=2)

    assert trial.run(train) is Outcome.FINISHED
    assert trial.agent.checkpoints == []
    assert trial.names == []


def test_numbers_of_array_libraries_are_steps(trial):
    def train(config):
        with tune.checkpoint_dir(step=np.int64(3)) as directory:
            write(directory)
        tune.report(x=1)

    trial.run(train)

    assert trial.agent.checkpoints == ["checkpoint_000003"]


def test_an_empty_directory_is_a_checkpoint(trial):
    def train(config):
        with tune.checkpoint_dir(step=1):
            pass
        tune.report(x=1)

    trial.run(train)

    assert verify(trial.dir / "checkpoint_000001") == ""


def test_a_full_disk_fails_the_attempt_says_so_and_leaves_nothing_behind(trial, monkeypatch):
    def full(*arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "state.pkl")

    monkeypatch.setattr("prefect_tune.checkpoint.checkpoint.write_dict", full)

    end = trial.run(with_report)

    assert end.kind == "StorageError"
    assert "No space left on device" in end.message
    assert trial.agent.results == []
    assert trial.names == []


def test_outside_a_trial_everything_warns_and_can_be_tried(tmp_path):
    with pytest.warns(RuntimeWarning) as warned, tune.checkpoint_dir(step=1) as directory:
        write(directory)
    assert not os.path.exists(directory)
    assert "checkpoint_dir" in str(warned[0].message)
    assert warned[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="get_checkpoint"):
        assert tune.get_checkpoint() is None
    with pytest.warns(RuntimeWarning, match="make_checkpoint_dir"):
        os.rmdir(tune.make_checkpoint_dir(step=1))
    with pytest.warns(RuntimeWarning, match="save_checkpoint"):
        tune.save_checkpoint("/a")
    with pytest.warns(RuntimeWarning, match="report"):
        tune.report(x=1, checkpoint=Checkpoint(tmp_path))


def test_a_directory_with_a_file_called_as_our_marker_can_be_reported(trial):
    def train(config):
        with tempfile.TemporaryDirectory() as directory:
            write(directory)
            Path(directory, ".is_checkpoint").touch()
            tune.report({"x": 1}, checkpoint=Checkpoint.from_directory(directory))

    assert trial.run(train) is Outcome.FINISHED
    assert verify(trial.dir / "checkpoint_000001") == ""
    assert (trial.dir / "checkpoint_000001" / "state.txt").read_text() == "state"
