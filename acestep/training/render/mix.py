"""Brings stems to level, places them between left and right, fades the song and sets its loudness.

In: stems, float32 ``[2, S]``. Out: a ``Rendition``, whose stems add up to its mix. Refuses to know notes and rooms.
Every step is a gain that all samples of a stem, or all stems, share: nothing here is non-linear.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from acestep.audio.levels import from_db, integrated_loudness, peak
from acestep.constants import AUDIO_CHANNELS, SAMPLE_RATE

TARGET_LUFS = -16.0
PEAK_MAX = 0.98
END_FADE_S = 0.02  # of every song, so that a note that still rings does not click
LEVEL_FRAME_S = 0.1
GATE = 0.1  # frames 10 dB below the mean of those that sound do not count, as in BS.1770
SILENT_POWER = 1e-12


@dataclass(frozen=True, slots=True)
class Rendition:
    """A rendered song.

    Attributes:
        stems: sound of every track of the score, float32 ``[2, S]``, 48 kHz.
        mix: their sum, float32 ``[2, S]``, about -16 LUFS, peak below 1.
    """

    stems: dict[str, np.ndarray]
    mix: np.ndarray


def mix_down(stems: dict[str, np.ndarray], samples: int, fade_out_s: float) -> Rendition:
    """Fade the stems and bring their sum to the target loudness, with one gain for all of them."""
    envelope = fade_envelope(samples, fade_out_s)
    faded = {track: stem * envelope for track, stem in stems.items()}
    gain = np.float32(master_gain(add_up(faded, samples)))
    finished = {track: stem * gain for track, stem in faded.items()}
    return Rendition(finished, add_up(finished, samples))


def add_up(stems: dict[str, np.ndarray], samples: int) -> np.ndarray:
    """Sum of the stems in their order, float32 ``[2, samples]``."""
    return sum(stems.values(), start=np.zeros((AUDIO_CHANNELS, samples), np.float32))


def master_gain(mix: np.ndarray) -> float:
    """Linear gain to -16 LUFS, or to a peak of 0.98 where that comes first; 1 for silence."""
    highest = peak(mix)
    if highest == 0.0:
        return 1.0
    loudness = integrated_loudness(mix)
    wanted = from_db(TARGET_LUFS - loudness) if math.isfinite(loudness) else math.inf
    return min(wanted, PEAK_MAX / highest)


def fade_envelope(samples: int, fade_out_s: float) -> np.ndarray:
    """Gain ``[samples]``: a raised cosine over the fade-out, and always over the last 20 ms."""
    envelope = np.ones(samples, np.float32)
    for seconds in (fade_out_s, END_FADE_S):
        length = min(samples, round(seconds * SAMPLE_RATE))
        envelope[samples - length :] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(length) + 1) / max(length, 1))
    return envelope


def level_of(stem: np.ndarray) -> float:
    """RMS of the stem while it sounds; 0 for silence."""
    frame = round(LEVEL_FRAME_S * SAMPLE_RATE)
    padded = np.pad(stem, ((0, 0), (0, -stem.shape[1] % frame)))
    powers = np.square(padded).reshape(AUDIO_CHANNELS, -1, frame).mean(axis=(0, 2))
    powers = powers[powers > SILENT_POWER]
    if powers.size == 0:
        return 0.0
    return math.sqrt(powers[powers >= GATE * powers.mean()].mean())


def placed(stem: np.ndarray, gain_db: float, pan: float) -> np.ndarray:
    """The stem at ``gain_db`` relative to other parts, moved to ``pan`` (-1 left to 1 right) at constant power.

    An instrument's own loudness is taken out first, so a part of 0 dB is as strong as any other while it plays.
    """
    level = level_of(stem)
    if level == 0.0:
        return stem
    angle = (1 + np.clip(pan, -1.0, 1.0)) * math.pi / 4
    sides = np.array([[math.cos(angle)], [math.sin(angle)]]) * math.sqrt(2)
    return stem * (sides * from_db(gain_db) / level).astype(np.float32)
