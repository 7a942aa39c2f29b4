from __future__ import annotations

import uuid

from prefect_tune.storage.fetch import begin_run, fetch_experiment
from prefect_tune.storage.journal.file import JOURNAL_FILE, Journal, LocalJournal
from prefect_tune.storage.journal.header import JournalHeader
from prefect_tune.storage.journal.shipper import Shipment
from tests.storage.journal.journal_conformance import JournalConformance
from tests.storage.stores import DictStore


class TestLocal(JournalConformance):
    def open(self) -> Journal:
        return LocalJournal(self.directory / JOURNAL_FILE)

    def reopen(self, journal: Journal) -> Journal:
        return self.open()


class _Shipped(LocalJournal):
    """A local journal whose records are in storage when `append` returns."""

    shipment: Shipment

    def append(self, records) -> None:
        super().append(records)
        while self.shipment.step():
            self.shipment.merge()

    def read(self, from_: int = 0):
        # Headers are the business of whoever opens an experiment.
        records = (record for record in super().read() if not record.startswith(b'{"journal"'))
        for index, record in enumerate(records):
            if index >= from_:
                yield record


class TestShipped(JournalConformance):
    """Each process is on another machine: it knows what storage knows."""

    def open(self) -> Journal:
        self.store = DictStore()
        self.origin = uuid.uuid4().hex
        return self._on_a_new_machine(resume=False)

    def reopen(self, journal: Journal) -> Journal:
        return self._on_a_new_machine(resume=True)

    def _on_a_new_machine(self, resume: bool) -> Journal:
        directory = self.directory / uuid.uuid4().hex
        directory.mkdir()
        opened = (fetch_experiment if resume else begin_run)(self.store, directory)
        writer = uuid.uuid4().hex if resume else self.origin
        journal = _Shipped(directory / JOURNAL_FILE)
        journal.shipment = Shipment(self.store, journal.path, opened, writer[:8])
        journal.append([JournalHeader(writer, self.origin, "exp", 0.0).encode()])
        return journal
