"""The loop with toy networks: noise per song, batches against songs alone, guidance in time, dtypes, endings."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from acestep.errors import CancelledError, GenerationError
from acestep.sampling.correction import WaveletCorrection
from acestep.sampling.guidance import GUIDANCE, Guidance, GuidedVelocity, VelocityPair
from acestep.sampling.hold import Hold, outside_held
from acestep.sampling.noise import ItemNoise, item_noise
from acestep.sampling.sampler import OnStep, SamplerSettings, sample
from acestep.sampling.schedule import make_schedule
from acestep.sampling.solvers import SOLVERS
from acestep.sampling.stepper import Draw

C = 8
UNGUIDED = Guidance(1.0, "none")


class ToyNetwork:
    """A velocity that mixes time and channels within each song, by its own label, and leaves NaN in the padding."""

    def __init__(self, labels: Sequence[int], lengths: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        self.labels, self.lengths, self.dtype = labels, lengths, dtype
        self.calls: list[tuple[float, bool]] = []

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, Tensor | None]:
        assert x.dtype == torch.float32
        self.calls.append((t, guided))
        return self._predict(x, t, 1.0), self._predict(x, t, 0.3) if guided else None

    def _predict(self, x: Tensor, t: float, condition: float) -> Tensor:
        v = torch.full_like(x, math.nan)
        for row, (label, length) in enumerate(zip(self.labels, self.lengths, strict=True)):
            song = x[row, :length]
            neighbours = song.roll(1, dims=0) - song.roll(1, dims=1)
            v[row, :length] = song - torch.tanh(neighbours + song.mean()) * t - condition * math.sin(label + 1)
        return v.to(self.dtype)


def _settings(solver: str = "euler", steps: int = 8) -> SamplerSettings:
    return SamplerSettings(make_schedule(steps, 3.0), solver)


def _sample(
    network: VelocityPair,
    noise: Tensor,
    settings: SamplerSettings,
    step_noise: Draw | None,
    lengths: Sequence[int],
    on_step: OnStep | None = None,
    hold: Hold | None = None,
    guidance: Guidance = UNGUIDED,
) -> Tensor:
    """``sample`` as the first release calls it: with guidance by noise level."""
    velocity = GuidedVelocity(network, guidance, lengths)
    return sample(velocity, noise, settings, step_noise, lengths, on_step, hold)


def _render(
    seeds: Sequence[int], lengths: Sequence[int], settings: SamplerSettings, guidance: Guidance = UNGUIDED
) -> Tensor:
    fresh = ItemNoise(seeds, C)
    noise, network = item_noise(seeds, lengths, C), ToyNetwork(seeds, lengths)
    return _sample(network, noise, settings, lambda: fresh.draw(lengths), lengths, guidance=guidance)


# --- Noise ----------------------------------------------------------------------------------------------------------


def test_noise_belongs_to_the_song_and_not_to_its_batch() -> None:
    batch = item_noise([5, 9, 5], [40, 17, 23], C)
    assert batch.shape == (3, 40, C)
    assert batch.dtype == torch.float32
    assert torch.equal(batch[1, :17], item_noise([9], [17], C)[0])
    assert torch.equal(batch[2, :23], item_noise([1, 2, 5, 3], [9, 30, 23, 60], C)[2, :23])
    assert (batch[1, 17:] == 0).all()
    assert (batch[2, 23:] == 0).all()


def test_initial_noise_is_what_torch_draws_for_the_seed() -> None:
    expected = torch.randn(1, 50, 64, generator=torch.Generator().manual_seed(2**32 - 1))
    assert torch.equal(item_noise([2**32 - 1], [50], 64), expected)


def test_step_noise_is_fresh_belongs_to_the_song_and_is_not_any_initial_noise() -> None:
    batch, alone = ItemNoise([5, 9], C), ItemNoise([9], C)
    drawn = []
    for _ in range(3):
        both, single = batch.draw([40, 17]), alone.draw([17])
        assert torch.equal(both[1:, :17], single)
        assert (both[1, 17:] == 0).all()
        drawn.append(single)
    drawn += [item_noise([seed], [17], C) for seed in range(20)]
    assert all(not torch.equal(a, b) for i, a in enumerate(drawn) for b in drawn[:i])


def test_noise_is_standard_normal() -> None:
    for noise in (item_noise([1], [4000], 64), ItemNoise([1], 64).draw([4000])):
        assert noise.mean().item() == pytest.approx(0, abs=0.01)
        assert noise.std().item() == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("count", [1, 3])
def test_every_song_needs_a_seed_and_a_length(count: int) -> None:
    with pytest.raises(ValueError, match="argument"):
        item_noise([1, 2], [10] * count, C)
    with pytest.raises(ValueError, match="argument"):
        ItemNoise([1, 2], C).draw([10] * count)


# --- Batches --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GUIDANCE)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_song_is_the_same_alone_and_in_a_batch(solver: str, kind: str) -> None:
    settings, guidance = _settings(solver), Guidance(4.0, kind, (0.2, 0.95))
    seeds, lengths = [3, 11, 7], [30, 19, 6]
    batch = _render(seeds, lengths, settings, guidance)
    assert batch.isfinite().all()
    for row, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
        alone = _render([seed], [length], settings, guidance)
        torch.testing.assert_close(batch[row : row + 1, :length], alone, rtol=0, atol=1e-6)
        assert (batch[row, length:] == 0).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_same_seed_is_bit_identical_and_another_is_not(solver: str) -> None:
    settings, guidance = _settings(solver), Guidance(4.0, "apg")
    first = _render([3, 4], [20, 12], settings, guidance)
    assert torch.equal(first, _render([3, 4], [20, 12], settings, guidance))
    assert not torch.allclose(first[:1], _render([5], [20], settings, guidance), atol=0.01)


def test_noise_in_the_padding_reaches_nobody() -> None:
    noise = item_noise([1, 2], [20, 12], C)
    spoiled = noise.clone()
    spoiled[1, 12:] = 1e6
    clean, other = (
        _sample(ToyNetwork([1, 2], [20, 12]), start, _settings(), None, [20, 12]) for start in (noise, spoiled)
    )
    assert torch.equal(clean, other)


# --- What the loop does ---------------------------------------------------------------------------------------------


def test_euler_without_guidance_is_a_sum_of_velocities() -> None:
    schedule = make_schedule(8, 3.0)
    noise = item_noise([1], [10], C)
    x = noise.double()
    for t, t_next in pairwise(schedule):
        x = x - (t - t_next) * (0.5 * x + t)

    def velocity(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        return 0.5 * x + t, None

    end = _sample(velocity, noise, SamplerSettings(schedule, "euler"), None, [10])
    torch.testing.assert_close(end.double(), x, rtol=0, atol=1e-5)


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_the_null_half_is_asked_for_inside_the_interval_only(solver: str) -> None:
    network = ToyNetwork([1], [10])
    guidance = Guidance(4.0, "cfg", (0.3, 0.8))
    _sample(network, item_noise([1], [10], C), _settings(solver), None, [10], guidance=guidance)
    assert {guided for _, guided in network.calls} == {True, False}
    assert all(guided == (0.3 <= t <= 0.8) for t, guided in network.calls)


@pytest.mark.parametrize("guidance", [UNGUIDED, Guidance(1.0, "apg"), Guidance(7.0, "none")])
def test_without_guidance_the_null_half_is_never_asked_for(guidance: Guidance) -> None:
    network = ToyNetwork([1], [10])
    _sample(network, item_noise([1], [10], C), _settings("heun"), None, [10], guidance=guidance)
    assert not any(guided for _, guided in network.calls)


def test_outside_the_interval_the_velocity_is_conditional() -> None:
    lengths = [10]
    noise = item_noise([1], lengths, C)
    guided, plain = (
        _sample(ToyNetwork([1], lengths), noise, _settings(), None, lengths, guidance=guidance)
        for guidance in (Guidance(4.0, "apg", (0.01, 0.02)), UNGUIDED)
    )
    assert torch.equal(guided, plain)


def test_heun_moves_the_momentum_once_a_step_and_corrects_with_plain_guidance() -> None:
    """By hand, in fp64: APG for the predictor, classifier-free guidance for the corrector, Euler at the end."""
    lengths, scale, schedule = [10], 4.0, make_schedule(6, 3.0)
    network, predictor = ToyNetwork([1], lengths), GUIDANCE["apg"].make(scale)
    noise = item_noise([1], lengths, C)
    x = noise
    for t, t_next in pairwise(schedule):
        v_cond, v_null = network(x, t, guided=True)
        v = predictor.combine(x, v_cond, v_null, t, lengths)
        predicted = x - (t - t_next) * v
        if t_next > 0:
            v_cond, v_null = network(predicted, t_next, guided=True)
            v = (v + v_null + scale * (v_cond - v_null)) / 2
        x = x - (t - t_next) * v
    settings, guidance = SamplerSettings(schedule, "heun"), Guidance(scale, "apg")
    end = _sample(ToyNetwork([1], lengths), noise, settings, None, lengths, guidance=guidance)
    torch.testing.assert_close(end, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", GUIDANCE)
def test_a_half_precision_network_leaves_the_state_in_fp32(kind: str) -> None:
    lengths = [10]
    noise = item_noise([1], lengths, C)
    settings, guidance = _settings(), Guidance(4.0, kind)
    half = ToyNetwork([1], lengths, torch.bfloat16)

    def widened(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, Tensor | None]:
        v_cond, v_null = half(x, t, guided=guided)
        return v_cond.float(), None if v_null is None else v_null.float()

    end = _sample(half, noise.bfloat16().float(), settings, None, lengths, guidance=guidance)
    assert end.dtype == torch.float32
    assert torch.equal(end, _sample(widened, noise.bfloat16(), settings, None, lengths, guidance=guidance))
    assert not torch.equal(end, end.bfloat16().float())


def test_the_stochastic_solver_draws_for_all_steps_but_the_last() -> None:
    lengths, drawn = [10, 6], []

    def draw() -> Tensor:
        drawn.append(torch.zeros(2, 10, C))
        return drawn[-1]

    noise = item_noise([1, 2], lengths, C)
    _sample(ToyNetwork([1, 2], lengths), noise, _settings("sde"), draw, lengths)
    assert len(drawn) == 7


def test_no_gradient_is_recorded() -> None:
    weight = torch.ones((), requires_grad=True)

    def velocity(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        return x * weight, None

    assert not _sample(velocity, item_noise([1], [10], C), _settings(), None, [10]).requires_grad


# --- Holding what lies outside a region -----------------------------------------------------------------------------

REGION = slice(5, 12)


def _region(songs: int, frames: int) -> Tensor:
    """Mask ``[B, T, 1]`` of ``REGION``."""
    inside = torch.zeros(songs, frames, 1, dtype=torch.bool)
    inside[:, REGION] = True
    return inside


def _outside(latents: Tensor) -> Tensor:
    return torch.cat([latents[:, : REGION.start], latents[:, REGION.stop :]], dim=1)


def _held(seeds: Sequence[int], lengths: Sequence[int], settings: SamplerSettings) -> tuple[Tensor, Tensor]:
    """Held latents, guided, and the clean ones, which are other noise here."""
    noise, fresh = item_noise(seeds, lengths, C), ItemNoise(seeds, C)
    clean = item_noise([seed + 50 for seed in seeds], lengths, C)
    hold = outside_held(clean, noise, _region(len(seeds), max(lengths)))
    network, guidance = ToyNetwork(seeds, lengths), Guidance(4.0, "apg")

    def draw() -> Tensor:
        return fresh.draw(lengths)

    return _sample(network, noise, settings, draw, lengths, hold=hold, guidance=guidance), clean


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_is_held_ends_bit_equal_and_the_inside_is_new(solver: str) -> None:
    end, clean = _held([3, 4], [20, 20], _settings(solver))
    assert torch.equal(_outside(end), _outside(clean))
    free = _render([3, 4], [20, 20], _settings(solver), Guidance(4.0, "apg"))
    for latents in (clean, free):  # the inside is neither the recording nor what it would be without one
        assert ((end - latents)[:, REGION].abs().amax(dim=(1, 2)) > 0.01).all()


@pytest.mark.parametrize("correction", [None, WaveletCorrection("double", 0.2, 0.2)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_held_song_is_the_same_alone_and_in_a_batch(solver: str, correction: WaveletCorrection | None) -> None:
    settings = SamplerSettings(make_schedule(8, 3.0), solver, correction)
    seeds, lengths = [3, 11], [30, 19]
    batch, _ = _held(seeds, lengths, settings)
    for row, (seed, length) in enumerate(zip(seeds, lengths, strict=True)):
        alone, _ = _held([seed], [length], settings)
        torch.testing.assert_close(batch[row : row + 1, :length], alone, rtol=0, atol=1e-6)
        assert (batch[row, length:] == 0).all()


def test_at_level_0_a_hold_returns_the_clean_latents_bit_for_bit() -> None:
    clean, noise = item_noise([1], [20], C), item_noise([2], [20], C)
    clean[0, :4] = -0.0
    held = outside_held(clean, noise, torch.zeros(1, 20, 1, dtype=torch.bool))(noise, 0.0)
    assert torch.equal(held.view(torch.int32), clean.view(torch.int32))


def test_the_run_goes_on_with_the_held_state() -> None:
    """By hand: Euler, and after each step the outside on the line from noise to the clean latents."""
    lengths, schedule, network = [20], make_schedule(6, 3.0), ToyNetwork([3], [20])
    noise, clean, inside = item_noise([3], lengths, C), item_noise([53], lengths, C), _region(1, 20)
    x = noise
    for t, t_next in pairwise(schedule):
        x = x - (t - t_next) * network(x, t, guided=False)[0]
        x[:, :5] = (t_next * noise + (1 - t_next) * clean)[:, :5]
        x[:, 12:] = (t_next * noise + (1 - t_next) * clean)[:, 12:]
    settings = SamplerSettings(schedule, "euler")
    end = _sample(ToyNetwork([3], [20]), noise, settings, None, lengths, hold=outside_held(clean, noise, inside))
    torch.testing.assert_close(end, x, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", ["euler", "heun", "ab3", "stork4"])
def test_a_hold_sees_every_level_reached_and_may_change_nothing(solver: str) -> None:
    levels: list[float] = []

    def watch(x: Tensor, level: float) -> Tensor:
        levels.append(level)
        return x

    noise, settings = item_noise([3], [20], C), _settings(solver)
    end = _sample(ToyNetwork([3], [20]), noise, settings, None, [20], hold=watch)
    assert levels == list(settings.schedule[1:])
    assert torch.equal(end, _sample(ToyNetwork([3], [20]), noise, settings, None, [20]))


@pytest.mark.parametrize("solver", ["ab3", "stork4"])
def test_solvers_that_look_back_find_the_song_that_continues_what_is_held(solver: str) -> None:
    song = item_noise([7], [20], C)

    def velocity(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        return (x - song) / t, None

    noise = item_noise([3], [20], C)
    hold = outside_held(song, noise, _region(1, 20))
    torch.testing.assert_close(
        _sample(velocity, noise, _settings(solver), None, [20], hold=hold), song, rtol=0, atol=1e-5
    )


# --- Progress, cancelling, errors -----------------------------------------------------------------------------------


def test_progress_counts_every_step_to_the_end() -> None:
    seen: list[tuple[int, int]] = []
    network = ToyNetwork([1], [10])
    _sample(network, item_noise([1], [10], C), _settings("heun"), None, [10], lambda *done: seen.append(done))
    assert seen == [(done, 8) for done in range(1, 9)]


class _Stop(BaseException):
    """Like Cog's cancellation, not an Exception."""


@pytest.mark.parametrize("reason", [CancelledError("stop"), _Stop(), KeyboardInterrupt()])
def test_cancelling_ends_the_run_at_once_and_arrives_unchanged(reason: BaseException) -> None:
    def cancel(done: int, total: int) -> None:
        if done == 3:
            raise reason

    network = ToyNetwork([1], [10])
    with pytest.raises(type(reason)) as caught:
        _sample(network, item_noise([1], [10], C), _settings(), None, [10], cancel)
    assert caught.value is reason
    assert len(network.calls) == 3


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_latents_that_are_no_numbers_name_the_step_where_they_began(bad: float) -> None:
    schedule = make_schedule(8, 3.0)

    def velocity(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        v = x.clone()
        if t <= schedule[4]:
            v[1, 3, 2] = bad
        return v, None

    settings = SamplerSettings(schedule, "euler")
    with pytest.raises(GenerationError, match=r"NaN or infinite at step 5 of 8\.$"):
        _sample(velocity, item_noise([1, 2], [10, 10], C), settings, None, [10, 10])


def test_a_stochastic_solver_without_noise_is_refused_before_the_network_runs() -> None:
    network = ToyNetwork([1], [10])
    with pytest.raises(ValueError, match="step_noise"):
        _sample(network, item_noise([1], [10], C), _settings("sde"), None, [10])
    assert network.calls == []


@pytest.mark.parametrize("lengths", [[10], [10, 11], [10, 0], [10, 10, 10]])
def test_lengths_that_do_not_fit_the_noise_are_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths"):
        _sample(ToyNetwork([1, 2], [10, 10]), item_noise([1, 2], [10, 10], C), _settings(), None, lengths)


def test_a_network_that_withholds_the_null_half_is_refused() -> None:
    def velocity(x: Tensor, t: float, *, guided: bool) -> tuple[Tensor, None]:
        return x, None

    with pytest.raises(ValueError, match="null half"):
        _sample(velocity, item_noise([1], [10], C), _settings(), None, [10], guidance=Guidance(4.0, "cfg"))
