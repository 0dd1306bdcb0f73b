"""Chunks of data, made side by side in several processes, until all are there or the time is up.

In: jobs, and a function that makes a chunk's files whole or not at all. Out: the files. Refuses to know what is in
them.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from multiprocessing.pool import Pool
from pathlib import Path
from typing import TypeVar

import torch

Job = TypeVar("Job")


def make_chunks(make: Callable[[Job], Path], jobs: Sequence[Job], workers: int, minutes: float | None = None) -> bool:
    """Make every chunk; prints one line per chunk. A chunk that is not done in time is given up.

    Args:
        make: a function of a module; workers are new processes, each with one thread.
        jobs: one per chunk.
        workers: processes.
        minutes: of this call; None is as long as it takes.

    Returns:
        Whether all were made.
    """
    if not jobs:
        return True
    end = None if minutes is None else time.monotonic() + 60 * minutes
    with multiprocessing.get_context("spawn").Pool(min(workers, len(jobs)), torch.set_num_threads, (1,)) as pool:
        return _collect(pool, make, jobs, end)


def _collect(pool: Pool, make: Callable[[Job], Path], jobs: Sequence[Job], end: float | None) -> bool:
    made = pool.imap_unordered(make, jobs)
    for number in range(1, len(jobs) + 1):
        try:
            path = made.next(None if end is None else max(end - time.monotonic(), 0.0))
        except multiprocessing.TimeoutError:
            return False
        print(f"{number}/{len(jobs)} {path.name}", flush=True)
    return True
