"""Header records: what wrote a journal."""

import pytest

from prefect_tune.error import StorageError
from prefect_tune.storage.journal.header import JOURNAL_FORMAT, JournalHeader, parse_header


def test_a_header_comes_back():
    header = JournalHeader("b", "a", "name", 1.5, "train", "0123", "OptunaSearch", "FIFOScheduler")
    assert parse_header(header.encode()) == header
    assert not header.is_first
    assert JournalHeader("a", "a", "name", 1.5).is_first


def test_other_records_are_none():
    assert parse_header(b'{"event":"Tick","time":1.0}') is None


def test_a_newer_format_is_refused():
    with pytest.raises(StorageError, match="Update prefect_tune"):
        parse_header(b'{"journal":%d}' % (JOURNAL_FORMAT + 1))


def test_headers_from_before_there_was_an_origin_begin_a_run():
    header = parse_header(b'{"journal":1,"experiment_id":"a","name":"n","time":1.0}')
    assert header is not None
    assert header.is_first
