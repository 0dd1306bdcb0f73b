"""Flow editing: a recording is led from the words that describe it towards other words, without being inverted.

In: the velocities under both descriptions, the recording's latents, the window of steps in which they are compared.
Out: latents ``[B, T, C]``. After Kulikov et al. 2024 (FlowEdit), as ACE-Step uses it: by Euler's method. Refuses to
know models, words, guidance, devices and seeds.

With clean latents ``x0``, the state ``z`` that starts there, and fresh noise ``e``: at each level ``t`` of the window
``xs = (1 - t) x0 + t e`` is the recording under noise and ``xt = z + xs - x0`` the edit under the same noise, and
``z`` moves along ``V_target(xt) - V_source(xs)``. What both descriptions share cancels out and stays as it was. From
the end of the window on, ``z + xs - x0`` is carried to level 0 along ``V_target`` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from acestep.sampling.guidance import without_padding
from acestep.sampling.sampler import OnStep, StepWatch, check_lengths
from acestep.sampling.stepper import Draw, Velocity, along

NewVelocity = Callable[[], Velocity]


@torch.no_grad()
def flow_edit(
    target: NewVelocity,
    source: NewVelocity,
    recording: Tensor,
    schedule: tuple[float, ...],
    window: tuple[int, int],
    averages: int,
    draw: Draw,
    lengths: Sequence[int],
    on_step: OnStep | None = None,
) -> Tensor:
    """Lead ``recording`` from its own words to others.

    Steps before the window are skipped: the later it starts, the closer the result stays to the recording. Steps
    after it are the target's alone: the earlier it ends, the freer they are. An empty window leaves only them, from
    the recording under noise; if no step is left, the recording comes back.

    Each branch, each of the ``averages`` and the steps after the window have a velocity of their own, so that what
    guidance remembers is kept apart: momentum moves once a step and never carries one description over into the
    other. Equal words give equal velocities, and a window that reaches to the end then returns the recording bit for
    bit.

    Args:
        target: makes a velocity under the words to reach.
        source: makes one under the words that describe the recording.
        recording: clean latents ``[B, T, C]``.
        schedule: falling noise levels that end with 0.
        window: (first, end) step indices of the schedule, ``end`` excluded, each from 0 to the number of steps.
        averages: how many noises the difference of the velocities is averaged over, at least 1.
        draw: fresh noise ``[B, T, C]``, zero past each song's length (``noise.ItemNoise``); called ``averages`` times
            for each step of the window and once at its end if steps remain.
        lengths: latent frames of each song, 1 to T.
        on_step: called with (steps done, steps in all) after each step that is not skipped; what it raises ends the
            run, uncaught.

    Returns:
        fp32 latents ``[B, T, C]``, zero past each song's length.

    Raises:
        GenerationError: the latents became NaN or infinite; names the first such step, skipped ones not counted.
        ValueError: the arguments do not fit, an error of the caller and not of the request.
    """
    _check_call(schedule, window, averages)
    check_lengths(recording, lengths)
    steps = list(pairwise(schedule))
    first, end = window[0], max(window)
    clean = without_padding(recording.float(), lengths)
    x, watch = clean, StepWatch(len(steps) - first, on_step)
    compared = _Comparison([(target(), source()) for _ in range(averages)], clean)
    for t, t_next in steps[first:end]:
        x = along(x, compared.difference(x, t, draw), t, t_next)
        watch.note(x)
    if end < len(steps):
        x = _under_noise(clean, draw(), steps[end][0]) + (x - clean)
        reached = target()
        for t, t_next in steps[end:]:
            x = along(x, reached.predict(x, t), t, t_next)
            watch.note(x)
    watch.check()
    return x


class _Comparison:
    """The difference that other words make to the velocity, at the recording and its edit under the same noise."""

    def __init__(self, branches: Sequence[tuple[Velocity, Velocity]], clean: Tensor) -> None:
        self._branches, self._clean = branches, clean

    def difference(self, edit: Tensor, t: float, draw: Draw) -> Tensor:
        """Mean of ``V_target - V_source`` ``[B, T, C]`` at level ``t`` over fresh noises."""
        total = torch.zeros_like(edit)
        for target, source in self._branches:
            noisy = _under_noise(self._clean, draw(), t)
            total = total + (target.predict(noisy + (edit - self._clean), t) - source.predict(noisy, t))
        return total / len(self._branches)


def _under_noise(clean: Tensor, noise: Tensor, t: float) -> Tensor:
    return (1.0 - t) * clean + t * noise.to(clean)


def _check_call(schedule: tuple[float, ...], window: tuple[int, int], averages: int) -> None:
    steps = len(schedule) - 1
    if not all(0 <= step <= steps for step in window):
        raise ValueError(f"window {window} does not fit a schedule of {steps} steps")
    if averages < 1:
        raise ValueError(f"averages must be at least 1, not {averages}")
