"""The lead sheet: what every player of a song reads. Tempo grid, key, form, chords; nothing about who plays.

In: plain values. Out: places in time. A *step* is a sixteenth note; a song's music is written in steps from its
start and turned into seconds once, by ``Grid.seconds``.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from acestep.training.compose.theory import Harmony, Key


@dataclass(frozen=True, slots=True)
class Meter:
    """Beats in a bar and sixteenths in a beat."""

    beats: int
    steps_per_beat: int

    @property
    def steps(self) -> int:
        """Sixteenths in a bar."""
        return self.beats * self.steps_per_beat


# By time signature; 6 is six eighths, felt as two dotted quarters.
METERS = {"2": Meter(2, 4), "3": Meter(3, 4), "4": Meter(4, 4), "6": Meter(2, 6)}


@dataclass(frozen=True, slots=True)
class Grid:
    """Where a step falls in seconds.

    Attributes:
        bpm: beats per minute.
        meter: beats and steps of a bar.
        swing: how much later the second half of a pair comes, as a part of that half: 0 straight, 1/3 triplets.
        pair: steps that swing together: 4 swings eighths, 2 sixteenths.
    """

    bpm: int
    meter: Meter
    swing: float = 0.0
    pair: int = 4

    @property
    def beat_s(self) -> float:
        """Length of a beat."""
        return 60.0 / self.bpm

    @property
    def bar_s(self) -> float:
        """Length of a bar."""
        return self.beat_s * self.meter.beats

    @property
    def step_s(self) -> float:
        """Length of a straight sixteenth."""
        return self.beat_s / self.meter.steps_per_beat

    def seconds(self, step: float) -> float:
        """When a step sounds; swing delays the middle of a pair and never moves a beat."""
        whole, within = divmod(step, self.pair)
        half = self.pair / 2
        first = half * (1 + self.swing)
        warped = within * first / half if within < half else first + (within - half) * (self.pair - first) / half
        return (whole * self.pair + warped) * self.step_s

    def beats(self, duration_s: float, every: int = 1) -> tuple[float, ...]:
        """Seconds of every beat, or of one in ``every``, before the end."""
        count = math.ceil(duration_s / self.beat_s - 1e-6)
        return tuple(beat * self.beat_s for beat in range(0, count, every))

    def strength(self, step: int) -> float:
        """Metrical weight of a step: 3 on a downbeat, 2 in the middle of an even bar, 1 on a beat, 0 between."""
        within = step % self.meter.steps
        if within == 0:
            return 3.0
        if within % self.meter.steps_per_beat:
            return 0.0 if within % 2 == 0 else -2.0
        return 2.0 if 2 * within == self.meter.steps else 1.0


@dataclass(frozen=True, slots=True)
class Passage:
    """A section in bars.

    Attributes:
        tag: as the lyrics name it, such as ``Verse 2``.
        kind: passages of one kind share chords, motif and, but for verses, words.
        energy: 0 calm, 1 full, 2 peak.
        start_bar, bars: where it is.
        sung: it has words.
    """

    tag: str
    kind: str
    energy: int
    start_bar: int
    bars: int
    sung: bool

    @property
    def end_bar(self) -> int:
        """The first bar after it."""
        return self.start_bar + self.bars


@dataclass(frozen=True, slots=True)
class PlacedChord:
    """A chord in steps from the start of the song."""

    step: int
    steps: int
    harmony: Harmony


@dataclass(frozen=True, slots=True)
class LeadSheet:
    """A song before anyone plays it.

    Attributes:
        grid, key: tempo and tonality.
        passages, chords: form and harmony, without gaps.
        phrase_bars: bars of a line of melody or lyrics; a power of two.
        final_step: downbeat of the last held chord; None when the song fades out instead.
        end_step: whole steps until the end of the song.
    """

    grid: Grid
    key: Key
    passages: tuple[Passage, ...]
    chords: tuple[PlacedChord, ...]
    phrase_bars: int
    final_step: int | None
    end_step: int

    @property
    def bar_steps(self) -> int:
        """Steps in a bar."""
        return self.grid.meter.steps

    def chord_index(self, step: float) -> int:
        """Which of ``chords`` sounds at a step."""
        return max(0, bisect_right(self.chords, step, key=lambda chord: chord.step) - 1)

    def chord_at(self, step: float) -> PlacedChord:
        """The chord that sounds at a step."""
        return self.chords[self.chord_index(step)]

    def energy_at(self, step: float) -> int:
        """Energy of the passage at a step; past the last one it stays."""
        bar = step // self.bar_steps
        return self.passages[bisect_right(self.passages, bar, key=lambda passage: passage.start_bar) - 1].energy

    def phrases(self, passage: Passage) -> Iterator[int]:
        """First step of every whole phrase in a passage; of its only one when it is shorter than a phrase."""
        last = max(passage.start_bar, passage.end_bar - self.phrase_bars)
        for bar in range(passage.start_bar, last + 1, self.phrase_bars):
            yield bar * self.bar_steps
