"""Cells and headings."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.experiment.trial import Trial
from prefect_tune.reporters.columns import (
    as_cell,
    format_duration,
    format_parameters,
    parameter_columns,
    shorten_headings,
    user_metrics,
)
from prefect_tune.reporters.console import Table, text_table


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (True, "True"),
        (12, "12"),
        (123456789012, "1.235e+11"),
        (0.1234567, "0.1235"),
        (1e-7, "1e-07"),
        (float("nan"), "nan"),
        ("short", "short"),
        ("a very long text of many words", "… text of many words"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert as_cell(value) == text
    assert len(as_cell(value)) <= 20


def test_parameters_are_headed_by_their_last_part_if_that_is_clear() -> None:
    trial = Trial("1", {}, evaluated_params={"net/lr": 0.1, "head/lr": 0.2, "net/units": 3})
    assert parameter_columns([trial]) == {
        "net/lr": "net/lr",
        "head/lr": "head/lr",
        "net/units": "units",
    }
    assert format_parameters(trial) == "net/lr=0.1, head/lr=0.2, units=3"


def test_only_numbers_of_the_users_own_are_metrics() -> None:
    trial = Trial("1", {})
    trial.last_result = {
        "loss": 1.0,
        "val": {"acc": 2},
        "text": "x",
        "flag": True,
        "pid": 3,
        "training_iteration": 4,
        "mean_accuracy": 3,
        "fourth": 4,
    }
    assert user_metrics([trial]) == ["loss", "val/acc", "mean_accuracy", "fourth"]
    assert user_metrics([trial], limit=3) == ["loss", "val/acc", "mean_accuracy"]


def test_durations() -> None:
    assert [format_duration(s) for s in (-1, 0, 61.9, 36_000)] == [
        "0:00:00",
        "0:00:00",
        "0:01:01",
        "10:00:00",
    ]


def test_tables_align_numbers_to_the_right() -> None:
    assert text_table(Table(["name", "n"], [["a", "1"], ["bcdef", "-10.5"]])) == [
        "+-------+-------+",
        "| name  |     n |",
        "|-------|-------|",
        "| a     |     1 |",
        "| bcdef | -10.5 |",
        "+-------+-------+",
    ]


def test_headings_that_end_alike_keep_their_beginnings() -> None:
    names = [f"p_{n:02d}_parameter_of_some_length" for n in range(30)]
    cut = shorten_headings([*names, "optimizer/learning_rate_of_all", "short"], 20)
    assert cut[0] == "p_00_param…me_length"
    assert len(set(cut)) == len(cut)
    assert cut[-2:] == ["…earning_rate_of_all", "short"]
    assert max(map(len, cut)) <= 20


def test_a_wide_table_becomes_several_with_the_first_column_in_each() -> None:
    table = Table(["trial", "a", "b", "long"], [["t1", "1", "x", "words " * 5]], "a note")
    assert text_table(table, 24) == [
        "+-------+---+---+",
        "| trial | a | b |",
        "|-------|---|---|",
        "| t1    | 1 | x |",
        "+-------+---+---+",
        "+-------+--------------------------------+",
        "| trial | long                           |",
        "|-------|--------------------------------|",
        "| t1    | words words words words words  |",
        "+-------+--------------------------------+",
        "a note",
    ]
    whole = text_table(table)
    assert text_table(table, len(whole[0])) == whole
    assert len(text_table(table, len(whole[0]) - 1)) > len(whole)
    assert text_table(Table(["only"], [["wide"]]), 3) == text_table(Table(["only"], [["wide"]]))
