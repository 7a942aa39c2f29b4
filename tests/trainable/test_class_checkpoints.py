"""Class trainables that save and load their state."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from prefect_tune import Checkpoint, Trainable
from prefect_tune.checkpoint.manifest import verify
from prefect_tune.coordinator.events import Outcome
from prefect_tune.error import CheckpointUnreadable, InvalidArgument, InvalidTrainable
from prefect_tune.experiment.checkpoints import CheckpointRules, Progress
from prefect_tune.experiment.decision import Action
from prefect_tune.trainable.runtime.attempt_session import current_session


class Counter(Trainable):
    """Counts its steps; saves a dict."""

    def setup(self, config):
        self.n = 0
        self.config = config

    def step(self):
        self.n += 1
        return {
            "x": self.n,
            "timesteps_this_iter": np.int64(10),
            "done": self.n == self.config.get("last", 5),
            "should_checkpoint": self.n in self.config.get("ask", ()),
        }

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]


class InFile(Counter):
    def save_checkpoint(self, checkpoint_dir):
        path = os.path.join(checkpoint_dir, "deep", "n.json")
        os.mkdir(os.path.dirname(path))
        Path(path).write_text(json.dumps(self.n))
        return path

    def load_checkpoint(self, checkpoint):
        assert os.path.basename(checkpoint) == "n.json"
        self.n = json.loads(Path(checkpoint).read_text())


class InDirectory(Counter):
    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "n.json").write_text(json.dumps(self.n))

    def load_checkpoint(self, checkpoint):
        self.n = json.loads(Path(checkpoint, "n.json").read_text())


class Forgetful(Counter):
    save_checkpoint = Trainable.save_checkpoint


FORMS = pytest.mark.parametrize("trainable", [Counter, InFile, InDirectory])


def saved(trial):
    return trial.agent.of("checkpoint")


@FORMS
def test_every_so_many_iterations_after_the_result_and_before_the_decision(trial, trainable):
    trial.run(
        trainable,
        *[Action.CONTINUE] * 3,
        Action.STOP,
        config={"last": 4},
        checkpoint_rules=CheckpointRules(frequency=2),
    )

    assert trial.agent.log == [
        *(("result", 1, 1), ("wait", 1)),
        *(("result", 2, 2), ("room", 1), ("checkpoint", 2, "checkpoint_000002", 2), ("wait", 2)),
        *(("result", 3, 3), ("wait", 3)),
        *(("result", 4, 4), ("room", 1), ("checkpoint", 4, "checkpoint_000004", 4), ("wait", 4)),
    ]
    assert verify(trial.dir / "checkpoint_000004") == ""


@FORMS
def test_an_attempt_goes_on_where_the_checkpoint_is(trial, trainable):
    trial.run(trainable, config={"last": 2}, checkpoint_rules=CheckpointRules(at_end=True))
    progress = Progress.of(trial.agent.results[-1])
    (before,) = trial.dir.iterdir()
    elsewhere = before.rename(trial.dir.parent / "fetched")

    trial.run(
        trainable,
        config={"last": 3},
        checkpoint=str(elsewhere),
        progress=progress,
        checkpoint_suffix="-2",
        checkpoint_rules=CheckpointRules(at_end=True),
    )

    results = trial.agent.results
    assert [result["x"] for result in results] == [1, 2, 3]
    assert [result["training_iteration"] for result in results] == [1, 2, 3]
    assert [result["iterations_since_restore"] for result in results] == [1, 2, 1]
    assert [result["timesteps_total"] for result in results] == [10, 20, 30]
    assert [result["timesteps_since_restore"] for result in results] == [10, 20, 10]
    assert results[2]["time_total_s"] == pytest.approx(
        results[1]["time_total_s"] + results[2]["time_this_iter_s"]
    )
    assert trial.agent.checkpoints == ["checkpoint_000002", "checkpoint_000003-2"]


def test_a_dict_can_be_had_from_the_checkpoint(trial):
    trial.run(Counter, checkpoint_rules=CheckpointRules(at_end=True))

    assert Checkpoint(trial.dir / "checkpoint_000005").to_dict() == {"n": 5}


@pytest.mark.parametrize(
    ("answers", "at_end", "names"),
    [
        ([Action.CONTINUE, Action.STOP], True, ["checkpoint_000002"]),
        ([Action.CONTINUE, Action.STOP], False, []),
        ([Action.PAUSE], True, ["checkpoint_000001"]),
        ([Action.PAUSE], False, ["checkpoint_000001"]),
    ],
)
def test_what_saves_at_the_end(trial, answers, at_end, names):
    end = trial.run(Counter, *answers, checkpoint_rules=CheckpointRules(at_end=at_end))

    assert end is (Outcome.PAUSED if Action.PAUSE in answers else Outcome.STOPPED)
    assert trial.agent.checkpoints == names


def test_nothing_is_saved_twice(trial):
    rules = CheckpointRules(frequency=1, at_end=True)

    trial.run(Counter, Action.CONTINUE, Action.PAUSE, checkpoint_rules=rules)

    assert trial.agent.checkpoints == ["checkpoint_000001", "checkpoint_000002"]


def test_a_result_can_ask_for_one(trial):
    trial.run(Counter, config={"ask": (1, 3), "last": 3})

    assert trial.agent.checkpoints == ["checkpoint_000001", "checkpoint_000003"]


def test_a_class_that_cannot_save_is_paused_without(trial):
    end = trial.run(Forgetful, Action.PAUSE, config={"ask": (1,)})

    assert end is Outcome.PAUSED
    assert trial.names == []


class Terminated(Counter):
    where = ""

    def _here(self, place):
        if self.where == place and self.n == 2:
            current_session().terminate()

    def step(self):
        result = super().step()
        self._here("step")
        return result

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "half").touch()
        self._here("save")
        return super().save_checkpoint(checkpoint_dir)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        # In the middle of a step the state belongs to no result.
        ("step", ["checkpoint_000001"]),
        ("save", ["checkpoint_000001", "checkpoint_000002"]),
    ],
)
def test_sigterm_saves_what_belongs_to_a_result(trial, monkeypatch, where, expected):
    monkeypatch.setattr(Terminated, "where", where)
    rules = CheckpointRules(frequency=1, at_end=True)

    assert trial.run(Terminated, checkpoint_rules=rules).kind == "signal"

    assert trial.agent.checkpoints == expected
    assert trial.names == expected


def test_an_agent_that_is_gone_ends_it_without_saving(trial):
    trial.agent.gone_after = 1

    end = trial.run(Counter, checkpoint_rules=CheckpointRules(at_end=True))

    assert end is Outcome.STOPPED
    assert trial.names == []


class Broken(Counter):
    def load_checkpoint(self, checkpoint):
        raise KeyError("weights")


def test_a_checkpoint_that_cannot_be_loaded_is_a_restore_error(trial, tmp_path):
    directory = Counter().save(tmp_path / "c")

    end = trial.run(Broken, checkpoint=directory)

    assert (end.kind, end.message) == ("restore", "KeyError: 'weights'")
    assert "in load_checkpoint" in end.traceback
    assert trial.agent.results == []


@pytest.mark.parametrize(
    ("name", "content"),
    [("dict_checkpoint.pkl", b"half"), (".tune_metadata", b"{"), (".tune_metadata", b"[1]")],
)
def test_a_damaged_directory_is_a_restore_error(trial, tmp_path, name, content):
    directory = Counter().save(tmp_path / "c")
    Path(directory, name).write_bytes(content)

    end = trial.run(Counter, checkpoint=directory)

    assert end.kind == "restore"
    assert name in end.message


class Elsewhere(Counter):
    returned = None

    def save_checkpoint(self, checkpoint_dir):
        return self.returned


@pytest.mark.parametrize(
    ("returned", "problem"),
    [
        ("/tmp/elsewhere", "not in the directory that it was given"),
        ("../n.json", "not in the directory that it was given"),
        (3, r"returned int \(3\)"),
        ([1], "returned list"),
    ],
)
def test_what_may_not_be_returned_is_a_clear_error(trial, monkeypatch, returned, problem):
    monkeypatch.setattr(Elsewhere, "returned", returned)

    with pytest.raises(InvalidTrainable, match=rf"Elsewhere.save_checkpoint\(\).*{problem}") as e:
        Elsewhere().save(trial.dir / "c")

    assert isinstance(e.value, ValueError)
    end = trial.run(Elsewhere, checkpoint_rules=CheckpointRules(frequency=1))
    assert end.kind == "InvalidTrainable"
    assert trial.agent.checkpoints == []


@pytest.mark.parametrize("returned", ["model", "sub/prefix", "."])
def test_relative_paths_and_prefixes_of_names_are_in_the_directory(tmp_path, returned, monkeypatch):
    class Relative(Counter):
        def save_checkpoint(self, checkpoint_dir):
            return returned

        def load_checkpoint(self, checkpoint):
            loaded.append(checkpoint)

    loaded = []
    directory = Relative().save(tmp_path / "c")
    Relative().restore(directory)

    assert os.path.normpath(loaded[0]) == os.path.normpath(f"{directory}/{returned}")


@FORMS
def test_by_hand_it_goes_on_from_a_path_an_object_or_a_checkpoint(tmp_path, trainable):
    first = trainable({})
    for _ in range(3):
        result = first.train()
    assert (result["training_iteration"], result["timesteps_total"]) == (3, 30)
    path, state = first.save(tmp_path / "c"), first.save_to_object()
    assert path == str(tmp_path / "c" / "checkpoint_000003")
    assert first.save() != path
    first.stop()

    for restore in (
        lambda t: t.restore(path),
        lambda t: t.restore_from_object(state),
        lambda t: t.restore(Checkpoint(path)),
        lambda t: t.restore(next(p for p in Path(path).rglob("*") if p.is_file())),
    ):
        again = trainable({})
        restore(again)
        assert (again.iteration, again.training_iteration) == (3, 3)
        result = again.train()
        assert (result["x"], result["training_iteration"], result["timesteps_total"]) == (4, 4, 40)
        assert (result["iterations_since_restore"], result["timesteps_since_restore"]) == (1, 10)

    first.delete_checkpoint(path)
    first.delete_checkpoint(path)
    assert not os.path.exists(path)


def test_a_directory_from_elsewhere_is_loaded_as_it_is(tmp_path):
    Checkpoint.from_dict({"n": 7}).to_directory(tmp_path / "dict")
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "n.json").write_text("8")

    counter, in_directory = Counter(), InDirectory()
    counter.restore(tmp_path / "dict")
    in_directory.restore(tmp_path / "files")

    assert (counter.n, in_directory.n) == (7, 8)


def test_restoring_from_nothing_names_it():
    with pytest.raises(InvalidArgument, match="`checkpoint_path`: there is no /no/where"):
        Counter().restore("/no/where")


def test_a_damaged_note_is_named(tmp_path):
    directory = Counter().save(tmp_path)
    Path(directory, ".tune_metadata").write_text("{}")

    with pytest.raises(CheckpointUnreadable, match=r"\.tune_metadata is damaged"):
        Counter().restore(directory)


def test_stop_cleans_up():
    class Cleans(Counter):
        def cleanup(self):
            self.cleaned = True

    cleans = Cleans()
    cleans.stop()

    assert cleans.cleaned


def test_by_hand_each_iteration_has_a_checkpoint_of_its_own(tmp_path):
    counter = Counter()
    saved = []
    for _ in range(2):
        counter.train()
        saved.append(counter.save(tmp_path))
    assert counter.save(tmp_path) == saved[1]  # replaced

    iterations = []
    for path in saved:
        other = Counter()
        other.restore(path)
        iterations.append(other.iteration)
    assert iterations == [1, 2]
    assert [Path(path).name for path in saved] == ["checkpoint_000001", "checkpoint_000002"]


@FORMS
def test_each_checkpoint_is_announced_before_the_result_or_when_it_is_begun(trial, trainable):
    rules = CheckpointRules(frequency=2, at_end=True)
    trial.run(trainable, *[Action.CONTINUE] * 2, Action.STOP, checkpoint_rules=rules)
    assert trial.agent.announced == [2, 3]


def test_one_that_fails_was_announced(trial):
    class Full(Counter):
        def save_checkpoint(self, checkpoint_dir):
            raise OSError(28, "No space left on device")

    outcome = trial.run(Full, Action.STOP, checkpoint_rules=CheckpointRules(at_end=True))
    assert "No space left" in outcome.message
    assert trial.agent.announced == [1]
    assert saved(trial) == []
