"""Solvers that look back: one evaluation a step, the velocities of earlier steps make up for the others.

In: a state, its velocity, two noise levels. Out: the next state. The polynomial in the noise level through the newest
records is continued over the step, and its mean over the step is the velocity of the step. The steps may be as uneven
as they like. Looking back pays when a flow bends slowly against the steps; with a few long steps over quick turns
Euler's method can be better. A jump in the velocity (guidance that switches on, another condition) is felt for two
steps more. Refuses to know networks, guidance and schedules.
"""

# Every solver takes the same arguments and not every solver needs all of them.
# ruff: noqa: ARG002

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from acestep.sampling.stepper import Draw, Evaluate, along

RECORDS = 3
GROWTH_MAX = 5.0


class AdamsBashforth:
    """Third order after two steps that fill the records: Euler, then second order, then third; none is special at 0.

    The Euler step leaves an error of second order behind, so a whole run converges with order 2 in the number of
    steps unless its first steps are short; from then on it gains with order 3.
    """

    def __init__(self) -> None:
        self._records = Records()

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        self._records.add(v, t)
        return along(x, self._records.mean(t_next, len(self._records)), t, t_next)


class VirtualStages:
    """``stork4``: the virtual stages of STORK (Tan et al. 2025), and a song falls back where they cannot be trusted.

    STORK feeds the stages of ROCK4 (Abdulle 2002, ten stages, order 4) with velocities extrapolated from records
    instead of evaluated ones. Such a velocity depends on the noise level and not on the state of the stage. The
    stability polynomial of the stages then has nothing to act on: nodes and weights of a quadrature are left, which
    order 4 makes exact for a parabola, whatever the number of stages. So the stages are summed in closed form here,
    and where all is well a step equals that of ``AdamsBashforth``, its order too.

    What the method adds is its caution. A step that is not finite, or after which the root mean square of the song is
    more than five times what it was, is rejected for one that leans on fewer records, and Euler's is the last resort.
    Long steps after short ones need that. Each song decides for itself.
    """

    def __init__(self) -> None:
        self._records = Records()

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        self._records.add(v, t)
        trusted, limit = along(x, v, t, t_next), GROWTH_MAX * _norm(x)
        for count in range(2, len(self._records) + 1):
            bolder = along(x, self._records.mean(t_next, count), t, t_next)
            trusted = torch.where(_norm(bolder) <= limit, bolder, trusted)  # NaN is not below any limit
        return trusted


class Records:
    """The newest velocities of one request with the noise levels they belong to, newest first."""

    def __init__(self) -> None:
        self._velocities: deque[Tensor] = deque(maxlen=RECORDS)
        self._levels: deque[float] = deque(maxlen=RECORDS)

    def __len__(self) -> int:
        return len(self._levels)

    def add(self, v: Tensor, t: float) -> None:
        """Remember the velocity ``v`` ``[B, T, C]`` at level ``t``, below all levels so far; the oldest goes."""
        self._velocities.appendleft(v)
        self._levels.appendleft(t)

    def mean(self, t_next: float, count: int) -> Tensor:
        """Mean over the step to ``t_next`` of the polynomial through the ``count`` newest records."""
        t, v = self._levels[0], self._velocities[0]
        places = [(level - t) / (t_next - t) for level in list(self._levels)[1:count]]
        mean = v
        for weight, earlier in zip(earlier_weights(places), list(self._velocities)[1:count], strict=True):
            mean = mean + weight * (earlier - v)
        return mean


def earlier_weights(places: Sequence[float]) -> tuple[float, ...]:
    """Weights of earlier velocities in the mean over the coming step; the current one has what is missing to 1.

    They are the integrals from 0 to 1 of the Lagrange polynomials with nodes 0 and ``places``: the formula of Adams
    and Bashforth for uneven steps (Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, III.5).
    Even steps have (-1/2) and (-16/12, 5/12).

    Args:
        places: where at most two earlier records lie, newest first, in units of the coming step: -1 for the start of
            an earlier step of the same length.
    """
    if len(places) == 2:
        near, far = places
        return (1 / 3 - far / 2) / (near * (near - far)), (1 / 3 - near / 2) / (far * (far - near))
    return tuple(1 / (2 * place) for place in places)


def _norm(x: Tensor) -> Tensor:
    """Norm of each song ``[B, 1, 1]``: its root mean square but for a factor that padding leaves alone."""
    return torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True)
