"""How far a run is: a share of the whole from 0 to 1, and the stage it is in."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[float, str], None]
HEARD_SHARE = 0.1  # of work that begins by encoding a recording


def unwatched(share: float, stage: str) -> None:
    """Progress that nobody watches."""


def part(progress: Progress | None, low: float, high: float) -> Progress | None:
    """Progress of a part of the work, which is told as that of the whole."""
    if progress is None:
        return None
    return lambda share, stage: progress(round(low + (high - low) * share, 4), stage)


def by_chunk(progress: Progress | None, stage: str) -> Callable[[int, int], None] | None:
    """Progress of work that counts its chunks, as (done, in all)."""
    if progress is None:
        return None
    return lambda done, total: progress(round(done / total, 4), stage)
