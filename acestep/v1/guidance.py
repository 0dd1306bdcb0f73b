"""What a solver sees of ACE-Step v1: guided in the middle steps, with its deviations from the mean rescaled.

In: the velocities of a state under several conditions, fp32 rows ``[B, R, C]``, and a ``V1Choice``. Out: one velocity
of the same shape. A kind of guidance is a row of ``GUIDANCE``; what it remembers is kept per song, so songs never
influence each other. Refuses to know networks, words and solvers.

Two things differ from upstream. Guidance follows the steps of the grid also where a step has two evaluations (Heun):
the second belongs to the step it corrects. The mean is that of each song and not of the batch, for which one song
cannot tell the difference.
"""

# Every kind takes the same arguments and not every kind needs all of them.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from acestep.sampling.guidance import AdaptiveProjected, extrapolated
from acestep.v1.choice import DOUBLE, PROJECTED, UNGUIDED, V1Choice

STAR_ENERGY_FLOOR = 1e-8
STAR_ZERO_STEPS = 1  # the last step, counted from 0, that CFG-Zero* leaves out


class Velocities(NamedTuple):
    """Velocities of one state, rows ``[B, R, C]`` fp32.

    Attributes:
        conditional: under tags and lyrics.
        negative: under what guidance leads away from; None in a step that is not guided.
        tags: under the tags alone; None except for ``double``.
    """

    conditional: Tensor
    negative: Tensor | None = None
    tags: Tensor | None = None


class Network(Protocol):
    """A network under its conditions and, when asked, under those that guidance needs."""

    def __call__(self, x: Tensor, t: float, *, guided: bool) -> Velocities:
        """Velocities of the state ``x``, rows ``[B, R, C]`` fp32, at noise level ``t``."""
        ...


class Combiner(Protocol):
    """One kind of guidance, with what it remembers while one batch is sampled."""

    def combine(self, v: Velocities, step: int, scale: float) -> Tensor:
        """The guided velocity of a step, counted from 0."""
        ...


class ClassifierFree:
    """Classifier-free guidance."""

    def __init__(self, choice: V1Choice) -> None:
        pass

    def combine(self, v: Velocities, step: int, scale: float) -> Tensor:
        """See ``Combiner.combine``."""
        return extrapolated(v.conditional, v.negative, scale)


class Projected:
    """Adaptive projected guidance; what ``sampling.guidance`` does over time is over heights and frames here."""

    def __init__(self, choice: V1Choice) -> None:
        self._guidance = AdaptiveProjected(choice.guidance_scale)

    def combine(self, v: Velocities, step: int, scale: float) -> Tensor:
        """See ``Combiner.combine``."""
        lengths = [v.conditional.shape[1]] * len(v.conditional)
        return v.conditional + (scale - 1.0) * self._guidance.update(v.conditional, v.negative, lengths)


class ZeroStar:
    """CFG-Zero* (Fan et al. 2025): the negative velocity at its best length, and no move in the first two steps."""

    def __init__(self, choice: V1Choice) -> None:
        pass

    def combine(self, v: Velocities, step: int, scale: float) -> Tensor:
        """See ``Combiner.combine``."""
        if step <= STAR_ZERO_STEPS:
            return torch.zeros_like(v.conditional)
        overlap = (v.conditional * v.negative).sum(dim=(1, 2), keepdim=True)  # [B, 1, 1]
        energy = v.negative.square().sum(dim=(1, 2), keepdim=True)
        return extrapolated(v.conditional, overlap / (energy + STAR_ENERGY_FLOOR) * v.negative, scale)


class Double:
    """Tags and lyrics with a scale each: from the negative to the tags, and from there to tags and lyrics."""

    def __init__(self, choice: V1Choice) -> None:
        self._text, self._lyric = choice.scale_text, choice.scale_lyric

    def combine(self, v: Velocities, step: int, scale: float) -> Tensor:
        """See ``Combiner.combine``."""
        return v.negative + self._text * (v.tags - v.negative) + self._lyric * (v.conditional - v.tags)


GUIDANCE: Mapping[str, Callable[[V1Choice], Combiner]] = MappingProxyType(
    {  # as ``V1Choice.guidance`` spells them: what builds the combiner of one run
        UNGUIDED: ClassifierFree,  # of which no step is guided
        "cfg": ClassifierFree,
        PROJECTED: Projected,
        "cfg_star": ZeroStar,
        DOUBLE: Double,
    }
)


class GuidedSteps:
    """The velocity of one run (``sampling.stepper.Velocity``).

    Args:
        network: asked for more than the conditional velocity in guided steps alone.
        choice: whose schedule is the one that is run.
    """

    def __init__(self, network: Network, choice: V1Choice) -> None:
        self._network, self._choice = network, choice
        self._combiner = GUIDANCE[choice.guidance](choice)
        self._steps = {level: step for step, level in enumerate(choice.schedule)}

    def predict(self, x: Tensor, t: float) -> Tensor:
        """The velocity that opens the step at noise level ``t``."""
        return self._velocity(x, t, self._steps[t])

    def correct(self, x: Tensor, t: float) -> Tensor:
        """A further velocity within the step that ends at noise level ``t``."""
        return self._velocity(x, t, self._steps[t] - 1)

    def _velocity(self, x: Tensor, t: float, step: int) -> Tensor:
        """Every evaluation is combined alike, so momentum moves with each of them, as upstream's does."""
        guided = self._choice.guides(step)
        velocities = self._network(x, t, guided=guided)
        v = velocities.conditional
        if guided:
            v = self._combiner.combine(velocities, step, self._choice.scale_at(step))
        return deviations_scaled(v, self._choice.omega_factor)


def deviations_scaled(v: Tensor, factor: float) -> Tensor:
    """``v`` ``[B, R, C]`` with what deviates from the mean of each song multiplied by ``factor``.

    A step of Euler or Heun is linear in its velocities, so that is the same as rescaling the step, as upstream does.
    """
    if factor == 1.0:
        return v
    mean = v.mean(dim=(1, 2), keepdim=True)  # [B, 1, 1]
    return mean + factor * (v - mean)
