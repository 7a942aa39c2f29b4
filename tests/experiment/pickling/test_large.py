"""Large values of configurations are kept once, and shown short."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.error import StorageError
from prefect_tune.experiment.pickling.large import DIRECTORY, LARGE, LargeValues, shortened
from prefect_tune.experiment.pickling.plain import NotPlain, dump, load_all, load_plain

ARRAY = np.arange(LARGE, dtype=float)


class Own:
    def __init__(self, array: Any) -> None:
        self.array = array


def files(path: Path) -> list[Path]:
    return sorted((path / DIRECTORY).iterdir())


def test_equal_values_are_kept_once(tmp_path):
    large = LargeValues(tmp_path)
    values = {"array": ARRAY, "text": "x" * LARGE, "numbers": list(range(LARGE)), "small": 1}
    for number in range(3):
        data = dump({**values, "array": ARRAY.copy(), "number": number}, large)
        assert len(data) < 1000
        found = load_plain(data, LargeValues(tmp_path))
        assert np.array_equal(found.pop("array"), ARRAY)
        assert found == {key: values[key] for key in ("text", "numbers", "small")} | {
            "number": number
        }
    assert len(files(tmp_path)) == 3


def test_whoever_loads_an_array_gets_the_same_one(tmp_path):
    large = LargeValues(tmp_path)
    data = dump([Own(ARRAY)], large)
    one, other = load_all(data, large)[0].array, load_all(data, large)[0].array
    assert one is other
    assert np.array_equal(one, ARRAY)
    with pytest.raises(NotPlain, match="Own"):
        load_plain(data, large)


@pytest.mark.parametrize(
    "array", [ARRAY.reshape(2, -1).T, ARRAY.astype("S8"), ARRAY[::2], np.zeros((LARGE, 0))]
)
def test_arrays_of_every_kind(tmp_path, array):
    large = LargeValues(tmp_path)
    found = load_plain(dump(array, large), LargeValues(tmp_path))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert np.array_equal(found, array)


def test_what_is_damaged_or_missing_is_told(tmp_path):
    large = LargeValues(tmp_path)
    for value in (ARRAY, b"x" * LARGE):
        data = dump(value, large)
        (path,) = files(tmp_path)
        content = path.read_bytes()
        path.write_bytes(content[:-1] + b"?")
        with pytest.raises(StorageError, match="damaged"):
            load_plain(data, LargeValues(tmp_path))
        path.unlink()
        with pytest.raises(StorageError, match=path.name):
            load_plain(data, LargeValues(tmp_path))


def test_a_new_file_is_copied_before_anything_refers_to_it(tmp_path):
    copied: list[tuple[str, int]] = []
    large = LargeValues(tmp_path, lambda name, data: copied.append((name, len(data))))
    dump([ARRAY], large)
    dump([ARRAY], large)
    assert [name for name, _ in copied] == [f"{DIRECTORY}/{files(tmp_path)[0].name}"]
    assert copied[0][1] >= ARRAY.nbytes


@given(
    st.recursive(st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i))
)
def test_without_large_values_a_configuration_is_shown_as_it_is(config):
    assert shortened(config) is config


def test_large_values_are_shown_by_what_they_are():
    config = {"a": ARRAY, "b": [{"c": b"x" * LARGE}], "d": (1, "y" * LARGE), "e": [0] * LARGE}
    assert shortened(config) == {
        "a": f"<ndarray float64 ({LARGE},), 0.5 MiB>",
        "b": [{"c": f"<bytes of {LARGE}>"}],
        "d": (1, f"<str of {LARGE}>"),
        "e": f"<list of {LARGE}>",
    }
