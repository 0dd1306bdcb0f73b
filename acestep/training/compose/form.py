"""The form of a song: how many bars, in which sections, and how it ends.

In: a length, a tempo grid, a style. Out: passages in bars, phrase lengths, the downbeat of the last chord.
Refuses to know notes, chords and words.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, groupby, islice

from acestep.training.compose.sheet import Grid, Passage

SECTION_S = 8.0  # about as long as the shortest section
LINE_MIN_S = 2.9  # a sung line or a melodic phrase takes at least this long
LINE_STEPS_MIN = 16
RING_MIN_S = 1.2  # the last chord is held at least this long
FADE_FROM_S = 15.0  # shorter songs do not fade
_SUNG_KINDS = frozenset({"Verse", "Pre-Chorus", "Chorus", "Bridge"})
_SUNG_CYCLES = (
    ("Verse", "Chorus"),
    ("Verse", "Verse", "Chorus"),
    ("Verse", "Pre-Chorus", "Chorus"),
    ("Verse", "Verse", "Pre-Chorus", "Chorus", "Chorus"),
    ("Verse", "Chorus", "Instrumental"),
    ("Chorus", "Verse"),
)
# Energy of each kind of section: 0 calm, 1 full, 2 peak.
_ENERGY = {
    "Intro": 0, "Verse": 1, "Pre-Chorus": 1, "Chorus": 2, "Bridge": 1, "Instrumental": 2, "Outro": 0,
    "Theme": 1, "Solo": 2, "Break": 0, "Development": 2, "Build": 1, "Drop": 2,
}  # fmt: skip
_BRIDGE_FROM = 6  # sections; a shorter song has no bridge


@dataclass(frozen=True, slots=True)
class Ending:
    """How a song ends: bars before the end, seconds of fade, and whether a last chord is held after those bars."""

    bars: int
    fade_out_s: float
    held: bool


def phrase_bars(grid: Grid) -> int:
    """Bars of a line: the smallest power of two that takes long enough to sing."""
    bars = 1
    while bars * grid.bar_s < LINE_MIN_S or bars * grid.meter.steps < LINE_STEPS_MIN:
        bars *= 2
    return bars


def section_bars(grid: Grid) -> int:
    """Bars of the shortest section: a power of two, near eight seconds, at least a line."""
    return max(2, phrase_bars(grid), 2 ** round(math.log2(SECTION_S / grid.bar_s)))


def draw_ending(grid: Grid, duration_s: float, fades: float, rng: random.Random) -> Ending:
    """Fade out with the chance ``fades``, else hold a last chord from a downbeat until the end."""
    chance, length = rng.random(), rng.uniform(3.0, 8.0)
    if chance < fades and duration_s >= FADE_FROM_S:
        return Ending(math.ceil(duration_s / grid.bar_s - 1e-6), min(length, duration_s / 4), held=False)
    return Ending(math.floor((duration_s - RING_MIN_S) / grid.bar_s), 0.0, held=True)


def lay_out(
    bars: int, unit: int, sung: bool, cycles: Sequence[tuple[str, ...]], rng: random.Random
) -> tuple[Passage, ...]:
    """Sections that fill ``bars``, each of whole units but the one that takes what is left over.

    Args:
        bars: to fill, at least 1.
        unit: bars of the shortest section.
        sung: verses and choruses; else one of ``cycles`` repeats.
    """
    units, left = divmod(bars, unit)
    kinds = _kinds(units, sung, cycles, rng)
    lengths = [(kind, unit) for kind in kinds]
    if left and (not lengths or 2 * left >= unit):
        lengths.insert(0, ("Intro" if lengths else _opening(sung, cycles, rng), left))
    elif left:
        lengths[-1] = (lengths[-1][0], unit + left)
    return _passages(_merged(lengths), sung)


def _kinds(units: int, sung: bool, cycles: Sequence[tuple[str, ...]], rng: random.Random) -> list[str]:
    """Kinds of ``units`` sections in order."""
    if units == 0:
        return []
    head = ["Intro"] if units >= 3 and rng.random() < 0.5 else []
    tail = ["Outro"] if units >= 4 and rng.random() < 0.4 else []
    turning = rng.choice(_SUNG_CYCLES if sung else cycles)
    middle = list(islice(cycle(turning), units - len(head) - len(tail)))
    if sung and len(middle) >= _BRIDGE_FROM:
        middle[-2:] = ["Bridge", "Chorus"]
    return head + middle + tail


def _opening(sung: bool, cycles: Sequence[tuple[str, ...]], rng: random.Random) -> str:
    """The only section of a song too short for a whole one."""
    return "Verse" if sung else rng.choice(cycles)[0]


def _merged(lengths: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Neighbours of one kind as one section."""
    return [(kind, sum(bars for _, bars in run)) for kind, run in groupby(lengths, key=lambda item: item[0])]


def _passages(lengths: Sequence[tuple[str, int]], sung: bool) -> tuple[Passage, ...]:
    passages: list[Passage] = []
    seen: Counter[str] = Counter()
    for kind, bars in lengths:
        seen[kind] += 1
        tag = f"{kind} {seen[kind]}" if kind == "Verse" else kind
        start = passages[-1].end_bar if passages else 0
        passages.append(Passage(tag, kind, _ENERGY[kind], start, bars, sung and kind in _SUNG_KINDS))
    return tuple(passages)
