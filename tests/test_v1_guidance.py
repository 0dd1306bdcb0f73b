"""Guidance, windows and granularity of v1 in the shared loop, against the same run written out slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.checkpoints.registry import MODELS
from acestep.checkpoints.rows import FIRST
from acestep.params import GenerationParams
from acestep.sampling.noise import ItemNoise, item_noise
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.v1.choice import V1Choice, choose_v1
from acestep.v1.guidance import GUIDANCE, GuidedSteps, Velocities, deviations_scaled

from v1_sampling_support import (
    Array,
    SlowGuidance,
    SlowSampler,
    ToyNetwork,
    as_latents,
    as_rows,
    slow_grid,
    toy_velocity,
)

FRAMES, STEPS = 5, 12
ROWS, CHANNELS = 16 * FRAMES, 8
TOLERANCE = 1e-6  # of the largest latent
SPEC = next(spec for spec in MODELS.values() if spec.variant.generation is FIRST)
KINDS = {
    "none": {"guidance_scale": 1.0},
    "cfg": {"cfg_type": "cfg"},
    "apg": {},
    "cfg_star": {"cfg_type": "cfg_star"},
    "double": {"guidance_scale_text": 5.0, "guidance_scale_lyric": 1.5},
}


class Toy(ToyNetwork):
    """The toy network as `GuidedSteps` calls it."""

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> Velocities:
        return Velocities(*self.velocities(x, t, guided=guided))


def _choice(**fields: object) -> V1Choice:
    return choose_v1(GenerationParams(**{"inference_steps": STEPS} | fields), SPEC)[0]


def _run(choice: V1Choice, seeds: list[int], network: Toy | None = None) -> Tensor:
    """Rows ``[B, R, C]`` of the toy network."""
    fresh, lengths = ItemNoise(seeds, CHANNELS), [ROWS] * len(seeds)
    velocity = GuidedSteps(network or Toy(double=choice.guidance == "double"), choice)
    noise, settings = item_noise(seeds, lengths, CHANNELS), SamplerSettings(choice.schedule, choice.solver)
    return sample(velocity, noise, settings, lambda: fresh.draw(lengths), lengths)


def _slow(choice: V1Choice, seed: int, sigmas: list[float]) -> Array:
    """Latents ``[8, 16, F]`` of the same song by the slow sampler."""
    fresh = ItemNoise([seed], CHANNELS)
    guidance = SlowGuidance.of(choice)
    noises = (as_latents(fresh.draw([ROWS])[0]) for _ in sigmas)
    sampler = SlowSampler(toy_velocity, sigmas, guidance, choice.omega, choice.solver, noises)
    return sampler.run(as_latents(item_noise([seed], [ROWS], CHANNELS)[0]))


def _assert_near(rows: Tensor, expected: Array) -> None:
    apart = np.abs(as_latents(rows) - expected).max()
    assert apart <= TOLERANCE * max(1.0, np.abs(expected).max())


# --- The whole run --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("solver", ["euler", "heun", "pingpong"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_is_what_it_is_described_to_be(kind: str, solver: str) -> None:
    choice = _choice(scheduler_type=solver, **KINDS[kind])
    assert choice.guidance == kind
    _assert_near(_run(choice, [5])[0], _slow(choice, 5, slow_grid(STEPS)))


@pytest.mark.parametrize(
    "fields",
    [
        {"guidance_interval": 1.0},
        {"guidance_interval": 1.0, "cfg_type": "cfg_star"},
        {"guidance_interval": 0.0},
        {"guidance_interval": 0.3, "guidance_interval_decay": 1.0},
        {"guidance_interval_decay": 0.5, "min_guidance_scale": 1.0, "scheduler_type": "heun"},
        {"guidance_interval": 0.09, "guidance_interval_decay": 1.0},
        {"omega_scale": 20.0},
        {"omega_scale": 1.0, "scheduler_type": "heun"},
        {"guidance_scale": 0.5, "cfg_type": "cfg"},
    ],
)
def test_windows_decays_and_granularity_are_as_described(fields: dict[str, object]) -> None:
    choice = _choice(**fields)
    _assert_near(_run(choice, [5])[0], _slow(choice, 5, slow_grid(STEPS)))


def test_picked_steps_are_run_as_described() -> None:
    choice = _choice(oss_steps=[2, 5, 9, 12], inference_steps=None)
    longer = slow_grid(12)
    sigmas = [3 * longer[pick - 1] / (1 + 2 * longer[pick - 1]) for pick in (2, 5, 9, 12)]
    _assert_near(_run(choice, [5])[0], _slow(choice, 5, [*sigmas, 0.0]))


@pytest.mark.parametrize("solver", ["euler", "heun", "pingpong"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_song_is_the_same_alone_and_in_a_batch(kind: str, solver: str) -> None:
    choice = _choice(scheduler_type=solver, **KINDS[kind])
    batch = _run(choice, [3, 11, 7])
    for row, seed in enumerate([3, 11, 7]):
        torch.testing.assert_close(batch[row : row + 1], _run(choice, [seed]), rtol=0, atol=1e-6)


# --- Who is asked, and when -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_only_guided_steps_ask_for_more_than_the_song(kind: str) -> None:
    choice, network = _choice(**KINDS[kind]), Toy(double=True)
    _run(choice, [5], network)
    guided = [False] * 3 + [kind != "none"] * 6 + [False] * 3
    assert network.calls == list(zip(choice.schedule, guided, strict=False))


def test_both_evaluations_of_heun_belong_to_the_step_of_the_grid() -> None:
    choice, network = _choice(scheduler_type="heun"), Toy()
    _run(choice, [5], network)
    expected = []
    for step, level in enumerate(choice.schedule[:-1]):
        expected.append((level, choice.guides(step)))
        if step < STEPS - 1:
            expected.append((choice.schedule[step + 1], choice.guides(step)))
    assert network.calls == expected
    assert sum(guided for _, guided in network.calls) == 12


@pytest.mark.parametrize("kind", ["cfg", "apg", "cfg_star"])
def test_a_negative_that_is_the_song_changes_nothing_but_the_zeros(kind: str) -> None:
    v = torch.randn(2, ROWS, CHANNELS, generator=torch.Generator().manual_seed(1))
    guided = GUIDANCE[kind](_choice(**KINDS[kind])).combine(Velocities(v, v), 2, 15.0)
    torch.testing.assert_close(guided, v, rtol=0, atol=1e-5)


def test_zero_star_stands_still_in_the_first_two_steps_of_the_grid() -> None:
    choice = _choice(cfg_type="cfg_star", guidance_interval=1.0)
    velocity, x = GuidedSteps(Toy(), choice), item_noise([5], [ROWS], CHANNELS)
    moves = [velocity.predict(x, level).any().item() for level in choice.schedule[:4]]
    assert moves == [False, False, True, True]


def test_zero_star_scales_the_negative_of_each_song_to_its_best_length() -> None:
    """What is left of the conditional velocity beside it is perpendicular, song by song."""
    v = torch.randn(2, 3, ROWS, CHANNELS, generator=torch.Generator().manual_seed(2))
    combiner = GUIDANCE["cfg_star"](_choice())
    best = combiner.combine(Velocities(v[0], v[1]), 2, 0.0)
    left = (v[0] - best).flatten(1)
    assert ((left * v[1].flatten(1)).sum(dim=1).abs() < 1e-3).all()
    assert (best.flatten(1).norm(dim=1) > 0.01).all()


def test_momentum_moves_with_every_evaluation() -> None:
    """Correcting a step is guided by projection too, and the prediction after it remembers that."""
    choice, x = _choice(guidance_interval=1.0), item_noise([5], [ROWS], CHANNELS)
    plain, corrected = (GuidedSteps(Toy(), choice) for _ in range(2))
    first, second = choice.schedule[:2]
    plain.predict(x, first)
    corrected.predict(x, first)
    corrected.correct(x, second)
    between = GuidedSteps(Toy(), choice)
    between.predict(x, first)
    between.predict(x, second)  # another evaluation at the same place as the correction
    assert torch.equal(between.predict(x, second), corrected.predict(x, second))
    assert not torch.equal(plain.predict(x, second), corrected.predict(x, second))
    fresh = GuidedSteps(Toy(), choice)
    assert not torch.equal(plain.predict(x, second), fresh.predict(x, second))


# --- Granularity ----------------------------------------------------------------------------------------------------


def test_deviations_are_from_the_mean_of_each_song() -> None:
    x = torch.randn(3, ROWS, CHANNELS, generator=torch.Generator().manual_seed(3)) + torch.arange(3.0)[:, None, None]
    scaled = deviations_scaled(x, 1.05)
    for song, result in zip(x, scaled, strict=True):
        mean = song.double().mean()
        torch.testing.assert_close(result.double(), mean + 1.05 * (song.double() - mean), rtol=0, atol=1e-5)


def test_no_granularity_leaves_a_velocity_bit_for_bit() -> None:
    choice = _choice(guidance_scale=1.0, omega_scale=10.0)
    x, level = item_noise([5], [ROWS], CHANNELS), choice.schedule[3]
    same = GuidedSteps(Toy(), replace(choice, omega=0.0)).predict(x, level)
    assert torch.equal(same, as_rows(toy_velocity(as_latents(x[0]), level, "song"))[None])
    assert not torch.equal(same, GuidedSteps(Toy(), choice).predict(x, level))
