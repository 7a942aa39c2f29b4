"""Signs that a fork of this process would be unsafe."""

from __future__ import annotations

import os

import pytest

from prefect_tune.execution.trial import fork_safety


@pytest.mark.parametrize(
    ("path", "unsafe"),
    [("/dev/nvidia0", True), ("/dev/nvidiactl", True), ("/dev/kfd", True), ("/dev/null", False)],
)
def test_open_device_files_are_a_sign(monkeypatch, path, unsafe):
    monkeypatch.setattr(os, "readlink", lambda link: path)
    with open(os.devnull):
        reasons = fork_safety._reasons_against_fork()
    assert ("CUDA was initialised by an import" in reasons) is unsafe
