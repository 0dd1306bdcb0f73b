"""Noise levels of one sampling run, as a falling tuple of plain floats.

In: a number of steps and a shift, or the levels somebody typed. Out: ``(t_0, ..., t_n)`` for n steps, ``t_0`` the
noisiest and ``t_n = 0``; a level is the share of noise in the state, 1 = pure noise, 0 = music. Refuses to know
models, tensors and torch; how many steps and which shift a model wants is decided in ``choice``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from numbers import Real

from acestep.errors import InputError

STEPS_MAX = 200


def shifted(t: float, shift: float) -> float:
    """The level ``t`` moved towards noise: ``s t / (1 + (s - 1) t)``, the timestep shift of Esser et al. 2024.

    The denominator is summed as ``s t + (1 - t)``, so that 1 maps to exactly 1 for every shift.

    Args:
        t: noise level in [0, 1].
        shift: above 0; 1 changes nothing, 3 spends more of the steps near noise.
    """
    return shift * t / (shift * t + (1.0 - t))


def make_schedule(steps: int, shift: float) -> tuple[float, ...]:
    """``steps`` + 1 levels from 1.0 to 0.0, evenly spaced and then shifted.

    Args:
        steps: at least 1.
        shift: above 0.
    """
    return tuple(shifted((steps - index) / steps, shift) for index in range(steps + 1))


def custom_schedule(timesteps: Sequence[float]) -> tuple[float, ...]:
    """The levels somebody typed, used as given and closed with 0.

    Args:
        timesteps: strictly falling, each in (0, 1]; a final 0 may be there or not; at most 200 without it.

    Raises:
        InputError: empty, too long, not a number in range, or not falling.
    """
    levels = tuple(timesteps)
    if levels and levels[-1] == 0:
        levels = levels[:-1]
    if problem := _problem(levels):
        raise InputError(f"timesteps {problem}.", field="timesteps", value=timesteps)
    return (*map(float, levels), 0.0)


def truncated(schedule: tuple[float, ...], start_level: float) -> tuple[float, ...]:
    """The part of a schedule that starts at its level nearest to ``start_level``, for a state that is not all noise.

    Of two equally near levels the noisier one is taken; the final 0 is never a start, so one step always remains.

    Args:
        schedule: falling levels that end with 0.
        start_level: noise level in [0, 1].
    """
    starts = range(len(schedule) - 1)
    return schedule[min(starts, key=lambda index: abs(schedule[index] - start_level)) :]


def _problem(levels: tuple[object, ...]) -> str:
    """What is wrong with typed levels, as the end of a sentence; empty when nothing is."""
    if not levels:
        return "is empty; give at least one noise level in (0, 1]"
    if len(levels) > STEPS_MAX:
        return f"holds {len(levels)} noise levels; at most {STEPS_MAX} are allowed"
    for level in levels:
        if not _is_level(level):
            return f"holds {level!r}; every noise level must be a number in (0, 1], only the last may be 0"
    for level, following in pairwise(levels):
        if following >= level:
            return f"must fall from level to level, but {level!r} is followed by {following!r}"
    return ""


def _is_level(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and 0.0 < value <= 1.0
