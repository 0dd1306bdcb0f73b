"""What a device computes in, and which networks are on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from acestep.cogrun.schema import PROJECT
from acestep.devices import (
    DeviceFacts,
    Residency,
    choose_placement,
    device_facts,
    host_memory,
    natural_dtype,
    place,
    weight_bytes,
)
from acestep.errors import DeviceError, InputError
from acestep.handler import AceStepHandler
from acestep.params import GenerationConfig, GenerationParams
from acestep.render import Renderer
from acestep.request import Request

GB = 1_000_000_000
CPU_FACTS = DeviceFacts("cpu", "no CUDA device", 16 * GB, 8 * GB)


def gpu(major: int, minor: int) -> DeviceFacts:
    return DeviceFacts("cuda", f"GPU {major}.{minor}", 16 * GB, 15 * GB, (major, minor))


@pytest.mark.parametrize(
    ("facts", "asked", "dtype"),
    [
        (CPU_FACTS, None, torch.float32),
        (CPU_FACTS, "bfloat16", torch.bfloat16),
        (CPU_FACTS, "float32", torch.float32),
        (gpu(7, 5), None, torch.float32),
        (gpu(7, 5), "float16", torch.float16),
        (gpu(8, 0), None, torch.bfloat16),
        (gpu(8, 0), "float32", torch.float32),
        (gpu(8, 6), None, torch.bfloat16),
        (gpu(8, 9), None, torch.bfloat16),
        (gpu(9, 0), None, torch.bfloat16),
        (gpu(10, 0), "float16", torch.float16),
        (gpu(12, 0), None, torch.bfloat16),
    ],
    ids=str,
)
def test_the_compute_dtype_of_every_device(facts: DeviceFacts, asked: str | None, dtype: torch.dtype) -> None:
    placement = place(facts, asked)
    assert (placement.device.type, placement.dtype, placement.reason) == (facts.kind, dtype, facts.why)


@pytest.mark.parametrize(
    ("facts", "asked", "sentence"),
    [
        (gpu(7, 0), None, "The GPU has compute capability 7.0; 7.5 is the oldest that works."),
        (gpu(6, 1), "float32", "The GPU has compute capability 6.1; 7.5 is the oldest that works."),
        (gpu(7, 5), "bfloat16", "needs a GPU of compute capability 8.0, this one has 7.5; use dtype 'float32'."),
    ],
    ids=str,
)
def test_what_a_device_cannot_do_is_an_error(facts: DeviceFacts, asked: str | None, sentence: str) -> None:
    with pytest.raises(DeviceError) as caught:
        place(facts, asked)
    assert str(caught.value).endswith(sentence)


def test_unknown_devices_and_dtypes_are_refused() -> None:
    with pytest.raises(InputError, match="device 'tpu' is unknown; choose one of: auto, cuda, cpu"):
        device_facts("tpu")
    for facts in (CPU_FACTS, gpu(9, 0)):
        with pytest.raises(InputError, match="dtype 'int8' is unknown; choose one of: float32, bfloat16, float16"):
            place(facts, "int8")


def test_the_facts_of_this_host_are_plausible() -> None:
    facts = device_facts("cpu")
    assert (facts.memory, facts.kind, facts.capability) == (host_memory()[0], "cpu", None)
    assert 0 < facts.free <= facts.memory
    assert natural_dtype(facts) == "float32"
    assert choose_placement("cpu").dtype == torch.float32


@pytest.mark.parametrize(
    ("limit", "used", "memory", "free"),
    [(None, 0, 8, 6), ("max", 1, 8, 6), (16, 1, 8, 6), (4, 1, 4, 3), (4, 5, 4, 0), (7, 0.5, 7, 6)],
)
def test_a_container_has_what_its_limit_leaves(
    limit: float | str | None, used: float, memory: float, free: float, tmp_path: Path
) -> None:
    gib = 1 << 30
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemTotal:  {8 << 20} kB\nMemFree:   1 kB\nMemAvailable:  {6 << 20} kB\nHugePages_Free:  0\n")
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit if limit == 'max' else limit * gib}\n")
        (tmp_path / "memory.current").write_text(f"{int(used * gib)}\n")
    assert host_memory(meminfo, tmp_path) == (memory * gib, free * gib)


def test_without_proc_all_of_the_host_counts_as_free(tmp_path: Path) -> None:
    memory, free = host_memory(tmp_path / "none", tmp_path)
    assert memory == free > GB


def tensors(network: nn.Module) -> list[torch.Tensor]:
    return [*network.parameters(), *network.buffers()]


class Observer:
    """Sees by the addresses of the weights which networks are on the device, whenever any part of one computes.

    The device is this host again: what was carried to it is a copy.
    """

    def __init__(self, networks: dict[str, nn.Module]) -> None:
        self._networks = networks
        self._home = {role: self._addresses(role) for role in networks}
        self.computed: list[tuple[str, set[str]]] = []
        for role, network in networks.items():
            for part in network.modules():
                part.register_forward_pre_hook(lambda *_, role=role: self.computed.append((role, self.there())))

    def there(self) -> set[str]:
        """Roles of the networks of which any weight is away from home."""
        return {role for role, home in self._home.items() if any(map(int.__ne__, home, self._addresses(role)))}

    def _addresses(self, role: str) -> list[int]:
        return [tensor.data_ptr() for tensor in tensors(self._networks[role])]


def played(offload: bool) -> tuple[torch.Tensor, Observer]:
    """A song of the embedded model with a reference, so that all networks have their turns, and who was where."""
    handler = AceStepHandler()
    handler.initialize_service(str(PROJECT), "tiny", "cpu")
    family = handler.renderer.family
    observer = Observer(family.networks)
    residency = Residency(family.networks, torch.device("cpu"), offload=offload, carry=torch.clone)
    params = GenerationParams(caption="x", duration=10, inference_steps=2, thinking=False)
    request = Request.from_params(params, GenerationConfig(batch_size=1, seeds=[1]), handler.model)
    renderer = Renderer(family, residency)
    noise = torch.randn(2, 96_000, generator=torch.Generator().manual_seed(0))
    rendering = renderer.render(request, [request.plan(renderer.reader.codebook_size)], noise)
    return rendering.songs[0].waveform, observer


def test_offloaded_networks_are_on_the_device_one_at_a_time_and_only_to_compute() -> None:
    waveform, observer = played(offload=True)
    assert {role for role, _ in observer.computed} == {"dit", "vae", "text_encoder"}
    assert all(there == {role} for role, there in observer.computed)
    assert observer.there() == set()
    resident, _ = played(offload=False)
    assert torch.equal(waveform, resident)


def test_resident_networks_are_all_on_the_device_all_the_time() -> None:
    _, observer = played(offload=False)
    everything = {"dit", "vae", "text_encoder"}
    assert observer.there() == everything
    assert all(there == everything for _, there in observer.computed)


def pair() -> dict[str, nn.Module]:
    tied = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    return {"tied": tied.requires_grad_(False), "plain": nn.Linear(3, 3).requires_grad_(False)}


def test_the_hosts_weights_stay_where_they_are_while_a_network_is_away() -> None:
    networks = pair()
    before = {role: [(tensor.data_ptr(), tensor.clone()) for tensor in tensors(networks[role])] for role in networks}
    residency = Residency(networks, torch.device("meta"), offload=True)
    with residency.resident("tied") as network, torch.inference_mode():
        assert {tensor.device.type for tensor in tensors(network)} == {"meta"}
        assert network[2].weight is network[0].weight
        assert {tensor.device.type for tensor in tensors(networks["plain"])} == {"cpu"}
    for role, kept in before.items():
        for tensor, (address, value) in zip(tensors(networks[role]), kept, strict=True):
            assert tensor.data_ptr() == address
            assert torch.equal(tensor, value)


def test_a_network_leaves_the_device_when_its_work_fails() -> None:
    networks = pair()
    residency = Residency(networks, torch.device("meta"), offload=True)
    with pytest.raises(ZeroDivisionError), residency.resident("plain"):
        _ = 1 / 0
    assert networks["plain"].weight.device.type == "cpu"


def test_weights_count_once_however_often_they_are_used() -> None:
    floats = 4 * 4 + 4 + 4 + (4 + 4 + 4 + 4)  # one shared matrix, two biases, scale, shift, mean, variance
    assert weight_bytes(pair()["tied"]) == floats * 4 + 8  # and the count of batches, one int64
