"""Bass lines: a style's bar of chord degrees, played over the chords in one low register.

In: a lead sheet, a bar in ``patterns`` shorthand. Out: tones in steps. Refuses to know programs and seconds.
"""

from __future__ import annotations

from acestep.training.compose.accompaniment import bar_events
from acestep.training.compose.melody import Tone
from acestep.training.compose.sheet import LeadSheet, Passage, PlacedChord
from acestep.training.compose.theory import PITCH_CLASSES, chord_scale, ladder, nearest

HOME = 38  # roots are played nearest to this pitch: D below the bass staff
_OCTAVE = 12


def bass_line(sheet: LeadSheet, passage: Passage, bar: str, low: int, high: int) -> list[Tone]:
    """The bass of a passage; every new chord starts on its root unless the bar is silent there."""
    tones = []
    for bar_index in range(passage.start_bar, passage.end_bar):
        for event in bar_events(bar, sheet, bar_index):
            chord = sheet.chord_at(event.step)
            symbol = "R" if event.step == chord.step else event.symbol
            pitch = _pitch(symbol, chord, sheet, low, high)
            tones.append(Tone(event.step, event.steps, pitch, 0.9 if symbol == "R" else 0.75))
    return tones


def root_pitch(chord: PlacedChord, low: int, high: int) -> int:
    """The chord's root near ``HOME``, within the range."""
    pitch = nearest(chord.harmony.root, HOME)
    return pitch + _OCTAVE if pitch < low else pitch - _OCTAVE if pitch > high else pitch


def _pitch(symbol: str, chord: PlacedChord, sheet: LeadSheet, low: int, high: int) -> int:
    root = root_pitch(chord, low, high)
    if symbol == "a":
        return _approach(chord, sheet, low, high)
    if symbol == "8":
        return root + _OCTAVE if root + _OCTAVE <= high else root
    pitch = root + _interval(symbol, chord)
    return pitch if pitch <= high else pitch - _OCTAVE


def _interval(symbol: str, chord: PlacedChord) -> int:
    """Semitones above the root of degree ``R``, ``3`` or ``5``; a missing third or fifth is played as the root."""
    wanted = {"R": (0,), "3": (3, 4), "5": (6, 7)}[symbol]
    return next((interval for interval in chord.harmony.intervals if interval in wanted), 0)


def _approach(chord: PlacedChord, sheet: LeadSheet, low: int, high: int) -> int:
    """The scale tone just above or below the next chord's root, on the side this chord's root lies."""
    index = min(sheet.chord_index(chord.step) + 1, len(sheet.chords) - 1)
    goal, here = root_pitch(sheet.chords[index], low, high), root_pitch(chord, low, high)
    rungs = ladder(chord_scale(chord.harmony, sheet.key), low - PITCH_CLASSES, high)
    below = max(pitch for pitch in rungs if pitch < goal)
    above = min((pitch for pitch in rungs if pitch > goal), default=below)
    return below if here <= goal and below >= low else above
