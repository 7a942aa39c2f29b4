"""The event file format, against the implementations of tensorboardX and protobuf."""

from __future__ import annotations

import io
import struct

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboardX import crc32c as reference
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import RecordWriter

from prefect_tune.logger.tensorboard_events import ScalarEvents, crc32c, file_header, tf_record


def split_records(data: bytes) -> list[bytes]:
    found = []
    while data:
        (size,) = struct.unpack_from("<Q", data)
        found.append(data[: size + 16])
        data = data[size + 16 :]
    return found


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_checksum_is_the_reference_one(data: bytes) -> None:
    assert crc32c(data) == reference.crc32c(data)


def test_checksum_of_the_published_test_vector() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720, appendix B.4


@given(st.floats(1, 1e10))
def test_a_file_begins_with_the_version_of_its_format(clock: float) -> None:
    version = Event(wall_time=clock, file_version="brain.Event:2")
    assert file_header(clock)[12:-4] == version.SerializeToString()


@settings(deadline=None)
@given(
    st.lists(st.text(min_size=1, max_size=140), min_size=1, max_size=5, unique=True),
    st.data(),
)
def test_events_read_back_with_right_checksums(tags: list[str], data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 4))
    floats = st.floats(width=32, allow_nan=False)
    rows = data.draw(
        st.lists(
            st.lists(floats, min_size=len(tags), max_size=len(tags)),
            min_size=count,
            max_size=count,
        )
    )
    steps = data.draw(st.lists(st.integers(0, 2**62), min_size=count, max_size=count))
    clocks = data.draw(st.lists(st.floats(0, 1e10), min_size=count, max_size=count))
    encoded = ScalarEvents(tags).encode(
        np.array(clocks), np.array(steps, np.int64), np.array(rows, np.float64)
    )
    records = split_records(encoded)
    assert len(records) == count
    for record, step, clock, row in zip(records, steps, clocks, rows, strict=True):
        assert record == tf_record(record[12:-4])
        event = Event.FromString(record[12:-4])
        assert (event.step, event.wall_time) == (step, clock)
        assert [value.tag for value in event.summary.value] == tags
        assert [value.simple_value for value in event.summary.value] == row


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_frame_is_the_one_of_tensorboardx(data: bytes) -> None:
    writer = RecordWriter.__new__(RecordWriter)
    writer._writer = buffer = io.BytesIO()
    writer.write(data)
    assert tf_record(data) == buffer.getvalue()
