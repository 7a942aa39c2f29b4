"""GPU ids."""

from __future__ import annotations

import pytest

from prefect_tune.execution.cluster.gpus import model_label, visible_devices, visible_gpus
from prefect_tune.trainable.runtime import environment
from prefect_tune.trainable.runtime.environment import device_variables


@pytest.mark.parametrize(
    ("variable", "ids"),
    [
        ("", ()),
        ("-1", ()),
        ("0", ("0",)),
        ("2, 0", ("2", "0")),
        ("0,-1,1", ("0",)),
        ("GPU-8932f937,MIG-GPU-1/2/0", ("GPU-8932f937", "MIG-GPU-1/2/0")),
    ],
)
def test_the_variable_is_read_as_cuda_reads_it(monkeypatch, variable, ids):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == ids


@pytest.fixture
def host(monkeypatch, tmp_path):
    """A host without any variable and any GPU."""
    for name in environment.DEVICE_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "dev/dri").mkdir(parents=True)
    monkeypatch.setattr(environment, "_DEV", tmp_path / "dev")
    monkeypatch.setattr(environment, "_KFD", tmp_path / "kfd")
    counts = (environment.count_nvidia, environment.count_amd)
    for count in counts:
        count.cache_clear()
    yield tmp_path
    for count in counts:
        count.cache_clear()


A100 = [{"uuid": f"GPU-{letter}1", "name": "NVIDIA A100-SXM4-80GB"} for letter in "abc"]
V100 = {"uuid": "GPU-v1", "name": "Tesla V100-SXM2-16GB"}
DIVIDED = {
    "uuid": "GPU-d1",
    "name": "NVIDIA A100-SXM4-80GB",
    "instances": [{"uuid": f"MIG-{number}", "name": "MIG 1g"} for number in (1, 2)],
}


@pytest.mark.parametrize(
    ("variable", "ids", "keys"),
    [
        (None, "0 1 2", "a b c"),
        ("", "", ""),
        ("1", "1", "b"),
        ("2,0", "2 0", "c a"),
        ("0,7,1", "0", "a"),  # there is no 7
        ("1,GPU-b,0", "1", "b"),  # twice the same
        ("GPU-c,GPU-b1", "GPU-c GPU-b1", "c b"),
        ("GPU-,1", "", ""),  # several begin so
        ("0,nonsense,1", "0", "a"),
    ],
)
def test_entries_are_devices_that_exist(host, nvml, monkeypatch, variable, ids, keys):
    nvml(*A100)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    devices = visible_devices()
    assert [device.id for device in devices] == ids.split()
    assert [device.key for device in devices] == [f"GPU-{key}1" for key in keys.split()]


@pytest.mark.parametrize(
    ("variable", "ids"),
    [
        (None, ("0", "MIG-1", "MIG-2")),
        ("1", ("MIG-1", "MIG-2")),
        ("GPU-d,0", ("MIG-1", "MIG-2", "0")),
        ("MIG-2", ("MIG-2",)),
        ("MIG-2,1,0", ("MIG-2",)),  # one of the instances of 1 is there already
    ],
)
def test_instances_are_devices(host, nvml, monkeypatch, variable, ids):
    nvml(A100[0], DIVIDED)
    if variable is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    assert visible_gpus() == ids


def test_devices_of_several_models_have_their_uuid(host, nvml, monkeypatch):
    nvml(A100[0], V100)
    assert visible_gpus() == ("GPU-a1", "GPU-v1")
    assert model_label(visible_devices()) == {}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert visible_gpus() == ("GPU-v1",)
    assert model_label(visible_devices()) == {"accelerator_type:V100": 1}


def test_device_files_count_without_nvml(host):
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (host / "dev" / name).touch()
    assert visible_gpus() == ("0", "1")
    assert model_label(visible_devices()) == {}


def amd(host, *minors):
    for number, minor in enumerate((0, *minors)):  # the first is a CPU
        node = host / f"kfd/{number}"
        node.mkdir(parents=True)
        (node / "properties").write_text(f"cpu_cores_count 0\ndrm_render_minor {minor}\n")


def test_gpus_of_amd(host, monkeypatch):
    amd(host, 128, 129, 130)
    for minor in (128, 129):  # the container has no file of the third
        (host / f"dev/dri/renderD{minor}").touch()
    assert visible_gpus() == ("0", "1")
    assert device_variables(["1"]) == {"HIP_VISIBLE_DEVICES": "1"}
    assert device_variables([]) == {"HIP_VISIBLE_DEVICES": "-1"}
    monkeypatch.setenv("ROCR_VISIBLE_DEVICES", "1,0")
    assert visible_gpus() == ("1", "0")
    assert device_variables(["1"]) == {"ROCR_VISIBLE_DEVICES": "1"}
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    (device,) = visible_devices()
    assert (device.id, device.key) == ("1", "0")  # the second of ROCR's
    assert device_variables(["1"]) == {"HIP_VISIBLE_DEVICES": "1"}


def test_hips_own_variable_counts_before_cudas(host, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == ("2", "3")
    assert device_variables(["3"]) == {"HIP_VISIBLE_DEVICES": "3"}
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "")
    assert visible_gpus() == ("0",)
    assert device_variables([]) == {"CUDA_VISIBLE_DEVICES": ""}
    (host / "dev/nvidia0").touch()
    environment.count_nvidia.cache_clear()
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "2,3")
    assert device_variables(["0"]) == {"CUDA_VISIBLE_DEVICES": "0"}


def test_gpus_of_intel(host, monkeypatch):
    monkeypatch.setenv("ZE_AFFINITY_MASK", "0,1.0")
    assert visible_gpus() == ("0", "1.0")
    assert device_variables(["1.0"]) == {"ZE_AFFINITY_MASK": "1.0"}
    assert device_variables([]) == {}  # an empty mask would mean all


def test_without_any_gpu_the_variable_is_cudas(host):
    assert visible_gpus() == ()
    assert device_variables([]) == {"CUDA_VISIBLE_DEVICES": ""}
    assert device_variables(["0", "1"]) == {"CUDA_VISIBLE_DEVICES": "0,1"}
