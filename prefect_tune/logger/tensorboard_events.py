"""Encode TensorBoard events of many scalars at once.

An event file is a sequence of TFRecords; each holds an `Event` message (tensorflow/core/util/
event.proto) and two CRC-32C checksums. All events with the same tags differ only in a few bytes, so
they are written as the rows of a byte matrix. CRC-32C is linear: the checksum of a row is that of
the common bytes, combined with one table look-up for each byte that differs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

_Bytes = NDArray[np.uint8]
_Words = NDArray[np.uint32]
_STEP_BYTES = 9  # 63 bits as a varint of fixed length
_STEP_SHIFTS = np.arange(_STEP_BYTES, dtype=np.int64) * 7
_STEP_FLAGS = np.array([0x80] * (_STEP_BYTES - 1) + [0], dtype=np.uint8)
_POLYNOMIAL = 0x82F63B78


@cache
def _crc_table() -> _Words:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


def crc32c(data: bytes) -> int:
    """Return the CRC-32C checksum of some bytes."""
    table = _crc_table().tolist()
    crc = 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(crc: Any) -> Any:
    # TFRecord masks checksums, because a CRC of data that contains CRCs is weak.
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _length_header(length: int) -> bytes:
    size = struct.pack("<Q", length)
    return size + struct.pack("<I", _masked(crc32c(size)))


def tf_record(data: bytes) -> bytes:
    """Return bytes as a TFRecord: their length and its checksum, the bytes and their checksum."""
    return _length_header(len(data)) + data + struct.pack("<I", _masked(crc32c(data)))


def file_header(wall_time: float) -> bytes:
    """Return the record that a file begins with: an event with the version of the format."""
    # Event: wall_time = 1 (double), file_version = 3 (text).
    return tf_record(b"\x09" + struct.pack("<d", wall_time) + _field(3, b"brain.Event:2"))


class ScalarEvents:
    """Encodes events with one value for each of some tags.

    Args:
        tags: Names of the scalars.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        values = [_field(1, tag.encode()) + b"\x15\0\0\0\0" for tag in tags]
        summary = b"".join(_field(1, value) for value in values)
        # Event: wall_time = 1 (double), step = 2 (varint), summary = 5.
        event = b"\x09" + bytes(8) + b"\x10" + bytes(_STEP_BYTES) + _field(5, summary)
        positions = [*range(1, 9), *range(10, 10 + _STEP_BYTES)]
        end = len(event) - len(summary)
        for value in values:
            end += len(_field(1, value))
            positions += range(end - 4, end)
        self._positions = np.array(positions)
        self._rows = np.arange(len(positions))
        self._effects = _effects(len(event), positions)
        self._common_crc = np.uint32(crc32c(event))
        header = _length_header(len(event))
        self._record = np.frombuffer(header + event + bytes(4), dtype=np.uint8)
        self._event_start = len(header)

    def encode(
        self,
        wall_times: NDArray[np.float64],
        steps: NDArray[np.int64],
        values: NDArray[np.float64],
    ) -> bytes:
        """Encode events as consecutive TFRecords.

        Args:
            wall_times: Seconds since the epoch, shape (events,).
            steps: Not negative, shape (events,).
            values: Shape (events, tags).
        """
        count = len(steps)
        clocks = np.ascontiguousarray(wall_times, dtype="<f8").view(np.uint8).reshape(count, 8)
        varints = ((steps[:, None] >> _STEP_SHIFTS) & 0x7F).astype(np.uint8) | _STEP_FLAGS
        with np.errstate(over="ignore"):  # values beyond the range of float32 become infinite
            floats = np.ascontiguousarray(values, dtype="<f4").view(np.uint8).reshape(count, -1)
        variable: _Bytes = np.concatenate((clocks, varints, floats), axis=1)
        effects: _Words = self._effects[self._rows, variable]
        crcs = np.bitwise_xor.reduce(effects, axis=1, initial=self._common_crc)
        records = np.tile(self._record, (count, 1))
        records[:, self._positions + self._event_start] = variable
        checksums = _masked(crcs.astype(np.uint64)).astype("<u4")
        records[:, -4:] = checksums.view(np.uint8).reshape(count, 4)
        return records.tobytes()


def _effects(length: int, positions: Sequence[int]) -> _Words:
    """Return how each byte at each position changes the checksum; shape (positions, 256)."""
    table = _crc_table()
    rows = {position: row for row, position in enumerate(positions)}
    effects = np.empty((len(positions), 256), dtype=np.uint32)
    current = table
    for position in reversed(range(length)):
        if position in rows:
            effects[rows[position]] = current
        current = table[current & 0xFF] ^ (current >> 8)
    return effects


def _field(number: int, content: bytes) -> bytes:
    """Encode a field of a protobuf message that holds bytes, text or a message."""
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
