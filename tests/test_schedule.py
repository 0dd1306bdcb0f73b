"""Noise levels against the published turbo tables, and every way typed levels can be wrong."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest

from acestep.errors import InputError
from acestep.sampling.schedule import STEPS_MAX, custom_schedule, make_schedule, shifted, truncated

TURBO_TABLES = {
    1.0: (1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125),
    2.0: (
        1,
        0.9333333333333333,
        0.8571428571428571,
        0.7692307692307693,
        0.6666666666666666,
        0.5454545454545454,
        0.4,
        0.2222222222222222,
    ),
    3.0: (1, 0.9545454545454546, 0.9, 0.8333333333333334, 0.75, 0.6428571428571429, 0.5, 0.3),
}


@pytest.mark.parametrize("shift", TURBO_TABLES)
def test_eight_steps_are_the_turbo_table_to_the_last_digit(shift: float) -> None:
    assert make_schedule(8, shift) == (*TURBO_TABLES[shift], 0.0)


@pytest.mark.parametrize("shift", [0.1, 0.7, 1.0, 2.3, 3.0, 10.0])
@pytest.mark.parametrize("steps", [1, 2, 7, 50, 200])
def test_every_schedule_falls_from_one_to_zero(steps: int, shift: float) -> None:
    schedule = make_schedule(steps, shift)
    assert len(schedule) == steps + 1
    assert (schedule[0], schedule[-1]) == (1.0, 0.0)
    assert all(level > following for level, following in pairwise(schedule))


def test_no_shift_is_an_even_grid() -> None:
    assert make_schedule(50, 1.0) == pytest.approx([1 - index / 50 for index in range(51)], abs=1e-15)


@pytest.mark.parametrize("shift", [0.1, 0.5, 2.0, 3.0, 10.0])
@pytest.mark.parametrize("t", [0.0, 0.125, 0.5, 0.9, 1.0])
def test_shift_is_the_formula_and_its_inverse_undoes_it(t: float, shift: float) -> None:
    assert shifted(t, shift) == pytest.approx(shift * t / (1 + (shift - 1) * t), abs=1e-15)
    assert shifted(shifted(t, shift), 1 / shift) == pytest.approx(t, abs=1e-14)


@pytest.mark.parametrize("closing", [[], [0], [0.0]])
def test_typed_levels_are_used_as_given(closing: list[float]) -> None:
    typed = [0.97, 0.76, 0.615, 0.5, 0.395, 0.28, 0.18, 0.085]
    assert custom_schedule([*typed, *closing]) == (*typed, 0.0)


def test_typed_levels_come_back_as_floats() -> None:
    levels = custom_schedule([1])
    assert levels == (1.0, 0.0)
    assert all(type(level) is float for level in levels)


def test_the_longest_typed_schedule_is_allowed() -> None:
    levels = [1 - index / STEPS_MAX for index in range(STEPS_MAX)]
    assert custom_schedule([*levels, 0]) == custom_schedule(levels) == (*levels, 0.0)


@pytest.mark.parametrize(
    ("timesteps", "reason"),
    [
        ([], "empty"),
        ([0], "empty"),
        ([0.5, 0.7], "0.5 is followed by 0.7"),
        ([0.9, 0.5, 0.5], "0.5 is followed by 0.5"),
        ([1.2, 0.5], r"1\.2.*\(0, 1\]"),
        ([0.5, -0.1], r"-0\.1.*\(0, 1\]"),
        ([0.5, 0, 0], r"holds 0;.*only the last may be 0"),
        ([0.9, float("nan"), 0.1], "nan"),
        ([float("inf"), 0.1], "inf"),
        (["0.9", 0.5], "'0.9'"),
        ([True, 0.5], "True"),
        ([1 - index / 201 for index in range(201)], "201 noise levels; at most 200"),
    ],
)
def test_bad_typed_levels_are_named(timesteps: list[float], reason: str) -> None:
    with pytest.raises(InputError, match=rf"^timesteps .*{reason}.*\.$") as caught:
        custom_schedule(timesteps)
    assert caught.value.field == "timesteps"
    assert caught.value.value is timesteps


@pytest.mark.parametrize(
    ("start_level", "first"),
    [(1.0, 1.0), (0.9, 1.0), (0.8, 0.75), (0.625, 0.75), (0.4, 0.5), (0.25, 0.25), (0.1, 0.25), (0.0, 0.25)],
)
def test_truncated_starts_at_the_nearest_level_the_noisier_on_ties_never_at_zero(
    start_level: float, first: float
) -> None:
    schedule = (1.0, 0.75, 0.5, 0.25, 0.0)
    assert truncated(schedule, start_level) == schedule[schedule.index(first) :]


def test_schedules_need_no_torch() -> None:
    code = "import sys, acestep.sampling.schedule; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
