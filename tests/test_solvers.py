"""Solvers on flows whose answer is known: order of convergence, straight lines, Gaussians."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from acestep.sampling.schedule import make_schedule
from acestep.sampling.solvers import SOLVERS

Field = Callable[[Tensor, float], Tensor]


def _unused_noise() -> Tensor:
    raise AssertionError("a deterministic solver drew noise")


def _solve(
    name: str, field: Field, x: Tensor, schedule: tuple[float, ...], noise: Callable[[], Tensor] = _unused_noise
) -> Tensor:
    stepper = SOLVERS[name].make()
    for t, t_next in pairwise(schedule):
        x = stepper.step(x, field(x, t), t, t_next, field, noise)
    return x


def _swinging(x: Tensor, t: float) -> Tensor:
    """dx/dt = x cos(3t), whose solution is x(1) exp((sin 3t - sin 3) / 3)."""
    return x * math.cos(3 * t)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_the_error_falls_with_the_order_of_the_solver(name: str, order: int, shift: float) -> None:
    start = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    exact = start * math.exp(-math.sin(3) / 3)
    errors = [
        (_solve(name, _swinging, start, make_schedule(steps, shift)) - exact).abs().max().item()
        for steps in (320, 640, 1280)
    ]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(order, abs=0.1)


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("name", ["euler", "heun", "ab3", "stork4"])
def test_a_straight_flow_is_solved_exactly(name: str, steps: int) -> None:
    noise, music = torch.randn(2, 1, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))

    def straight(x: Tensor, t: float) -> Tensor:
        return noise - music

    end = _solve(name, straight, noise, make_schedule(steps, 3.0))
    torch.testing.assert_close(end, music, rtol=0, atol=1e-14)


def test_the_stochastic_solver_finds_a_single_song_whatever_it_draws() -> None:
    generator = torch.Generator().manual_seed(2)
    noise, music = torch.randn(2, 5, 4, dtype=torch.float64, generator=generator)
    end = _solve(
        "sde",
        lambda x, t: (x - music) / t,
        noise,
        make_schedule(8, 3.0),
        lambda: torch.randn(5, 4, dtype=torch.float64, generator=generator),
    )
    torch.testing.assert_close(end, music, rtol=0, atol=1e-14)


class _Gaussian:
    """Songs from N(mean, spread**2): the ideal velocity and the moments it leads to are known in closed form."""

    mean, spread = 0.7, 0.4

    def variance(self, t: float) -> float:
        return t**2 + (1 - t) ** 2 * self.spread**2

    def gain(self, t: float) -> float:
        """How far the expected song follows the deviation of the state from its mean."""
        return (1 - t) * self.spread**2 / self.variance(t)

    def velocity(self, x: Tensor, t: float) -> Tensor:
        deviation = x - (1 - t) * self.mean
        expected_noise = t / self.variance(t) * deviation
        return expected_noise - self.mean - self.gain(t) * deviation

    def sde_variance(self, schedule: tuple[float, ...]) -> float:
        """Variance after the stochastic solver, carried through the steps by hand."""
        variance = 1.0
        for t, t_next in pairwise(schedule):
            variance = t_next**2 + (1 - t_next) ** 2 * self.gain(t) ** 2 * variance
        return variance


@pytest.mark.parametrize(("steps", "shift"), [(2, 1.0), (8, 3.0), (50, 1.0)])
def test_the_stochastic_solver_has_the_mean_and_variance_of_its_formula(steps: int, shift: float) -> None:
    songs, schedule, size = _Gaussian(), make_schedule(steps, shift), 100_000
    generator = torch.Generator().manual_seed(3)
    draws: list[Tensor] = []

    def draw() -> Tensor:
        draws.append(torch.randn(size, dtype=torch.float64, generator=generator))
        return draws[-1]

    end = _solve("sde", songs.velocity, torch.randn(size, dtype=torch.float64, generator=generator), schedule, draw)
    variance = songs.sde_variance(schedule)
    assert len(draws) == steps - 1  # the last step is the music itself
    assert end.mean().item() == pytest.approx(songs.mean, abs=5 * math.sqrt(variance / size))
    assert end.var().item() == pytest.approx(variance, rel=5 * math.sqrt(2 / size))


@pytest.mark.parametrize(("name", "tolerance"), [("euler", 0.01), ("heun", 0.001), ("ab3", 0.001), ("stork4", 0.001)])
def test_deterministic_solvers_carry_a_gaussian_onto_the_songs(name: str, tolerance: float) -> None:
    songs = _Gaussian()
    start = torch.linspace(-3, 3, 25, dtype=torch.float64)[None, :, None]  # the flow maps quantile onto quantile
    end = _solve(name, songs.velocity, start, make_schedule(200, 1.0))
    torch.testing.assert_close(end, songs.mean + songs.spread * start, rtol=0, atol=tolerance)


def test_one_stochastic_step_is_its_formula() -> None:
    x, v, eps = torch.randn(3, 2, 6, 4, generator=torch.Generator().manual_seed(4))
    after = SOLVERS["sde"].make().step(x, v, 0.75, 0.5, _swinging, lambda: eps)
    torch.testing.assert_close(after, 0.5 * eps + 0.5 * (x - 0.75 * v), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SOLVERS)
def test_the_table_tells_the_truth_about_cost_and_chance(name: str) -> None:
    solver, calls, draws = SOLVERS[name], [], []

    def field(x: Tensor, t: float) -> Tensor:
        calls.append(t)
        return -x

    def draw() -> Tensor:
        draws.append(None)
        return torch.zeros(1, 3, 1)

    schedule = make_schedule(5, 2.0)
    _solve(name, field, torch.ones(1, 3, 1), schedule, draw)
    assert solver.name == name
    assert len(calls) == 4 * solver.evaluations + 1
    assert set(calls) == set(schedule[:-1])
    assert bool(draws) is solver.stochastic
