"""Grids and windows of v1 against published numbers, against diffusers' scheduler, and by hand."""

from __future__ import annotations

from itertools import pairwise

import pytest
from diffusers import FlowMatchEulerDiscreteScheduler

from acestep.errors import InputError
from acestep.v1.schedule import (
    SHIFT,
    checked_picks,
    compared_steps,
    decayed_scale,
    first_step,
    grid,
    guidance_window,
    omega_factor,
    picked_grid,
    reference_steps,
)

from v1_sampling_support import slow_grid

PUBLISHED = {
    8: "1.0000000 0.9475425 0.8827878 0.8008373 0.6937931 0.5480456 0.3379722 0.0089286",
    27: "1.0000000 0.9868825 0.9730582 0.9584684 0.9430477 0.9267230 0.9094124 0.8910238 0.8714534 0.8505833 "
    "0.8282797 0.8043896 0.7787375 0.7511211 0.7213056 0.6890175 0.6539361 0.6156823 0.5738055 0.5277653 0.4769086 "
    "0.4204376 0.3573684 0.2864729 0.2061979 0.1145501 0.0089286",
    60: "1.000000 0.994303 0.988475 0.982511 0.976406 0.970155 0.963753 0.957195 0.950474 0.943585 0.936521 0.929275 "
    "0.921840 0.914209 0.906374 0.898327 0.890058 0.881559 0.872820 0.863830 0.854579 0.845055 0.835245 0.825137 "
    "0.814717 0.803970 0.792881 0.781432 0.769607 0.757386 0.744749 0.731675 0.718140 0.704120 0.689587 0.674514 "
    "0.658870 0.642621 0.625732 0.608164 0.589876 0.570822 0.550954 0.530217 0.508553 0.485900 0.462187 0.437338 "
    "0.411271 0.383892 0.355101 0.324785 0.292820 0.259068 0.223374 0.185566 0.145450 0.102808 0.057394 0.008929",
}
PLACEHOLDER = (16, 29, 52, 96, 129, 158, 172, 183, 189, 200)  # what upstream's page suggests for oss_steps


# --- Grids ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", PUBLISHED)
def test_grids_are_the_published_ones(steps: int) -> None:
    assert grid(steps) == pytest.approx([*map(float, PUBLISHED[steps].split()), 0.0], abs=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 27, 60, 200])
def test_grids_are_those_of_diffusers_which_shifts_twice_too(steps: int) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT)
    scheduler.set_timesteps(steps)
    assert grid(steps) == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


@pytest.mark.parametrize("picks", [PLACEHOLDER, (1, 10, 20), (1,), (7,)])
def test_picked_levels_are_shifted_once_more_as_diffusers_shifts_given_sigmas(picks: tuple[int, ...]) -> None:
    scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=SHIFT)
    scheduler.set_timesteps(max(picks))
    sigmas = scheduler.sigmas.tolist()
    scheduler.set_timesteps(sigmas=[sigmas[pick - 1] for pick in picks])
    assert picked_grid(picks) == pytest.approx(scheduler.sigmas.tolist(), abs=1e-6)


@pytest.mark.parametrize("ceiling", [1.0, 0.9, 0.5, 0.1])
@pytest.mark.parametrize("steps", [1, 5, 42])
def test_grids_under_a_ceiling_are_those_of_a_scheduler_built_with_it(steps: int, ceiling: float) -> None:
    assert grid(steps, ceiling) == pytest.approx(slow_grid(steps, ceiling), abs=1e-12)


def test_a_reference_of_half_strength_has_the_published_grid() -> None:
    levels = grid(reference_steps(60, 0.5), 0.5)
    assert levels[:6] == pytest.approx([0.900000, 0.887376, 0.874209, 0.860463, 0.846100, 0.831077], abs=1e-6)
    assert len(levels) == 31
    assert levels[-2:] == pytest.approx([0.008929, 0.0], abs=1e-6)


@pytest.mark.parametrize(
    ("strength", "steps", "first"), [(0.3, 42, 0.9545), (0.5, 30, 0.9), (0.7, 18, 0.794), (0.9, 5, 0.5)]
)
def test_the_nearer_to_the_reference_the_fewer_steps_from_the_lower_level(
    strength: float, steps: int, first: float
) -> None:
    assert reference_steps(60, strength) == steps
    assert grid(steps, 1.0 - strength)[0] == pytest.approx(first, abs=5e-4)


def test_a_reference_leaves_a_step_unless_it_is_kept_whole() -> None:
    assert reference_steps(60, 1.0) == 0
    assert reference_steps(60, 0.999) == reference_steps(1, 0.5) == 1
    assert reference_steps(60, 0.0) == 60


@pytest.mark.parametrize("ceiling", [1.0, 0.3, 0.01])
@pytest.mark.parametrize("steps", [1, 2, 3, 60, 200])
def test_levels_fall_to_0(steps: int, ceiling: float) -> None:
    for levels in (grid(steps, ceiling), picked_grid(range(1, steps + 1), ceiling)):
        assert len(levels) == steps + 1
        assert all(low < high for high, low in pairwise(levels))
        assert levels[-1] == 0.0
        assert levels[0] == 1.0 or ceiling < 1.0


# --- Picked steps ---------------------------------------------------------------------------------------------------


def test_picks_are_taken_as_they_are() -> None:
    assert checked_picks(list(PLACEHOLDER)) == PLACEHOLDER


@pytest.mark.parametrize(
    ("picks", "problem"),
    [
        ([0, 3], "oss_steps holds 0; every step must be a whole number from 1 to 200."),
        ([3, 201], "oss_steps holds 201; every"),
        ([1, 2.5], "oss_steps holds 2.5; every"),
        ([True, 2], "oss_steps holds True; every"),
        (["16", "29"], "oss_steps holds '16'; every"),
        ([16, 29, 29], "oss_steps must rise from step to step, but 29 is followed by 29."),
        ([16, 29, 12], "but 29 is followed by 12."),
    ],
)
def test_picks_that_cannot_be_are_refused(picks: list[object], problem: str) -> None:
    with pytest.raises(InputError) as caught:
        checked_picks(picks)
    assert problem in str(caught.value)
    assert caught.value.field == "oss_steps"


# --- Steps and scales -----------------------------------------------------------------------------------------------

WINDOWS = (
    (20, 0.5, (5, 15)),
    (27, 0.3, (9, 17)),
    (27, 0.5, (6, 20)),
    (27, 0.6, (5, 21)),
    (27, 0.7, (4, 22)),
    (60, 0.3, (21, 39)),
    (60, 0.5, (15, 45)),
    (60, 0.6, (12, 48)),
    (60, 0.7, (9, 51)),
    (60, 1.0, (0, 60)),
    (100, 0.5, (25, 75)),
    (100, 0.6, (20, 80)),
)


@pytest.mark.parametrize(("steps", "interval", "window"), WINDOWS)
def test_the_guided_steps_are_the_published_ones(steps: int, interval: float, window: tuple[int, int]) -> None:
    assert guidance_window(steps, interval) == window


@pytest.mark.parametrize("steps", [1, 2, 27, 60, 200])
def test_an_interval_is_none_all_or_something_in_the_middle(steps: int) -> None:
    start, end = guidance_window(steps, 0.0)
    assert start >= end
    assert guidance_window(steps, 1.0) == (0, steps)
    for interval in (0.1, 0.35, 0.8):
        start, end = guidance_window(steps, interval)
        assert 0 <= start <= end <= steps
        assert abs(end - start - steps * interval) <= 1


def test_a_scale_falls_on_a_line_to_its_least() -> None:
    falling = [decayed_scale(15.0, 3.0, 1.0, step, (10, 15)) for step in range(10, 15)]
    assert falling == pytest.approx([15, 12, 9, 6, 3])
    half = [decayed_scale(15.0, 3.0, 0.5, step, (10, 15)) for step in range(10, 15)]
    assert half == pytest.approx([15, 13.5, 12, 10.5, 9])
    assert {decayed_scale(15.0, 3.0, 0.0, step, (10, 15)) for step in range(10, 15)} == {15.0}


def test_a_window_of_one_step_has_the_full_scale() -> None:
    assert decayed_scale(15.0, 3.0, 1.0, 7, (7, 8)) == 15.0


@pytest.mark.parametrize(
    ("omega", "factor"),
    [(-100, 0.900009), (0, 1.0), (5, 1.024492), (8, 1.037995), (10, 1.046212), (15, 1.063515), (20, 1.076159)],
)
def test_omega_is_as_published(omega: float, factor: float) -> None:
    assert omega_factor(omega) == pytest.approx(factor, abs=1e-6)


def test_no_omega_changes_nothing_and_its_end_is_as_published() -> None:
    assert omega_factor(0.0) == 1.0
    assert omega_factor(100.0) == pytest.approx(1.099991, abs=1e-6)


@pytest.mark.parametrize(("share", "first"), [(1.0, 0), (0.5, 30), (0.2, 48), (0.001, 59), (0.0, 60)])
def test_a_share_of_the_steps_is_the_last_of_them(share: float, first: int) -> None:
    assert first_step(60, share) == first


@pytest.mark.parametrize(
    ("start", "stop", "window"),
    [(0.6, 1.0, (36, 60)), (0.2, 0.4, (12, 24)), (0.0, 1.0, (0, 60)), (0.5, 0.501, (30, 31)), (1.0, 1.0, (59, 60))],
)
def test_a_flow_edit_compares_at_least_one_step(start: float, stop: float, window: tuple[int, int]) -> None:
    assert compared_steps(60, start, stop) == window
