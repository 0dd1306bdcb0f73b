"""Wavelet correction against a transform written out by hand, alone, in the loop, and in a request's choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.checkpoints.registry import model_named
from acestep.errors import InputError, UnsupportedError
from acestep.params import GenerationParams
from acestep.sampling.choice import SamplingChoice, choose_sampling
from acestep.sampling.correction import CORRECTION_MODES, WaveletCorrection
from acestep.sampling.guidance import Guidance, GuidedVelocity
from acestep.sampling.noise import item_noise
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.sampling.schedule import make_schedule
from acestep.sampling.wavelet import scale_bands

C = 4
UNGUIDED = Guidance(1.0, "none")
SQRT2 = math.sqrt(2.0)


# --- By hand --------------------------------------------------------------------------------------------------------


def _forward(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Low and high band of one channel, sample by sample; past the end there is zero."""
    padded = [*x, 0.0]
    starts = range(0, len(x), 2)
    low = [(padded[i] + padded[i + 1]) / SQRT2 for i in starts]
    high = [(padded[i] - padded[i + 1]) / SQRT2 for i in starts]
    return np.array(low), np.array(high)


def _backward(low: np.ndarray, high: np.ndarray, frames: int) -> np.ndarray:
    samples = []
    for a, d in zip(low, high, strict=True):
        samples += [(a + d) / SQRT2, (a - d) / SQRT2]
    return np.array(samples[:frames])


def _corrected(x: np.ndarray, y: np.ndarray, t: float, mode: str, s: float, hs: float) -> np.ndarray:
    """One channel ``x`` after a step, corrected against the music ``y``, band by band as the definition goes."""
    if mode == "pix":
        return x + s * (x - y)
    (x_low, x_high), (y_low, y_high) = _forward(x), _forward(y)
    if mode in {"low", "double"}:
        x_low = x_low + t * s * (x_low - y_low)
    if mode in {"high", "double"}:
        x_high = x_high + (1 - t) * (hs if mode == "double" else s) * (x_high - y_high)
    return _backward(x_low, x_high, len(x))


def _velocity_by_hand(x: np.ndarray, t: float) -> np.ndarray:
    return 0.5 * x + t * np.roll(np.tanh(x), 1, axis=0) - 0.3


def _run_by_hand(noise: np.ndarray, schedule: Sequence[float], mode: str, s: float, hs: float) -> np.ndarray:
    x = noise.astype(np.float64)  # [T, C]
    for t, t_next in pairwise(schedule):
        v = _velocity_by_hand(x, t)
        after, music = x - (t - t_next) * v, x - t * v
        x = np.stack([_corrected(after[:, c], music[:, c], t, mode, s, hs) for c in range(C)], axis=1)
    return x


class _Network:
    """The velocity of ``_velocity_by_hand``, song by song, with NaN in the padding."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        v = torch.full_like(x, math.nan)
        for row, length in enumerate(self._lengths):
            song = x[row, :length]
            v[row, :length] = 0.5 * song + t * torch.tanh(song).roll(1, dims=0) - 0.3
        return v, None


def _render(
    seeds: Sequence[int], lengths: Sequence[int], correction: WaveletCorrection | None, schedule: tuple[float, ...]
) -> Tensor:
    settings = SamplerSettings(schedule, "euler", correction)
    velocity = GuidedVelocity(_Network(lengths), UNGUIDED, lengths)
    return sample(velocity, item_noise(seeds, lengths, C), settings, None, lengths)


# --- Bands ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gains", [(1.0, 0.0), (0.0, 1.0), (0.3, -0.7)])
@pytest.mark.parametrize("frames", [1, 2, 7, 12])
def test_bands_are_scaled_as_by_the_transform(frames: int, gains: tuple[float, float]) -> None:
    x = torch.randn(2, frames, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(frames))
    scaled = scale_bands(x, *gains)
    assert scaled.shape == x.shape
    for song, expected in zip(scaled.numpy(), x.numpy(), strict=True):
        for channel in range(3):
            low, high = _forward(expected[:, channel])
            by_hand = _backward(gains[0] * low, gains[1] * high, frames)
            np.testing.assert_allclose(song[:, channel], by_hand, rtol=0, atol=1e-14)


def test_both_bands_together_are_the_signal() -> None:
    x = torch.randn(1, 9, 3, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(scale_bands(x, 1.0, 1.0), x, rtol=0, atol=1e-6)


def test_a_level_is_low_and_an_alternation_is_high() -> None:
    level, alternation = torch.ones(1, 8, 1), torch.tensor([1.0, -1.0] * 4)[None, :, None]
    assert torch.equal(scale_bands(level, 3.0, 5.0), 3.0 * level)
    assert torch.equal(scale_bands(alternation, 3.0, 5.0), 5.0 * alternation)


@pytest.mark.parametrize(
    ("mode", "gains"), [("low", (0.04, 0)), ("high", (0, 0.01)), ("double", (0.04, 0.004)), ("pix", (0.05, 0.05))]
)
def test_low_counts_near_noise_and_high_near_music(mode: str, gains: tuple[float, float]) -> None:
    assert WaveletCorrection(mode, 0.05, 0.02).gains(0.8) == pytest.approx(gains)


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="'middle' is not one of low, high, double, pix"):
        WaveletCorrection("middle", 0.05, 0.02).gains(0.5)


# --- In the loop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [10, 11])
@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_a_run_is_its_definition_step_by_step(mode: str, frames: int) -> None:
    schedule = make_schedule(8, 3.0)
    end = _render([1], [frames], WaveletCorrection(mode, 0.3, 0.2), schedule)
    by_hand = _run_by_hand(item_noise([1], [frames], C)[0].numpy(), schedule, mode, 0.3, 0.2)
    np.testing.assert_allclose(end[0].numpy(), by_hand, rtol=0, atol=1e-5)
    assert (end - _render([1], [frames], None, schedule)).abs().max() > 0.01


@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_songs_of_odd_length_are_the_same_alone_and_in_a_batch(mode: str) -> None:
    seeds, lengths, correction, schedule = (
        [3, 11, 7],
        [30, 19, 7],
        WaveletCorrection(mode, 0.3, 0.2),
        (1.0, 0.6, 0.2, 0.0),
    )
    batch = _render(seeds, lengths, correction, schedule)
    for row, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
        alone = _render([seed], [length], correction, schedule)
        torch.testing.assert_close(batch[row : row + 1, :length], alone, rtol=0, atol=1e-6)
        assert (batch[row, length:] == 0).all()


@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_the_last_step_arrives_at_the_music_and_leaves_nothing_to_correct(mode: str) -> None:
    corrected = _render([1], [11], WaveletCorrection(mode, 1.0, 1.0), (0.7, 0.0))
    assert torch.equal(corrected, _render([1], [11], None, (0.7, 0.0)))


@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_without_strength_nothing_is_corrected(mode: str) -> None:
    schedule = make_schedule(4, 1.0)
    assert torch.equal(
        _render([1], [11], WaveletCorrection(mode, 0.0, 0.0), schedule), _render([1], [11], None, schedule)
    )


# --- The choice of a request ----------------------------------------------------------------------------------------


def _choose(**fields: object) -> tuple[SamplingChoice, tuple[str, ...]]:
    return choose_sampling(GenerationParams(**fields), model_named("acestep-v15-turbo"))


def test_correction_is_off_unless_asked_for() -> None:
    choice, warnings = _choose()
    assert choice.correction is None
    assert warnings == ()


@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_a_mode_turns_it_on(mode: str) -> None:
    choice, warnings = _choose(dcw_mode=mode, dcw_scaler=0.1)
    assert choice.correction == WaveletCorrection(mode, 0.1, 0.02)
    assert warnings == ()


@pytest.mark.parametrize("mode", CORRECTION_MODES)
def test_only_the_double_mode_reads_the_high_scaler(mode: str) -> None:
    _, warnings = _choose(dcw_mode=mode, dcw_high_scaler=0.5)
    assert warnings == (
        () if mode == "double" else ("dcw_high_scaler has no effect: only dcw_mode 'double' reads it.",)
    )


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"scheduler_type": "heun"}, r"^dcw_mode 'low' does not go with scheduler_type 'heun'; it corrects "),
        ({"scheduler_type": "ab3"}, r"^dcw_mode 'low' does not go with scheduler_type 'ab3'; "),
        ({"scheduler_type": "stork4"}, r"^dcw_mode 'low' does not go with scheduler_type 'stork4'; "),
        ({"scheduler_type": "pingpong"}, r"^dcw_mode 'low' does not go with scheduler_type 'pingpong'; "),
        ({"infer_method": "sde"}, r"^dcw_mode 'low' does not go with infer_method 'sde'; .* infer_method 'ode'\.$"),
    ],
)
def test_it_goes_with_euler_alone(fields: dict[str, str], sentence: str) -> None:
    with pytest.raises(UnsupportedError, match=sentence) as caught:
        _choose(dcw_mode="low", **fields)
    assert caught.value.field == "dcw_mode"


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"dcw_mode": "middle"}, "dcw_mode 'middle' is unknown; choose one of: off, low, high, double, pix"),
        ({"dcw_mode": "low", "dcw_scaler": 1.5}, "dcw_scaler must be a number from 0 to 1, not 1.5"),
        (
            {"dcw_mode": "double", "dcw_high_scaler": math.nan},
            "dcw_high_scaler must be a number from 0 to 1, not nan",
        ),
    ],
)
def test_values_that_are_not_allowed_are_named(fields: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        _choose(**fields)


@pytest.mark.parametrize("solver", ["ab3", "stork4", "heun"])
def test_other_solvers_are_chosen_by_name_and_know_no_sde(solver: str) -> None:
    assert _choose(scheduler_type=solver)[0].solver == solver
    with pytest.raises(UnsupportedError, match=f"infer_method 'sde' does not go with scheduler_type '{solver}'"):
        _choose(scheduler_type=solver, infer_method="sde")
