"""Who may be asked for checkpoints."""

import pytest

from prefect_tune import Trainable, with_resources
from prefect_tune.error import InvalidArgument
from prefect_tune.experiment.checkpoints import CheckpointRules
from prefect_tune.trainable.rules import validate_checkpoint_rules


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
