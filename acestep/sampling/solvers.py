"""One step along the flow, from noise level ``t`` down to ``t_next``.

In: the state, its velocity, the two levels, and two callables (a further velocity, fresh noise). Out: the next state.
A solver is a row of ``SOLVERS``; it is built once per request, so one that remembers earlier velocities keeps them in
itself. Refuses to know networks, guidance and schedules.

The flow is ``x = t noise + (1 - t) music`` with velocity ``v = noise - music``: the music a state points at is
``x - t v``, and a step of Euler's method is ``x - (t - t_next) v``.
"""

# Every solver takes the same arguments and not every solver needs all of them.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

Evaluate = Callable[[Tensor, float], Tensor]
Draw = Callable[[], Tensor]


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


class Euler:
    """First order, one evaluation a step."""

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        return _along(x, v, t, t_next)


class Heun:
    """Second order: Euler to ``t_next``, then again with the mean of both velocities; the last step is Euler's."""

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        predicted = _along(x, v, t, t_next)
        if t_next == 0.0:
            return predicted
        return _along(x, (v + evaluate(predicted, t_next)) / 2.0, t, t_next)


class Stochastic:
    """The SDE of the turbo models (v1 calls it ping-pong): to the music the state points at, then back to ``t_next``
    with fresh noise. The last step is that music itself and draws nothing.
    """

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        music = _along(x, v, t, 0.0)
        if t_next == 0.0:
            return music
        return t_next * noise().to(music) + (1.0 - t_next) * music


@dataclass(frozen=True, slots=True)
class Solver:
    """One row of the table.

    Attributes:
        name: as ``SamplingChoice.solver`` spells it.
        make: builds the stepper of one request.
        evaluations: velocities per step, the last step excepted.
        stochastic: whether it draws noise, so that the request needs ``noise.ItemNoise``.
    """

    name: str
    make: Callable[[], Stepper]
    evaluations: int = 1
    stochastic: bool = False


_ROWS = (
    Solver("euler", Euler),
    Solver("heun", Heun, evaluations=2),
    Solver("sde", Stochastic, stochastic=True),
)

SOLVERS: dict[str, Solver] = {row.name: row for row in _ROWS}


def _along(x: Tensor, v: Tensor, t: float, t_next: float) -> Tensor:
    """``x`` carried from ``t`` to ``t_next`` on a straight line."""
    return x - (t - t_next) * v
