"""What a solver is: one step along the flow, from noise level ``t`` down to ``t_next``.

In: the state, its velocity, the two levels, and two callables (a further velocity, fresh noise). Out: the next state.
A stepper is built once per request, so one that remembers earlier velocities keeps them in itself. What both come
from is a ``Velocity``, made by ``guidance`` for one family of models and by ``v1.guidance`` for the other. Refuses to
know networks, guidance and schedules; the solvers themselves are in ``solvers`` and ``multistep``.

The flow is ``x = t noise + (1 - t) music`` with velocity ``v = noise - music``: the music a state points at is
``x - t v``, and a step of Euler's method is ``x - (t - t_next) v``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

Evaluate = Callable[[Tensor, float], Tensor]
Draw = Callable[[], Tensor]


class Velocity(Protocol):
    """What a solver sees of the networks: one fp32 velocity ``[B, T, C]`` for a state and its noise level.

    Guidance, and whatever else acts on a velocity, is inside, and so is what it remembers of earlier steps: each run
    has a velocity of its own.
    """

    def predict(self, x: Tensor, t: float) -> Tensor:
        """The velocity that opens the step at noise level ``t``."""
        ...

    def correct(self, x: Tensor, t: float) -> Tensor:
        """A further velocity within a step, which ends at noise level ``t``."""
        ...


class Stepper(Protocol):
    """A solver at work on one request."""

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """The state at ``t_next``.

        Args:
            x: state ``[B, T, C]`` at ``t``.
            v: its guided velocity, same shape.
            t: noise level now, in (0, 1].
            t_next: noise level after the step, below ``t``; 0 on the last step.
            evaluate: guided velocity of another state at another level, for a corrector.
            noise: fresh standard normal noise of the shape of ``x``; called at most once a step.
        """
        ...


def along(x: Tensor, v: Tensor, t: float, t_next: float) -> Tensor:
    """``x`` carried from ``t`` to ``t_next`` on a straight line."""
    return x - (t - t_next) * v
