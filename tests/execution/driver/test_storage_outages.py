"""Storage that does not answer the nodes is told where the sweep is watched."""

from __future__ import annotations

import logging

import pytest

from prefect_tune.execution.checkpoints.upload_process import OutageReport
from prefect_tune.execution.driver.storage_outages import StorageOutages
from prefect_tune.execution.protocol.reports import StorageOutage
from prefect_tune.execution.protocol.upload_messages import Message

AWAY = StorageOutage("cannot write s3://b/x (it took too long).")
BACK = StorageOutage("")


def test_an_outage_of_several_nodes_is_told_once_each_way(
    caplog: pytest.LogCaptureFixture,
) -> None:
    outages = StorageOutages()
    with caplog.at_level(logging.WARNING):
        outages.on_report("a", AWAY)
        outages.on_report("b", AWAY)
        outages.on_report("a", BACK)
        assert [record.levelname for record in caplog.records] == ["WARNING"]
        assert "from a: cannot write s3://b/x" in caplog.text
        outages.on_report("b", BACK)
    assert len(caplog.records) == 2
    assert "again after 0 s" in caplog.text
    outages.on_report("b", AWAY)
    assert len(caplog.records) == 3


def test_a_node_that_is_gone_says_nothing_of_storage(caplog: pytest.LogCaptureFixture) -> None:
    outages = StorageOutages()
    outages.on_report("a", AWAY)
    outages.lose_node("a")
    outages.on_report("b", BACK)
    assert "again" not in caplog.text
    outages.on_report("b", AWAY)
    assert "from b" in caplog.text


def test_the_process_that_moves_checkpoints_says_it_once_each_way() -> None:
    said: list[tuple[Message, object]] = []
    report = OutageReport(lambda message, payload: said.append((message, payload)))
    report.on_success()
    for problem in ("one", "two"):
        report.on_failure(problem)
    for _ in range(2):
        report.on_success()
    report.on_failure("three")
    assert said == [(Message.AWAY, "one"), (Message.BACK, None), (Message.AWAY, "three")]
