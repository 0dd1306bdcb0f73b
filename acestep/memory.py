"""How much memory the stages of a run took at most, and what happens when it runs out.

In: a device, stages, a failed run. Out: a ``Peak``; a ``DeviceMemoryError`` with advice that applies, after all that
the run held has been let go. Refuses to know requests, models and which stages there are.
"""

from __future__ import annotations

import errno
import gc
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from acestep.devices import CUDA, free_cache
from acestep.errors import DeviceMemoryError

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_CLEAR_PEAK = "5"  # what Linux wants to read there to forget the highest resident set
_FULL = (  # how PyTorch and what it calls say so, where the error has no type of its own
    "DefaultCPUAllocator: ",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
ALLOCATED, RESIDENT, RESIDENT_EVER = (
    "GPU memory allocated",
    "resident set of the process",
    "resident set of the process since it began",
)


@dataclass(frozen=True, slots=True)
class Peak:
    """The most memory a run held.

    Attributes:
        measure: ``ALLOCATED``, ``RESIDENT``, or ``RESIDENT_EVER`` where the system cannot forget an older peak.
        stages: bytes per stage, in the order they ran.
    """

    measure: str
    stages: Mapping[str, int]

    @property
    def highest(self) -> int:
        """Bytes of the hungriest stage; 0 when nothing was measured."""
        return max(self.stages.values(), default=0)

    def __str__(self) -> str:
        stages = ", ".join(f"{stage} {size / 1e9:.2f}" for stage, size in self.stages.items())
        return f"{self.highest / 1e9:.2f} GB ({self.measure}; {stages})"

    def to_dict(self) -> dict[str, object]:
        """JSON form: ``measure``, ``bytes`` of the hungriest stage, bytes per stage in ``stages``."""
        return {"measure": self.measure, "bytes": self.highest, "stages": dict(self.stages)}


class PeakMeter:
    """Measures stages one after another.

    Args:
        device: that computes; its allocations count on a GPU, the resident set of this process on the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stages: dict[str, int] = {}
        if device.type == CUDA:
            self._measure = ALLOCATED
        else:
            self._measure = RESIDENT if _forget_resident() else RESIDENT_EVER

    @property
    def peak(self) -> Peak:
        """Of the stages so far."""
        return Peak(self._measure, dict(self._stages))

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Note the most memory held during the block; of several blocks of one stage the highest counts."""
        if self._measure == ALLOCATED:
            torch.cuda.reset_peak_memory_stats(self._device)
        elif self._measure == RESIDENT:
            _forget_resident()
        yield
        held = torch.cuda.max_memory_allocated(self._device) if self._measure == ALLOCATED else _highest_resident()
        self._stages[stage] = max(held, self._stages.get(stage, 0))


@contextmanager
def out_of_memory_explained(what: str, advice: Callable[[], list[str]]) -> Iterator[None]:
    """Turn running out of memory inside the block into one sentence, and let go of all that the block held.

    Args:
        what: what was being done, such as "making 2 songs".
        advice: what would need less; called only when memory ran out. Empty when nothing would.

    Raises:
        DeviceMemoryError: in the place of whatever PyTorch or Python raised.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OSError) as error:
        if not is_out_of_memory(error):
            raise
        release(error)
        ways = advice()
        wish = f"try {', '.join(ways[:-1])} or {ways[-1]}" if len(ways) > 1 else f"try {ways[0]}" if ways else _NO_WAY
        raise DeviceMemoryError(f"Memory ran out while {what}; {wish}.") from error


_NO_WAY = "nothing smaller can be asked for, so other programs must give memory back or the machine be a larger one"


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a GPU's allocator, the host's or Python itself found no memory."""
    if isinstance(error, (torch.cuda.OutOfMemoryError, MemoryError)):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _FULL)


def release(error: BaseException) -> None:
    """Let go of what a failed run held: its traceback keeps every frame, and so every tensor, alive.

    The error keeps its text; its traceback and those of the errors it came from are dropped.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    gc.collect()
    free_cache()


def _forget_resident() -> bool:
    """Start the highest resident set anew; False where the system has no such thing."""
    try:
        _CLEAR.write_text(_CLEAR_PEAK)
    except OSError:
        return False
    return True


def _highest_resident() -> int:
    if _STATUS.is_file():
        rows = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(rows["VmHWM"].split()[0]) << 10
    import resource  # not on every system, and only needed here

    unit = 1 if sys.platform == "darwin" else 1 << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
