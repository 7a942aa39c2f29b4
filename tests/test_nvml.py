"""What NVML says of GPUs."""

from __future__ import annotations

import sys

import pytest

from prefect_tune.nvml import Gpu, GpuMemory, gpu_memory, list_gpus

GIB = 1 << 30


def test_gpus_and_instances_of_divided_ones(nvml):
    nvml(
        {"uuid": "GPU-a", "name": "NVIDIA H200", "total": 140 * GIB},
        {"uuid": "GPU-lost", "name": "NVIDIA H200", "lost": True},
        {
            "uuid": "GPU-b",
            "name": "NVIDIA A100-SXM4-40GB",
            "instances": [{"uuid": f"MIG-{n}", "name": "MIG 1g", "total": 5 * GIB} for n in (1, 2)],
        },
    )
    assert list_gpus() == (
        Gpu("0", "GPU-a", "NVIDIA H200", 140 * GIB),
        Gpu("2:0", "MIG-1", "NVIDIA A100-SXM4-40GB", 5 * GIB, "GPU-b"),
        Gpu("2:1", "MIG-2", "NVIDIA A100-SXM4-40GB", 5 * GIB, "GPU-b"),
    )


def test_memory_and_who_uses_it(nvml):
    gpu = {"uuid": "GPU-a", "name": "x", "total": 100, "used": 70, "processes": {17: 60, 18: None}}
    nvml(gpu, {**gpu, "uuid": "GPU-b", "virtual": True, "old": True})
    assert gpu_memory("GPU-a") == GpuMemory(70, 100, {17: 60, 18: None})
    assert gpu_memory("GPU-b") == GpuMemory(70, 100)
    assert gpu_memory("GPU-c") is None


def test_nvml_is_shut_down_after_use(nvml):
    nvml({"uuid": "GPU-a", "name": "x"})
    list_gpus()
    gpu_memory("none")
    assert sys.modules["pynvml"]._open == 0


def test_without_driver_or_package_nothing_is_known(nvml, monkeypatch):
    nvml(driver=False)
    assert list_gpus() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # as if not installed
    assert list_gpus() is None
    assert gpu_memory("GPU-a") is None


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA A100 80GB PCIe", "A100"),
        ("Tesla V100-SXM2-16GB", "V100"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA GeForce RTX 4090", "GeForce-RTX-4090"),
        ("NVIDIA RTX A6000", "RTX-A6000"),
        ("Quadro RTX 6000", "RTX-6000"),
        ("NVIDIA TITAN V", "TITAN-V"),
    ],
)
def test_models(name, model):
    assert Gpu("0", "GPU-a", name, 1).model == model
