"""Chords, pads and arpeggios: a style's bar played on voice-led chords.

In: a lead sheet, a bar in ``patterns`` shorthand, a range. Out: tones in steps. Refuses to know programs and seconds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from acestep.training.compose.harmony import voice_lead
from acestep.training.compose.melody import Tone
from acestep.training.compose.patterns import ACCENTS, Event, events
from acestep.training.compose.sheet import LeadSheet, Passage

_OCTAVE = 12
_BASS_NOTE = "b"  # in a bar of chords: the lowest voice alone, an octave down


def bar_events(bar: str, sheet: LeadSheet, bar_index: int) -> Iterator[Event]:
    """The events of a bar at their steps of the song; one that lasts into another chord is struck again there."""
    offset = bar_index * sheet.bar_steps
    for event in events(bar):
        step, end = offset + event.step, offset + event.step + event.steps
        while step < end:
            chord = sheet.chord_at(step)
            stop = min(end, max(chord.step + chord.steps, step + 1))
            yield Event(step, stop - step, event.symbol)
            step = stop


def lay_voicings(sheet: LeadSheet, low: int, high: int, voices: int) -> list[tuple[int, ...]]:
    """A voicing for each chord of the sheet."""
    return voice_lead([chord.harmony for chord in sheet.chords], low, high, voices)


def comping(sheet: LeadSheet, passage: Passage, bar: str, voicings: Sequence[tuple[int, ...]]) -> list[Tone]:
    """Struck chords."""
    tones = []
    for bar_index in range(passage.start_bar, passage.end_bar):
        for event in bar_events(bar, sheet, bar_index):
            voicing = voicings[sheet.chord_index(event.step)]
            pitches = (voicing[0] - _OCTAVE,) if event.symbol == _BASS_NOTE else voicing
            accent = ACCENTS.get(event.symbol, 0.8)
            tones += [Tone(event.step, event.steps, pitch, accent) for pitch in pitches]
    return tones


def holding(sheet: LeadSheet, passage: Passage, voicings: Sequence[tuple[int, ...]]) -> list[Tone]:
    """Each chord held as long as it lasts."""
    first, end = passage.start_bar * sheet.bar_steps, passage.end_bar * sheet.bar_steps
    return [
        Tone(chord.step, chord.steps, pitch, 0.7)
        for chord, voicing in zip(sheet.chords, voicings, strict=True)
        if first <= chord.step < end
        for pitch in voicing
    ]


def arpeggio(sheet: LeadSheet, passage: Passage, bar: str, voicings: Sequence[tuple[int, ...]]) -> list[Tone]:
    """One voice at a time; a number past the highest voice goes on an octave up."""
    tones = []
    for bar_index in range(passage.start_bar, passage.end_bar):
        for event in bar_events(bar, sheet, bar_index):
            voicing = voicings[sheet.chord_index(event.step)]
            octave, voice = divmod(int(event.symbol), len(voicing))
            accent = 0.85 if event.step % sheet.grid.meter.steps_per_beat == 0 else 0.7
            tones.append(Tone(event.step, event.steps, voicing[voice] + _OCTAVE * octave, accent))
    return tones
