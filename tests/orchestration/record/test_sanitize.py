import json

import pytest

from prefect_tune.orchestration.record.sanitize import show_value, showable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ä 漢 🙂 line\nline\t", "ä 漢 🙂 line\nline\t"),
        ("caf\udce9", r"caf\udce9"),
        ("a\x00b", r"a\x00b"),
    ],
)
def test_what_no_server_takes_is_escaped(text, shown):
    assert showable(text) == shown
    assert r"\u0000" not in json.dumps(showable(text))
    showable(text).encode()


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = showable("the cause" + "x" * 100_000 + "the end", 8_000)
    assert text.startswith("the cause")
    assert text.endswith("the end")
    assert len(text) < 8_010
    assert showable("x" * 8_000, 8_000) == "x" * 8_000


def test_values_of_whatever_class_are_shown():
    class Mute:
        def __str__(self):
            raise RuntimeError("no words")

    assert show_value(Mute()) == "<Mute>"
    assert len(show_value("x" * 10_000_000)) < 2_000
