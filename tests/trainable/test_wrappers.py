"""Trainables with arguments and resources of their own."""

import numpy as np
import pytest

from prefect_tune import DurableTrainable, Trainable, durable, with_parameters, with_resources
from prefect_tune.error import InvalidArgument, InvalidTrainable
from prefect_tune.trainable.function import trainable_name, validate_trainable
from prefect_tune.trainable.shipping.packing import load_trainable, pack_trainable
from prefect_tune.trainable.wrappers import requested_resources


class Sums(Trainable):
    """Sums what it is given."""

    def setup(self, config, data=None, factor=1):
        self.total = float(np.sum(data)) * factor

    def step(self):
        return {"x": self.total, "done": True}


def test_a_class_gets_its_parameters_on_the_node_too(trial):
    wrapped = with_parameters(Sums, data=np.arange(4), factor=2)
    validate_trainable(wrapped)

    trial.run(load_trainable(pack_trainable(wrapped)))

    assert [result["x"] for result in trial.agent.results] == [12.0]
    assert trainable_name(wrapped) == "Sums"
    assert wrapped.__doc__ == Sums.__doc__


@pytest.mark.parametrize("resources", [{"cpu": 2}, lambda config: {"cpu": config["n"]}])
def test_a_class_keeps_its_resources_with_parameters(resources):
    for wrapped in (
        with_resources(with_parameters(Sums, data=[1]), resources),
        with_parameters(with_resources(Sums, resources), data=[1]),
    ):
        asked = requested_resources(wrapped)
        assert (asked({"n": 2}) if callable(asked) else asked) == {"cpu": 2}
        wrapped({}).step()
    assert requested_resources(Sums) is None


def test_a_class_without_such_parameters_is_named():
    with pytest.raises(InvalidTrainable, match=r"Sums.setup\(.*unexpected keyword.*'other'"):
        with_parameters(Sums, other=1)
    with pytest.raises(InvalidTrainable, match="not a `Trainable`"):
        with_parameters(dict, other=1)


def test_impossible_resources_are_named():
    with pytest.raises(InvalidArgument, match="`resources`"):
        with_resources(Sums, 3)


def train(config): ...


def test_durable_gives_back_what_it_gets():
    for trainable in (train, Sums, "registered"):
        assert durable(trainable) is trainable
    with pytest.raises(InvalidTrainable):
        durable(3)
    assert issubclass(DurableTrainable, Trainable)


def test_a_function_for_resources_that_raises_is_named():
    class Asks(Sums):
        @classmethod
        def default_resource_request(cls, config):
            return config.n

    def by_attribute(config):
        return {"cpu": config.n}

    with pytest.raises(InvalidArgument, match=r"`with_resources`.*AttributeError.*a dict") as error:
        requested_resources(with_resources(Sums, by_attribute))({"n": 2})
    assert isinstance(error.value.__cause__, AttributeError)
    with pytest.raises(InvalidArgument, match=r"`default_resource_request`.*'n': 2"):
        requested_resources(Asks)({"n": 2})
    with pytest.raises(InvalidArgument, match="`cpu`: is missing"):
        requested_resources(with_resources(Sums, refuses))({})


def refuses(config):
    raise InvalidArgument("cpu", "is missing")
