"""Large objects of trainables on their way to the nodes."""

import logging
import os
import pickle

import numpy as np
import pytest

from prefect_tune import with_parameters
from prefect_tune.error import StorageError
from prefect_tune.trainable.shipping.large_data import DataFile, DataParts
from prefect_tune.trainable.shipping.packing import load_trainable, pack_trainable, self_contained

MB = 1 << 20


def train(config, data=None, more=None):
    return data, more


def send(parts, piece=3 * MB):
    """What the driver and a node do between them."""
    file = pickle.loads(pickle.dumps(parts)).create()
    for offset in range(0, parts.size, piece):
        file.write(offset, parts.read(offset, piece))
    return file


def travel(source):
    arrived = pickle.loads(pickle.dumps(source))
    return pickle.loads(pickle.dumps(arrived)), send(source.data)


@pytest.mark.parametrize("for_forks", [True, False])
def test_large_arrays_arrive_as_they_were_and_may_be_written_to(for_forks):
    data = np.random.default_rng(0).random(MB)
    source = pack_trainable(with_parameters(train, data=data, more=np.arange(MB)))
    # The modules of the working directory travel with each trainable.
    without_data = pack_trainable(with_parameters(train, data=0, more=0))
    rest = len(pickle.dumps(source)) - len(pickle.dumps(without_data))
    assert rest < MB, "they do not travel with the rest"

    arrived, file = travel(source)
    object.__setattr__(arrived, "data", file)
    got, more = load_trainable(arrived, for_forks)({})
    again, _ = load_trainable(arrived, for_forks)({})

    assert (got == data).all()
    assert (more == np.arange(MB)).all()
    got[0] = 7
    assert again[0] == data[0] != 7


def test_what_large_objects_are_made_of_does_not_matter():
    objects = {"text": "x" * 5 * MB, "many": list(range(MB))}
    source = pack_trainable(with_parameters(train, data=objects))

    arrived, file = travel(source)
    object.__setattr__(arrived, "data", file)

    assert load_trainable(arrived)({})[0] == objects


def test_the_driver_copies_nothing_and_can_write_all_into_one_pickle():
    data = np.ones(MB)
    source = pack_trainable(with_parameters(train, data=data))

    assert any(
        np.shares_memory(np.frombuffer(view, np.uint8), data) for view in source.data.views()
    )
    assert (pickle.loads(self_contained(source))({})[0] == data).all()


def test_small_objects_travel_with_the_trainable():
    source = pack_trainable(with_parameters(train, data=np.ones(1000)))

    assert source.data is None
    assert self_contained(source) == source.pickled


@pytest.mark.parametrize("length", [1, 7, 64, 1000])
def test_parts_may_be_read_in_any_pieces(length):
    parts = DataParts([b"a" * 70, b"", memoryview(np.arange(9, dtype=np.uint8)), b"z" * 3])

    whole = b"".join(parts.read(offset, length) for offset in range(0, parts.size, length))

    assert len(whole) == parts.size
    file = send(parts, piece=length)
    assert [bytes(view) for view in file.views()] == [b"a" * 70, b"", bytes(range(9)), b"z" * 3]


def test_a_file_that_was_given_up_says_so_and_those_who_have_read_it_keep_it():
    file = send(DataParts([b"x" * 100]))
    mapped, copied = file.views(), file.views(own=True)
    file.close()

    assert bytes(mapped[0]) == bytes(copied[0]) == b"x" * 100
    for action in (file.views, lambda: file.write(0, b"")):
        with pytest.raises(StorageError, match="trainable's data"):
            action()
    with pytest.raises(StorageError, match="not on this node"):
        DataFile((), 0).views()


def test_no_file_is_left_behind(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    file = send(DataParts([b"x" * 100]))

    if os.path.isdir("/proc/self/fd"):
        assert not list(tmp_path.iterdir())
    file.close()
    assert not list(tmp_path.iterdir())


def test_a_function_that_carries_a_large_variable_along_is_told(caplog):
    big, less = np.ones(2 * MB), np.ones(MB)

    with caplog.at_level(logging.WARNING, "prefect_tune"):
        pack_trainable(with_parameters(train, data=big))
        pack_trainable(lambda config: less.sum())
        assert not caplog.messages, "the first was meant, the second is not much"
        pack_trainable(lambda config: big.sum())

    (message,) = caplog.messages
    assert "16 MB" in message
    assert "`big`" in message
    assert "with_parameters" in message
