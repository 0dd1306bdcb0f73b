"""From steps to seconds: tones become notes, chords and passages become the truth of the finished song.

In: a lead sheet, what every player plays, the sung lines. Out: the values of ``score``.
Refuses to know how any of it was made up.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence

from acestep.training.compose.ensembles import Player
from acestep.training.compose.melody import Tone
from acestep.training.compose.sheet import LeadSheet, Passage
from acestep.training.compose.vocals import SungLine
from acestep.training.score import Chord, LyricLine, Note, Part, Section, Syllable

_ARTICULATION = 0.95  # part of a tone that sounds, so that repeated notes part
_SHORTEST_S = 0.03  # what would sound shorter before the end of the song is left out
_LOUDEST, _SOFTEST = 118, 20
_SPREAD = 5.0  # velocity of two equal tones differs by up to twice this
_LEVELS = (0.8, 0.92, 1.0)  # by energy of the section


def notes_of(tones: Iterable[Tone], sheet: LeadSheet, duration_s: float, rng: random.Random) -> tuple[Note, ...]:
    """Notes in seconds, louder where the song is, cut off where it ends."""
    notes = []
    for tone in tones:
        start_s = sheet.grid.seconds(tone.step)
        end_s = min(duration_s, start_s + _ARTICULATION * (sheet.grid.seconds(tone.step + tone.steps) - start_s))
        if end_s - start_s >= _SHORTEST_S:
            notes.append(Note(start_s, end_s - start_s, tone.pitch, _velocity(tone, sheet, rng)))
    return tuple(notes)


def _velocity(tone: Tone, sheet: LeadSheet, rng: random.Random) -> int:
    level = _LEVELS[sheet.energy_at(tone.step)]
    velocity = _LOUDEST * tone.accent * level + _SPREAD * (2.0 * rng.random() - 1.0)
    return max(_SOFTEST, min(127, round(velocity)))


def part_of(player: Player, notes: tuple[Note, ...]) -> Part:
    """A player and what they play."""
    return Part(player.track, player.program, notes, player.is_drums, player.gain_db, player.pan)


def chords_of(sheet: LeadSheet, duration_s: float) -> tuple[Chord, ...]:
    """The chords in seconds, without gaps, from 0 to the end."""
    placed = [(sheet.grid.seconds(chord.step), chord.harmony) for chord in sheet.chords]
    sounding = [(start, harmony) for start, harmony in placed if start < duration_s - _SHORTEST_S]
    ends = [*(start for start, _ in sounding[1:]), duration_s]
    return tuple(
        Chord(start, end - start, harmony.root, harmony.intervals)
        for (start, harmony), end in zip(sounding, ends, strict=True)
    )


def sections_of(
    sheet: LeadSheet, duration_s: float, lines: Mapping[Passage, Sequence[SungLine]], notes: Mapping[Tone, Note]
) -> tuple[Section, ...]:
    """The passages in seconds and what is sung in them; the last one goes on to the end of the song.

    Args:
        notes: the vocal part's note for each sung tone.
    """
    ends = [sheet.grid.seconds(passage.end_bar * sheet.bar_steps) for passage in sheet.passages]
    ends[-1] = duration_s
    return tuple(
        Section(
            passage.tag,
            sheet.grid.seconds(passage.start_bar * sheet.bar_steps),
            end_s,
            tuple(_line(line, notes) for line in lines.get(passage, ())),
        )
        for passage, end_s in zip(sheet.passages, ends, strict=True)
    )


def _line(line: SungLine, notes: Mapping[Tone, Note]) -> LyricLine:
    sung = zip(line.words.syllables, line.tones, strict=True)
    return LyricLine(line.words.text, tuple(Syllable(text, notes[tone]) for text, tone in sung))
