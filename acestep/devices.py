"""Which device computes, in which number format, and which networks are on it. Says why.

In: what the caller asked for. Out: a ``Placement`` and a ``Residency`` policy. Never falls back in silence.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from acestep.errors import DeviceError

_OLDEST = (7, 5)  # CUDA 13 has no code for anything before Turing
_BFLOAT16_FROM = (8, 0)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and in which format networks run, and the reason in one clause."""

    device: torch.device
    dtype: torch.dtype
    reason: str


def choose_placement(device: str = "auto", dtype: str | None = None) -> Placement:
    """Decide device and compute dtype.

    bf16 from compute capability 8.0; fp32 on Turing (7.5), whose fp16 overflows in these networks; fp32 on the CPU
    unless bf16 is asked for.

    Raises:
        DeviceError: unknown or absent device, a GPU older than Turing, or an unknown dtype.
    """
    if device not in {"auto", "cuda", "cpu"}:
        raise DeviceError(f"device {device!r} is unknown; choose auto, cuda or cpu.")
    if dtype is not None and dtype not in DTYPES:
        raise DeviceError(f"dtype {dtype!r} is unknown; choose one of: {', '.join(DTYPES)}.")
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise DeviceError("device 'cuda' was asked for, but no CUDA device is available; use device 'cpu'.")
    if device == "cpu" or not has_cuda:
        why = "asked for" if device == "cpu" else "no CUDA device"
        return Placement(torch.device("cpu"), DTYPES[dtype or "float32"], why)
    capability = torch.cuda.get_device_capability()
    if capability < _OLDEST:
        raise DeviceError(
            f"The GPU has compute capability {capability[0]}.{capability[1]}; 7.5 is the oldest that works."
        )
    natural = "bfloat16" if capability >= _BFLOAT16_FROM else "float32"
    return Placement(torch.device("cuda"), DTYPES[dtype or natural], torch.cuda.get_device_name())


class Residency:
    """The one memory policy: all networks stay on the device, or one at a time does.

    Args:
        networks: by role; they are moved here when ``offload`` is False.
        device: that computes.
        offload: True keeps every network on the CPU except while it is in use.
    """

    def __init__(self, networks: dict[str, nn.Module], device: torch.device, *, offload: bool) -> None:
        self._networks = networks
        self._device = device
        self._offload = offload and device.type != "cpu"
        if not self._offload:
            for network in networks.values():
                network.to(device)

    @contextmanager
    def resident(self, role: str) -> Iterator[nn.Module]:
        """The network of ``role``, on the device for the length of the block."""
        network = self._networks[role]
        if not self._offload:
            yield network
            return
        network.to(self._device)
        try:
            yield network
        finally:
            network.to("cpu")
            torch.cuda.empty_cache()
