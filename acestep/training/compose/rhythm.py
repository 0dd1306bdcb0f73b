"""Drums and hand percussion: a style's bars by energy, fills where sections end, crashes where choruses start.

In: a lead sheet, a feel. Out: tones whose pitch is a General MIDI percussion key. Refuses to know kits and seconds.
"""

from __future__ import annotations

import random

from acestep.training.compose.melody import Tone
from acestep.training.compose.patterns import CRASH, KICK, Feel, hits
from acestep.training.compose.sheet import LeadSheet, Passage

FILL_CHANCE = 0.8
_PEAK = 2  # energy of a section that opens with a crash


def drumming(sheet: LeadSheet, passage: Passage, feel: Feel, rng: random.Random) -> list[Tone]:
    """The drums of a passage."""
    start = passage.start_bar * sheet.bar_steps
    tones = [Tone(start, 1, CRASH, 0.9)] if feel.crashes and passage.energy == _PEAK else []
    for bar_index in range(passage.start_bar, passage.end_bar):
        offset = bar_index * sheet.bar_steps
        last = bar_index == passage.end_bar - 1 and passage.bars > 1
        if last and passage.energy and rng.random() < FILL_CHANCE:
            tones += _with_fill(sheet.bar_steps, offset, feel.drums(passage.energy), feel.fill)
        else:
            tones += _bar(offset, feel.drums(passage.energy))
    return tones


def percussion(sheet: LeadSheet, passage: Passage, feel: Feel) -> list[Tone]:
    """The same bar of hand percussion all through a passage."""
    return [
        tone
        for bar_index in range(passage.start_bar, passage.end_bar)
        for tone in _bar(bar_index * sheet.bar_steps, feel.percussion)
    ]


def last_hit(sheet: LeadSheet, step: int, feel: Feel) -> list[Tone]:
    """Kick and crash under the last chord; the softer styles leave the crash out."""
    keys = (KICK, CRASH) if feel.crashes else (KICK,)
    return [Tone(step, sheet.grid.meter.steps_per_beat, key, 0.9) for key in keys]


def _bar(offset: int, lanes: str) -> list[Tone]:
    return [Tone(offset + step, 1, key, accent) for step, key, accent in hits(lanes)]


def _with_fill(bar_steps: int, offset: int, lanes: str, fill: str) -> list[Tone]:
    """A bar whose second half is the fill's."""
    half = bar_steps // 2
    kept = [tone for tone in _bar(offset, lanes) if tone.step < offset + half]
    return kept + [tone for tone in _bar(offset, fill) if tone.step >= offset + half]
