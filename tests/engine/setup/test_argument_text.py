"""Search spaces in words."""

import prefect_tune as tune
from prefect_tune.engine.setup.argument_text import space_texts


def test_each_parameter_is_named_by_its_path():
    space = {"x": tune.uniform(0, 1), "deep": {"y": 1, "empty": {}}}
    assert space_texts(space) == {"x": "Float(0, 1)", "deep/y": "1", "deep/empty": "{}"}


def test_no_space_has_no_parameters():
    assert space_texts({}) == {}


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def test_an_object_that_cannot_be_shown_is_named_by_its_class() -> None:
    assert space_texts({"x": Mute()}) == {"x": "<Mute>"}
