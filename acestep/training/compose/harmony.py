"""Which chord sounds when, and how its tones are laid out so that hands hardly move.

In: passages, a key, a style's progressions. Out: chords in steps without a gap, and voicings in MIDI pitches.
Refuses to know instruments and melodies.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import lru_cache

from acestep.training.compose.sheet import Meter, Passage, PlacedChord
from acestep.training.compose.styles import Style
from acestep.training.compose.theory import PITCH_CLASSES, Harmony, Key, harmony_of, ladder

SPLIT = "-"  # two chords in a bar
# What may come before a degree instead of the chord that stands there.
_APPLIED = {"ii": "V7/ii", "IV": "I7", "V": "V7/V", "vi": "V7/vi", "iv": "V7/iv", "VI": "V7/VI"}
_BORROWED = {"IV": "iv", "ii": "iv", "vi": "bVI"}
_LEADS_HOME = frozenset({"V", "V7", "V9", "v", "bVII"})  # a bar that ends so needs no other cadence
_CENTRE_PULL = 0.6  # semitones of movement one semitone off the middle of the range is worth


def harmonise(
    passages: Sequence[Passage],
    key: Key,
    style: Style,
    meter: Meter,
    phrase_bars: int,
    held: bool,
    rng: random.Random,
) -> tuple[PlacedChord, ...]:
    """Chords of a whole song; sections of one kind share a progression, every section ends on a cadence.

    Args:
        phrase_bars: a progression is stretched to at least one line of melody.
        held: the song closes on a held tonic, which is the last chord; its length is left to the composer.
    """
    progressions = _progressions(passages, key, style, rng)
    chords: list[PlacedChord] = []
    for passage in passages:
        bars = _stretched(progressions[passage.kind], passage.bars, phrase_bars)
        bars[-1] = _cadence(bars[-1], style)
        for index, numerals in enumerate(bars):
            chords += _placed((passage.start_bar + index) * meter.steps, numerals, key, meter)
    if held:
        chords.append(PlacedChord(passages[-1].end_bar * meter.steps, meter.steps, _closing(key, style)))
    return tuple(chords)


def _progressions(
    passages: Sequence[Passage], key: Key, style: Style, rng: random.Random
) -> dict[str, tuple[str, ...]]:
    """Four bars for each kind of section; choruses differ from verses, calm sections take after the first."""
    offered = style.progressions(key.minor)
    kinds = list(dict.fromkeys(passage.kind for passage in passages))
    drawn = rng.sample(offered, min(2, len(offered)))
    spiced = {kind: _spiced(drawn[index % len(drawn)].split(), key, style, rng) for index, kind in enumerate(kinds)}
    return {kind: tuple(bars) for kind, bars in spiced.items()}


def _spiced(bars: list[str], key: Key, style: Style, rng: random.Random) -> list[str]:
    """Perhaps one inner chord borrowed from the parallel mode, or turned into the dominant of the next."""
    chance, applied, place = rng.random(), rng.random() < 0.6, rng.randrange(1, len(bars) - 1)
    if chance >= style.spice or SPLIT in bars[place]:
        return bars
    replacement = _APPLIED.get(bars[place + 1]) if applied else None if key.minor else _BORROWED.get(bars[place])
    return [*bars[:place], replacement or bars[place], *bars[place + 1 :]]


def _stretched(progression: Sequence[str], bars: int, phrase_bars: int) -> list[str]:
    """A progression over ``bars``: half as fast where lines are long, twice as fast where there are but two bars."""
    numerals = list(progression)
    if bars <= 2:
        halves = [bar.split(SPLIT)[0] for bar in numerals]
        numerals = [SPLIT.join(pair) for pair in zip(halves[::2], halves[1::2], strict=True)]
    elif phrase_bars >= 4:
        numerals = [part for bar in numerals for part in (bar.split(SPLIT) * 2)[:2]]
    return [numerals[index % len(numerals)] for index in range(bars)]


def _cadence(bar: str, style: Style) -> str:
    """The last bar of a section: kept when it leads home, else its second half turns to the dominant."""
    first, last = bar.split(SPLIT)[0], bar.split(SPLIT)[-1]
    if last in _LEADS_HOME:
        return bar
    dominant = "V7" if style.sevenths else "V"
    return dominant if first in {"VII", "i7", "I7"} else f"{first}{SPLIT}{dominant}"


def _closing(key: Key, style: Style) -> Harmony:
    """The tonic as the style likes to end: plain, or with a sixth where every chord has four tones."""
    jazzy = style.sevenths and any("maj" in progression for progression in style.major_progressions)
    plain = "i" if key.minor else "I"
    return harmony_of(f"{plain}6" if jazzy and not key.minor else plain, key)


def _placed(step: int, bar: str, key: Key, meter: Meter) -> list[PlacedChord]:
    """The chords of a bar; two share it at its middle beat, in three the first takes two beats."""
    numerals = bar.split(SPLIT)
    if len(numerals) == 1:
        return [PlacedChord(step, meter.steps, harmony_of(bar, key))]
    first = (meter.beats + 1) // 2 * meter.steps_per_beat
    return [
        PlacedChord(step, first, harmony_of(numerals[0], key)),
        PlacedChord(step + first, meter.steps - first, harmony_of(numerals[1], key)),
    ]


def voice_lead(harmonies: Sequence[Harmony], low: int, high: int, voices: int) -> list[tuple[int, ...]]:
    """Voicings within ``low`` to ``high``, each the closest to the one before; the first in root position.

    Returns:
        ``voices`` MIDI pitches per chord, upwards.
    """
    laid: list[tuple[int, ...]] = []
    for harmony in harmonies:
        before = laid[-1] if laid else None
        laid.append(_voicing(harmony, before, low, high, voices))
    return laid


@lru_cache(maxsize=16384)
def _voicing(harmony: Harmony, before: tuple[int, ...] | None, low: int, high: int, voices: int) -> tuple[int, ...]:
    candidates = _close_positions(harmony, low, high, voices)
    centre = (low + high) / 2
    if before is None:
        rooted = [voicing for voicing in candidates if voicing[0] % PITCH_CLASSES == harmony.root]
        return min(rooted or candidates, key=lambda voicing: abs(sum(voicing) / voices - centre))
    return min(candidates, key=lambda voicing: _movement(before, voicing) + _CENTRE_PULL * _off(voicing, centre))


def _movement(before: tuple[int, ...], after: tuple[int, ...]) -> float:
    return sum(abs(a - b) for a, b in zip(before, after, strict=True))


def _off(voicing: tuple[int, ...], centre: float) -> float:
    return abs(sum(voicing) / len(voicing) - centre)


@lru_cache(maxsize=4096)
def _close_positions(harmony: Harmony, low: int, high: int, voices: int) -> tuple[tuple[int, ...], ...]:
    """Every inversion in close position: neighbouring chord tones stacked; a triad in four voices doubles one."""
    rungs = ladder(frozenset(_essential(harmony, voices)), low, high)
    return tuple(rungs[start : start + voices] for start in range(len(rungs) - voices + 1))


def _essential(harmony: Harmony, voices: int) -> tuple[int, ...]:
    """Chord tones that fit: with more tones than voices the fifth goes first, then the highest colours."""
    if len(harmony.tones) <= voices:
        return harmony.tones
    kept = [tone for tone, interval in zip(harmony.tones, harmony.intervals, strict=True) if interval != 7]
    return tuple(kept[:voices])
