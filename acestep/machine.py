"""What a song is made on, as its recipe says it.

In: where the networks run. Out: ``MachineUsed``. Refuses to know what the facts are good for.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

from acestep.devices import CUDA, Placement
from acestep.output.recipe import MachineUsed

_CPUINFO = Path("/proc/cpuinfo")
_MODEL_NAME = "model name"


def this_machine(placement: Placement) -> MachineUsed:
    """The facts on which it depends how sums are rounded."""
    device = placement.device.type
    return MachineUsed(
        python=platform.python_version(),
        torch=str(torch.__version__),
        system=f"{platform.system()} {platform.machine()}",
        device=device,
        processor=torch.cuda.get_device_name() if device == CUDA else cpu_name(),
        dtype=str(placement.dtype).removeprefix("torch."),
        threads=torch.get_num_threads(),
    )


@cache
def cpu_name(cpuinfo: Path = _CPUINFO) -> str:
    """Name of the CPU and the vector instructions that PyTorch uses on it.

    Args:
        cpuinfo: where Linux tells the name.
    """
    name = platform.processor() or platform.machine()
    if cpuinfo.is_file():
        rows = (line.partition(":") for line in cpuinfo.read_text().splitlines())
        name = next((value.strip() for key, _, value in rows if key.strip() == _MODEL_NAME), name)
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"
