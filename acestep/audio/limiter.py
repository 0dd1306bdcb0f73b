"""Keep a song below a true-peak ceiling without touching what is already below it.

In: float32 ``[channels, S]`` at any level. Out: the same shape, true peak at most the ceiling. Two steps:

1. A song whose sample peak exceeds 1 is divided by that peak as a whole, as upstream does (no dynamics are changed).
2. Where the 4x oversampled peak still exceeds the ceiling, a look-ahead gain dips under it: a sliding minimum of the
   needed gain, smoothed by a triangle of the same reach. Smoothing (weights >= 0, sum 1) that reaches no further than
   the minimum can never rise above the needed gain, so nothing is clipped; and a held minimum is constant through a
   bass note, so the note is turned down, not distorted. Samples over 20 ms away from every peak stay bit-identical.

With a ``region`` only step 2 acts, and only inside: a level step against the kept surroundings would be audible.
Refuses to know songs, files and loudness targets.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from acestep.audio.levels import BLOCK_SAMPLES, HALO_SAMPLES, from_db, intersample_peaks, peak
from acestep.constants import SAMPLE_RATE

CEILING_DB = -1.0
REACH_S = 0.01  # of the held minimum, and of the smoothing, to either side
SAFETY = 1e-4  # relative: gain moves a little between samples, and float32 rounds


def limit_true_peak(
    samples: np.ndarray,
    ceiling_db: float = CEILING_DB,
    region: tuple[int, int] | None = None,
    sample_rate: int = SAMPLE_RATE,
) -> np.ndarray:
    """Bring the true peak of a song, or of a region of it, below a ceiling.

    Args:
        samples: finite float32 ``[channels, S]``.
        ceiling_db: highest allowed true peak in dBTP, at most 0.
        region: ``(start, end)`` in samples; everything outside comes back bit-identical. ``None`` is the whole song.
        sample_rate: in Hz; sets how many samples 10 ms are.

    Returns:
        A new float32 array ``[channels, S]``.
    """
    source = samples
    if region is None:
        region, loudest = (0, samples.shape[1]), peak(samples)
        source = samples / np.float32(loudest) if loudest > 1.0 else samples
    limited = source.copy()
    for start, gain in _gain_blocks([source], from_db(ceiling_db), region, round(REACH_S * sample_rate)):
        limited[:, start : start + len(gain)] *= gain
    return limited


def limit_together(
    parts: Sequence[np.ndarray], ceiling_db: float = CEILING_DB, sample_rate: int = SAMPLE_RATE
) -> list[np.ndarray]:
    """Bring each of several waveforms below a ceiling by one gain for all of them, so that they go on adding up.

    Args:
        parts: finite float32 ``[channels, S]`` each, of one shape. Only step 2 acts.
        ceiling_db: highest allowed true peak in dBTP, at most 0.
        sample_rate: in Hz.

    Returns:
        New float32 arrays ``[channels, S]``.
    """
    limited = [part.copy() for part in parts]
    everything = (0, parts[0].shape[1])
    for start, gain in _gain_blocks(parts, from_db(ceiling_db), everything, round(REACH_S * sample_rate)):
        for part in limited:
            part[:, start : start + len(gain)] *= gain
    return limited


def _gain_blocks(
    parts: Sequence[np.ndarray], ceiling: float, region: tuple[int, int], reach: int
) -> Iterator[tuple[int, np.ndarray]]:
    """``(start, gain [n])`` for each block of the region in which any of ``parts`` needs a reduction."""
    first, last = region
    margin = 2 * reach
    for start in range(first, last, BLOCK_SAMPLES):
        stop = min(start + BLOCK_SAMPLES, last)
        left, right = max(first, start - margin), min(last, stop + margin)
        needed = np.minimum.reduce([_needed_gain(part, ceiling, left, right) for part in parts])  # [right - left]
        if needed.min() < 1.0:
            gain = _smooth_gain(needed, reach)
            yield start, gain[start - left : stop - left].astype(np.float32)


def _needed_gain(samples: np.ndarray, ceiling: float, left: int, right: int) -> np.ndarray:
    """Largest gain ``[right - left]``, at most 1, that keeps each sample and its gaps under the ceiling."""
    origin = max(0, left - HALO_SAMPLES)
    peaks = intersample_peaks(samples[:, origin : right + HALO_SAMPLES])[left - origin : right - origin]
    wide = np.maximum(peaks, ceiling, dtype=np.float64)  # running sums follow: float32 would drift above the ceiling
    return np.where(wide > ceiling, ceiling * (1.0 - SAFETY) / wide, 1.0)  # [right - left]


def _smooth_gain(needed: np.ndarray, reach: int) -> np.ndarray:
    """Held minimum over ``+-reach``, then a triangle of the same reach: never above ``needed``, 1 far from peaks."""
    held = _sliding_minimum(np.pad(needed, 2 * reach, constant_values=1.0), 2 * reach + 1)  # [n + 2 reach]
    reduction = _moving_mean(_moving_mean(1.0 - held, reach + 1), reach + 1)  # [n]
    return 1.0 - np.maximum(reduction, 0.0)


def _sliding_minimum(values: np.ndarray, width: int) -> np.ndarray:
    """Minimum of every ``width`` neighbours, ``[n] -> [n - width + 1]``, in linear time (van Herk, 1992)."""
    count = len(values) - width + 1
    rows = np.pad(values, (0, -len(values) % width), constant_values=np.inf).reshape(-1, width)
    ahead = np.minimum.accumulate(rows, axis=1).ravel()
    behind = np.minimum.accumulate(rows[:, ::-1], axis=1)[:, ::-1].ravel()
    return np.minimum(behind[:count], ahead[width - 1 : width - 1 + count])


def _moving_mean(values: np.ndarray, width: int) -> np.ndarray:
    """Mean of every ``width`` neighbours, ``[n] -> [n - width + 1]``."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    return (total[width:] - total[:-width]) / width
