"""Splicing: exact outside the region, inaudible at its borders, on made-up music and at every odd border."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile as sf

from acestep.audio.resample import resample
from acestep.constants import DURATION_MAX_S, SAMPLE_RATE
from acestep.editing.splice import JOIN_S, burg, resample_spliced, splice
from acestep.output.formats import CD_RATE, FORMATS
from acestep.output.tags import SongTags
from acestep.output.writer import write_audio

import seam_meter as meter

LENGTH = 4 * SAMPLE_RATE
JOIN = round(JOIN_S * SAMPLE_RATE)
MIDDLE = (60_001, 130_000)
REGIONS = {
    "middle": MIDDLE,
    "start": (0, 50_000),
    "end": (100_000, LENGTH),
    "whole": (0, LENGTH),
    "all but the outermost samples": (1, LENGTH - 1),
    "almost at the start": (7, 90_000),
    "one sample": (70_000, 70_001),
    "two samples": (70_000, 70_002),
    "5 ms": (70_000, 70_000 + SAMPLE_RATE // 200),
    "the first sample": (0, 1),
    "the last sample": (LENGTH - 1, LENGTH),
    "none": (70_000, 70_000),
}


def music(seed: int = 0, length: int = LENGTH) -> np.ndarray:
    """Chords over a bass, four drum hits a second, a little hiss; both channels differ, ``[2, S]``."""
    rng = np.random.default_rng(seed)
    time = np.arange(length) / SAMPLE_RATE
    tones = [55.0, 220.0, 277.2, 329.6, 880.0] * rng.uniform(0.9, 1.1, 5)
    phases = rng.uniform(0, 2 * np.pi, (5, 2, 1))
    chords = sum(np.sin(2 * np.pi * tones[k] * time + phases[k]) / (1 + k) for k in range(5))
    drums = rng.standard_normal((2, length)) * np.exp(-30 * ((time + rng.uniform()) % 0.25))
    return (0.15 * chords + 0.15 * drums + 0.003 * rng.standard_normal((2, length))).astype(np.float32)


@pytest.fixture(scope="module")
def source() -> np.ndarray:
    return np.rint(music() * 2**15).astype(np.float32) / np.float32(2**15)  # as read from a 16-bit file


@pytest.fixture(scope="module")
def other() -> np.ndarray:
    return music(1)


# --- What is exact --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_outside_the_region_not_one_bit_changes(source: np.ndarray, other: np.ndarray, region: meter.Region) -> None:
    before = source.copy(), other.copy()
    result = splice(source, other, region)
    assert (result.shape, result.dtype) == (source.shape, np.float32)
    assert meter.outside_changes(result, source, region) == 0
    assert np.abs(result).max() <= np.abs(source).max() + np.abs(other).max()
    assert np.array_equal(before, (source, other)), "the arguments were written to"


@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_away_from_the_joins_it_is_the_generated_music(
    source: np.ndarray, other: np.ndarray, region: meter.Region
) -> None:
    start = region[0] + (JOIN if region[0] > 0 else 0)
    end = max(start, region[1] - (JOIN if region[1] < LENGTH else 0))
    assert np.array_equal(splice(source, other, region)[:, start:end], other[:, start:end])


def test_two_joins_in_a_short_region_share_it(source: np.ndarray, other: np.ndarray) -> None:
    start, end = 70_000, 70_241
    one_sided = splice(source[:, :end], other[:, :end], (start, end))
    both = splice(source, other, (start, end))
    assert not np.array_equal(both[:, start:end], one_sided[:, start:end])
    assert np.abs(np.diff(both[:, start - 1 : end + 1])).max() < np.abs(np.diff(source)).max()


@pytest.mark.parametrize("filling", [0.0, np.nan])
def test_what_the_recording_holds_inside_is_never_read(source: np.ndarray, other: np.ndarray, filling: float) -> None:
    emptied = source.copy()
    emptied[:, slice(*MIDDLE)] = filling
    assert np.array_equal(splice(emptied, other, MIDDLE), splice(source, other, MIDDLE))


@pytest.mark.parametrize("name", ["wav", "flac"])
def test_a_16_bit_recording_comes_back_from_the_file(
    source: np.ndarray, other: np.ndarray, tmp_path: Path, name: str
) -> None:
    path = tmp_path / f"song{FORMATS[name].extension}"
    write_audio(splice(source, other, MIDDLE), SAMPLE_RATE, path, name, SongTags(), {})
    read = sf.read(path, dtype="float32", always_2d=True)[0].T  # [2, S]
    assert meter.outside_changes(read, source, MIDDLE) == 0


def test_a_perfect_imitation_leaves_no_trace(source: np.ndarray) -> None:
    assert np.abs(splice(source, source, MIDDLE) - source).max() < 1e-6


def test_joins_are_the_same_in_both_directions(source: np.ndarray, other: np.ndarray) -> None:
    forwards = splice(source, other, MIDDLE)
    region = (LENGTH - MIDDLE[1], LENGTH - MIDDLE[0])
    assert np.array_equal(splice(source[:, ::-1], other[:, ::-1], region)[:, ::-1], forwards)


# --- What is heard --------------------------------------------------------------------------------------------------
def kinds() -> dict[str, meter.Kind]:
    return {"12 dB": meter.imitation(12.0), "5 dB": meter.imitation(5.0), "too quiet": meter.shrunken(5.0)}


@pytest.mark.parametrize("kind", kinds().values(), ids=kinds())
def test_an_imitation_is_joined_without_step_bulge_or_click(source: np.ndarray, kind: meter.Kind) -> None:
    generated = kind(source)
    found = meter.summary(meter.seams(source, generated, generated, meter.places(LENGTH, 20), splice))
    assert (found["steps_kept"], found["clicks_kept"]) == (1.0, 1.0)
    assert found["bulge_db_mean"] < 0.5


def test_other_music_is_joined_without_click_and_hardly_a_bulge(source: np.ndarray, other: np.ndarray) -> None:
    """Chords are harder than songs: their own level hardly moves, and in 30 ms they cancel or do not."""
    found = meter.summary(meter.seams(source, other, other, meter.places(LENGTH, 50), splice))
    assert (found["clicks_kept"], found["clicks_below_1"]) == (1.0, 1.0)
    assert found["level"] > 0.5
    assert found["steps_kept_if_level"] > 0.98
    assert found["beyond_db_max"] < 1.25
    assert found["bulge_db_mean"] < 0.25


def test_the_meter_hears_a_cut(source: np.ndarray, other: np.ndarray) -> None:
    found = meter.summary(meter.seams(source, 10 * other, 10 * other, meter.places(LENGTH, 20), cut))
    assert found["clicks_kept"] < 0.5
    assert found["steps_kept"] < 0.8


def cut(source: np.ndarray, generated: np.ndarray, region: meter.Region) -> np.ndarray:
    result = source.copy()
    result[:, slice(*region)] = generated[:, slice(*region)]
    return result


def test_a_drum_just_behind_the_join_keeps_its_strength() -> None:
    """A codec lets a drum's noise begin early; that must not be taken for a bad imitation, and the drum faded in."""
    rng, hit = np.random.default_rng(0), MIDDLE[0] + 10
    source = 0.1 * rng.standard_normal((2, LENGTH)).astype(np.float32)
    source[:, hit - SAMPLE_RATE // 20 : hit] *= 0.001
    source[:, hit:] *= 8
    generated = source.copy()
    generated[:, hit - SAMPLE_RATE // 50 : hit] += 0.01 * rng.standard_normal((2, SAMPLE_RATE // 50))
    attack = slice(hit, hit + SAMPLE_RATE // 100)
    made = splice(source, generated, MIDDLE)[:, attack]
    assert meter.power(made) > 0.9 * meter.power(source[:, attack])


@pytest.mark.parametrize(("frequency", "times_own"), [(50.0, 1.35), (1000.0, 1.05)])
def test_a_tone_goes_on_without_a_kink(frequency: float, times_own: float) -> None:
    """A cut bends a bass 20,000 times as much as it bends by itself; the beginning of a fade, a third more."""
    time = np.arange(LENGTH) / SAMPLE_RATE
    tone, shifted = (
        np.tile(0.5 * np.sin(2 * np.pi * frequency * time + phase), (2, 1)).astype(np.float32) for phase in (0.3, 2.0)
    )
    own = meter.Own.of(tone)
    for region in meter.places(LENGTH, 10):
        result = splice(tone, shifted, region)
        assert max(meter.bend(result, border) for border in region) < times_own * own.bend
        assert max(meter.bend(cut(tone, shifted, region), border) for border in region) > 5 * own.bend


@pytest.mark.parametrize("region", [MIDDLE, (0, 60_000), (60_000, LENGTH)])
def test_a_constant_voltage_is_left_gradually(region: meter.Region) -> None:
    high, low = np.full((2, LENGTH), 0.5, np.float32), np.full((2, LENGTH), -0.25, np.float32)
    steps = np.abs(np.diff(splice(high, low, region)))
    assert steps.max() < 3 * 0.75 / JOIN


def test_silence_stays_silence_and_music_fades_into_it(source: np.ndarray) -> None:
    nothing = np.zeros_like(source)
    assert not splice(nothing, nothing, MIDDLE).any()
    own = meter.Own.of(source)
    for pair in ((source, nothing), (nothing, source)):
        result = splice(*pair, MIDDLE)
        assert max(meter.bend(result, border) for border in MIDDLE) <= own.bend


def test_a_silent_channel_stays_silent(source: np.ndarray, other: np.ndarray) -> None:
    left_only = [np.stack([part[0], np.zeros(LENGTH, np.float32)]) for part in (source, other)]
    result = splice(*left_only, MIDDLE)
    assert not result[1].any()
    assert np.array_equal(result[0], splice(source, other, MIDDLE)[0])


# --- Another rate ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", REGIONS.values(), ids=REGIONS)
def test_at_another_rate_the_outside_is_the_resampled_recording(
    source: np.ndarray, other: np.ndarray, region: meter.Region
) -> None:
    spliced = splice(source, other, region)
    result, [(start, end)] = resample_spliced(source, spliced, [region], SAMPLE_RATE, CD_RATE)
    assert meter.outside_changes(result, resample(source, SAMPLE_RATE, CD_RATE), (start, end)) == 0
    reach = round(JOIN_S * CD_RATE)
    first = start + (reach if start > 0 else 0)
    inside = slice(first, max(first, end - (reach if end < result.shape[1] else 0)))
    assert np.array_equal(result[:, inside], resample(spliced, SAMPLE_RATE, CD_RATE)[:, inside])
    instants = np.arange(result.shape[1]) * SAMPLE_RATE / CD_RATE
    kept = np.r_[0:start, end : result.shape[1]]
    assert not ((instants[kept] >= region[0]) & (instants[kept] < region[1])).any()


@pytest.mark.parametrize("inside", ["old music", "nothing"])
def test_at_another_rate_nothing_clicks(source: np.ndarray, other: np.ndarray, inside: str) -> None:
    own = meter.Own.of(resample(source, SAMPLE_RATE, CD_RATE)).bend
    for region in meter.places(LENGTH, 10):
        recording = source.copy()
        if inside == "nothing":
            recording[:, slice(*region)] = 0.0
        spliced = splice(source, other, region)
        result, [borders] = resample_spliced(recording, spliced, [region], SAMPLE_RATE, CD_RATE)
        assert max(meter.bend(result, border) for border in borders) < own


def test_at_its_own_rate_a_spliced_song_is_itself(source: np.ndarray, other: np.ndarray) -> None:
    result, regions = resample_spliced(source, other, [MIDDLE], SAMPLE_RATE, SAMPLE_RATE)
    assert result is other
    assert regions == [MIDDLE]


# --- Limits ---------------------------------------------------------------------------------------------------------
def test_the_longest_song_costs_one_copy() -> None:
    length = round(2 * DURATION_MAX_S * SAMPLE_RATE)
    source, generated = (np.broadcast_to(np.float32(value), (2, length)) for value in (0.25, 0.5))
    tracemalloc.start()
    try:
        result = splice(source, generated, (length // 4, length - 5))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 1.05 * result.nbytes
    assert result[0, length // 2] == 0.5


@pytest.mark.parametrize("region", [(-1, 5), (5, 4), (0, LENGTH + 1)])
def test_a_region_elsewhere_is_refused(source: np.ndarray, region: meter.Region) -> None:
    with pytest.raises(ValueError, match=f"is no region of a timeline of {LENGTH} samples"):
        splice(source, source, region)


def test_two_timelines_are_refused(source: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(2, 192000\), what goes into it \(2, 191999\)"):
        splice(source, source[:, 1:], MIDDLE)


def test_prediction_finds_the_recursion_that_made_a_signal() -> None:
    """Independent truth: an autoregressive process, ``x[n] = 1.6 x[n-1] - 0.9 x[n-2] + noise``."""
    noise, samples = np.random.default_rng(0).standard_normal(50_000), np.zeros(50_000)
    for n in range(2, len(samples)):
        samples[n] = 1.6 * samples[n - 1] - 0.9 * samples[n - 2] + noise[n]
    assert np.allclose(burg(samples, 2), [1, -1.6, 0.9], atol=0.01)
