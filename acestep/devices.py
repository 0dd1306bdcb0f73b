"""Which device computes, in which number format, and which networks are on it. Says why.

In: what the caller asked for. Out: ``DeviceFacts`` (the only place that asks the machine), a ``Placement`` decided
from them, and a ``Residency`` policy. Never falls back in silence.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
from torch import nn

from acestep.errors import DeviceError, InputError

CUDA, CPU = "cuda", "cpu"
AUTO = "auto"
Carry = Callable[[torch.Tensor], torch.Tensor]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_OLDEST = (7, 5)  # CUDA 13 has no code for anything before Turing
_BFLOAT16_FROM = (8, 0)
_BFLOAT16, _FLOAT32 = "bfloat16", "float32"
_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What computes. Read once from the machine; everything decided from it is a pure function.

    Attributes:
        kind: ``cuda`` or ``cpu``.
        why: the GPU's name, or why the CPU computes.
        memory: bytes of the GPU, or of the host when the CPU computes.
        free: bytes of it that nobody used when it was read.
        capability: compute capability of the GPU; None on the CPU.
    """

    kind: str
    why: str
    memory: int
    free: int
    capability: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and in which format networks run, and the reason in one clause."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def device_facts(device: str = AUTO) -> DeviceFacts:
    """Facts of the device that ``device`` names; ``auto`` is the GPU if there is one.

    Raises:
        InputError: unknown device.
        DeviceError: it is not there.
    """
    if device not in {AUTO, CUDA, CPU}:
        raise InputError.unknown("device", device, (AUTO, CUDA, CPU))
    has_cuda = torch.cuda.is_available()
    if device == CUDA and not has_cuda:
        raise DeviceError("device 'cuda' was asked for, but no CUDA device is available; use device 'cpu'.")
    if device == CPU or not has_cuda:
        memory, free = host_memory()
        return DeviceFacts(CPU, "the CPU was asked for" if device == CPU else "no CUDA device", memory, free)
    free, memory = torch.cuda.mem_get_info()
    return DeviceFacts(CUDA, torch.cuda.get_device_name(), memory, free, torch.cuda.get_device_capability())


def host_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> tuple[int, int]:
    """Bytes of this host, or of the container it runs in, and how many of them can still be had.

    Args:
        meminfo: where Linux tells; without it nothing is known but the size, which then counts as free.
        cgroup: folder of the limits of the container.
    """
    if not meminfo.is_file():
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return memory, memory
    rows = dict(line.split(":", 1) for line in meminfo.read_text().splitlines())
    memory, free = (int(rows[name].split()[0]) << 10 for name in ("MemTotal", "MemAvailable"))
    limit = cgroup / "memory.max"
    if limit.is_file() and (most := limit.read_text().strip()).isdigit():  # otherwise it says "max"
        used = int((cgroup / "memory.current").read_text())
        memory, free = min(memory, int(most)), min(free, max(int(most) - used, 0))
    return memory, free


def natural_dtype(facts: DeviceFacts) -> str:
    """The format a device computes in when nobody asks for one, a key of ``DTYPES``.

    bf16 from compute capability 8.0; fp32 on Turing (7.5, such as the T4), which has no bf16 and whose fp16
    overflows in these networks; fp32 on the CPU.
    """
    return _BFLOAT16 if facts.kind == CUDA and facts.capability >= _BFLOAT16_FROM else _FLOAT32


def place(facts: DeviceFacts, dtype: str | None = None) -> Placement:
    """Decide the compute dtype: the natural one, unless ``dtype`` asks for another that the device has.

    Raises:
        InputError: unknown dtype.
        DeviceError: a GPU older than Turing, or bf16 on a GPU without it.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError.unknown("dtype", dtype, DTYPES)
    if facts.kind == CUDA:
        _check_capability(facts.capability, dtype)
    return Placement(torch.device(facts.kind), DTYPES[dtype or natural_dtype(facts)], facts.why)


def choose_placement(device: str = AUTO, dtype: str | None = None) -> Placement:
    """``place`` on the facts of ``device``.

    Raises:
        InputError, DeviceError: as ``device_facts`` and ``place``.
    """
    return place(device_facts(device), dtype)


def _check_capability(capability: tuple[int, int], dtype: str | None) -> None:
    version = ".".join(map(str, capability))
    if capability < _OLDEST:
        raise DeviceError(f"The GPU has compute capability {version}; 7.5 is the oldest that works.")
    if dtype == _BFLOAT16 and capability < _BFLOAT16_FROM:
        raise DeviceError(
            f"dtype 'bfloat16' needs a GPU of compute capability 8.0, this one has {version}; use dtype 'float32'."
        )


class Residency:
    """The one memory policy: all networks stay on the device, or one at a time does.

    Args:
        networks: by role; they are moved here when ``offload`` is False.
        device: that computes.
        offload: True keeps every network on the host except while it is in use. The host's copy of the weights
            stays where it is, memory-mapped or not: going back costs nothing.
        carry: brings one tensor to the device; None is ``Tensor.to``.
    """

    def __init__(
        self,
        networks: Mapping[str, nn.Module],
        device: torch.device,
        *,
        offload: bool = False,
        carry: Carry | None = None,
    ) -> None:
        self._networks = networks
        self._carry = carry or (lambda tensor: tensor.to(device))
        self.offload = offload
        if not offload:
            for network in networks.values():
                _replace(network, self._carry)

    @contextmanager
    def resident(self, role: str) -> Iterator[nn.Module]:
        """The network of ``role``, on the device for the length of the block."""
        network = self._networks[role]
        if not self.offload:
            yield network
            return
        host = list(_slots(network))
        try:
            _replace(network, self._carry)
            yield network
        finally:
            for module, name, tensor in host:
                setattr(module, name, tensor)
            free_cache()


def _replace(network: nn.Module, carry: Carry) -> None:
    """Put what ``carry`` makes of every parameter and buffer in its place; those that are shared stay shared."""
    carried: dict[torch.Tensor, torch.Tensor] = {}
    with torch.inference_mode(False), torch.no_grad():
        for module, name, tensor in list(_slots(network)):
            if tensor not in carried:
                moved = carry(tensor.detach())
                carried[tensor] = (
                    nn.Parameter(moved, requires_grad=False) if isinstance(tensor, nn.Parameter) else moved
                )
            setattr(module, name, carried[tensor])


def _slots(network: nn.Module) -> Iterator[tuple[nn.Module, str, torch.Tensor]]:
    """Every place in ``network`` that holds a parameter or a buffer: its module, its name there, the tensor."""
    for module in network.modules():
        parameters = module.named_parameters(recurse=False, remove_duplicate=False)
        buffers = module.named_buffers(recurse=False, remove_duplicate=False)
        yield from ((module, name, tensor) for name, tensor in chain(parameters, buffers))


def weight_bytes(network: nn.Module) -> int:
    """Bytes of the parameters and buffers of ``network``."""
    return sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))


def free_cache() -> None:
    """Give back what PyTorch holds for later on the GPU, and what the C library holds on the host where it can."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    trim_host()


def trim_host() -> None:
    """Give back what the C library keeps of freed memory, where it can be asked to."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's own; others give back unasked
    if trim is not None:
        trim(0)
