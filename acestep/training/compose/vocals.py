"""The vocal line: words for every sung section, set to the section's motif, a syllable a note.

In: a lead sheet, motifs, a voice, a language. Out: sung lines in steps, passage by passage.
Refuses to know seconds and programs.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from acestep.training.compose.lyrics import SYLLABLES_MAX, SungText, write_lines
from acestep.training.compose.melody import Motif, Tone, breath_step, onsets, phrases_of, sing
from acestep.training.compose.sheet import LeadSheet, Passage

SYLLABLES_PER_SECOND = 3.8  # about as fast as anybody sings


@dataclass(frozen=True, slots=True)
class SungLine:
    """A line and a tone for each of its syllables."""

    words: SungText
    tones: tuple[Tone, ...]

    @property
    def end_step(self) -> float:
        """When its last tone ends."""
        return self.tones[-1].step + self.tones[-1].steps


def sing_song(
    sheet: LeadSheet, motifs: Mapping[str, Motif], compass: tuple[int, int], language: str, seed: int
) -> dict[Passage, tuple[SungLine, ...]]:
    """The lines of every sung passage that are over before the song is.

    Passages of one kind share their melody and those of one tag their words, so a chorus comes back as it was.

    Args:
        motifs: by kind of passage.
        compass: lowest and highest MIDI pitch of the voice.
        language: one of ``lyrics.LANGUAGES_SUNG``.
        seed: of the words and of how the motif develops.
    """
    limit = _syllables_max(sheet)
    sung: dict[Passage, tuple[SungLine, ...]] = {}
    for passage in (passage for passage in sheet.passages if passage.sung):
        starts = list(sheet.phrases(passage))
        words = write_lines(language, len(starts), limit, random.Random(f"{seed}/words/{passage.tag}"))
        ideas = phrases_of(motifs[passage.kind], len(starts), random.Random(f"{seed}/tune/{passage.kind}"))
        closes = [False] * (len(starts) - 1) + [True]
        lines = [
            _sing_line(sheet, start, idea, line, compass, close)
            for start, idea, line, close in zip(starts, ideas, words, closes, strict=True)
        ]
        sung[passage] = tuple(line for line in lines if line.end_step <= sheet.end_step)
    return sung


def _syllables_max(sheet: LeadSheet) -> int:
    """Syllables that fit into a line before its breath."""
    return min(SYLLABLES_MAX, round(breath_step(sheet) * sheet.grid.step_s * SYLLABLES_PER_SECOND))


def _sing_line(
    sheet: LeadSheet, start: int, motif: Motif, words: SungText, compass: tuple[int, int], closes: bool
) -> SungLine:
    places = onsets(motif, len(words.syllables), breath_step(sheet))
    return SungLine(words, tuple(sing(sheet, start, motif, places, compass, closes)))
