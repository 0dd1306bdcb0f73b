"""Mixing: loudness matched by an independent meter, subtraction undone by addition, tracks kept to their region."""

from __future__ import annotations

import numpy as np
import pyloudnorm
import pytest

from acestep.audio.levels import integrated_loudness, rms
from acestep.constants import SAMPLE_RATE
from acestep.editing.mixing import FADE_S, matched, mixed, only_within, without
from acestep.errors import AceStepError, GenerationError

LENGTH = 3 * SAMPLE_RATE
FADE = round(FADE_S * SAMPLE_RATE)


def noise(level: float, seed: int, length: int = LENGTH) -> np.ndarray:
    """Noise that is dull (even seeds) or bright (odd ones), so that RMS and loudness differ, ``[2, length]``."""
    white = np.random.default_rng(seed).standard_normal((2, length + 1))
    coloured = white[:, 1:] + (1 if seed % 2 == 0 else -1) * white[:, :-1]
    return (level * coloured).astype(np.float32)


@pytest.mark.parametrize("gain", [0.003, 1.0, 40.0])
def test_a_track_gets_the_loudness_of_the_recording(gain: float) -> None:
    source, track = noise(0.05, 0), noise(0.05, 1) * np.float32(gain)
    meter = pyloudnorm.Meter(SAMPLE_RATE)
    made = matched(track, source)
    assert meter.integrated_loudness(made.T) == pytest.approx(meter.integrated_loudness(source.T), abs=0.05)
    assert made.dtype == np.float32
    assert np.allclose(made / track, (made / track)[0, 0], rtol=1e-5), "more than a gain"


@pytest.mark.parametrize(
    ("source", "track"),
    [
        pytest.param(noise(0.05, 0, 4800), noise(0.2, 1, 4800), id="too short for the gate"),
        pytest.param(noise(0.0001, 0), noise(0.2, 1), id="a recording too quiet for the gate"),
        pytest.param(noise(0.1, 0), noise(0.0001, 2), id="a track too quiet for the gate"),
    ],
)
def test_what_has_no_loudness_is_matched_by_rms(source: np.ndarray, track: np.ndarray) -> None:
    assert rms(matched(track, source)) == pytest.approx(rms(source), rel=1e-4)


@pytest.mark.parametrize(("silent", "name"), [("track", "track"), ("source", "recording")])
def test_silence_has_no_loudness_to_match(silent: str, name: str) -> None:
    sounds = {"track": noise(0.1, 0), "source": noise(0.1, 1)} | {silent: np.zeros((2, LENGTH), np.float32)}
    with pytest.raises(
        GenerationError, match=f"^the {name} is silent .RMS at most 1e-05.: it has no loudness to match$"
    ):
        matched(sounds["track"], sounds["source"])
    assert issubclass(GenerationError, AceStepError)


@pytest.mark.parametrize("count", [1, 3])
def test_a_mix_is_as_loud_as_the_recording_was(count: int) -> None:
    source, tracks = noise(0.05, 0), [noise(0.3, seed) for seed in range(1, 1 + count)]
    total = mixed(source, tracks)
    assert integrated_loudness(total) == pytest.approx(integrated_loudness(source), abs=0.02)
    shares = np.linalg.lstsq(
        np.stack([part.ravel() for part in (source, *tracks)], axis=1), total.ravel(), rcond=None
    )[0]
    parts = [source * shares[0]] + [track * share for track, share in zip(tracks, shares[1:], strict=True)]
    assert np.allclose([integrated_loudness(part) for part in parts], integrated_loudness(parts[0]), atol=0.02)


def test_a_mix_with_nothing_is_the_recording() -> None:
    source = noise(0.05, 0)
    result = mixed(source, [])
    assert np.array_equal(result, source)
    assert result is not source


def test_a_mix_that_cancels_out_is_an_error() -> None:
    with pytest.raises(GenerationError, match="^the mix is silent"):
        mixed(noise(0.05, 0), [-noise(0.05, 0)])


def test_what_is_taken_out_can_be_put_back() -> None:
    source, tracks = noise(0.1, 0), [noise(0.1, 1), noise(0.02, 2)]
    before = source.copy()
    rest = without(source, tracks)
    assert np.array_equal(source, before)
    assert np.array_equal(without(source, [tracks[0]]), source - tracks[0])
    assert np.abs(rest + tracks[1] + tracks[0] - source).max() < 1e-6
    assert rest.dtype == np.float32


def test_a_track_is_kept_to_its_region() -> None:
    track, (start, end) = np.ones((2, LENGTH), np.float32), (10_000, 90_000)
    kept = only_within(track, (start, end))
    assert not kept[:, :start].any()
    assert not kept[:, end:].any()
    assert np.array_equal(kept[:, start + FADE : end - FADE], track[:, start + FADE : end - FADE])
    assert np.array_equal(kept[:, start : start + FADE], kept[:, end - FADE : end][:, ::-1])
    assert (np.diff(kept[0, start - 1 : start + FADE + 1]) > 0).all()
    assert np.abs(np.diff(kept)).max() < 2 / FADE


def test_ends_of_the_timeline_are_not_faded() -> None:
    track = noise(0.1, 0)
    assert np.array_equal(only_within(track, (0, LENGTH)), track)
    assert np.array_equal(only_within(track, (0, 50_000))[:, : 50_000 - FADE], track[:, : 50_000 - FADE])
    assert np.array_equal(only_within(track, (50_000, LENGTH))[:, 50_000 + FADE :], track[:, 50_000 + FADE :])


@pytest.mark.parametrize("length", [0, 1, 2, 7, 2 * FADE - 1])
def test_short_regions_get_short_fades(length: int) -> None:
    kept = only_within(np.ones((2, LENGTH), np.float32), (1000, 1000 + length))
    inside = kept[0, 1000 : 1000 + length]
    assert kept.sum() == pytest.approx(2 * inside.sum())
    assert np.array_equal(inside, inside[::-1])
    assert (inside > 0).all()
    assert (np.diff(inside[: length // 2]) > 0).all()
