"""What tempo and what key a recording has, and how well they agree with what was asked for.

In: float32 ``[channels, S]`` at any rate. Out: a ``Heard``, and agreements of 0 to 1. Refuses to know how the
recording was made; none of our networks is asked. Pure numpy, deterministic, and deaf to level.

Tempo: onsets are where the spectrum grows (Bello et al., "A Tutorial on Onset Detection in Music Signals", IEEE TSAP
13(5), 2005), in loudness rather than power (Stevens' power law); their autocorrelation is summed over multiples of
the beat and weighted by how people prefer to tap (Ellis, "Beat Tracking by Dynamic Programming", JNMR 36(1), 2007).
Key: the profile that fits the mean chroma best (Krumhansl, "Cognitive Foundations of Musical Pitch", 1990), of those
of Albrecht and Shanahan, "The Use of Large Corpora to Train a New Type of Key-Finding Algorithm", Music Perception
31(1), 2013. How often both are right: ``benchmarks/scoring_sound.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from acestep.audio.resample import resample
from acestep.constants import MODES

RATE = 22_050  # Hz; neither beats nor keys live above 11 kHz
BLOCK_FRAMES = 64  # spectra at once, for bounded memory
SHORTEST_S = 3.0  # what is shorter has neither tempo nor key
SILENT_LEVEL = 1e-4  # nor has a recording whose loudest sample lies below -80 dBFS

ONSET_WINDOW, ONSET_HOP = 2048, 512  # 93 and 23 ms
ONSET_BANDS = np.geomspace(40.0, 10_000.0, 25)  # edges in Hz
STEVENS_EXPONENT = 0.3  # of power
STEADY = 1e-3  # what grows by less than this share of the loudness is no onset
MASKED = 1e-8  # power of a band relative to the loudest: 80 dB below it nothing is heard
TEMPO_MIN, TEMPO_MAX, TEMPO_STEPS = 50.0, 220.0, 600  # half and double tempo reach everything one can ask for
PREFERRED_TEMPO, PREFERENCE_OCTAVES = 110.0, 1.0
BEATS = np.array((1, 2, 3, 4, 6, 8))  # at which the comb has teeth
TEETH = 1 / np.sqrt(BEATS) / (1 / np.sqrt(BEATS)).sum()  # how much each counts
PULSE_MIN = 0.1  # of the comb, 0 to 1; 10 s of noise reach 0.09, 98 of 100 songs of our own more

CHROMA_WINDOW, CHROMA_HOP = 8192, 4096  # 2.7 Hz apart: two thirds of the semitone at C2
CHROMA_LOW, CHROMA_HIGH = 65.0, 1050.0  # C2 to C6; a bin counts by 1 / sqrt(frequency), for overtones lie high
CHROMA_WIDTH = 0.5  # standard deviation of a pitch class, semitones
QUIET_FRAME = 1e-3  # of the loudest frame: what is below has no say
FIT_MIN = 0.45  # correlation; noise reaches 0.3, 99 of 100 songs of our own more
PITCH_CLASSES = 12
PROFILES = (  # of C major and C minor
    (0.238, 0.006, 0.111, 0.006, 0.137, 0.094, 0.016, 0.214, 0.009, 0.080, 0.008, 0.081),
    (0.220, 0.006, 0.104, 0.123, 0.019, 0.103, 0.012, 0.214, 0.062, 0.022, 0.061, 0.052),
)
TONICS = ("C Db D Eb E F F# G Ab A Bb B".split(), "C C# D Eb E F F# G G# A Bb B".split())  # as scores spell them
_LETTERS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"#": 1, "♯": 1, "b": -1, "♭": -1}

OCTAVES = (1.0, 2.0, 0.5)
TEMPO_TOLERANCE, TEMPO_OFF = 0.04, 0.12  # relative errors that still score 1, and that score 0


@dataclass(frozen=True, slots=True)
class Heard:
    """What a recording sounds like.

    Attributes:
        tempo: beats per minute, 50 to 220, possibly half or double of what was written; None when nothing beats.
        key: one of ``constants.KEYSCALES``; None when nothing has a pitch.
    """

    tempo: float | None
    key: str | None


def listen(samples: np.ndarray, sample_rate: int) -> Heard:
    """Tempo and key of a recording.

    Args:
        samples: finite float32 ``[channels, S]``, any length; less than 3 s have neither.
        sample_rate: in Hz.
    """
    mono = resample(samples.mean(axis=0, keepdims=True, dtype=np.float32), sample_rate, RATE)[0]  # [S']
    if len(mono) < SHORTEST_S * RATE or np.abs(mono).max() < SILENT_LEVEL:
        return Heard(None, None)
    return Heard(_tempo(mono), _key(mono))


def tempo_agreement(heard: float | None, asked: float | None) -> float | None:
    """How well a tempo is the one asked for; half and double tempo count as the same.

    Returns:
        1 within 4 %, falling to 0 at 12 %; 0 when no tempo was heard; None when none was asked for.
    """
    if asked is None:
        return None
    if heard is None:
        return 0.0
    error = min(abs(heard * octave / asked - 1) for octave in OCTAVES)
    return min(1.0, max(0.0, (TEMPO_OFF - error) / (TEMPO_OFF - TEMPO_TOLERANCE)))


def key_agreement(heard: str | None, asked: str | None) -> float | None:
    """How well a key is the one asked for, by MIREX's rule for key detection.

    Args:
        heard: such as ``C# minor``.
        asked: one of ``constants.KEYSCALES``, or "" or None.

    Returns:
        1 for the same key however spelled, 0.5 a fifth above in the same mode, 0.3 the relative key, 0.2 the parallel
        key, else 0; 0 when no key was heard; None when none was asked for.
    """
    if not asked:
        return None
    if heard is None:
        return 0.0
    (tonic, minor), (asked_tonic, asked_minor) = _parsed(heard), _parsed(asked)
    above = (tonic - asked_tonic) % PITCH_CLASSES
    if minor == asked_minor:
        return {0: 1.0, 7: 0.5}.get(above, 0.0)
    return {0: 0.2, 9 if minor else 3: 0.3}.get(above, 0.0)


def _parsed(key: str) -> tuple[int, bool]:
    """Pitch class of the tonic, and whether the mode is minor."""
    note, mode = key.split()
    tonic = _LETTERS[note[0]] + sum(_ACCIDENTALS[accidental] for accidental in note[1:])
    return tonic % PITCH_CLASSES, mode == MODES[1]


def _tempo(mono: np.ndarray) -> float | None:
    onsets = onset_strength(mono)  # [frames]
    if not onsets.any():
        return None
    correlation = autocorrelation(onsets - onsets.mean())  # [frames]
    tempos = np.geomspace(TEMPO_MIN, TEMPO_MAX, TEMPO_STEPS)
    beat = 60.0 / tempos * RATE / ONSET_HOP  # frames
    lags = beat[:, None] * BEATS  # [tempos, beats]
    comb = np.interp(lags, np.arange(len(correlation)), correlation, right=0.0) @ TEETH  # [tempos]
    preference = np.exp(-0.5 * np.square(np.log2(tempos / PREFERRED_TEMPO) / PREFERENCE_OCTAVES))
    return float(tempos[np.argmax(comb * preference)]) if comb.max() >= PULSE_MIN else None


def onset_strength(mono: np.ndarray) -> np.ndarray:
    """How much of the loudness is new, frame by frame, above what is usual within a second; ``[frames]``."""
    edges = np.searchsorted(np.fft.rfftfreq(ONSET_WINDOW, 1 / RATE), ONSET_BANDS)
    bands = [
        np.add.reduceat(power[:, : edges[-1]], edges[:-1], axis=1)
        for power in _power_spectra(mono, ONSET_WINDOW, ONSET_HOP)
    ]
    power = np.concatenate(bands)  # [frames, bands]
    loudness = np.power(np.maximum(power, MASKED * power.max()), STEVENS_EXPONENT)
    growth = np.maximum(np.diff(loudness, axis=0), 0.0).mean(axis=1)
    growth[growth < STEADY * loudness.mean()] = 0.0
    second = np.ones(RATE // ONSET_HOP | 1)
    usual = np.convolve(growth, second / len(second))[len(second) // 2 :][: len(growth)]
    return np.maximum(growth - usual, 0.0)


def autocorrelation(signal: np.ndarray) -> np.ndarray:
    """Mean product of a signal ``[n]`` with itself, for every lag ``[n]``, by lag 0; long lags are damped."""
    length = len(signal)
    spectrum = np.fft.rfft(signal, 2 * length)
    products = np.fft.irfft(spectrum * spectrum.conj(), 2 * length)[:length]
    overlap = np.maximum(length - np.arange(length), length // 4)
    return products / overlap / (products[0] / length)


def _key(mono: np.ndarray) -> str | None:
    chroma = mean_chroma(mono)
    if not chroma.std():
        return None
    fits = {
        f"{note} {mode}": float(np.corrcoef(np.roll(profile, tonic), chroma)[0, 1])
        for mode, profile, notes in zip(MODES, PROFILES, TONICS, strict=True)
        for tonic, note in enumerate(notes)
    }
    best = max(fits, key=fits.__getitem__)
    return best if fits[best] >= FIT_MIN else None


def mean_chroma(mono: np.ndarray) -> np.ndarray:
    """How strong the pitch classes C to B are on average, ``[12]``; frames that are not quiet have the same say."""
    spectra = _power_spectra(mono, CHROMA_WINDOW, CHROMA_HOP)
    frames = np.concatenate([np.sqrt(power) @ _pitch_classes() for power in spectra])  # [frames, 12]
    strongest = frames.max(axis=1, keepdims=True)  # [frames, 1]
    heard = strongest[:, 0] > QUIET_FRAME * strongest.max()
    return (frames[heard] / strongest[heard]).mean(axis=0) if heard.any() else np.zeros(PITCH_CLASSES)


@cache
def _pitch_classes() -> np.ndarray:
    """How much every bin counts for every pitch class, float32 ``[bins, 12]``: a bell around each note."""
    frequencies = np.fft.rfftfreq(CHROMA_WINDOW, 1 / RATE)
    within = (frequencies >= CHROMA_LOW) & (frequencies <= CHROMA_HIGH)
    notes = 69 + 12 * np.log2(frequencies[within] / 440)  # MIDI
    away = (notes[:, None] - np.arange(PITCH_CLASSES) + 6) % PITCH_CLASSES - 6  # semitones
    weights = np.zeros((len(frequencies), PITCH_CLASSES), np.float32)
    weights[within] = np.exp(-0.5 * np.square(away / CHROMA_WIDTH)) / np.sqrt(frequencies[within, None])
    return weights


def _power_spectra(mono: np.ndarray, window: int, hop: int) -> Iterator[np.ndarray]:
    """Blocks ``[frames, window / 2 + 1]`` of Hann-windowed power."""
    frames = np.lib.stride_tricks.sliding_window_view(mono, window)[::hop]  # [frames, window], a view
    hann = np.hanning(window).astype(np.float32)
    for start in range(0, len(frames), BLOCK_FRAMES):
        spectrum = np.fft.rfft(frames[start : start + BLOCK_FRAMES] * hann, axis=1)
        yield np.square(spectrum.real) + np.square(spectrum.imag)
