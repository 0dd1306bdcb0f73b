"""Add tracks to a recording, take them out of it, keep a track to its region.

In: waveforms of one length and rate, float32 ``[2, S]``. Out: a new waveform of that shape. Refuses to know tasks,
files and peak ceilings: a sum may exceed full scale, and whoever asked for it brings it down (``audio/limiter.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from acestep.audio.levels import SILENT_LEVEL, from_db, integrated_loudness, rms
from acestep.constants import SAMPLE_RATE
from acestep.errors import GenerationError

FADE_S = 0.01  # at either border of a track that is kept to a region


def matched(track: np.ndarray, source: np.ndarray, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A track as loud as the recording it belongs to.

    Loudness is BS.1770's; where one of the two is shorter than a gating block or below the gate, RMS of both.

    Args:
        track: float32 ``[channels, S]``.
        source: float32 ``[channels, any]``.
        sample_rate: of both in Hz.

    Returns:
        float32 ``[channels, S]``, the track times one gain.

    Raises:
        GenerationError: the track or the recording is silent.
    """
    return track * np.float32(_gain(track, source, sample_rate))


def mixed(source: np.ndarray, tracks: Sequence[np.ndarray], sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A recording and tracks as loud as it, together as loud as it was alone.

    Args:
        source: float32 ``[channels, S]``.
        tracks: float32 ``[channels, S]`` each.
        sample_rate: of all in Hz.

    Returns:
        float32 ``[channels, S]``. It may exceed full scale: the ceiling is the caller's.

    Raises:
        GenerationError: the recording, a track or the sum is silent.
    """
    total = source.copy()
    for track in tracks:
        total += matched(track, source, sample_rate)
    total *= np.float32(_gain(total, source, sample_rate, name="mix"))
    return total


def without(source: np.ndarray, tracks: Sequence[np.ndarray]) -> np.ndarray:
    """A recording minus tracks that are in it, sample by sample: with them added it is the recording again.

    Args:
        source: float32 ``[channels, S]``.
        tracks: float32 ``[channels, S]`` each.

    Returns:
        float32 ``[channels, S]``.
    """
    rest = source.copy()
    for track in tracks:
        rest -= track
    return rest


def only_within(track: np.ndarray, region: tuple[int, int], sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """A track that is silent outside a region and fades in and out inside it; not at the ends of the timeline.

    Args:
        track: float32 ``[channels, S]``.
        region: ``(start, end)`` in samples, 0 <= start <= end <= S.
        sample_rate: in Hz.

    Returns:
        float32 ``[channels, S]``; the fades are raised cosines of 10 ms, or half the region if that is shorter.
    """
    start, end = region
    kept = np.zeros_like(track)
    kept[:, start:end] = track[:, start:end]
    fade = _raised_cosine(min(round(FADE_S * sample_rate), (end - start) // 2))
    if start > 0:
        kept[:, start : start + len(fade)] *= fade
    if end < track.shape[1]:
        kept[:, end - len(fade) : end] *= fade[::-1]
    return kept


def _raised_cosine(count: int) -> np.ndarray:
    """A rise from 0 to 1, both left out, float32 ``[count]``."""
    return (0.5 - 0.5 * np.cos(np.pi * (np.arange(count) + 0.5) / max(count, 1))).astype(np.float32)


def _gain(track: np.ndarray, source: np.ndarray, sample_rate: int, name: str = "track") -> float:
    """What ``track`` has to be multiplied by to be as loud as ``source``."""
    levels = {name: rms(track), "recording": rms(source)}
    for what, level in levels.items():
        if level <= SILENT_LEVEL:
            raise GenerationError(f"the {what} is silent (RMS at most {SILENT_LEVEL:g}): it has no loudness to match")
    difference_db = integrated_loudness(source, sample_rate) - integrated_loudness(track, sample_rate)
    return from_db(difference_db) if math.isfinite(difference_db) else levels["recording"] / levels[name]
