"""Source and filter of a singing voice: glottal pulses, breath and friction through a vocal tract.

In: curves over time (pitch, amplitudes, resonances). Out: mono sound, float32. Refuses to know phones and notes.

The tract is an all-pole cascade evaluated on the bins of a short-time Fourier transform: formant n of a tube has the
response F^2 / (F^2 - f^2 + jfB) (Fant, "Acoustic theory of speech production", 1960). Three resonances move with the
phones; those above are fixed at the odd quarter-wave modes of the tube and only depend on the size of the singer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from acestep.constants import SAMPLE_RATE

VOICE_RATE = SAMPLE_RATE // 2  # a voice has little above 12 kHz; doubled at the very end
HOP = VOICE_RATE // 100
WINDOW = 2 * HOP
HOPS_PER_FFT = 6  # the window and 40 ms in which the resonances die away
FFT = HOPS_PER_FFT * HOP
BIN_HZ = np.arange(FFT // 2 + 1, dtype=np.float32) * (VOICE_RATE / FFT)
FRAMES_AT_ONCE = 500  # bounds the memory of a long passage

BANDWIDTHS_HZ = (70.0, 95.0, 150.0)
FIXED_FORMANTS_HZ = tuple(range(3500, 12_000, 1000))  # odd quarter-wave modes of a 17.5 cm tube, from the fourth
FIXED_BANDWIDTH = 0.07  # of the frequency
EVENNESS = 0.75  # 1 makes every tone equally strong
HARMONICS = np.arange(1, 25)  # those that decide how strong a tone is

TOP_HARMONIC_HZ = 10_000.0
TABLE_SAMPLES = 2048
TABLES_PER_OCTAVE = 3
HIGHEST_PITCH_HZ = 1500.0
TABLES = 5 * TABLES_PER_OCTAVE
SINGERS_KEPT = 16  # whose tables are at hand


@dataclass(frozen=True, slots=True)
class Curves:
    """What singer and tract do during a passage of S samples at ``VOICE_RATE``.

    Attributes:
        pitch_hz, voice, breath, noise: ``[S]``, fundamental frequency and amplitudes.
        formants_hz: ``[frames_of(S), 3]``, the moving resonances, every ``HOP`` samples.
        noise_hz, noise_octaves: ``[frames_of(S)]``, centre and width of the friction.
    """

    pitch_hz: np.ndarray
    voice: np.ndarray
    breath: np.ndarray
    noise: np.ndarray
    formants_hz: np.ndarray
    noise_hz: np.ndarray
    noise_octaves: np.ndarray


def vocalise(curves: Curves, tilt: float, size: float, rng: np.random.Generator) -> np.ndarray:
    """The sound of a passage.

    Args:
        curves: the passage.
        tilt: exponent of the decay of the source's harmonics; 1 is bright, 1.6 soft.
        size: how much higher the fixed resonances lie than a man's.
        rng: breath and friction.

    Returns:
        float32 ``[S]`` at ``VOICE_RATE``.
    """
    hiss = rng.standard_normal((2, len(curves.voice)), dtype=np.float32)
    throat = glottal_pulses(curves.pitch_hz, tilt) * curves.voice + hiss[0] * curves.breath
    friction = hiss[1] * curves.noise
    pitch_hz = curves.pitch_hz[np.minimum(np.arange(frames_of(len(throat))) * HOP, len(throat) - 1)]
    voiced = _filtered(throat, lambda at: tract_response(curves.formants_hz[at], pitch_hz[at], size))
    rubbed = _filtered(friction, lambda at: band_response(curves.noise_hz[at], curves.noise_octaves[at]))
    return voiced + rubbed


def glottal_pulses(pitch_hz: np.ndarray, tilt: float) -> np.ndarray:
    """One pulse a period, harmonics up to 10 kHz only: float32 ``[S]`` of unit RMS."""
    phase = np.cumsum(pitch_hz / VOICE_RATE)
    place = (phase - np.floor(phase)) * TABLE_SAMPLES
    index = place.astype(np.int32)
    octaves_down = np.log2(HIGHEST_PITCH_HZ / pitch_hz) * TABLES_PER_OCTAVE
    row = np.clip(octaves_down.astype(np.int32), 0, TABLES - 1) * (TABLE_SAMPLES + 1)
    table = pulse_tables(tilt)
    left, right = table[row + index], table[row + index + 1]
    return left + (right - left) * (place - index).astype(np.float32)


@lru_cache(SINGERS_KEPT)
def pulse_tables(tilt: float) -> np.ndarray:
    """One period per third of an octave of pitch, its first sample repeated at the end; float32, flattened."""
    highest_hz = HIGHEST_PITCH_HZ * 2.0 ** (-np.arange(TABLES) / TABLES_PER_OCTAVE)  # of each table
    harmonics = np.arange(TABLE_SAMPLES // 2 + 1)
    amplitudes = np.maximum(harmonics, 1.0) ** -tilt
    audible = (harmonics > 0) & (harmonics * highest_hz[:, None] <= TOP_HARMONIC_HZ)  # [TABLES, harmonics]
    periods = np.fft.irfft(amplitudes * audible, TABLE_SAMPLES)
    periods /= np.sqrt(np.square(periods).mean(axis=1, keepdims=True))
    return np.pad(periods, ((0, 0), (0, 1)), mode="wrap").ravel().astype(np.float32)


def resonance(formant_hz: np.ndarray, bandwidth_hz: np.ndarray | float) -> np.ndarray:
    """Complex response ``[..., bins]`` of one pole pair with unit gain at 0 Hz."""
    square = np.square(formant_hz, dtype=np.float32)[..., None]
    width = np.asarray(bandwidth_hz, np.float32)[..., None]
    return square / (square - np.square(BIN_HZ) + 1j * BIN_HZ * width)


def tract_response(formants_hz: np.ndarray, pitch_hz: np.ndarray, size: float) -> np.ndarray:
    """Response ``[frames, bins]`` of moving resonances ``[frames, 3]`` and fixed ones.

    A tone whose harmonics meet a resonance would be far louder than its neighbours; singers even that out, and so
    does this, by most of the level that the harmonics of ``pitch_hz`` ``[frames]`` would get.
    """
    response = upper_response(size)
    for formant, bandwidth in zip(formants_hz.T, BANDWIDTHS_HZ, strict=True):
        response = response * resonance(formant, bandwidth)
    bins = np.minimum(np.round(np.outer(pitch_hz / BIN_HZ[1], HARMONICS)).astype(np.int32), len(BIN_HZ) - 1)
    level = np.abs(np.take_along_axis(response, bins, axis=1))  # [frames, harmonics]
    power = np.square(level) @ (HARMONICS**-2.0 / (HARMONICS**-2.0).sum())  # [frames]
    return response * (power ** (-0.5 * EVENNESS)).astype(np.float32)[:, None]


@lru_cache(SINGERS_KEPT)
def upper_response(size: float) -> np.ndarray:
    """Response ``[bins]`` of the fixed resonances of a tract that is ``size`` times shorter than a man's."""
    formants = size * np.array(FIXED_FORMANTS_HZ, np.float32)
    return resonance(formants, FIXED_BANDWIDTH * formants).prod(axis=0).astype(np.complex64)


def band_response(centre_hz: np.ndarray, octaves: np.ndarray) -> np.ndarray:
    """Response ``[frames, bins]`` of a bell on a logarithmic frequency axis, of unit noise gain."""
    distance = np.log2(np.maximum(BIN_HZ, BIN_HZ[1])) - np.log2(centre_hz)[:, None]
    bell = np.exp(-0.5 * np.square(distance / octaves[:, None]), dtype=np.float32)
    return bell / np.sqrt(np.square(bell).mean(axis=1, keepdims=True))


def frames_of(samples: int) -> int:
    """Frames whose centres, ``HOP`` apart, cover a passage."""
    return samples // HOP + 1


def _filtered(sound: np.ndarray, response: Callable[[slice], np.ndarray]) -> np.ndarray:
    """Time-varying filter: Hann windows that overlap by half, each through the response at its centre."""
    length = len(sound)
    frames = frames_of(length)
    padded = np.pad(sound.astype(np.float32), (HOP, WINDOW))
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP][:frames]  # [frames, WINDOW]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    out = np.zeros((frames + HOPS_PER_FFT, HOP), np.float32)
    for start in range(0, frames, FRAMES_AT_ONCE):
        at = slice(start, min(start + FRAMES_AT_ONCE, frames))
        if not windows[at].any():
            continue
        spectrum = np.fft.rfft(windows[at] * hann, FFT) * response(at)
        pieces = np.fft.irfft(spectrum, FFT).reshape(-1, HOPS_PER_FFT, HOP)
        for hop in range(HOPS_PER_FFT):
            out[at.start + hop : at.stop + hop] += pieces[:, hop]
    return out.ravel()[HOP : HOP + length]
