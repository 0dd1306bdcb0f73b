"""Whether two audio files hold the same sound, sample by sample; and if not, how far apart they are.

In: two files of the same format. Out: a ``Likeness``. They are decoded block by block, so an hour of music needs no
more memory than a second. Refuses to know tags, recipes and why the files should be alike.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from acestep.audio import ffmpeg, sndfile
from acestep.audio.source import Deadline, Probe, Unreadable
from acestep.editing.canvas import CANVAS_MAX_S

DECODE_LIMIT_S = 600.0
INAUDIBLE_DB = -60.0  # of full scale: what is said about one sound holds for the other

Blocks = Iterator[np.ndarray]


@dataclass(frozen=True, slots=True)
class Likeness:
    """How alike two files are.

    Attributes:
        identical: every sample of one is that of the other, and both are as long.
        peak_db: largest difference between two samples, in dB of full scale; None where there is none, or where they
            cannot be compared.
        problem: what keeps the first file from being compared as a whole, as a clause about it ("is cut short..."),
            or "".
    """

    identical: bool
    peak_db: float | None = None
    problem: str = ""

    @property
    def alike(self) -> bool:
        """Whether nobody hears them apart."""
        near = self.peak_db is not None and self.peak_db <= INAUDIBLE_DB
        return self.identical or (near and not self.problem)


def likeness(first: Path, second: Path) -> Likeness:
    """Compare two files.

    Args:
        first: may be damaged, or no longer what it was.
        second: a whole file.

    Raises:
        OSError: one of them is not there.
    """
    try:
        with _decoded(first) as (one, old), _decoded(second) as (other, new):
            shape, wanted = (one.sample_rate, one.channels), (other.sample_rate, other.channels)
            if shape != wanted:
                return Likeness(False, problem="has {} Hz and {} channels, not {} and {}".format(*shape, *wanted))
            return _compared(old, new, one.channels)
    except Unreadable as error:
        return Likeness(False, problem=str(error))


def _compared(old: Blocks, new: Blocks, channels: int) -> Likeness:
    peak, lengths, nothing = 0.0, np.zeros(2, dtype=np.int64), np.empty((channels, 0), dtype=np.float32)
    for pair in zip_longest(old, new, fillvalue=nothing):
        common = min(block.shape[1] for block in pair)
        if common and lengths[0] == lengths[1]:  # else one ended, and what follows lies elsewhere
            peak = max(peak, float(np.abs(pair[0][:, :common] - pair[1][:, :common]).max()))
        lengths += [block.shape[1] for block in pair]
    as_long = lengths[0] == lengths[1]
    return Likeness(
        identical=peak == 0 and bool(as_long),
        peak_db=20 * math.log10(peak) if peak else None,
        problem="" if as_long else "holds {} samples, not {}".format(*lengths),
    )


@contextmanager
def _decoded(path: Path) -> Iterator[tuple[Probe, Blocks]]:
    """What a file says about itself, and its blocks, float32 ``[channels, n]``, at its own rate."""
    deadline = Deadline.after(DECODE_LIMIT_S)
    with path.open("rb", buffering=0) as file:
        sound = sndfile.opened(file, deadline)
        if sound is not None:
            with sound, closing(sndfile.decode_blocks(sound, file, deadline)) as blocks:
                yield sndfile.probe(sound), blocks
            return
        found = ffmpeg.probe(file, CANVAS_MAX_S, deadline)
        with closing(ffmpeg.decode_blocks(file, found.channels, CANVAS_MAX_S, deadline)) as blocks:
            yield found, blocks
