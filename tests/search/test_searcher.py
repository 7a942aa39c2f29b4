from __future__ import annotations

import json
import math
import pickle
from types import SimpleNamespace

import pytest

import prefect_tune as tune
from prefect_tune.error import InvalidArgument
from prefect_tune.search import ConcurrencyLimiter, Searcher
from prefect_tune.search.search_state import LATEST_STATE
from prefect_tune.search.searcher import check_metric_and_mode, metric_values


class Counting(Searcher):
    def __init__(self):
        super().__init__("score", "max")
        self.count = 0
        self.points = []
        self.function = lambda: self.count  # something that only cloudpickle can save

    def suggest(self, trial_id):
        self.count += 1
        return {"x": self.count}

    def on_trial_complete(self, trial_id, result=None, error=False):
        pass

    def add_evaluated_point(self, parameters, value, error=False, **more):
        self.points.append((parameters, value, error))


def test_save_and_restore_by_default(tmp_path):
    searcher = Counting()
    searcher.suggest("a")
    searcher.save(tmp_path / "state.pkl")
    again = Counting()
    again.restore(tmp_path / "state.pkl")
    assert again.suggest("b") == {"x": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["state.pkl"]


class Listing(Counting):
    """A searcher that is made of the objects of a library."""

    def saved_as(self):
        return "Listing", "json"


def saved_by_another_version(monkeypatch, path):
    searcher = Listing()
    searcher.suggest("a")
    searcher.save(path)
    monkeypatch.setattr(json, "__version__", "9.0")


def test_a_state_of_another_library_version_is_told_of(monkeypatch, tmp_path, caplog):
    before = json.__version__
    saved_by_another_version(monkeypatch, tmp_path / "state.pkl")
    again = Listing()
    again.restore(tmp_path / "state.pkl")
    assert again.count == 1
    assert f"Listing goes on with json 9.0, but its state was saved with {before}" in caplog.text


def test_a_state_that_another_library_version_cannot_read_is_refused(monkeypatch, tmp_path):
    saved_by_another_version(monkeypatch, tmp_path / "state.pkl")

    def set_state(self, state):
        raise AttributeError("no such class any more")

    monkeypatch.setattr(Listing, "set_state", set_state)
    with pytest.raises(InvalidArgument, match=r"`state`.*json 9.0 cannot read it.*no such class"):
        Listing().restore(tmp_path / "state.pkl")
    monkeypatch.undo()


def test_a_state_of_another_searcher_is_refused(tmp_path):
    ConcurrencyLimiter(Counting(), 2).save(tmp_path / "state.pkl")
    saved = r"is the saved state of ConcurrencyLimiter\(Counting\), not of "
    for other in (Counting(), ConcurrencyLimiter(Listing(), 2)):
        with pytest.raises(InvalidArgument, match=saved):
            other.restore(tmp_path / "state.pkl")


def test_a_state_without_a_head_is_restored(tmp_path):
    (tmp_path / "state.pkl").write_bytes(pickle.dumps({"count": 4}))
    searcher = Counting()
    searcher.restore(tmp_path / "state.pkl")
    assert searcher.count == 4


def test_save_to_dir_keeps_one_file_per_session_and_restores_the_newest(tmp_path):
    searcher = Counting()
    assert not searcher.has_restore_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="save_to_dir"):
        searcher.restore_from_dir(tmp_path)
    for session in ("1", "2"):
        searcher.suggest("a")
        searcher.save_to_dir(tmp_path, session)
    assert searcher.has_restore_files(tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    again = Counting()
    again.restore_from_dir(tmp_path)
    assert again.count == 2


def test_a_searcher_is_restored_from_the_directory_of_an_experiment(tmp_path):
    for name, searcher in (("one", Counting()), ("two", None)):
        tune.run(
            lambda config: {"score": 1},
            name=name,
            config={"x": 1},
            search_alg=searcher,
            num_samples=3,
            storage_path=str(tmp_path),
            orchestrate=False,
            verbose=0,
        )
    again = Counting()
    again.restore_from_dir(tmp_path / "one")
    assert again.count == 3
    with pytest.raises(InvalidArgument, match=r"`checkpoint_dir`.*random or grid search"):
        again.restore_from_dir(tmp_path / "two")
    (tmp_path / "one" / LATEST_STATE).write_bytes(b"{}\n")
    with pytest.raises(InvalidArgument, match=f"`checkpoint_dir`.*damaged {LATEST_STATE}"):
        again.restore_from_dir(tmp_path / "one")


def test_a_searcher_wants_results_if_it_overrides_the_hook():
    class Listening(Counting):
        def on_trial_result(self, trial_id, result):
            pass

    assert Listening().wants_results
    assert not Counting().wants_results


def test_base_class_defaults():
    searcher = Searcher("score", "min")
    assert (searcher.metric, searcher.mode) == ("score", "min")
    assert searcher.set_search_properties("a", "max", {}) is False
    assert searcher.set_max_concurrency(3) is False
    assert Searcher.FINISHED == "FINISHED"
    with pytest.raises(NotImplementedError):
        searcher.suggest("a")
    with pytest.raises(NotImplementedError, match="evaluated"):
        searcher.add_evaluated_point({}, 1.0)


def test_add_evaluated_trials():
    trials = [
        SimpleNamespace(config={"x": 1}, status="TERMINATED", last_result={"score": 2.0}),
        SimpleNamespace(config={"x": 2}, status="RUNNING", last_result={"score": 3.0}),
        SimpleNamespace(config={"x": 3}, status="TERMINATED", last_result={"other": 3.0}),
        SimpleNamespace(config={"x": 4}, status="ERROR", last_result=None),
    ]
    for given in (trials, SimpleNamespace(trials=trials)):
        searcher = Counting()
        searcher.add_evaluated_trials(given, "score")
        assert searcher.points[0] == ({"x": 1}, 2.0, False)
        assert searcher.points[1][0] == {"x": 4}
        assert math.isnan(searcher.points[1][1])
        assert len(searcher.points) == 2
    searcher = Counting()
    searcher.add_evaluated_trials(trials[0], "score")
    assert len(searcher.points) == 1


@pytest.mark.parametrize(
    ("metric", "mode", "argument"),
    [
        ("a", "maximum", "mode"),
        ("a", ["min"], "mode"),
        (["a", "b"], "min", "mode"),
        (["a", "b"], ["min"], "mode"),
        (["a", "b"], ["min", "best"], "mode"),
        (3, "min", "metric"),
    ],
)
def test_wrong_metric_and_mode(metric, mode, argument):
    with pytest.raises(InvalidArgument, match=f"`{argument}`"):
        check_metric_and_mode(metric, mode)
    with pytest.raises(InvalidArgument):
        Searcher(metric, mode)


def test_metric_values():
    assert metric_values({"a": 1, "b": 2}, ["a", "b"]) == [1.0, 2.0]
    assert metric_values({"a": 1}, ["a", "b"]) is None
    assert metric_values({"_metric": 3}, None) == [3.0]
    assert metric_values(None, "a") is None
