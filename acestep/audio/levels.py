"""How loud a waveform is: peak, true peak, RMS, integrated loudness, share of silence; and whether it is silence.

In: float32 ``[channels, S]``, nominally within [-1, 1]. Out: plain numbers (linear, or dB where the name says so).
Refuses to know files, tasks and what should be done about a level (``limiter.py`` does that).

Sources: ITU-R BS.1770-5 annex 1 (loudness) and annex 2 (true peak); the filter design that yields annex 1's
coefficients at any rate is De Man, "Evaluation of implementations of the EBU R128 loudness measurement" (AES 145).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from acestep.audio.resample import pieces
from acestep.constants import SAMPLE_RATE
from acestep.errors import GenerationError

OVERSAMPLING = 4  # BS.1770 annex 2
SILENT_LEVEL = 1e-5  # below this RMS and this peak a song counts as silence
BLOCK_SAMPLES = 1 << 18
HALO_SAMPLES = 512  # more than soxr's filter reaches on either side

FRAME_S = 0.1  # hop of the loudness gate, and frame of silence_share
FRAMES_PER_GATE = 4  # a 400 ms gating block in 100 ms steps: 75 % overlap
LOUDNESS_OFFSET = -0.691
ABSOLUTE_GATE_LUFS = -70.0
RELATIVE_GATE_LU = -10.0
FFT_SAMPLES = 1 << 16
FFT_DISCARD = 1 << 13  # the K filter's tail has decayed to 1e-17 by then


def to_db(amplitude: float) -> float:
    """Linear amplitude as dB relative to full scale; -inf for zero."""
    return 20.0 * math.log10(amplitude) if amplitude > 0 else -math.inf


def from_db(level_db: float) -> float:
    """dB relative to full scale as linear amplitude."""
    return 10.0 ** (level_db / 20.0)


def peak(samples: np.ndarray) -> float:
    """Largest absolute sample over all channels; 0 for no samples."""
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


def rms(samples: np.ndarray) -> float:
    """Root mean square over all channels and samples, accumulated in float64; 0 for no samples."""
    if samples.size == 0:
        return 0.0
    energy = sum(float(np.square(piece, dtype=np.float64).sum()) for piece in pieces(samples, BLOCK_SAMPLES))
    return math.sqrt(energy / samples.size)


def true_peak(samples: np.ndarray) -> float:
    """Largest absolute value of the 4x oversampled waveform (never below ``peak``), as linear amplitude."""
    return max((float(block.max(initial=0.0)) for block in intersample_peak_blocks(samples)), default=0.0)


def intersample_peaks(samples: np.ndarray) -> np.ndarray:
    """Per sample, the largest magnitude of any channel at it or in the gaps to its two neighbours.

    Args:
        samples: float32 ``[channels, S]``.

    Returns:
        float32 ``[S]``.
    """
    import soxr  # the rest of this module runs where soxr is not

    length = samples.shape[1]
    fine = np.stack([soxr.resample(channel, 1, OVERSAMPLING, "HQ") for channel in samples])  # [channels, 4 S]
    gaps = np.abs(fine[:, : length * OVERSAMPLING]).max(axis=0).reshape(length, OVERSAMPLING).max(axis=1)  # [S]
    own = np.abs(samples).max(axis=0)  # [S]
    own = np.maximum(own, gaps)
    own[1:] = np.maximum(own[1:], gaps[:-1])
    return own


def intersample_peak_blocks(samples: np.ndarray) -> Iterator[np.ndarray]:
    """``intersample_peaks`` piece by piece (each piece measured with its surroundings), for bounded memory."""
    length = samples.shape[1]
    for start in range(0, length, BLOCK_SAMPLES):
        stop = min(start + BLOCK_SAMPLES, length)
        left = max(0, start - HALO_SAMPLES)
        peaks = intersample_peaks(samples[:, left : stop + HALO_SAMPLES])
        yield peaks[start - left : stop - left]


def silence_share(samples: np.ndarray, sample_rate: int = SAMPLE_RATE, threshold_db: float = -60.0) -> float:
    """Share (0 to 1) of 100 ms frames whose RMS over all channels lies below ``threshold_db``; 1 for no samples."""
    frame = round(FRAME_S * sample_rate)
    powers = [
        float(np.square(part, dtype=np.float64).mean()) for part in pieces(samples, frame) if part.shape[1] == frame
    ] or [rms(samples) ** 2]
    return sum(power < from_db(threshold_db) ** 2 for power in powers) / len(powers)


def is_audible(samples: np.ndarray) -> bool:
    """Whether RMS or peak is above 1e-5."""
    return peak(samples) > SILENT_LEVEL or rms(samples) > SILENT_LEVEL


def check_finite(samples: np.ndarray) -> None:
    """Refuse what is no sound.

    Raises:
        GenerationError: a sample is NaN or infinite.
    """
    if not np.isfinite(samples).all():
        raise GenerationError("the networks produced samples that are not finite numbers")


def check_audible(samples: np.ndarray) -> None:
    """Refuse a song that is not music at all.

    Raises:
        GenerationError: a sample is NaN or infinite, or both RMS and peak are at most 1e-5.
    """
    check_finite(samples)
    if not is_audible(samples):
        raise GenerationError(f"the networks produced silence (peak and RMS at most {SILENT_LEVEL:g})")


def integrated_loudness(samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """Gated loudness of a mono or stereo programme (BS.1770 annex 1).

    Args:
        samples: float32 ``[1 or 2, S]``.
        sample_rate: in Hz.

    Returns:
        LUFS; -inf when shorter than one 400 ms gating block or when nothing passes the -70 LUFS gate.
    """
    hop = round(FRAME_S * sample_rate)
    frames = np.concatenate([np.zeros(0), *_k_weighted_frame_energies(samples, sample_rate, hop)])  # [frames]
    if len(frames) < FRAMES_PER_GATE:
        return -math.inf
    window = np.ones(FRAMES_PER_GATE)
    powers = np.convolve(frames, window, "valid") / (FRAMES_PER_GATE * hop)  # mean square per block, channels summed
    powers = powers[_loudness(powers) > ABSOLUTE_GATE_LUFS]
    if powers.size == 0:
        return -math.inf
    gate = float(_loudness(powers.mean())) + RELATIVE_GATE_LU
    return float(_loudness(powers[_loudness(powers) > gate].mean()))


def _loudness(power: np.ndarray) -> np.ndarray:
    return LOUDNESS_OFFSET + 10.0 * np.log10(np.maximum(power, 1e-30))


def _k_weighted_frame_energies(samples: np.ndarray, sample_rate: int, hop: int) -> Iterator[np.ndarray]:
    """Energy of the K-weighted signal per complete hop, channels summed; overlap-save in the frequency domain."""
    response = k_weighting_response(sample_rate, FFT_SAMPLES)
    step = (FFT_SAMPLES - FFT_DISCARD) // hop * hop
    for start in range(0, samples.shape[1] // hop * hop, step):
        left = max(0, start - FFT_DISCARD)
        window = samples[:, left : start + step]
        spectrum = np.fft.rfft(window, FFT_SAMPLES) * response  # [channels, bins]
        weighted = np.fft.irfft(spectrum, FFT_SAMPLES)[:, start - left : window.shape[1]]
        whole = weighted.shape[1] // hop
        yield np.square(weighted[:, : whole * hop]).sum(axis=0).reshape(whole, hop).sum(axis=1)


def k_weighting_response(sample_rate: int, fft_samples: int) -> np.ndarray:
    """Complex response ``[fft_samples / 2 + 1]`` of the K filter: a high shelf, then a high-pass."""
    z = np.exp(-2j * np.pi * np.arange(fft_samples // 2 + 1) / fft_samples)  # z^-1 on the unit circle
    powers = np.stack([np.ones_like(z), z, z * z])  # [3, bins]
    response = np.ones_like(z)
    for numerator, denominator in k_weighting_biquads(sample_rate):
        response *= (numerator @ powers) / (denominator @ powers)
    return response


def k_weighting_biquads(sample_rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(numerator, denominator) of both K filter stages, each ``[3]`` in powers of z^-1; annex 1's table at 48 kHz."""
    k = math.tan(math.pi * 1681.974450955533 / sample_rate)
    q, high = 0.7071752369554196, 10.0 ** (3.999843853973347 / 20)
    band, scale = high**0.4996667741545416, 1 + k / q + k * k
    shelf = np.array([high + band * k / q + k * k, 2 * (k * k - high), high - band * k / q + k * k]) / scale
    shelf_poles = np.array([scale, 2 * (k * k - 1), 1 - k / q + k * k]) / scale
    k, q = math.tan(math.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    scale = 1 + k / q + k * k
    pass_poles = np.array([scale, 2 * (k * k - 1), 1 - k / q + k * k]) / scale
    return [(shelf, shelf_poles), (np.array([1.0, -2.0, 1.0]), pass_poles)]
