"""Who may be asked for checkpoints."""

import warnings

import pytest

import prefect_tune as tune
from prefect_tune import Trainable, with_resources
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.trainable.checkpoint_rules import (
    drop_rules_of_functions,
    validate_checkpoint_rules,
)


class Saves(Trainable):
    def save_checkpoint(self, checkpoint_dir): ...


class Inherits(Saves):
    pass


class Forgets(Trainable):
    pass


def function(config): ...


@pytest.mark.parametrize(
    ("trainable", "given", "rules"),
    [
        (function, (), CheckpointRules(0, False)),
        (function, (0, False), CheckpointRules(0, False)),
        (Forgets, (), CheckpointRules(0, False)),
        (Saves, (), CheckpointRules(0, True)),
        (Inherits, (3,), CheckpointRules(3, True)),
        (with_resources(Saves, {"cpu": 1}), (3, False), CheckpointRules(3, False)),
    ],
)
def test_rules(trainable, given, rules):
    assert validate_checkpoint_rules(trainable, *given) == rules


@pytest.mark.parametrize(
    ("trainable", "given", "problem"),
    [
        (function, (2,), "`checkpoint_freq`: function is a function.*by themselves"),
        (function, (0, True), "`checkpoint_at_end`: function is a function.*by themselves"),
        (Forgets, (2,), "`checkpoint_freq`: Forgets cannot save.*`save_checkpoint`"),
        (Forgets, (0, True), "`checkpoint_at_end`: Forgets cannot save.*`save_checkpoint`"),
        (Saves, (-1,), "`checkpoint_freq`: got -1"),
        (Saves, (True,), "`checkpoint_freq`: got True"),
        (Saves, (1.5,), "`checkpoint_freq`: got 1.5"),
        (Saves, (0, "yes"), "`checkpoint_at_end`: got 'yes'"),
    ],
)
def test_what_cannot_be_is_named(trainable, given, problem):
    with pytest.raises(InvalidArgument, match=problem):
        validate_checkpoint_rules(trainable, *given)


def with_directory(config, checkpoint_dir=None): ...


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ((2, False), "`checkpoint_freq` has no effect"),
        ((0, True), "`checkpoint_at_end` has no effect"),
        ((2, True), "`checkpoint_freq` and `checkpoint_at_end` have no effect"),
    ],
)
def test_run_leaves_out_with_a_warning_what_functions_do_by_themselves(given, named):
    with pytest.warns(UserWarning, match=f"function is a function.*{named}.*by themselves"):
        assert drop_rules_of_functions(function, *given) == (0, False)


@pytest.mark.parametrize(
    ("trainable", "given"),
    [
        (function, (0, False)),
        (function, (True, "yes")),
        (function, (-1, False)),
        (with_directory, (2, True)),
        (Saves, (2, True)),
        ("a name", (2, True)),
    ],
)
def test_everything_else_is_left_to_the_validation(trainable, given):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert drop_rules_of_functions(trainable, *given) == given


def test_what_a_trial_tells_of_the_arguments_of_run(tmp_path):
    class Counter(Saves):
        def step(self):
            return {"done": True}

    def trial_of(trainable, **more):
        analysis = tune.run(
            trainable,
            local_dir=str(tmp_path),
            isolation="thread",
            orchestrate=False,
            verbose=0,
            **more,
        )
        return analysis.trials[0]

    with pytest.warns(UserWarning, match="a function"):
        trial = trial_of(lambda config: {"a": 1}, checkpoint_freq=2, stop={"a": 5}, max_failures=1)
    assert (trial.status, trial.stopping_criterion) == ("TERMINATED", {"a": 5})
    assert (trial.max_failures, trial.checkpoint_freq) == (1, 0)
    trial = trial_of(
        Counter,
        checkpoint_freq=2,
        checkpoint_at_end=True,
        keep_checkpoints_num=3,
        checkpoint_score_attr="min-training_iteration",
        stop=lambda trial_id, result: False,
    )
    assert (trial.checkpoint_at_end, trial.keep_checkpoints_num) == (True, 3)
    assert trial.checkpoint_score_attr == "min-training_iteration"
    assert (trial.stopping_criterion, trial.checkpoint_freq) == ({}, 2)
