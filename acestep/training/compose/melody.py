"""Melodies: a motif is drawn once per kind of section, and every phrase is that motif, moved, turned or reshaped.

In: a lead sheet, the number of notes a phrase wants. Out: notes in steps. A sung line and an instrumental phrase are
the same thing here; only the number of notes comes from different places.
Refuses to know words, programs and seconds.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from acestep.training.compose.sheet import LeadSheet, PlacedChord
from acestep.training.compose.theory import PITCH_CLASSES, chord_scale, ladder

BREATH = 0.22  # part of a phrase that stays free at its end
_SEMITONES_PER_STEP = 1.75  # of a scale, on average
_REACH = 4  # scale steps a contour goes up or down
_HELD_STEPS = 6  # the last note of a phrase is held this long when there is room
# What a candidate pitch costs: semitones from the contour count 1; so does this much of everything else.
_LEAP_COST, _LEAP_FREE, _REPEAT_COST, _TONIC_BONUS, _EDGE_COST = 1.2, 4, 1.3, 0.9, 3.0


class Tone(NamedTuple):
    """A note in steps from the start of the song; ``accent`` 0 to 1."""

    step: float
    steps: float
    pitch: int
    accent: float


@dataclass(frozen=True, slots=True)
class Motif:
    """A musical idea as long as a phrase.

    Attributes:
        pull: by step of the phrase, how much it wants a note; a phrase of n notes takes the n strongest.
        contour: by step, scale steps above or below the middle of the range.
    """

    pull: tuple[float, ...]
    contour: tuple[int, ...]


def draw_motif(sheet: LeadSheet, syncopation: float, rng: random.Random) -> Motif:
    """A new idea: half a phrase, then its answer, which keeps the rhythm and moves or mirrors the line."""
    steps = sheet.phrase_bars * sheet.bar_steps
    half = steps // 2 if sheet.phrase_bars > 1 else steps
    noise = [rng.gauss(0.0, 0.3 + syncopation) for _ in range(half)]
    pull = [
        sheet.grid.strength(step) * (1.0 - 0.4 * syncopation) + noise[step % half] + rng.gauss(0.0, 0.1)
        for step in range(steps)
    ]
    first = _walk(half, rng)
    turn, shift = rng.choice((1, 1, -1)), rng.choice((-2, -1, 0, 1, 2))
    answer = [turn * height + shift for height in first]
    return Motif(tuple(pull), tuple((first + answer)[:steps]))


def _walk(steps: int, rng: random.Random) -> list[int]:
    """A contour that goes mostly by step, changes direction now and then, and is drawn back to the middle."""
    height, direction, walked = rng.choice((-2, 0, 0, 2)), rng.choice((-1, 1)), []
    for step in range(steps):
        if step % 2 == 0 and step:
            if abs(height) >= _REACH or rng.random() < 0.3:
                direction = -1 if height > 0 else 1 if height < 0 else -direction
            height += direction * rng.choice((0, 1, 1, 1, 2))
            height = max(-_REACH, min(_REACH, height))
        walked.append(height)
    return walked


def _same(motif: Motif, _rng: random.Random) -> Motif:
    return motif


def _sequence(motif: Motif, rng: random.Random) -> Motif:
    shift = rng.choice((-2, -1, 1, 2))
    return replace(motif, contour=tuple(height + shift for height in motif.contour))


def _inversion(motif: Motif, _rng: random.Random) -> Motif:
    return replace(motif, contour=tuple(-height for height in motif.contour))


def _new_rhythm(motif: Motif, rng: random.Random) -> Motif:
    return replace(motif, pull=tuple(pull + rng.gauss(0.0, 0.5) for pull in motif.pull))


# How the phrases of a section follow from its motif, over and over.
_PLANS: tuple[tuple[Callable[[Motif, random.Random], Motif], ...], ...] = (
    (_same, _sequence, _same, _new_rhythm),
    (_same, _same, _sequence, _inversion),
    (_same, _inversion, _same, _sequence),
    (_same, _new_rhythm, _sequence, _same),
)


def phrases_of(motif: Motif, count: int, rng: random.Random) -> list[Motif]:
    """``count`` phrases that develop a motif."""
    plan = rng.choice(_PLANS)
    return [plan[index % len(plan)](motif, rng) for index in range(count)]


def onsets(motif: Motif, notes: int, until: int, since: int = 0) -> list[int]:
    """The ``notes`` steps a motif pulls most, in order, from ``since`` to before ``until`` of the phrase."""
    allowed = sorted(range(since, min(until, len(motif.pull))), key=lambda step: -motif.pull[step])
    return sorted(allowed[:notes])


def breath_step(sheet: LeadSheet) -> int:
    """Step of a phrase after which no note starts."""
    return round(sheet.phrase_bars * sheet.bar_steps * (1.0 - BREATH))


def sing(
    sheet: LeadSheet, start: int, motif: Motif, places: Sequence[int], compass: tuple[int, int], closes: bool
) -> list[Tone]:
    """One phrase: a note on each of ``places``, following the contour over the chords.

    Args:
        start: step of the song the phrase starts at.
        places: steps within the phrase, in order.
        compass: lowest and highest MIDI pitch.
        closes: the last note is the tonic where the chord has it.
    """
    tones: list[Tone] = []
    before: int | None = None
    for index, place in enumerate(places):
        last = index == len(places) - 1
        chord = sheet.chord_at(start + place)
        rungs = _rungs(sheet, chord, start + place, compass, closes and last, last)
        before = _choose(rungs, _target(motif, place, compass), before, sheet.key.tonic, compass)
        until = start + (len(motif.pull) if last else places[index + 1])
        length = min(until - start - place, _HELD_STEPS) if last else min(until - start - place, 2 * _HELD_STEPS)
        accent = 0.7 + 0.1 * max(0.0, sheet.grid.strength(place))
        tones.append(Tone(start + place, length, before, min(1.0, accent)))
    return tones


def _target(motif: Motif, place: int, compass: tuple[int, int]) -> float:
    return sum(compass) / 2 + motif.contour[place] * _SEMITONES_PER_STEP


def _rungs(
    sheet: LeadSheet, chord: PlacedChord, step: int, compass: tuple[int, int], closes: bool, last: bool
) -> tuple[int, ...]:
    """Pitches a note may take: chord tones where it matters, the scale elsewhere, the tonic to close."""
    tones = frozenset(chord.harmony.tones)
    if closes and sheet.key.tonic in tones:
        tones = frozenset({sheet.key.tonic})
    elif not (last or step == chord.step or sheet.grid.strength(step) >= 2.0):
        tones = chord_scale(chord.harmony, sheet.key)
    return ladder(tones, *compass)


def _choose(rungs: Sequence[int], target: float, before: int | None, tonic: int, compass: tuple[int, int]) -> int:
    """The pitch that follows the contour best without leaping, standing still or leaving the middle of the range."""

    def cost(pitch: int) -> float:
        price = abs(pitch - target) - _TONIC_BONUS * (pitch % PITCH_CLASSES == tonic)
        price += _EDGE_COST * (pitch - compass[0] < 2 or compass[1] - pitch < 2)
        if before is not None:
            price += _LEAP_COST * max(0, abs(pitch - before) - _LEAP_FREE) + _REPEAT_COST * (pitch == before)
        return price

    return min(rungs, key=cost)


def harmonised(tones: Sequence[Tone], sheet: LeadSheet, compass: tuple[int, int]) -> list[Tone]:
    """A second voice below a melody: the nearest chord tone at least a third lower, within ``compass``."""
    below = []
    for tone in tones:
        rungs = ladder(frozenset(sheet.chord_at(tone.step).harmony.tones), *compass)
        fitting = [pitch for pitch in rungs if pitch <= tone.pitch - 3] or [rungs[0]]
        below.append(tone._replace(pitch=fitting[-1], accent=tone.accent * 0.8))
    return below
