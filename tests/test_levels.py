"""Levels against analytic values, scipy, pyloudnorm and the tables of BS.1770; resampling against mathematics."""

from __future__ import annotations

import math

import numpy as np
import pyloudnorm
import pytest
import scipy.signal
import soxr

from acestep.audio.levels import (
    check_audible,
    from_db,
    integrated_loudness,
    intersample_peak_blocks,
    intersample_peaks,
    k_weighting_biquads,
    peak,
    rms,
    silence_share,
    to_db,
    true_peak,
)
from acestep.audio.resample import pieces, resample, resample_blocks, resampled_length
from acestep.errors import GenerationError

RATE = 48_000


def sine(
    frequency: float, seconds: float = 1.0, amplitude: float = 1.0, phase: float = 0.0, rate: int = RATE
) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    return (amplitude * np.sin(2 * np.pi * frequency * time + phase)).astype(np.float32)


def stereo(left: np.ndarray, right: np.ndarray | None = None) -> np.ndarray:
    return np.stack([left, left if right is None else right])


def band_limited_noise(seconds: float, amplitude: float, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal((2, round(seconds * RATE)))
    low_pass = scipy.signal.firwin(129, 16_000, fs=RATE)
    return (amplitude * scipy.signal.lfilter(low_pass, 1, noise)).astype(np.float32)


def test_peak_sees_negative_samples_and_every_channel() -> None:
    samples = np.array([[0.1, 0.2, -0.3], [0.0, -0.75, 0.5]], np.float32)
    assert peak(samples) == 0.75
    assert peak(np.zeros((2, 0), np.float32)) == 0.0


def test_rms_of_a_sine_and_over_many_blocks() -> None:
    samples = stereo(sine(1000, 12.0, 0.5))  # three blocks
    assert rms(samples) == pytest.approx(0.5 / math.sqrt(2), rel=1e-6)
    assert rms(np.zeros((2, 0), np.float32)) == 0.0


def test_decibels_are_inverse_of_each_other() -> None:
    assert to_db(0.5) == pytest.approx(-6.0206, abs=1e-4)
    assert from_db(to_db(0.123)) == pytest.approx(0.123)
    assert to_db(0.0) == -math.inf


@pytest.mark.parametrize("frequency", [6000, 9600, 12_000])
def test_true_peak_finds_what_lies_between_samples(frequency: int) -> None:
    """A sine whose crests all miss the samples: sample peak below 1, the waveform's peak is 1."""
    cycle = RATE // frequency
    samples = stereo(sine(frequency, 0.5, phase=np.pi / cycle))
    fade = np.minimum(1.0, np.arange(samples.shape[1]) / 2000).astype(np.float32)
    samples = samples * fade * fade[::-1]
    assert peak(samples) < 0.96
    assert to_db(true_peak(samples)) == pytest.approx(0.0, abs=0.05)


def test_true_peak_agrees_with_scipy_at_four_times_the_rate() -> None:
    samples = band_limited_noise(3.0, 0.2)
    reference = np.abs(
        scipy.signal.resample_poly(samples.astype(np.float64), 4, 1, axis=1, window=("kaiser", 12.0))
    ).max()
    assert to_db(true_peak(samples)) == pytest.approx(to_db(reference), abs=0.05)
    assert true_peak(samples) >= peak(samples)
    assert true_peak(np.zeros((2, 0), np.float32)) == 0.0


def test_intersample_peaks_in_blocks_equal_the_whole() -> None:
    samples = band_limited_noise(12.0, 0.2)
    blocks = np.concatenate(list(intersample_peak_blocks(samples)))
    whole = intersample_peaks(samples)
    assert blocks.shape == whole.shape == (samples.shape[1],)
    assert np.abs(blocks - whole).max() < 1e-5


def test_intersample_peaks_cover_both_neighbouring_gaps() -> None:
    samples = np.zeros((1, 64), np.float32)
    samples[0, 31:33] = 1.0  # the crest lies half-way between samples 31 and 32
    peaks = intersample_peaks(samples)
    assert peaks[31] == peaks[32] == peaks.max() > 1.2
    assert peaks[30] < peaks[31]


def test_k_weighting_is_the_table_of_the_standard() -> None:
    (shelf, shelf_poles), (high_pass, pass_poles) = k_weighting_biquads(RATE)
    assert shelf == pytest.approx([1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-9)
    assert shelf_poles == pytest.approx([1.0, -1.69065929318241, 0.73248077421585], abs=1e-9)
    assert high_pass == pytest.approx([1.0, -2.0, 1.0])
    assert pass_poles == pytest.approx([1.0, -1.99004745483398, 0.99007225036621], abs=1e-9)


def test_loudness_of_the_reference_tone() -> None:
    """BS.1770: a 997 Hz sine at 0 dBFS in one channel reads -3.01 LKFS."""
    tone = sine(997, 5.0)
    assert integrated_loudness(tone[None]) == pytest.approx(-3.01, abs=0.02)
    assert integrated_loudness(stereo(tone)) == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("kind", ["noise", "bass", "loud and quiet", "gaps"])
def test_loudness_agrees_with_pyloudnorm(kind: str, rate: int) -> None:
    rng = np.random.default_rng(7)
    length = round(9.37 * rate)
    envelope = {
        "noise": np.full(length, 0.1),
        "bass": np.full(length, 0.1),
        "loud and quiet": np.where(np.arange(length) < length // 2, 0.3, 0.01),
        "gaps": np.where(np.arange(length) // (rate // 2) % 2 == 0, 0.2, 0.0),
    }[kind]
    carrier = sine(60, 9.37, rate=rate) if kind == "bass" else rng.standard_normal((2, length))
    samples = (envelope * np.broadcast_to(carrier, (2, length))).astype(np.float32)
    reference = pyloudnorm.Meter(rate, filter_class="DeMan").integrated_loudness(samples.T.astype(np.float64))
    assert integrated_loudness(samples, rate) == pytest.approx(reference, abs=0.1)


def test_loudness_follows_gain_and_ignores_silence_around() -> None:
    samples = band_limited_noise(12.0, 0.1)
    silence = np.zeros((2, 3 * RATE), np.float32)
    base = integrated_loudness(samples)
    assert integrated_loudness(samples * np.float32(0.5)) == pytest.approx(base - 6.02, abs=0.01)
    assert integrated_loudness(np.concatenate([silence, samples, silence], axis=1)) == pytest.approx(base, abs=0.15)


def test_loudness_of_nothing_is_minus_infinity() -> None:
    assert integrated_loudness(np.zeros((2, 5 * RATE), np.float32)) == -math.inf
    assert integrated_loudness(stereo(sine(440, 0.39))) == -math.inf
    assert integrated_loudness(np.zeros((2, 0), np.float32)) == -math.inf


def test_silence_share_counts_frames() -> None:
    tone, nothing = stereo(sine(440, 3.0, 0.1)), np.zeros((2, RATE), np.float32)
    assert silence_share(np.concatenate([tone, nothing], axis=1)) == pytest.approx(0.25)
    assert silence_share(tone) == 0.0
    assert silence_share(tone, threshold_db=-20.0) == 1.0
    assert silence_share(stereo(sine(440, 0.05, 0.1))) == 0.0
    assert silence_share(np.zeros((2, 0), np.float32)) == 1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_check_audible_refuses_what_is_not_finite(bad: float) -> None:
    samples = stereo(sine(440))
    samples[1, 100] = bad
    with pytest.raises(GenerationError, match="not finite"):
        check_audible(samples)


def test_check_audible_refuses_silence_only() -> None:
    with pytest.raises(GenerationError, match="silence"):
        check_audible(np.full((2, RATE), 1e-5, np.float32))
    click = np.zeros((2, 60 * RATE), np.float32)
    click[0, 5] = 0.5
    check_audible(click)
    check_audible(np.full((2, RATE), 2e-5, np.float32))


@pytest.mark.parametrize(
    ("from_rate", "to_rate"), [(48_000, 44_100), (44_100, 48_000), (8000, 48_000), (96_000, 48_000)]
)
def test_resampled_length_is_exact(from_rate: int, to_rate: int) -> None:
    for length in [1, 2, 79, 80, 240, 441, 4801, 123_457]:
        made = resample(np.zeros((2, length), np.float32), from_rate, to_rate)
        assert (
            made.shape
            == (2, resampled_length(length, from_rate, to_rate))
            == (2, round(length * to_rate / from_rate))
        )
        assert made.dtype == np.float32


def test_resampling_keeps_a_sine_a_sine() -> None:
    made = resample(stereo(sine(1000, 2.0), sine(5000, 2.0)), 48_000, 44_100)
    expected = stereo(sine(1000, 2.0, rate=44_100), sine(5000, 2.0, rate=44_100))
    assert np.abs(made - expected)[:, 2000:-2000].max() < 1e-5


def test_resampling_at_the_same_rate_returns_the_same_samples() -> None:
    samples = band_limited_noise(1.0, 0.1)
    assert resample(samples, RATE, RATE) is samples
    assert np.array_equal(resample_blocks(pieces(samples, 1000), 2, RATE, RATE), samples)


@pytest.mark.parametrize("size", [1, 777, 65_536])
def test_resampling_in_blocks_equals_the_whole(size: int) -> None:
    samples = band_limited_noise(0.2 if size == 1 else 4.0, 0.2)
    whole = soxr.resample(samples.T, 48_000, 44_100, "VHQ").T
    made = resample_blocks(pieces(samples, size), 2, 48_000, 44_100)
    assert made.shape == whole.shape
    assert np.abs(made - whole).max() < 1e-6


def test_resampling_no_blocks_gives_no_samples() -> None:
    assert resample_blocks([], 2, 44_100, 48_000).shape == (2, 0)
