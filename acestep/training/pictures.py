"""A picture of a sound: its waveform above its mel spectrogram, time going right.

In: float32 ``[2, S]`` at 48 kHz. Out: a PNG, by librosa and Pillow. Refuses to know where the sound comes from.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import librosa
import numpy as np
from PIL import Image

from acestep.constants import SAMPLE_RATE
from acestep.training.files import write_beside

WIDTH, WAVE_HEIGHT, BANDS, BAND_HEIGHT, GAP = 1000, 120, 128, 2, 4  # pixels
WINDOW = 4096
RANGE_DB = 70.0  # below the loudest
PAPER, INK = 255, (31, 111, 139)
# From silence to the loudest: black, violet, orange, pale yellow.
COLOURS = np.array(((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)), np.float64)


def picture_of(audio: np.ndarray) -> np.ndarray:
    """Pixels ``[height, WIDTH, 3]`` of a sound of at least one sample."""
    blank = np.full((GAP, WIDTH, 3), PAPER, np.uint8)
    return np.concatenate([waveform(audio), blank, spectrogram(audio)])


def waveform(audio: np.ndarray) -> np.ndarray:
    """Pixels ``[WAVE_HEIGHT, WIDTH, 3]``: from the lowest to the highest sample of each column."""
    columns = np.linspace(0, audio.shape[1], WIDTH + 1).astype(int)
    pieces = [audio[:, start : max(end, start + 1)] for start, end in pairwise(columns)]
    low, high = (np.array([edge(piece) for piece in pieces]) for edge in (np.min, np.max))
    rows = np.linspace(1.0, -1.0, WAVE_HEIGHT)[:, None]
    half = 1.0 / WAVE_HEIGHT  # a silent column still shows a line
    inside = (rows >= low - half) & (rows <= high + half)
    return np.where(inside[..., None], np.array(INK, np.uint8), np.uint8(PAPER))


def spectrogram(audio: np.ndarray) -> np.ndarray:
    """Pixels ``[BANDS x BAND_HEIGHT, WIDTH, 3]``: low at the bottom, ``RANGE_DB`` from black to the loudest."""
    hop = max(1, audio.shape[1] // WIDTH)
    mono = np.pad(audio.mean(0), (0, max(0, WINDOW - audio.shape[1])))
    power = librosa.feature.melspectrogram(
        y=mono, sr=SAMPLE_RATE, n_fft=WINDOW, hop_length=hop, n_mels=BANDS
    )  # [BANDS, frames]
    level = librosa.power_to_db(power, ref=max(float(power.max()), 1e-10), top_db=RANGE_DB) / RANGE_DB + 1.0
    columns = np.linspace(0, level.shape[1] - 1, WIDTH).round().astype(int)
    return coloured(np.clip(level, 0.0, 1.0)[::-1, columns].repeat(BAND_HEIGHT, axis=0))


def coloured(level: np.ndarray) -> np.ndarray:
    """Values in [0, 1] as colours, uint8 with a last axis of three."""
    stops = np.linspace(0.0, 1.0, len(COLOURS))
    return np.stack([np.interp(level, stops, channel) for channel in COLOURS.T], axis=-1).round().astype(np.uint8)


def draw_sound(audio: np.ndarray, path: Path) -> Path:
    """Write the picture of a sound; returns ``path``."""
    with write_beside(path) as file:
        Image.fromarray(picture_of(audio)).save(file, "PNG", optimize=True)
    return path
