"""Checks for those who write trainables, and waiting for GPUs."""

import os
import threading
from types import SimpleNamespace

import psutil
import pytest

import prefect_tune as tune
from prefect_tune.error import TuneError
from prefect_tune.trainable import node_usage
from prefect_tune.utils import diagnose_serialization, validate_save_restore, wait_for_gpu


class Saves(tune.Trainable):
    def setup(self, config):
        self.n = config.get("n", 0)

    def step(self):
        self.n += 1
        return {"n": self.n}

    def save_checkpoint(self, checkpoint_dir):
        return {"n": self.n}

    def load_checkpoint(self, checkpoint):
        self.n = checkpoint["n"]


@pytest.mark.parametrize("as_bytes", [False, True])
def test_a_class_that_saves_and_restores_passes(as_bytes):
    assert validate_save_restore(Saves, {"n": 5}, use_object_store=as_bytes) is True


def test_a_class_that_cannot_says_why():
    class Broken(Saves):
        def load_checkpoint(self, checkpoint):
            self.n = checkpoint["m"]

    with pytest.raises(KeyError, match="m"):
        validate_save_restore(Broken)

    class Counts(Saves):
        @property
        def training_iteration(self):
            return self.calls

        def setup(self, config):
            super().setup(config)
            self.calls = 0

        def step(self):
            self.calls += 1
            return super().step()

    with pytest.raises(TuneError, match=r"iteration 3.*iteration 0"):
        validate_save_restore(Counts)


def test_what_cannot_be_pickled_is_named(capsys):
    lock = threading.Lock()

    def bad(config):
        with lock:
            tune.report(x=1)

    assert diagnose_serialization(bad) == {"lock"}
    assert "`lock`: lock" in capsys.readouterr().out
    assert diagnose_serialization(Saves) is True
    assert "can be pickled" in capsys.readouterr().out


@pytest.fixture
def smi(tmp_path, monkeypatch):
    """An nvidia-smi that shows one line of usage after the other."""

    def install(*used):
        for number, value in enumerate(used):
            (tmp_path / f"answer{number}").write_text(
                f"0, GPU-aaaa, 0, 16000\n1, GPU-bbbb, {value}, 16000\n"
            )
        script = tmp_path / "nvidia-smi"
        script.write_text(
            f'#!/bin/sh\ncd {tmp_path}\nset -- answer*\ncat $1\n[ $# -gt 1 ] && rm "$1"\nexit 0\n'
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")

    return install


@pytest.mark.parametrize("gpu", [1, "1", "GPU-bbbb", None])
def test_waits_until_the_gpu_is_free(smi, monkeypatch, gpu):
    smi(9000, 9000, 10)
    slept = []
    monkeypatch.setattr(node_usage, "time", SimpleNamespace(sleep=slept.append))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,0")

    assert wait_for_gpu(gpu, delay_s=7) is True

    assert slept == [7, 7]


def test_gives_up_and_says_what_is_in_use(smi, monkeypatch):
    smi(9000)
    monkeypatch.setattr(node_usage, "time", SimpleNamespace(sleep=lambda _: None))
    with pytest.raises(RuntimeError, match=r"after 3 checks: 9000 of 16000 MiB"):
        wait_for_gpu(1, retry=3)
    assert wait_for_gpu(1, gpu_memory_limit=9500)
    with pytest.raises(RuntimeError, match=r"no GPU '5'; there are: 0 \(GPU-aaaa\)"):
        wait_for_gpu(5)


def test_nvml_is_asked_first_and_who_uses_the_gpu_is_told(nvml, smi, monkeypatch):
    smi(0)
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            nvml(gpu, {**gpu, "uuid": "GPU-bbbb", "used": 1 << 20})

    monkeypatch.setattr(node_usage, "time", SimpleNamespace(sleep=sleep))
    users = {str(os.getpid()): 900 << 20, "999999999": None}
    gpu = {"uuid": "GPU-aaaa", "name": "x", "total": 1000 << 20, "used": 950 << 20}
    nvml(gpu, {**gpu, "uuid": "GPU-bbbb", "processes": users})
    with pytest.raises(RuntimeError, match="GPU 1 is not free after 2 checks: 950 of 1000") as told:
        wait_for_gpu(1, retry=2, delay_s=3)
    me = psutil.Process().name()
    assert f"by {me} ({os.getpid()}, 900 MiB), process (999999999). At most 10" in str(told.value)
    with pytest.raises(RuntimeError, match="processes that cannot be seen from here"):
        wait_for_gpu("GPU-aaaa", retry=1)
    assert wait_for_gpu("GPU-b", delay_s=3)
    assert slept == [3, 3, 3]


def test_a_trial_without_a_gpu_is_told_how_to_get_one(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(RuntimeError, match="resources_per_trial"):
        wait_for_gpu()
