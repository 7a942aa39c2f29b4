"""What `log_to_file` may be."""

from __future__ import annotations

from typing import Any

import pytest

from prefect_tune.error import InvalidArgument
from prefect_tune.trainable.output import OutputFiles


@pytest.mark.parametrize(
    ("given", "stdout", "stderr", "kept"),
    [
        (False, "stdout", "stderr", False),
        (None, "stdout", "stderr", False),
        (True, "stdout", "stderr", True),
        ("log.txt", "log.txt", "log.txt", True),
        (("o.txt", "e.txt"), "o.txt", "e.txt", True),
        (["logs/o", "/var/e"], "logs/o", "/var/e", True),
        ((None, "e"), "stdout", "e", True),
    ],
)
def test_forms(given: Any, stdout: str, stderr: str, kept: bool) -> None:
    assert OutputFiles.parse(given) == OutputFiles(stdout, stderr, kept)


@pytest.mark.parametrize(
    "wrong", [1, "", "a/", ("a",), ("a", "b", "c"), ("a", 3), "../x", "result.json", {"a": "b"}]
)
def test_anything_else_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidArgument, match="log_to_file"):
        OutputFiles.parse(wrong)
