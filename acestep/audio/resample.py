"""Change the sample rate of a waveform on the CPU with soxr: a whole song, or blocks as a decoder delivers them.

In: float32 ``[channels, S]`` (or blocks of it). Out: float32 of exactly ``round(S * to / from)`` samples.
Refuses to know files, channel layouts and which rates are musical.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

QUALITY = "VHQ"  # soxr's best recipe; costs a fifth more than HQ
BLOCK_SAMPLES = 1 << 18  # per piece: keeps soxr's interleaved copies below 4 MiB


def resampled_length(length: int, from_rate: int, to_rate: int) -> int:
    """Samples that ``length`` samples become: nearest integer, ties to even (soxr's own rule)."""
    return round(length * to_rate / from_rate)


def resample(samples: np.ndarray, from_rate: int, to_rate: int) -> np.ndarray:
    """Resample a waveform.

    Args:
        samples: float32 ``[channels, S]``.
        from_rate: its rate in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        float32 ``[channels, round(S * to_rate / from_rate)]``; ``samples`` itself when the rates agree.
    """
    if from_rate == to_rate:
        return samples
    return resample_blocks(pieces(samples, BLOCK_SAMPLES), samples.shape[0], from_rate, to_rate)


def resample_blocks(blocks: Iterable[np.ndarray], channels: int, from_rate: int, to_rate: int) -> np.ndarray:
    """Join blocks of one waveform, resampled as they arrive, so the source is never in memory as a whole.

    Args:
        blocks: float32 ``[channels, n]`` pieces in order, any lengths.
        channels: how many channels each block has.
        from_rate: their rate in Hz.
        to_rate: the wanted rate in Hz.

    Returns:
        float32 ``[channels, round(total * to_rate / from_rate)]``.
    """
    if from_rate == to_rate:
        parts = list(blocks)
        return _joined(parts, channels, sum(part.shape[1] for part in parts))
    import soxr  # the GPU's way of resampling shares ``resampled_length`` and runs where soxr is not

    stream = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality=QUALITY)
    parts, total = [], 0
    for block in blocks:
        total += block.shape[1]
        parts.append(stream.resample_chunk(np.ascontiguousarray(block.T)).T)  # [n, channels] inside soxr
    parts.append(stream.resample_chunk(np.zeros((0, channels), np.float32), last=True).T)
    return _joined(parts, channels, resampled_length(total, from_rate, to_rate))


def pieces(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Consecutive views ``[channels, <= size]`` of a waveform."""
    for start in range(0, samples.shape[1], size):
        yield samples[:, start : start + size]


def _joined(parts: list[np.ndarray], channels: int, length: int) -> np.ndarray:
    """The parts in a row, cut or filled up with zeros to ``length``.

    Empties the list from its end as it goes, so that a song is never in memory twice.
    """
    joined = np.zeros((channels, length), np.float32)
    start = sum(part.shape[1] for part in parts)
    while parts:
        part = parts.pop()
        start -= part.shape[1]
        joined[:, start : start + part.shape[1]] = part[:, : max(0, length - start)]
    return joined
