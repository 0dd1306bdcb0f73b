"""Seconds and memory of the stages of one run.

In: blocks with a name. Out: figures. Refuses to know what the stages do.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from acestep.devices import CUDA
from acestep.memory import PeakMeter


class Meters:
    """Seconds and memory of named stages; waits for the GPU so that a stage pays for its own work."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.memory = PeakMeter(device)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``."""
        start = time.perf_counter()
        with self.memory.measure(stage):
            yield
            if self._device.type == CUDA:
                torch.cuda.synchronize()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start
