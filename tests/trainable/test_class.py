"""Class trainables: what their methods get, return and say."""

import logging
import os

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument, TuneError
from prefect_tune.experiment.decision import Action
from prefect_tune.trainable import trainable as module
from prefect_tune.trainable.class_runner import save_into
from prefect_tune.trainable.trainable import ExportFormat
from prefect_tune.trainable.wrappers import requested_resources, with_resources

#: What Ray Tune fills in; the last three only where a trial has ended or says so.
AUTO_FILLED = {
    "config", "date", "done", "episodes_total", "experiment_id", "experiment_tag", "hostname",
    "iterations_since_restore", "node_ip", "pid", "time_since_restore", "time_this_iter_s",
    "time_total_s", "timestamp", "timesteps_since_restore", "timesteps_total",
    "training_iteration", "trial_id", "warmup_time",
}  # fmt: skip


class Counts(tune.Trainable):
    def setup(self, config):
        self.n = 0

    def step(self):
        self.n += 1
        return {"n": self.n, "done": self.n == 3}

    def reset_config(self, new_config):
        self.n = 0
        self.seen = (dict(self.config), new_config["a"], self.iteration)
        return True


def test_by_hand_results_are_complete():
    counts = Counts({"a": 1})

    result = counts.train()

    assert set(result) == {"n"} | AUTO_FILLED
    assert result["pid"] == os.getpid()
    assert (result["trial_id"], result["config"]) == ("default", {"a": 1})
    assert set(counts.get_auto_filled_metrics(time_this_iter=0.5)) == AUTO_FILLED
    assert counts.get_auto_filled_metrics(timestamp=5)["timestamp"] == 5
    assert "config" not in counts.get_auto_filled_metrics(debug_metrics_only=True)
    assert (counts.iteration, counts.training_iteration) == (1, 1)
    assert os.path.isdir(counts.logdir)
    assert counts.logdir == counts.logdir
    assert counts.trial_resources is None


def test_classes_may_read_and_set_the_counter_under_its_old_private_name():
    class BeginsBefore(Counts):
        def setup(self, config):
            super().setup(config)
            self._iteration = -1

        def step(self):
            return {"trained": self._iteration >= 0, **super().step()}

    training = BeginsBefore()
    results = [training.train() for _ in range(3)]

    assert [r["training_iteration"] for r in results] == [0, 1, 2]
    assert [r["trained"] for r in results] == [False, True, True]
    assert [r["iterations_since_restore"] for r in results] == [1, 2, 3]
    assert training.iteration == training._iteration == 2


def test_several_steps_at_once_end_with_the_training():
    assert [r["n"] for r in Counts().train_buffered(60, max_buffer_length=2)] == [1, 2]
    assert [r["n"] for r in Counts().train_buffered(60)] == [1, 2, 3]
    assert len(Counts().train_buffered(0)) == 1


def test_a_reset_object_begins_anew_with_the_new_configuration():
    counts = Counts({"a": 1})
    counts.train()

    assert counts.reset({"a": 2})

    assert counts.seen == ({"a": 2}, 2, 0)
    assert counts.config == {"a": 2}
    assert counts.train()["training_iteration"] == 1
    assert not tune.Trainable.reset_config(counts, {})


def test_functions_and_classes_fill_in_the_same(trial):
    class Steps(tune.Trainable):
        def step(self):
            return {"mean_loss": 1.0, "timesteps_this_iter": 3, "done": self.iteration == 1}

    def train(config):
        tune.report(mean_loss=1.0, timesteps_this_iter=3)
        tune.report(mean_loss=1.0, timesteps_this_iter=3, done=True)

    keys = []
    for trainable in (Steps, train):
        trial.agent.lines.clear()
        trial.run(trainable, Action.CONTINUE, Action.STOP)
        first, last = trial.agent.results
        keys.append((set(first), set(last), last["timesteps_total"], last["neg_mean_loss"]))

    assert keys[0] == keys[1]
    assert keys[0][2:] == (6, -1.0)


def test_log_result_sees_complete_results_and_may_change_them(trial):
    seen = []

    class Logs(Counts):
        def log_result(self, result):
            seen.append(dict(result))
            result["added"] = result["n"] * 2

    trial.run(Logs, config={"a": 1})

    assert set(seen[0]) == {"n"} | AUTO_FILLED
    assert seen[0]["trial_id"] == "t1"
    assert [result["added"] for result in trial.agent.results] == [2, 4, 6]
    assert "config" not in trial.agent.results[0], "it is known where results arrive"


def test_a_slow_setup_is_told(monkeypatch, caplog):
    monkeypatch.setattr(module, "SLOW_SETUP_S", -1.0)
    with caplog.at_level(logging.WARNING, "prefect_tune"):
        Counts()
    (message,) = caplog.messages
    assert message.startswith("Counts.setup() took 0 s")
    assert "with_parameters(Counts, data=...)" in message


class Exports(Counts):
    def _export_model(self, export_formats, export_dir):
        for name in export_formats:
            with open(os.path.join(export_dir, name), "w") as file:
                file.write(str(self.n))
        return {name: os.path.join(export_dir, name) for name in export_formats}


@pytest.mark.parametrize("answers", [(), (Action.STOP,)])
def test_the_model_is_exported_at_the_end_of_a_trial(trial, answers):
    trial.run(Exports, *answers, export_formats=("model", "onnx"))

    assert (trial.dir / "model").read_text() == ("1" if answers else "3")
    assert (trial.dir / "onnx").exists()


def test_a_paused_trial_exports_nothing(trial):
    trial.run(Exports, Action.PAUSE, export_formats=("model",))
    assert trial.names == []


class CannotExport(Counts):
    def _export_model(self, export_formats, export_dir):
        raise OSError("no room")


@pytest.mark.parametrize("answers", [(), (Action.STOP,)])
def test_a_model_that_cannot_be_exported_fails_the_attempt(trial, answers):
    error = trial.run(CannotExport, *answers, export_formats=("model",))
    assert (error.kind, error.message) == ("export", "OSError: no room")
    assert "_export_model" in error.traceback


def test_formats():
    formats = ["MODEL", " h5 "]
    ExportFormat.validate(formats)
    assert formats == [ExportFormat.MODEL, ExportFormat.H5]
    with pytest.raises(TuneError, match="'tflite'"):
        Counts().export_model("tflite")
    assert Counts().export_model(["model"]) == {}
    with pytest.raises(InvalidArgument, match="`export_formats`"):
        tune.run(Counts, export_formats=["nope"])


class Asks(Counts):
    @classmethod
    def default_resource_request(cls, config):
        return {"cpu": config["a"]}


def test_a_class_may_say_what_it_needs():
    assert requested_resources(Asks)({"a": 2}) == {"cpu": 2}
    assert requested_resources(Counts) is None
    wrapped = with_resources(Asks, {"cpu": 3})
    assert requested_resources(wrapped) == {"cpu": 3}
    assert wrapped.default_resource_request({"a": 1}) == {"cpu": 3}

    class Overrides(wrapped):
        @classmethod
        def default_resource_request(cls, config):
            return {"cpu": 7}

    assert requested_resources(Overrides)({}) == {"cpu": 7}
    with pytest.raises(ValueError, match="resources_per_trial"):
        tune.run(Asks, config={"a": 1}, resources_per_trial={"cpu": 1})


def test_usage_of_the_node_is_in_results_that_ask_for_it():
    counts = Counts({"log_sys_usage": True})
    try:
        usage = counts.train()["perf"]
    finally:
        counts.stop()
    assert set(usage) == {"cpu_util_percent", "ram_util_percent"}
    assert 0 < usage["ram_util_percent"] <= 100


class OwnTrain(tune.Trainable):
    def train(self):
        return {"loss": 1, "done": True}


class ChangedTrain(Counts):
    def train(self):
        return {"double": 2 * super().train()["n"], "done": True}


class Nothing(OwnTrain):
    def train(self):
        return None


class NoSuper(tune.Trainable):
    def __init__(self, config, data=None):
        self.data = data

    def step(self):
        return {"loss": 2, "done": True}


@pytest.mark.parametrize(
    ("trainable", "own"), [(OwnTrain, {"loss": 1}), (ChangedTrain, {"double": 2})]
)
def test_results_of_a_train_of_its_own_are_completed(trial, trainable, own):
    trial.run(trainable)
    (result,) = trial.agent.results
    assert own.items() <= result.items()
    assert result["training_iteration"] == 1
    assert {"timesteps_total", "time_total_s", "done"} <= set(result)


@pytest.mark.parametrize(
    ("trainable", "words"),
    [
        (Nothing, "Nothing.train() returned NoneType"),
        (NoSuper, "NoSuper.__init__() does not call `super().__init__(config)`"),
    ],
)
def test_what_a_class_of_ones_own_lacks_is_said(trial, trainable, words):
    end = trial.run(trainable)
    assert end.kind == "InvalidTrainable"
    assert words in end.message


class Saves(Counts):
    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]


class CountsSaves(Saves):
    def setup(self, config):
        super().setup(config)
        self.saves = 0

    def save(self, checkpoint_dir=None):
        self.saves += 1
        return super().save(checkpoint_dir)


class SavesElsewhere(Saves):
    def save(self, checkpoint_dir=None):
        return "elsewhere"


class SavesModels(Saves):
    def save(self, path):
        raise AssertionError("this is something else")


def test_a_save_of_its_own_writes_the_checkpoints_of_a_trial(tmp_path):
    counts = CountsSaves({})
    counts.train()
    save_into(counts, str(tmp_path / "draft"))
    assert counts.saves == 1
    other = CountsSaves({})
    other.restore(tmp_path / "draft")
    assert other.n == 1
    assert counts.save(tmp_path) == str(tmp_path / "checkpoint_000001")


def test_a_save_of_its_own_that_writes_nothing_is_said(tmp_path):
    with pytest.raises(
        TuneError, match=r"SavesElsewhere.save\(\) does not call.*`save_checkpoint`"
    ):
        save_into(SavesElsewhere({}), str(tmp_path))


def test_a_method_for_something_else_that_is_called_save_is_not_called(tmp_path):
    save_into(SavesModels({}), str(tmp_path / "draft"))
    other = SavesModels({})
    other.restore(tmp_path / "draft")
