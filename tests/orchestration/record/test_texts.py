from __future__ import annotations

import json
import time
from uuid import RFC_4122

import pytest
from prefect.client.schemas.objects import TaskRun

from prefect_tune.coordinator.commands import Launch
from prefect_tune.orchestration.record.texts import (
    new_task_run_id,
    show_value,
    showable,
    task_run_name,
    task_run_text,
)
from prefect_tune.resources import Resources
from tests.orchestration.fakes import launch_of


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ä 漢 🙂 line\nline\t", "ä 漢 🙂 line\nline\t"),
        ("caf\udce9", r"caf\udce9"),
        ("a\x00b", r"a\x00b"),
    ],
)
def test_what_no_server_takes_is_escaped(text, shown):
    assert showable(text) == shown
    assert r"\u0000" not in json.dumps(showable(text))
    showable(text).encode()


def test_a_long_text_keeps_its_beginning_and_its_end():
    text = showable("the cause" + "x" * 100_000 + "the end", 8_000)
    assert text.startswith("the cause")
    assert text.endswith("the end")
    assert len(text) < 8_010
    assert showable("x" * 8_000, 8_000) == "x" * 8_000


def test_values_of_whatever_class_are_shown():
    class Mute:
        def __str__(self):
            raise RuntimeError("no words")

    assert show_value(Mute()) == "<Mute>"
    assert len(show_value("x" * 10_000_000)) < 2_000


def test_ids_of_task_runs_sort_as_they_were_made() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_task_run_id() for _ in range(50)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 50
    assert {(made.version, made.variant) for made in ids} == {(7, RFC_4122)}
    assert before <= ids[0].int >> 80 <= time.time_ns() // 1_000_000


def test_prefect_reads_the_text_of_a_task_run() -> None:
    launch, made = launch_of(3)[0], new_task_run_id()
    run = TaskRun.model_validate_json(task_run_text(launch, made))
    assert (run.id, run.name, run.run_count) == (made, "train_00003", 1)


@pytest.mark.parametrize(
    ("attempt", "checkpoint", "name"),
    [
        (1, None, "train_00001"),
        (2, None, "train_00001 attempt 2"),
        (2, "train_00001_x/checkpoint_000010", "train_00001 attempt 2 from checkpoint_000010"),
        (1, "s3://bucket/old/checkpoint_000003/", "train_00001 from checkpoint_000003"),
    ],
)
def test_attempts_are_told_apart(attempt: int, checkpoint: str | None, name: str) -> None:
    resources = Resources.parse(None)
    launch = Launch("1", attempt, "train_00001", {}, "node", resources, checkpoint=checkpoint)
    assert task_run_name(launch) == name
