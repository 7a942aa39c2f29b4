"""The journal file: whole records, and a good prefix after damage."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefect_tune.error import StorageError
from prefect_tune.storage.journal.file import LocalJournal

records = st.lists(
    st.binary(min_size=1, max_size=60).filter(lambda record: b"\n" not in record), max_size=12
)


@given(first=records, second=records)
def test_what_was_appended_is_read_in_order(tmp_path_factory, first, second):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    one = LocalJournal(path)
    one.append(first)
    one.close()
    again = LocalJournal(path)
    again.append(second)
    assert list(again.read()) == first + second
    assert list(again.read(len(first))) == second
    assert again.damage is None
    again.close()


@given(data=st.data())
def test_a_damaged_byte_ends_the_good_prefix(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = LocalJournal(path)
    written = [b'{"n":%d}' % number for number in range(6)]
    journal.append(written)
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    damaged_line = bytes(content[:position]).count(b"\n")
    good = list(journal.read())
    assert good == written[: len(good)]
    # Case of the checksum's hex digits does not matter, so that flip alone may go unnoticed.
    assert len(good) == damaged_line or good == written
    journal.close()


@given(cut=st.integers(1, 100))
def test_a_cut_file_keeps_its_whole_lines(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = LocalJournal(path)
    written = [b'{"n":%d}' % number for number in range(6)]
    journal.append(written)
    content = path.read_bytes()[:-cut]
    path.write_bytes(content)
    assert list(journal.read()) == written[: content.count(b"\n")]
    assert (journal.damage is not None) == (not content.endswith(b"\n") and bool(content))
    journal.close()


def test_a_journal_that_cannot_be_opened_is_named(tmp_path):
    with pytest.raises(StorageError, match="no/such"):
        LocalJournal(tmp_path / "no" / "such" / "journal.jsonl")


def test_damage_is_cut_off_and_kept(tmp_path):
    path = tmp_path / "journal.jsonl"
    journal = LocalJournal(path)
    journal.append([b"one", b"two", b"three"])
    whole = path.read_bytes()
    for number in (1, 2):
        lines = whole.splitlines(keepends=True)
        path.write_bytes(lines[0] + b"#" + lines[1] + lines[2])
        assert list(journal.read()) == [b"one"]
        kept = journal.cut_damage()
        assert kept == tmp_path / f"journal.jsonl.damaged-{number}"
        assert kept.read_bytes() == b"#" + lines[1] + lines[2]
        assert path.read_bytes() == lines[0]
    journal.append([b"new"])
    assert list(journal.read()) == [b"one", b"new"]
    assert journal.cut_damage() is None
    journal.close()
