"""One wrong byte in a journal: what was written is found again; more is left alone."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from prefect_tune.storage.journal.file import encode_line
from prefect_tune.storage.journal_repair import repair_lines

RECORD = b'{"event":"TrialSuggested","time":12.5,"config":{"x":[1,2,{"a b":"\\u00e4 c"}]}}'


@given(
    payload=st.dictionaries(st.text(max_size=8), st.text(max_size=40), max_size=5),
    place=st.integers(0, 10_000),
    change=st.integers(1, 255),
)
@example(payload={"a": "b"}, place=8, change=1)
@example(payload={"a": "b"}, place=0, change=1)
def test_any_wrong_byte_of_a_line(payload, place, change):
    line = encode_line(orjson.dumps({"event": "X", **payload}))
    place %= len(line) - 1
    damaged = bytearray(line)
    damaged[place] ^= change
    # As a reader sees them: lines; of more, see below.
    assume(bytes(damaged).count(b"\n") == 1)
    assert repair_lines(bytes(damaged)) == line


@pytest.mark.parametrize("place", range(1, len(RECORD) + 8))
def test_a_newline_where_there_was_none(place):
    line = encode_line(RECORD)
    damaged = line[:place] + b"\n" + line[place + 1 :]
    assert repair_lines(damaged) == line


def test_no_newline_where_there_was_one():
    first, second = encode_line(RECORD), encode_line(b'{"event":"Tick","time":1.0}')
    assert repair_lines(first[:-1] + b"\x0b" + second) == first + second


@pytest.mark.parametrize(
    "damaged",
    [
        encode_line(RECORD)[:-20],
        encode_line(RECORD)[:-20] + b"\n",
        b"\0" * 50 + b"\n",
        b"\n",
        b"",
        encode_line(RECORD).replace(b"TrialSuggested", b"TrialUnwanted!"),
    ],
)
def test_more_than_one_byte_is_not_guessed(damaged):
    assert repair_lines(damaged) is None
