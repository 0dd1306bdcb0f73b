"""Noise levels of ACE-Step v1, which of their steps are guided, and how strongly: plain floats.

In: numbers of a request. Out: ``(s_0, ..., s_n)`` for n steps, falling to 0, as ``sampling.schedule`` has them, and
indices of steps. Refuses to know models, tasks, tensors and torch.

Upstream shifts every grid twice: its two ends when the scheduler is built, all of it when the steps are set. v1 is
only known to sound right that way, so both shifts are kept, and so is the third, of levels picked from a grid by
hand. Not kept: picked levels rounded to bf16, and a recording brought to another level than the first of its grid.

Shares of steps are cut to whole steps in upstream's order of operations, binary dust included: a reference of
strength 0.9 leaves 5 of 60 steps, for 1 - 0.9 lies below 0.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp

from acestep.errors import InputError
from acestep.sampling.schedule import STEPS_MAX, shifted

SHIFT = 3.0
_FINEST = 1 / 1000  # the lowest level of training, before any shift
_ALL_NOISE = 1.0


def grid(steps: int, ceiling: float = _ALL_NOISE) -> tuple[float, ...]:
    """``steps`` levels, evenly spaced from ``shifted(ceiling)`` to ``shifted(0.001)``, then shifted; closed with 0.

    Args:
        steps: at least 1.
        ceiling: level in (0, 1] before both shifts; 1 starts from pure noise.
    """
    high, low = shifted(ceiling, SHIFT), shifted(_FINEST, SHIFT)
    spacing = (high - low) / max(steps - 1, 1)
    return (*(shifted(high - index * spacing, SHIFT) for index in range(steps)), 0.0)


def checked_picks(oss_steps: Sequence[int]) -> tuple[int, ...]:
    """The steps somebody picked.

    Args:
        oss_steps: numbers of steps, rising, each from 1 to 200; at least one.

    Raises:
        InputError: not a whole number in range, or not rising.
    """
    picks = tuple(oss_steps)
    if problem := _problem(picks):
        raise InputError(f"oss_steps {problem}.", field="oss_steps", value=oss_steps)
    return picks


def picked_grid(picks: Sequence[int], ceiling: float = _ALL_NOISE) -> tuple[float, ...]:
    """Levels picked from the grid of ``max(picks)`` steps and shifted once more, closed with 0 (``oss_steps``).

    Args:
        picks: numbers of steps, from 1 on, rising.
        ceiling: as in `grid`.
    """
    levels = grid(max(picks), ceiling)
    return (*(shifted(levels[pick - 1], SHIFT) for pick in picks), 0.0)


def _problem(picks: tuple[object, ...]) -> str:
    """What is wrong with picked steps, as the end of a sentence; empty when nothing is."""
    for pick in picks:
        if not isinstance(pick, int) or isinstance(pick, bool) or not 1 <= pick <= STEPS_MAX:
            return f"holds {pick!r}; every step must be a whole number from 1 to {STEPS_MAX}"
    for pick, following in pairwise(picks):
        if following <= pick:
            return f"must rise from step to step, but {pick} is followed by {following}"
    return ""


def reference_steps(steps: int, strength: float) -> int:
    """How many steps are left of ``steps`` when they start from a reference: at least one, unless it is kept whole.

    Args:
        steps: at least 1.
        strength: nearness to the reference, 0 to 1; 1 keeps it whole.
    """
    return 0 if strength == 1.0 else max(1, int((1.0 - strength) * steps))


def first_step(steps: int, share: float) -> int:
    """The first step of the last ``share`` of ``steps``; ``steps`` itself when none is left.

    Args:
        share: 0 to 1.
    """
    return int(steps * (1.0 - share))


def compared_steps(steps: int, start: float, stop: float) -> tuple[int, int]:
    """(first, end) of the steps in which a flow edit compares two descriptions; never none at all.

    Args:
        start, stop: shares of ``steps``, 0 to 1.
    """
    first = min(int(steps * start), steps - 1)
    return first, max(int(steps * stop), first + 1)


def guidance_window(steps: int, interval: float) -> tuple[int, int]:
    """(first, end) of the guided steps, in the middle of all; empty when ``end`` is not above ``first``.

    Args:
        interval: share of the steps, 0 to 1.
    """
    return int(steps * (1.0 - interval) / 2.0), int(steps * (interval / 2.0 + 0.5))


def decayed_scale(scale: float, least: float, decay: float, step: int, window: tuple[int, int]) -> float:
    """The guidance scale of one step of the window, on a line that reaches ``least`` at its last if ``decay`` is 1.

    A window of one step has no line; upstream divides by zero there.

    Args:
        decay: share of the way to ``least``, 0 to 1.
        step: index within ``window``.
    """
    start, end = window
    return scale - (scale - least) * decay * (step - start) / max(end - start - 1, 1)


def omega_factor(omega: float) -> float:
    """What "granularity" multiplies the deviations of a velocity from its mean by: 0.9 to 1.1, and 1 for 0."""
    return 0.9 + 0.2 / (1.0 + exp(-0.1 * omega))
