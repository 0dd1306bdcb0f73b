"""What was played and put together, before it is fitted to a file.

In: values of earlier stages. Out: a ``Take``. Refuses to know files and how it was made.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from acestep.constants import SAMPLE_RATE
from acestep.editing.canvas import Canvas
from acestep.planner.plan import Plan
from acestep.playing import Rendering, Song
from acestep.v1.adapter_source import AdapterFile


class Ceiling(Enum):
    """How a take comes below the ceiling.

    Attributes:
        SONG: it is new, so a song that is too loud may be turned down as a whole.
        MIX: it is as loud as a recording, and stays so: only its peaks are turned down.
        PARTS: it is one of several that add up to a recording, and comes below together with the others.
    """

    SONG = "song"
    MIX = "mix"
    PARTS = "parts"


@dataclass(frozen=True, slots=True, eq=False)
class Kept:
    """A recording whose samples stay as they are outside of the regions of a timeline.

    Attributes:
        recording: ``[2, S]`` at 48 kHz.
        canvas: where it lies, and where music was made.
    """

    recording: np.ndarray
    canvas: Canvas

    def laid_out(self) -> np.ndarray:
        """The recording on the timeline, ``[2, canvas.samples]``, silence where it is not."""
        return laid_out(self.recording, self.canvas)


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One piece of music.

    Attributes:
        song: as it was played; of several passes the last.
        plan: the song on paper, as long as the take.
        samples: float32 ``[2, S]`` at ``sample_rate``.
        track: the one track it is, or what it lacks, or "".
        kept: what of it is to stay as it is, or None.
        ceiling: how it comes below the ceiling.
        parts: of one of several takes that add up to a recording, all tracks that were taken out of it.
        sample_rate: of the samples, Hz; of a take that keeps a recording always 48,000.
    """

    song: Song
    plan: Plan
    samples: np.ndarray
    track: str = ""
    kept: Kept | None = None
    ceiling: Ceiling = Ceiling.SONG
    parts: tuple[str, ...] = ()
    sample_rate: int = SAMPLE_RATE

    @property
    def seed(self) -> int:
        """Of its noise."""
        return self.song.seed


@dataclass(frozen=True, slots=True, eq=False)
class Performance:
    """Every take of a request.

    Attributes:
        rendering: the last batch that was played for it; seconds and memory are those of all.
        notes: a sentence each on what there is to know about them.
        adapter: the LoRA they were played with, or None.
    """

    takes: tuple[Take, ...]
    rendering: Rendering
    notes: tuple[str, ...] = ()
    adapter: AdapterFile | None = None


def laid_out(recording: np.ndarray, canvas: Canvas, low: int = 0, high: int | None = None) -> np.ndarray:
    """A stretch of the timeline with the recording on it: float32 ``[2, high - low]``, silence where it is not."""
    high = canvas.samples if high is None else high
    stretch = np.zeros((recording.shape[0], high - low), dtype=np.float32)
    start, stop = max(low, canvas.first), min(high, canvas.first + canvas.recorded)
    if start < stop:
        stretch[:, start - low : stop - low] = recording[:, start - canvas.first : stop - canvas.first]
    return stretch
