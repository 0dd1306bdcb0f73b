"""Keeping what lies outside a region while the inside is sampled.

In: clean latents, noise, a mask. Out: the callable that ``sampler.sample`` takes as ``hold``. Refuses to know tasks,
seconds and how a region was chosen.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Hold = Callable[[Tensor, float], Tensor]


def outside_held(clean: Tensor, noise: Tensor, inside: Tensor) -> Hold:
    """A hold that carries everything outside a region along the straight line from ``noise`` to ``clean``.

    Args:
        clean: latents to keep ``[B, T, C]``, fp32.
        noise: the noise the run starts from ``[B, T, C]``, so that inside and outside began as one.
        inside: True where the sampler decides, bool ``[B, T, 1]``.

    Returns:
        ``hold(x, level)``: ``x`` inside, ``level * noise + (1 - level) * clean`` outside (at level 0 ``clean``).
    """

    def hold(x: Tensor, level: float) -> Tensor:
        outside = clean if level == 0.0 else level * noise + (1.0 - level) * clean
        return torch.where(inside, x, outside)

    return hold
