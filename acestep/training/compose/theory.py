"""Keys, scales and chords as pitch classes, and the ear that tells which key a heap of notes is in.

In: key names as in ``constants.KEYSCALES`` and roman numerals. Out: pitch classes 0 (C) to 11.
Refuses to know time, styles and instruments.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

from acestep.constants import KEYSCALES
from acestep.errors import InputError

PITCH_CLASSES = 12
MAJOR_SCALE = (0, 2, 4, 5, 7, 9, 11)
MINOR_SCALE = (0, 2, 3, 5, 7, 8, 10)
# The usual spelling of the 24 keys, by tonic.
MAJOR_TONICS = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR_TONICS = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")

_LETTERS = dict(zip("CDEFGAB", MAJOR_SCALE, strict=True))
_ACCIDENTALS = {"#": 1, "♯": 1, "b": -1, "♭": -1}
_DEGREES = ("i", "ii", "iii", "iv", "v", "vi", "vii")
_NUMERAL = re.compile(r"([b#]?)([iv]+|[IV]+)(\w*)")
# Intervals by suffix, of an upper-case and of a lower-case numeral.
_QUALITIES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "": ((0, 4, 7), (0, 3, 7)),
    "5": ((0, 7), (0, 7)),
    "6": ((0, 4, 7, 9), (0, 3, 7, 9)),
    "7": ((0, 4, 7, 10), (0, 3, 7, 10)),
    "maj7": ((0, 4, 7, 11), (0, 3, 7, 11)),
    "9": ((0, 4, 7, 10, 14), (0, 3, 7, 10, 14)),
    "maj9": ((0, 4, 7, 11, 14), (0, 3, 7, 11, 14)),
    "add9": ((0, 4, 7, 14), (0, 3, 7, 14)),
    "sus2": ((0, 2, 7), (0, 2, 7)),
    "sus4": ((0, 5, 7), (0, 5, 7)),
    "o": ((0, 3, 6), (0, 3, 6)),
    "h7": ((0, 3, 6, 10), (0, 3, 6, 10)),
}
# How well each degree fits a key, heard by listeners: Krumhansl and Kessler, 1982.
_MAJOR_PROFILE = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR_PROFILE = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)


@dataclass(frozen=True, slots=True)
class Key:
    """A tonic pitch class and a mode."""

    tonic: int
    minor: bool

    @property
    def name(self) -> str:
        """Its usual spelling, such as ``Eb major``."""
        return f"{MINOR_TONICS[self.tonic]} minor" if self.minor else f"{MAJOR_TONICS[self.tonic]} major"

    @property
    def scale(self) -> tuple[int, ...]:
        """Pitch classes from the tonic up; natural minor."""
        return tuple((self.tonic + step) % PITCH_CLASSES for step in (MINOR_SCALE if self.minor else MAJOR_SCALE))


@dataclass(frozen=True, slots=True)
class Harmony:
    """A chord without time: root pitch class, intervals above it in semitones."""

    root: int
    intervals: tuple[int, ...]

    @property
    def tones(self) -> tuple[int, ...]:
        """Pitch classes, the root first."""
        return tuple((self.root + interval) % PITCH_CLASSES for interval in self.intervals)


KEYS = tuple(Key(tonic, minor) for minor in (False, True) for tonic in range(PITCH_CLASSES))


def parse_key(keyscale: str) -> Key:
    """The key called ``keyscale``.

    Raises:
        InputError: not one of ``constants.KEYSCALES``.
    """
    if keyscale not in KEYSCALES:
        raise InputError.must("keyscale", "be a note and a mode, such as 'C major' or 'F# minor'", keyscale)
    note, mode = keyscale.split()
    tonic = _LETTERS[note[0]] + sum(_ACCIDENTALS[mark] for mark in note[1:])
    return Key(tonic % PITCH_CLASSES, mode == "minor")


@lru_cache(maxsize=4096)
def harmony_of(numeral: str, key: Key) -> Harmony:
    """The chord a roman numeral means in a key: ``ii7``, ``bVII``, ``V7/vi``; lower case is minor.

    Degrees are those of the key's own scale, so ``VI`` in C minor is A flat. ``h7`` is half diminished.
    """
    chord, _, target = numeral.partition("/")
    if target:  # applied to another degree, as if that were the tonic of a major key
        return harmony_of(chord, Key(harmony_of(target, key).root, minor=False))
    match = _NUMERAL.fullmatch(chord)
    if match is None:
        raise ValueError(f"{numeral!r} is not a roman numeral")
    accidental, degree, suffix = match.groups()
    root = key.scale[_DEGREES.index(degree.lower())] + _ACCIDENTALS.get(accidental, 0)
    return Harmony(root % PITCH_CLASSES, _QUALITIES[suffix][degree.islower()])


@lru_cache(maxsize=4096)
def chord_scale(harmony: Harmony, key: Key) -> frozenset[int]:
    """Pitch classes that sound right over a chord: the key's, each altered degree giving way to the chord's tone."""
    scale = set(key.scale)
    for interval in harmony.intervals:
        tone = (harmony.root + interval) % PITCH_CLASSES
        if tone not in scale:
            scale.discard((tone - 1 if _is_raised(harmony, interval) else tone + 1) % PITCH_CLASSES)
            scale.add(tone)
    return frozenset(scale | set(harmony.tones))


def _is_raised(harmony: Harmony, interval: int) -> bool:
    """Foreign major thirds and diminished roots are leading notes; other foreign tones are borrowed, lowered ones."""
    return interval == 4 or (interval == 0 and 6 in harmony.intervals)


def estimate_key(weights: tuple[float, ...]) -> Key:
    """The key whose Krumhansl profile correlates best with 12 pitch-class weights (C first)."""
    return max(KEYS, key=lambda key: _correlation(weights, _profile(key)))


@lru_cache(maxsize=32)
def _profile(key: Key) -> tuple[float, ...]:
    profile = _MINOR_PROFILE if key.minor else _MAJOR_PROFILE
    return tuple(profile[(pitch - key.tonic) % PITCH_CLASSES] for pitch in range(PITCH_CLASSES))


def _correlation(left: tuple[float, ...], right: tuple[float, ...]) -> float:
    mean_left, mean_right = sum(left) / len(left), sum(right) / len(right)
    pairs = [(a - mean_left, b - mean_right) for a, b in zip(left, right, strict=True)]
    scale = math.sqrt(sum(a * a for a, _ in pairs) * sum(b * b for _, b in pairs))
    return sum(a * b for a, b in pairs) / scale if scale else 0.0


@lru_cache(maxsize=4096)
def ladder(tones: frozenset[int], low: int, high: int) -> tuple[int, ...]:
    """Every MIDI pitch from ``low`` to ``high`` whose pitch class is in ``tones``."""
    return tuple(pitch for pitch in range(low, high + 1) if pitch % PITCH_CLASSES in tones)


def nearest(pitch_class: int, pitch: float) -> int:
    """The MIDI pitch of a pitch class that is nearest to ``pitch``."""
    octave = round((pitch - pitch_class) / PITCH_CLASSES)
    return pitch_class + PITCH_CLASSES * octave
