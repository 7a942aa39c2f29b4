"""Conformance tests for journals.

Derive a test class that says how to open the journal, and how to open it again after its process
has died::

    class TestMine(JournalConformance):
        def open(self):
            return Mine(self.directory / "journal")

        def reopen(self, journal):
            return Mine(self.directory / "journal")
"""

from __future__ import annotations

from pathlib import Path

import pytest

from prefect_tune.storage.journal.file import Journal


class JournalConformance:
    """The tests that every journal has to pass; derive a test class from it."""

    directory: Path

    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.directory = tmp_path

    def open(self) -> Journal:
        """Open a journal without records."""
        raise NotImplementedError

    def reopen(self, journal: Journal) -> Journal:
        """Open the same journal again as another process would; the old one is not closed."""
        raise NotImplementedError

    def test_a_new_one_is_empty(self) -> None:
        journal = self.open()
        assert list(journal.read()) == []
        journal.close()

    def test_records_come_back_in_order(self) -> None:
        journal = self.open()
        journal.append([b'{"a":1}', b'{"b":2}'])
        journal.append([])
        journal.append([b'{"c":3}'])
        assert list(journal.read()) == [b'{"a":1}', b'{"b":2}', b'{"c":3}']
        assert list(journal.read(1)) == [b'{"b":2}', b'{"c":3}']
        assert list(journal.read(9)) == []
        journal.close()

    def test_records_survive_the_process(self) -> None:
        journal = self.open()
        records = [b'{"n":%d}' % number for number in range(1000)]
        journal.append(records)
        again = self.reopen(journal)
        assert list(again.read()) == records
        again.append([b'{"more":1}'])
        assert list(again.read(999)) == [records[-1], b'{"more":1}']
        once_more = self.reopen(again)
        assert list(once_more.read(1000)) == [b'{"more":1}']

    def test_large_and_odd_records(self) -> None:
        journal = self.open()
        records = [b'"%s"' % (b"x" * 3_000_000), '"ü\\n"'.encode(), b"0"]
        journal.append(records)
        assert list(self.reopen(journal).read()) == records

    def test_reading_while_writing(self) -> None:
        journal = self.open()
        journal.append([b"1", b"2"])
        reading = journal.read()
        assert next(reading) == b"1"
        journal.append([b"3"])
        assert next(reading) == b"2"
        assert list(journal.read()) == [b"1", b"2", b"3"]
        journal.close()
