"""The limiter: below the ceiling by three meters (ours, scipy's, ffmpeg's), and otherwise untouched."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile as sf

from acestep.audio.ffmpeg import find_ffmpeg
from acestep.audio.levels import from_db, peak, to_db, true_peak
from acestep.audio.limiter import CEILING_DB, REACH_S, _sliding_minimum, _smooth_gain, limit_true_peak

RATE = 48_000
TOLERANCE_DB = 0.05


def music(seconds: float, amplitude: float, seed: int = 0) -> np.ndarray:
    """Band-limited noise over a bass note with hits, ``[2, S]``: crests everywhere and between samples."""
    rng = np.random.default_rng(seed)
    length = round(seconds * RATE)
    time = np.arange(length) / RATE
    noise = scipy.signal.lfilter(scipy.signal.firwin(129, 15_000, fs=RATE), 1, rng.standard_normal((2, length)))
    hits = np.exp(-8 * (time % 0.5))
    return (amplitude * (0.2 * noise * hits + 0.4 * np.sin(2 * np.pi * 55 * time))).astype(np.float32)


def quiet_with_bursts(at: list[int], amplitude: float, length: int = 4 * RATE) -> np.ndarray:
    samples = np.random.default_rng(1).uniform(-0.1, 0.1, (2, length)).astype(np.float32)
    for start in at:
        burst = amplitude * np.sin(2 * np.pi * 1000 * np.arange(480) / RATE) * np.hanning(480)
        samples[:, start : start + 480] += burst.astype(np.float32)
    return samples


def reference_true_peak_db(samples: np.ndarray) -> float:
    fine = scipy.signal.resample_poly(samples.astype(np.float64), 4, 1, axis=1, window=("kaiser", 12.0))
    return to_db(max(float(np.abs(fine).max()), peak(samples)))


@pytest.mark.parametrize("amplitude", [0.5, 1.0, 1.6, 20.0])
@pytest.mark.parametrize("ceiling_db", [-1.0, -6.0, 0.0])
def test_result_is_below_the_ceiling(amplitude: float, ceiling_db: float) -> None:
    limited = limit_true_peak(music(6.0, amplitude), ceiling_db)
    assert to_db(true_peak(limited)) <= ceiling_db + TOLERANCE_DB
    assert reference_true_peak_db(limited) <= ceiling_db + TOLERANCE_DB
    assert limited.dtype == np.float32
    assert np.isfinite(limited).all()


def test_ffmpegs_loudness_meter_agrees(tmp_path: Path) -> None:
    sf.write(tmp_path / "limited.wav", limit_true_peak(music(6.0, 20.0)).T, RATE, subtype="FLOAT")
    command = [find_ffmpeg(), "-i", tmp_path / "limited.wav", "-af", "ebur128=peak=true", "-f", "null", "-"]
    log = subprocess.run(command, capture_output=True, check=True, text=True).stderr
    measured = re.findall(r"Peak:\s+(-?[\d.]+) dBFS", log)[-1]
    assert float(measured) <= CEILING_DB + TOLERANCE_DB
    assert float(measured) >= CEILING_DB - 0.5, "the limiter takes no more than needed"


def test_what_is_below_the_ceiling_comes_back_bit_identical() -> None:
    samples = music(3.0, 0.5)
    assert true_peak(samples) < from_db(CEILING_DB)
    limited = limit_true_peak(samples)
    assert np.array_equal(limited, samples)
    assert limited is not samples


def test_only_the_neighbourhood_of_a_peak_is_touched() -> None:
    bursts = [30_000, 100_000]
    samples = quiet_with_bursts(bursts, 0.88)
    limited = limit_true_peak(samples)
    reach = 2 * round(REACH_S * RATE)
    near = np.zeros(samples.shape[1], bool)
    for start in bursts:
        near[start - reach : start + 480 + reach] = True
    assert np.array_equal(limited[:, ~near], samples[:, ~near])
    assert not np.array_equal(limited[:, near], samples[:, near])
    assert to_db(true_peak(limited)) <= CEILING_DB + TOLERANCE_DB


def test_an_overloaded_song_is_divided_by_its_peak_first() -> None:
    samples = quiet_with_bursts([50_000], 20.0)
    limited = limit_true_peak(samples)
    assert np.array_equal(limited[:, :40_000], samples[:, :40_000] / np.float32(peak(samples)))


def test_gain_moves_smoothly_and_in_both_channels_alike() -> None:
    samples = quiet_with_bursts([50_000], 0.88)
    samples[1] *= 0.3  # only the left channel is too loud
    limited = limit_true_peak(samples)
    loud = np.abs(samples) > 0.01
    gain = np.divide(limited, samples, out=np.ones_like(samples), where=loud)
    both = loud.all(axis=0)
    assert np.abs(gain[0, both] - gain[1, both]).max() < 1e-5, "the stereo image must not move"
    assert np.abs(np.diff(gain[0, loud[0]])).max() < 0.02
    assert gain.min() < 0.95


def test_a_bass_note_is_turned_down_not_distorted() -> None:
    time = np.arange(2 * RATE) / RATE
    tone = (0.99 * np.sin(2 * np.pi * 50 * time)).astype(np.float32)
    limited = limit_true_peak(np.stack([tone, tone]))[0, RATE // 2 : -RATE // 2].astype(np.float64)
    spectrum = np.abs(np.fft.rfft(limited * np.hanning(len(limited)))) ** 2
    fundamental = spectrum[45:56].sum()  # 1 Hz per bin
    assert 10 * np.log10((spectrum.sum() - fundamental) / fundamental) < -80


def test_a_region_confines_it() -> None:
    samples = quiet_with_bursts([30_000, 100_000, 150_000], 3.0)
    start, end = 90_000, 120_000
    limited = limit_true_peak(samples, region=(start, end))
    assert np.array_equal(limited[:, :start], samples[:, :start])
    assert np.array_equal(limited[:, end:], samples[:, end:])
    inside = limited[:, start:end]
    assert to_db(true_peak(inside)) <= CEILING_DB + TOLERANCE_DB
    assert np.array_equal(inside[:, :5000], samples[:, start : start + 5000]), (
        "quiet parts of the region are kept too"
    )


def test_a_region_that_starts_in_the_middle_of_a_peak() -> None:
    samples = music(3.0, 4.0)
    start, end = 48_001, 96_003
    limited = limit_true_peak(samples, region=(start, end))
    assert np.array_equal(limited[:, :start], samples[:, :start])
    assert np.array_equal(limited[:, end:], samples[:, end:])
    assert peak(limited[:, start:end]) <= from_db(CEILING_DB)


@pytest.mark.parametrize("length", [0, 1, 2, 100, 959, 961])
def test_short_songs(length: int) -> None:
    samples = np.full((2, length), 0.99, np.float32)
    limited = limit_true_peak(samples)
    assert limited.shape == samples.shape
    assert peak(limited) <= from_db(CEILING_DB)


def test_the_caller_keeps_its_samples() -> None:
    samples = music(1.0, 20.0)
    before = samples.copy()
    limit_true_peak(samples)
    limit_true_peak(samples, region=(100, 20_000))
    assert np.array_equal(samples, before)


def test_blocks_do_not_show() -> None:
    """The same peak at and away from a block border gets the same gain."""
    border = 1 << 18
    shape = quiet_with_bursts([20_000], 0.88, 40_000)
    long = np.zeros((2, 3 * border), np.float32)
    for start in (border - 20_100, 2 * border + 30_000):
        long[:, start : start + 40_000] = shape
    limited = limit_true_peak(long)
    at_border, away = (limited[:, start : start + 40_000] for start in (border - 20_100, 2 * border + 30_000))
    assert np.abs(at_border - away).max() < 1e-6


@pytest.mark.parametrize("width", [1, 2, 7, 50, 64])
def test_sliding_minimum_is_what_it_says(width: int) -> None:
    values = np.random.default_rng(width).uniform(size=64)
    expected = [values[start : start + width].min() for start in range(len(values) - width + 1)]
    assert np.array_equal(_sliding_minimum(values, width), expected)


def test_smooth_gain_never_exceeds_what_is_needed() -> None:
    rng = np.random.default_rng(3)
    needed = np.where(rng.uniform(size=300_000) < 0.01, rng.uniform(0.05, 1.0, 300_000), 1.0)
    gain = _smooth_gain(needed, 40)
    assert gain.shape == needed.shape
    assert (gain <= needed + 1e-9).all()
    assert np.abs(np.diff(gain)).max() < 0.1
