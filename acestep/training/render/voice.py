"""A singer: turns notes with syllables on them into a sound, voiced, in tune and in time.

In: ``Sung`` notes of one melody. Out: mono sound at ``VOICE_RATE``. Refuses to know scores, stereo and mixes.

Consonants before the vowel begin with the note and take at most a share of it, the vowel holds the rest. Pitch glides
between tied notes, long notes get a vibrato that sets in late (Sundberg, "The science of the singing voice", 1987:
5 to 7 Hz), and the first formant is lifted to the fundamental when the melody climbs above it, as singers do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from acestep.training.render.phones import PHONES, Phone, SyllableSound
from acestep.training.render.tract import HOP, VOICE_RATE, Curves, frames_of, vocalise
from acestep.training.score import Note

VELOCITY_MAX = 127
BREATH_PAUSE_S = 0.15  # a longer gap ends a phrase
LEAD_S, RING_S = 0.03, 0.1  # silence around a phrase: room for its rise and for what rings
CONSONANTS_SHARE = 0.45  # of a note, at most
FIRST_VOWEL_SHARE = 0.65  # of a diphthong
FORMANT_GLIDE_S, LEVEL_GLIDE_S = 0.03, 0.01  # half a transition between two phones
REST = Phone(PHONES["a"].formants_hz, voice=0.0, seconds=LEAD_S)

SCOOP_SEMITONES, SCOOP_S = 0.6, 0.06  # a phrase is entered from below
GLIDE_BEFORE_S, GLIDE_AFTER_S = 0.02, 0.05  # around the start of a tied note
VIBRATO_AFTER_S, VIBRATO_FULL_S, VIBRATO_LEAVES_S = 0.25, 0.5, 0.05
VIBRATO_SEMITONES = (0.12, 0.3)
DRIFT_SEMITONES, DRIFT_EVERY_S = 0.03, 0.2
F1_OVER_PITCH = 1.05


@dataclass(frozen=True, slots=True)
class Voice:
    """A kind of singer.

    Attributes:
        size: how much higher the formants lie than a man's.
        tilt: exponent of the decay of the glottal harmonics.
        breath: share of breath in the tone.
        vibrato_hz: its usual rate.
    """

    size: float
    tilt: float
    breath: float
    vibrato_hz: float


VOICES = {
    "female": Voice(size=1.16, tilt=1.15, breath=0.05, vibrato_hz=5.8),
    "male": Voice(size=1.0, tilt=1.0, breath=0.03, vibrato_hz=5.3),
    "child": Voice(size=1.32, tilt=1.3, breath=0.07, vibrato_hz=6.2),
}


@dataclass(frozen=True, slots=True)
class Sung:
    """A note and what is sung on it."""

    note: Note
    sound: SyllableSound

    @property
    def stop_s(self) -> float:
        """When the note ends."""
        return self.note.start_s + self.note.duration_s


@dataclass(frozen=True, slots=True)
class Segment:
    """One phone of a phrase: from, to, how loud."""

    start_s: float
    stop_s: float
    phone: Phone
    level: float


def sing(
    voice: Voice, melody: Sequence[Sung], length: int, rng: np.random.Generator, cents: float = 0.0
) -> np.ndarray:
    """The melody as the voice sings it.

    Args:
        melody: in order of start; a note is cut where the next one begins.
        length: samples of the song at ``VOICE_RATE``; what rings longer is cut.
        rng: breath, friction, drift and vibrato.
        cents: how far the whole performance is out of tune.

    Returns:
        float32 ``[length]`` at ``VOICE_RATE``.
    """
    out = np.zeros(length, np.float32)
    for phrase in phrases(melody):
        first = round((phrase[0].note.start_s - LEAD_S) * VOICE_RATE)
        curves = _perform(voice, phrase, first, cents, rng)
        sound = vocalise(curves, voice.tilt, voice.size, rng)
        skipped = max(0, -first)  # the lead of a phrase that opens the song
        sound = sound[skipped : skipped + max(0, length - first - skipped)]
        out[first + skipped : first + skipped + len(sound)] += sound
    return out


def phrases(melody: Sequence[Sung]) -> Iterator[list[Sung]]:
    """The melody cut where the singer breathes, each note ending by the start of the next."""
    phrase: list[Sung] = []
    for sung, after in [*pairwise(melody), *((last, None) for last in melody[-1:])]:
        stop_s = min(sung.stop_s, after.note.start_s) if after else sung.stop_s
        note = sung.note
        phrase.append(Sung(Note(note.start_s, stop_s - note.start_s, note.pitch, note.velocity), sung.sound))
        if after is None or after.note.start_s - stop_s > BREATH_PAUSE_S:
            yield phrase
            phrase = []


def segments_of(phrase: Sequence[Sung]) -> list[Segment]:
    """Phones of a phrase one after the other, with rests between notes that do not touch, and around it all."""
    segments = [Segment(phrase[0].note.start_s - LEAD_S, phrase[0].note.start_s, REST, 0.0)]
    for sung in phrase:
        if sung.note.start_s > segments[-1].stop_s:
            segments.append(Segment(segments[-1].stop_s, sung.note.start_s, REST, 0.0))
        segments += _syllable_segments(sung)
    return [*segments, Segment(phrase[-1].stop_s, phrase[-1].stop_s + RING_S, REST, 0.0)]


def _syllable_segments(sung: Sung) -> Iterator[Segment]:
    sound, duration_s = sung.sound, sung.note.duration_s
    consonants_s = sum(phone.seconds for phone in sound.onset + sound.coda)
    shrink = min(1.0, CONSONANTS_SHARE * duration_s / consonants_s) if consonants_s else 1.0
    vowels_s = duration_s - shrink * consonants_s
    shares = (FIRST_VOWEL_SHARE, 1 - FIRST_VOWEL_SHARE) if len(sound.nucleus) == 2 else (1.0,)
    spans = [(phone, shrink * phone.seconds) for phone in sound.onset]
    spans += [(phone, share * vowels_s) for phone, share in zip(sound.nucleus, shares, strict=True)]
    spans += [(phone, shrink * phone.seconds) for phone in sound.coda]
    start_s, level = sung.note.start_s, sung.note.velocity / VELOCITY_MAX
    for phone, seconds in spans:
        yield Segment(start_s, start_s + seconds, phone, level)
        start_s += seconds


def _perform(voice: Voice, phrase: list[Sung], first: int, cents: float, rng: np.random.Generator) -> Curves:
    """Curves of a phrase that begins at sample ``first``."""
    segments = segments_of(phrase)
    length = round(segments[-1].stop_s * VOICE_RATE) - first
    seconds = (first + np.arange(length)) / VOICE_RATE
    at_frames = (first + np.arange(frames_of(length)) * HOP) / VOICE_RATE
    pitch_hz = 440.0 * 2.0 ** ((pitch_curve(phrase, voice, seconds, rng) + cents / 100 - 69) / 12)

    def level(value: Callable[[Phone], float]) -> np.ndarray:
        return _curve(segments, lambda it: it.level * value(it.phone), LEVEL_GLIDE_S, seconds).astype(np.float32)

    def place(value: Callable[[Phone], float]) -> np.ndarray:
        return _curve(segments, lambda it: value(it.phone), FORMANT_GLIDE_S, at_frames).astype(np.float32)

    formants = np.stack([place(lambda phone, n=n: voice.size * phone.formants_hz[n]) for n in range(3)], axis=1)
    lifted = F1_OVER_PITCH * np.interp(at_frames, seconds, pitch_hz)
    formants[:, 0] = np.maximum(formants[:, 0], lifted)
    tone = level(lambda phone: phone.voice)
    return Curves(
        pitch_hz=pitch_hz,
        voice=tone,
        breath=level(lambda phone: phone.breath) + voice.breath * tone,
        noise=level(lambda phone: phone.noise),
        formants_hz=formants,
        noise_hz=place(lambda phone: phone.noise_hz),
        noise_octaves=place(lambda phone: phone.noise_octaves),
    )


def _curve(
    segments: list[Segment], value: Callable[[Segment], float], glide_s: float, seconds: np.ndarray
) -> np.ndarray:
    """Each segment's value, held, with straight transitions that reach ``glide_s`` (at most a third) into it."""
    knots, values = [], []
    for segment in segments:
        inside = min(glide_s, (segment.stop_s - segment.start_s) / 3)
        knots += [segment.start_s + inside, segment.stop_s - inside]
        values += [value(segment)] * 2
    return np.interp(seconds, knots, values)


def pitch_curve(phrase: list[Sung], voice: Voice, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Pitch in semitones (MIDI) at every moment: the notes, a scoop into the phrase, glides, drift and vibrato."""
    knots, values = [], []
    before = phrase[0].note.pitch - SCOOP_SEMITONES
    for sung in phrase:
        note = sung.note
        start_s, stop_s = note.start_s, sung.stop_s
        lead_s, arrival_s = (GLIDE_BEFORE_S, GLIDE_AFTER_S) if knots else (0.0, SCOOP_S)
        knots += [start_s - lead_s, start_s + min(arrival_s, note.duration_s / 3), stop_s - GLIDE_BEFORE_S]
        values += [before, note.pitch, note.pitch]
        before = note.pitch
    pitch = np.interp(seconds, np.maximum.accumulate(knots), values)
    every = np.arange(seconds[0], seconds[-1] + DRIFT_EVERY_S, DRIFT_EVERY_S)
    drift = np.interp(seconds, every, rng.normal(0.0, DRIFT_SEMITONES, len(every)))
    rate = voice.vibrato_hz * rng.uniform(0.92, 1.08)
    return pitch + drift + _vibrato_depth(phrase, seconds, rng) * np.sin(2 * np.pi * rate * seconds)


def _vibrato_depth(phrase: list[Sung], seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Semitones either side: none in short notes and at the beginning of long ones."""
    depth = rng.uniform(*VIBRATO_SEMITONES)
    knots, values = [seconds[0]], [0.0]
    for sung in phrase:
        if sung.note.duration_s > VIBRATO_FULL_S + VIBRATO_LEAVES_S:
            start_s, stop_s = sung.note.start_s, sung.stop_s
            knots += [start_s + VIBRATO_AFTER_S, start_s + VIBRATO_FULL_S, stop_s - VIBRATO_LEAVES_S, stop_s]
            values += [0.0, depth, depth, 0.0]
    return np.interp(seconds, knots, values)
