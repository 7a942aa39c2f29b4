from __future__ import annotations

import numpy as np
import pytest

from prefect_tune.space.random import UniformStream, stream_state


def test_the_numbers_are_those_that_single_draws_give() -> None:
    uniform, single = UniformStream(3), np.random.default_rng(3)
    assert [uniform() for _ in range(600)] == [single.random() for _ in range(600)]


@pytest.mark.parametrize("taken", [0, 1, 255, 256, 257, 700])
def test_it_continues_where_a_mark_was_set(taken: int) -> None:
    uniform = UniformStream(3)
    for _ in range(taken):
        uniform()
    mark = uniform.mark()
    expected = [uniform() for _ in range(300)]
    other = UniformStream(4)
    other.seek(uniform.state_at(mark))
    assert [other() for _ in range(300)] == expected


def test_it_continues_from_a_plain_state_of_a_stream() -> None:
    single = np.random.default_rng(3)
    single.random(10)
    uniform = UniformStream(3)
    uniform.seek(stream_state(single))
    assert uniform() == single.random()


@pytest.mark.parametrize("make", [np.random.default_rng, np.random.RandomState])
def test_it_takes_no_more_from_a_users_stream_than_was_asked_for(make: object) -> None:
    assert callable(make)
    own, other = make(3), make(3)
    uniform = UniformStream(own)
    for _ in range(5):
        uniform()
    mark = uniform.mark()
    other.random(5)
    assert own.random() == other.random()
    uniform.seek(uniform.state_at(mark))
    assert uniform() == make(3).random(6)[5]
