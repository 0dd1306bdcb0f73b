"""Solvers that look back: their weights against the order conditions, their order on a known flow, their caution."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from acestep.sampling.multistep import AdamsBashforth, VirtualStages, earlier_weights
from acestep.sampling.schedule import make_schedule
from acestep.sampling.solvers import SOLVERS
from acestep.sampling.stepper import Stepper

Field = Callable[[Tensor, float], Tensor]
NAMES = ("ab3", "stork4")


def _no_noise() -> Tensor:
    raise AssertionError("a deterministic solver drew noise")


def _no_velocity(x: Tensor, t: float) -> Tensor:
    raise AssertionError("a solver that looks back asked for a further velocity")


def _step(stepper: Stepper, x: Tensor, v: Tensor, t: float, t_next: float) -> Tensor:
    return stepper.step(x, v, t, t_next, _no_velocity, _no_noise)


def _solve(name: str, field: Field, x: Tensor, schedule: Sequence[float]) -> Tensor:
    stepper = SOLVERS[name].make()
    for t, t_next in pairwise(schedule):
        x = _step(stepper, x, field(x, t), t, t_next)
    return x


def _song(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[None, :, None]  # [1, T, 1]


# --- Weights --------------------------------------------------------------------------------------------------------


def _solved_weights(places: Sequence[float]) -> np.ndarray:
    """Weights at nodes 0 and ``places`` that integrate 1, s, s**2 exactly from 0 to 1: a linear system."""
    nodes = np.array([0.0, *places])
    powers = np.arange(len(nodes))
    return np.linalg.solve(nodes[None, :] ** powers[:, None], 1.0 / (powers + 1))


@pytest.mark.parametrize(
    "places", [[], [-1.0], [-0.2], [-7.0], [-1.0, -2.0], [-0.3, -0.4], [-0.5, -3.0], [-12.0, -12.5]]
)
def test_the_weights_satisfy_the_order_conditions(places: list[float]) -> None:
    current, *earlier = _solved_weights(places)
    assert earlier_weights(places) == pytest.approx(earlier, rel=1e-12)
    assert 1.0 - sum(earlier_weights(places)) == pytest.approx(current, rel=1e-12)


def test_on_even_steps_they_are_the_textbooks() -> None:
    assert earlier_weights([-1.0]) == pytest.approx([-1 / 2])
    assert earlier_weights([-1.0, -2.0]) == pytest.approx([-16 / 12, 5 / 12])


@pytest.mark.parametrize("name", NAMES)
def test_a_velocity_that_is_a_parabola_in_time_is_integrated_exactly(name: str) -> None:
    levels = (1.0, 0.93, 0.7, 0.6, 0.25, 0.0)
    path = np.polynomial.Polynomial([0.3, -1.2, 0.5, 2.0])
    stepper = SOLVERS[name].make()
    ends = [
        _step(stepper, _song(path(t)), _song(path.deriv()(t)), t, t_next).item() for t, t_next in pairwise(levels)
    ]
    assert ends[2:] == pytest.approx([path(t) for t in levels[3:]], abs=1e-12)
    assert abs(ends[0] - path(levels[1])) > 1e-3  # Euler: nothing to look back to


# --- Order ----------------------------------------------------------------------------------------------------------


def _growing(x: Tensor, t: float) -> Tensor:
    """dx/dt = x exp(t), whose solution is x(1) exp(exp(t) - e)."""
    return x * math.exp(t)


def _error(name: str, schedule: Sequence[float]) -> float:
    start = _song(1.0, -2.0, 0.5)
    exact = start * math.exp(1.0 - math.e)
    return (_solve(name, _growing, start, schedule) - exact).abs().max().item()


def _eased(schedule: Sequence[float]) -> list[float]:
    """The schedule with its first step cut into pieces that double, the first as short as the cube of the step."""
    t, t_next = schedule[:2]
    piece, levels = (t - t_next) ** 3, [t]
    while levels[-1] - piece > t_next + piece:
        levels.append(levels[-1] - piece)
        piece *= 2
    return [*levels, *schedule[1:]]


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_once_the_records_are_full_the_order_is_three(name: str, shift: float) -> None:
    errors = [_error(name, _eased(make_schedule(steps, shift))) for steps in (80, 160, 320, 640)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) >= 2.7


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("name", NAMES)
def test_starting_with_euler_leaves_order_two(name: str, shift: float) -> None:
    errors = [_error(name, make_schedule(steps, shift)) for steps in (640, 1280, 2560)]
    for coarse, fine in pairwise(errors):
        assert math.log2(coarse / fine) == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize("shift", [1.0, 3.0])
@pytest.mark.parametrize("steps", [8, 16, 50])
@pytest.mark.parametrize("name", NAMES)
def test_looking_back_beats_euler_at_the_same_number_of_evaluations(name: str, steps: int, shift: float) -> None:
    schedule = make_schedule(steps, shift)
    assert _error(name, schedule) < 0.5 * _error("euler", schedule)


# --- Virtual stages -------------------------------------------------------------------------------------------------


def _ten_stages(velocity: Callable[[float], float], x: float, t: float, t_next: float) -> float:
    """A step of the ten-stage Runge-Kutta method of order 4 of Ketcheson 2008, the level being part of the state."""

    def slope(state: np.ndarray) -> np.ndarray:
        return np.array([velocity(state[1]), 1.0])

    h, a, b = t_next - t, np.array([x, t]), np.array([x, t])
    for _ in range(5):
        a = a + h / 6 * slope(a)
    b = b / 25 + 9 / 25 * a
    a = 15 * b - 5 * a
    for _ in range(4):
        a = a + h / 6 * slope(a)
    return float((b + 3 / 5 * a + h / 10 * slope(a))[0])


def test_ten_virtual_stages_of_order_four_come_to_the_closed_form() -> None:
    levels, velocities = (1.0, 0.9, 0.65, 0.5), (0.4, -0.3, 0.8)
    parabola = np.polynomial.Polynomial.fit(levels[:3], velocities, 2)
    stepper = VirtualStages()
    for (t, t_next), v in zip(pairwise(levels), velocities, strict=True):
        end = _step(stepper, _song(0.7), _song(v), t, t_next)
    assert end.item() == pytest.approx(_ten_stages(parabola, 0.7, 0.65, 0.5), abs=1e-12)


@pytest.mark.parametrize("steps", [8, 50])
def test_where_nothing_is_rejected_it_goes_the_way_of_adams_and_bashforth(steps: int) -> None:
    schedule, start = make_schedule(steps, 3.0), _song(1.0, -2.0, 0.5)
    ends = [_solve(name, _growing, start, schedule) for name in NAMES]
    assert torch.equal(*ends)


def _after_jump(stepper: Stepper, earlier: Sequence[Tensor], v: Tensor, t_next: float) -> Tensor:
    """The step of ones from 0.98 to ``t_next`` with ``v``, after two short steps with the velocities ``earlier``."""
    x = torch.ones_like(v)
    for (t, end), velocity in zip(pairwise((1.0, 0.99, 0.98)), earlier, strict=True):
        _step(stepper, x, velocity, t, end)
    return _step(stepper, x, v, 0.98, t_next)


def test_a_long_step_after_short_ones_is_not_trusted_and_each_song_decides_alone() -> None:
    generator = torch.Generator().manual_seed(5)
    v, restless = torch.randn(2, 1, 12, 4, generator=generator)
    both = torch.cat([v, v])
    earlier = [torch.cat([v - 0.002, v + 0.2 * restless]), torch.cat([v - 0.001, v - 0.2 * restless])]
    end = _after_jump(VirtualStages(), earlier, both, 0.0)
    torch.testing.assert_close(end[1:], 1 - 0.98 * v, rtol=0, atol=0)  # Euler
    assert (end[:1] - end[1:]).abs().min() > 0.01  # the calm song is extrapolated
    for row in range(2):
        alone = _after_jump(VirtualStages(), [e[row : row + 1] for e in earlier], v, 0.0)
        assert torch.equal(end[row : row + 1], alone)
    wild = _after_jump(AdamsBashforth(), earlier, both, 0.0)
    assert wild[1].norm() > 100 * end[1].norm()


def test_a_song_that_trusts_two_records_but_not_three_takes_two() -> None:
    v = torch.ones(1, 6, 4, dtype=torch.float64)
    earlier = [v - 0.5, v + 0.01]  # the newest two are nearly straight, the third bends them
    end = _after_jump(VirtualStages(), earlier, v, 0.0)
    current, previous = _solved_weights([-0.01 / 0.98])
    torch.testing.assert_close(end, 1 - 0.98 * (current * v + previous * earlier[1]), rtol=1e-9, atol=0)
    assert (_after_jump(AdamsBashforth(), earlier, v, 0.0).abs() > 10).all()


def test_velocities_beyond_the_range_of_fp32_end_in_eulers_step() -> None:
    v = torch.ones(2, 6, 4)
    huge = torch.stack([v[0], torch.full((6, 4), 3e38)])
    end = _after_jump(VirtualStages(), [huge, -huge], v, 0.5)
    assert end.isfinite().all()
    torch.testing.assert_close(end[1], 1 - 0.48 * v[1])
    assert not _after_jump(AdamsBashforth(), [huge, -huge], v, 0.5)[1].isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_records_belong_to_one_request(name: str) -> None:
    schedule, start = make_schedule(6, 1.0), _song(1.0, 2.0)
    first = _solve(name, _growing, start, schedule)
    _solve(name, lambda x, t: 100 * x, start, schedule)
    assert torch.equal(_solve(name, _growing, start, schedule), first)
