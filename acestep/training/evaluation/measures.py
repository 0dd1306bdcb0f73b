"""Measures of sound that are plain signal processing: nothing here was trained by us.

In: float32 ``[2, S]`` at 48 kHz, or a ``Heard``. Out: numbers, and lists that go into JSON. librosa and sonara
listen. Refuses to know songs, requests and networks. Tempo, key, drums and silence are in ``ears`` and ``drum_ear``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import librosa
import numpy as np
import sonara
import torch

from acestep.training.ears import RATE, Heard
from acestep.training.learn.losses import log_mel_distance, si_sdr

FULL_SCALE = 1.0
CHROMA_RATE = 2  # means per second: changes of chord stay, single onsets do not
CHROMA_DIGITS = 3
PITCH_CLASSES = 12
ON_GRID_S = 0.05


def second_tempo(heard: Heard) -> float:
    """Beats per minute, by sonara: a second opinion beside ``Heard.tempo``."""
    return float(sonara.analyze_signal(heard.samples.astype(np.float32), sr=RATE, features=["bpm"])["bpm"])


def clipped_samples(audio: np.ndarray) -> int:
    """How many samples are at full scale or beyond."""
    return int((np.abs(audio) >= FULL_SCALE).sum())


def chroma_of(heard: Heard) -> list[list[float]]:
    """How strong each pitch class is, C first: twelve lists of ``CHROMA_RATE`` values a second, each in [0, 1]."""
    fine = librosa.feature.chroma_cqt(y=heard.samples, sr=RATE)  # [12, frames]
    frames = max(1, round(len(heard.samples) / RATE * CHROMA_RATE))
    parts = np.array_split(fine, min(frames, fine.shape[1]), axis=1)
    return np.stack([part.mean(1) for part in parts], axis=1).round(CHROMA_DIGITS).tolist()


def chroma_correlation(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Pearson correlation of two chromas frame by frame, as far as both go; 0 where one does not vary."""
    first, second = np.array(one), np.array(other)  # [12, frames]
    length = min(first.shape[1], second.shape[1])
    first, second = first[:, :length].ravel(), second[:, :length].ravel()
    if first.std() == 0.0 or second.std() == 0.0:
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def chroma_alignment(one: Sequence[Sequence[float]], other: Sequence[Sequence[float]]) -> float:
    """Mean cosine similarity along the best alignment (dynamic time warping) of two chromas, in [0, 1]."""
    first, second = _unit(np.array(one)), _unit(np.array(other))  # [12, frames]
    distance = np.clip(1.0 - first.T @ second, 0.0, None)
    _, path = librosa.sequence.dtw(C=distance)
    return float(1.0 - distance[path[:, 0], path[:, 1]].mean())


def reconstruction(made: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """``si_sdr`` in dB and ``log_mel``, the mean absolute difference of natural-log mel magnitudes."""
    ours, theirs = (torch.from_numpy(np.ascontiguousarray(audio))[None] for audio in _trimmed(made, wanted))
    return {"si_sdr": si_sdr(ours, theirs).item(), "log_mel": log_mel_distance(ours, theirs).item()}


def si_sdr_gain(made: np.ndarray, wanted: np.ndarray, mixture: np.ndarray) -> float:
    """By how many dB of SI-SDR ``made`` is nearer to ``wanted`` than ``mixture`` is."""
    return reconstruction(made, wanted)["si_sdr"] - reconstruction(mixture, wanted)["si_sdr"]


def beat_grid(beats: Sequence[float], parts: int) -> list[float]:
    """Seconds of the beats, each parted into ``parts`` equal steps; the last beat is not."""
    steps = [start + (end - start) * step / parts for start, end in pairwise(beats) for step in range(parts)]
    return [*steps, *beats[-1:]]


def share_on_grid(onsets: Sequence[float], grid: Sequence[float]) -> float | None:
    """Share of the onsets within 50 ms of the grid; None where there is no onset or no grid."""
    if not len(onsets) or not len(grid):
        return None
    distance = np.abs(np.asarray(onsets)[:, None] - np.asarray(grid)).min(1)
    return float((distance <= ON_GRID_S).mean())


def _unit(chroma: np.ndarray) -> np.ndarray:
    """Columns of length one; a silent one becomes even."""
    silent = ~chroma.any(0)
    chroma = np.where(silent, 1.0, chroma)
    return chroma / np.linalg.norm(chroma, axis=0)


def _trimmed(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    length = min(one.shape[1], other.shape[1])
    return one[:, :length], other[:, :length]
