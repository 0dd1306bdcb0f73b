"""Who sings a part of a score and with which words: one lead singer, or a doubled group of backing singers.

In: a vocal ``Part`` and the lyric lines. Out: their sound, float32 ``[2, S]``. Refuses to know how a voice is made.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from acestep.audio.resample import resample
from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE
from acestep.training.render.phones import PHONES, SyllableSound, pronounce
from acestep.training.render.tract import VOICE_RATE
from acestep.training.render.voice import VOICES, Sung, Voice, sing
from acestep.training.score import LyricLine, Note, Part, Syllable

LEAD_TRACK, BACKING_TRACK = "vocals", "backing_vocals"
SUNG_TRACKS = (LEAD_TRACK, BACKING_TRACK)
CHOIR_AAHS, VOICE_OOHS = 52, 53  # General MIDI programs
LEAD_OF_PROGRAM = {CHOIR_AAHS: ("male",), VOICE_OOHS: ("female",)}  # any other: whoever
WORDLESS = VOICE_OOHS  # a backing part of this program has no words
BACKING_VOICES = ("female", "male")
SIZE_SPREAD, TILT_SPREAD = 0.05, 0.1  # how far a singer strays from the others of the same kind

AAH = SyllableSound((), (PHONES["a"],), ())
OOH = SyllableSound((), (PHONES["u"],), ())
SAME_START_S = 0.03
TAKES = ((-7.0, -0.6), (6.0, 0.6))  # cents and pan of the two takes of a backing voice
TAKE_SPREAD_CENTS = 3.0
BACKING_TILT = 0.35  # softer than the lead


def perform(part: Part, lines: Sequence[LyricLine], samples: int, rng: np.random.Generator) -> np.ndarray:
    """The part sung.

    Args:
        part: on one of ``SUNG_TRACKS``; its program says who sings, and for backing vocals whether there are words.
        lines: all lyrics; a note sings the syllable that starts with it, or goes on with the vowel of the one before.
        samples: length of the song.
        rng: choice of the singer and everything human about the performance.

    Returns:
        float32 ``[2, samples]``.
    """
    length = -(-samples * VOICE_RATE // SAMPLE_RATE)
    sound = (_backing if part.track == BACKING_TRACK else _lead)(part, lines, length, rng)
    sound = resample(sound, VOICE_RATE, SAMPLE_RATE)[:, :samples]
    return np.broadcast_to(sound, (AUDIO_CHANNELS, samples))


def singer(kinds: Sequence[str], rng: np.random.Generator) -> Voice:
    """Somebody of one of these kinds of voice, nobody exactly like somebody else."""
    voice = VOICES[kinds[rng.integers(len(kinds))]]
    size = voice.size * (1 + rng.uniform(-SIZE_SPREAD, SIZE_SPREAD))
    return replace(voice, size=size, tilt=voice.tilt + rng.uniform(-TILT_SPREAD, TILT_SPREAD))


def _lead(part: Part, lines: Sequence[LyricLine], length: int, rng: np.random.Generator) -> np.ndarray:
    """``[1, length]``: one singer, as many of her as notes sound at once."""
    voice = singer(LEAD_OF_PROGRAM.get(part.program, tuple(VOICES)), rng)
    takes = [sing(voice, words_on(melody, lines, AAH), length, rng) for melody in lanes(part.notes)]
    return sum(takes, start=np.zeros((1, length), np.float32))


def _backing(part: Part, lines: Sequence[LyricLine], length: int, rng: np.random.Generator) -> np.ndarray:
    """``[2, length]``: every line of the harmony sung twice, left and right, a little out of tune with itself."""
    sound = np.zeros((AUDIO_CHANNELS, length), np.float32)
    for melody in lanes(part.notes):
        voice = singer(BACKING_VOICES, rng)
        voice = replace(voice, tilt=voice.tilt + BACKING_TILT)
        sung = words_on(melody, () if part.program == WORDLESS else lines, OOH)
        for cents, pan in TAKES:
            take = sing(voice, sung, length, rng, cents + rng.normal(0.0, TAKE_SPREAD_CENTS))
            sound += np.array([[1 - pan], [1 + pan]], np.float32) / 2 * take
    return sound


def lanes(notes: Sequence[Note]) -> list[list[Note]]:
    """Notes dealt to as many melodies as sound at once, each note to the first melody that is free."""
    melodies: list[list[Note]] = []
    for note in sorted(notes, key=lambda note: (note.start_s, -note.pitch)):
        for melody in melodies:
            last = melody[-1]
            if note.start_s - last.start_s > SAME_START_S and note.start_s >= last.start_s + last.duration_s / 2:
                melody.append(note)
                break
        else:
            melodies.append([note])
    return melodies


def words_on(melody: Sequence[Note], lines: Sequence[LyricLine], otherwise: SyllableSound) -> list[Sung]:
    """The syllable of every note: the one that starts with it, else the vowel sung last, else ``otherwise``."""
    syllables = sorted((syllable for line in lines for syllable in line.syllables), key=_start)
    starts = [_start(syllable) for syllable in syllables]
    sung, held = [], otherwise
    for note in melody:
        index = bisect_right(starts, note.start_s + SAME_START_S) - 1
        if index >= 0 and note.start_s - starts[index] <= SAME_START_S:
            sound = pronounce(syllables[index].text)
            held = SyllableSound((), sound.nucleus[-1:], ())
        else:
            sound = held
        sung.append(Sung(note, sound))
    return sung


def _start(syllable: Syllable) -> float:
    return syllable.note.start_s
