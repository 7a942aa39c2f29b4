"""Appending to many files."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prefect_tune.logger.files import AppendFiles, cut_incomplete_line


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5), st.binary(max_size=20), st.sampled_from(["", "flush", "close"])
        ),
        max_size=40,
    )
)
def test_each_file_gets_its_own_bytes_in_order(steps: list[tuple[int, bytes, str]]) -> None:
    expected: dict[int, bytes] = {}
    with tempfile.TemporaryDirectory() as directory:
        files = AppendFiles(max_open=2)
        for number, data, then in steps:
            path = f"{directory}/{number}/file"
            files.append(path, data)
            expected[number] = expected.get(number, b"") + data
            if then == "flush":
                files.flush()
            elif then == "close":
                files.close(path)
        files.close_all()
        for number, data in expected.items():
            path = Path(directory) / str(number) / "file"
            assert path.read_bytes() == data


def test_much_is_written_without_a_flush(tmp_path: Path) -> None:
    files = AppendFiles()
    files.append(str(tmp_path / "f"), b"x" * 1_000_000)
    assert (tmp_path / "f").stat().st_size == 1_000_000
    files.close_all()


@settings(deadline=None)
@given(st.binary(max_size=200).map(lambda data: data.replace(b"!", b"\n")))
def test_a_torn_line_is_dropped_and_nothing_else(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "f"
        path.write_bytes(data)
        ends = cut_incomplete_line(str(path))
        assert len(ends) == data.count(b"\n")
        assert path.read_bytes() == data[: data.rfind(b"\n") + 1]


def test_a_very_long_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"whole\n" + b"x" * 200_000)
    assert cut_incomplete_line(str(path)) == [6]
    assert path.read_bytes() == b"whole\n"


def test_a_line_that_is_torn_between_quotes(tmp_path: Path) -> None:
    path = tmp_path / "f.csv"
    path.write_bytes(b'a,b\n1,"two\nlines"\n2,"torn\nhere')
    assert cut_incomplete_line(str(path), quotes=True) == [4, 18]
    assert path.read_bytes() == b'a,b\n1,"two\nlines"\n'


def test_a_full_disk_is_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "result.json").symlink_to("/dev/full")
    files = AppendFiles()
    files.append(str(tmp_path / "result.json"), b"line")
    with pytest.raises(OSError, match=r"No space left.*result\.json"):
        files.flush()
