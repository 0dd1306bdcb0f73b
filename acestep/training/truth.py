"""What is true of a song, frame by frame and as a whole: lessons beside the sound, for networks that should hear it.

In: a ``Score``. Out: values in [0, 1]: per latent frame the pitch classes, drums, voice, onsets and place in the bar,
and for the song the tempo, key, meter and tracks. A network that is asked for them while it trains learns sooner what
its numbers mean (the alignment of Yu et al., 2025, with the composer as the teacher). Refuses to know networks.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from acestep.constants import LATENT_RATE, TIME_SIGNATURES, TRACK_NAMES
from acestep.training.compose.theory import parse_key
from acestep.training.score import Note, Score
from acestep.training.songs import SongRecord, training_score

PITCH_CLASSES = 12
CHORD, BASS = slice(0, 12), slice(12, 24)  # pitch classes that sound; in the bass, those of the bass alone
DRUMS = slice(24, 27)  # bass drum, snare and toms, cymbals: 1 when struck, then fading
VOICE = 27
ONSETS = slice(28, 30)  # of notes of the bass, and of all other notes: 1 when one begins, then fading
HEARD = 30  # the columns above can be heard in any frame; those behind are about time
GRID = slice(30, 34)  # cosine and sine of the place within the beat and within the bar, from [-1, 1] to [0, 1]
FRAME_FACTS = 34

FADING_FRAMES = 3
_BASS_DRUMS, _CYMBALS = (35, 36), (42, 44, 46, 49, 51, 52, 53, 55, 57, 59)  # General MIDI keys
_TEMPO_OCTAVES = (0.5, 1, 2, 4)  # periods of the tempo's angles: fine ones tell neighbours apart
TEMPO = slice(0, 2 * len(_TEMPO_OCTAVES))  # among the facts of a song
_KEYS = 2 * PITCH_CLASSES
_METERS = tuple(TIME_SIGNATURES)
SONG_FACTS = 2 * len(_TEMPO_OCTAVES) + _KEYS + len(_METERS) + len(TRACK_NAMES)


@lru_cache(maxsize=4096)
def frame_facts(seed: int, frames: int) -> np.ndarray:
    """Facts ``[frames, FRAME_FACTS]`` fp32 of the training song of a seed."""
    score = training_score(seed)
    facts = np.zeros((frames, FRAME_FACTS), np.float32)
    for part in score.parts:
        if part.drums:
            _strike(facts[:, DRUMS], part.notes)
        else:
            is_bass = part.track == "bass"
            _sound(facts[:, BASS if is_bass else CHORD], part.notes)
            _begin(facts[:, ONSETS.start if is_bass else ONSETS.stop - 1], part.notes)
    for line in score.lines:
        facts[_frames_of(line.start_s, line.end_s), VOICE] = 1.0
    facts[:, GRID] = _grid(score, frames)
    return facts


@lru_cache(maxsize=4096)
def song_facts(record: SongRecord) -> np.ndarray:
    """Facts ``[SONG_FACTS]`` fp32 of a song as a whole: angles of the tempo, and one-hot key, meter and tracks."""
    octave = math.log2(record.bpm / 60)
    angles = [2 * math.pi * octave * period for period in _TEMPO_OCTAVES]
    tempo = [(1 + turn(angle)) / 2 for angle in angles for turn in (math.cos, math.sin)]
    key = parse_key(record.keyscale)
    number_of_key = key.tonic + (PITCH_CLASSES if key.minor else 0)
    return np.array(
        [
            *tempo,
            *(float(number == number_of_key) for number in range(_KEYS)),
            *(float(meter == record.timesignature) for meter in _METERS),
            *(float(track in record.tracks) for track in TRACK_NAMES),
        ],
        np.float32,
    )


def _strike(facts: np.ndarray, notes: Iterable[Note]) -> None:
    """Enter drums into ``[T, 3]``."""
    kinds: list[list[Note]] = [[], [], []]
    for note in notes:
        kinds[0 if note.pitch in _BASS_DRUMS else 2 if note.pitch in _CYMBALS else 1].append(note)
    for column, kind in zip(facts.T, kinds, strict=True):
        _begin(column, kind)


def _begin(facts: np.ndarray, notes: Iterable[Note]) -> None:
    """Enter when notes begin into ``[T]``."""
    for note in notes:
        first = round(note.start_s * LATENT_RATE)
        fading = note.velocity / 127 * (1 - np.arange(FADING_FRAMES, dtype=np.float32) / FADING_FRAMES)
        there = facts[first : first + FADING_FRAMES]
        np.maximum(there, fading[: len(there)], out=there)


def _sound(facts: np.ndarray, notes: Iterable[Note]) -> None:
    """Enter the pitch classes of notes into ``[T, 12]``."""
    for note in notes:
        frames = facts[_frames_of(note.start_s, note.start_s + note.duration_s), note.pitch % PITCH_CLASSES]
        np.maximum(frames, note.velocity / 127, out=frames)


def _grid(score: Score, frames: int) -> np.ndarray:
    """Where every frame lies in its beat and its bar, ``[T, 4]``."""
    at = (np.arange(frames) + 0.5) / LATENT_RATE
    turns = 2 * np.pi * np.stack([_phase(score.beats, at), _phase(score.downbeats, at)], axis=1)  # [T, 2]
    return (1 + np.concatenate([np.cos(turns), np.sin(turns)], axis=1)) / 2


def _phase(marks: Sequence[float], at: np.ndarray) -> np.ndarray:
    """How far each time lies between the mark before it and the next, in [0, 1); marks are evenly spaced."""
    step = marks[1] - marks[0] if len(marks) > 1 else at[-1] + 1
    return (at - marks[0]) / step % 1


def _frames_of(start_s: float, end_s: float) -> slice:
    first = round(start_s * LATENT_RATE)
    return slice(first, max(first + 1, round(end_s * LATENT_RATE)))
