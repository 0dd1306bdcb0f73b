"""The solvers a request can choose from: those that live in one step, and the table of all.

In: the state, its velocity, two noise levels, and two callables (a further velocity, fresh noise). Out: the next
state. A solver is a row of ``SOLVERS``. Refuses to know networks, guidance and schedules; what a step is and in which
direction it goes is said in ``stepper``.
"""

# Every solver takes the same arguments and not every solver needs all of them.
# ruff: noqa: ARG002

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from acestep.sampling.multistep import AdamsBashforth, VirtualStages
from acestep.sampling.stepper import Draw, Evaluate, Stepper, along


class Euler:
    """First order, one evaluation a step."""

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        return along(x, v, t, t_next)


class Heun:
    """Second order: Euler to ``t_next``, then again with the mean of both velocities; the last step is Euler's."""

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        predicted = along(x, v, t, t_next)
        if t_next == 0.0:
            return predicted
        return along(x, (v + evaluate(predicted, t_next)) / 2.0, t, t_next)


class Stochastic:
    """The SDE of the turbo models (v1 calls it ping-pong): to the music the state points at, then back to ``t_next``
    with fresh noise. The last step is that music itself and draws nothing.
    """

    def step(self, x: Tensor, v: Tensor, t: float, t_next: float, evaluate: Evaluate, noise: Draw) -> Tensor:
        """See ``Stepper.step``."""
        music = along(x, v, t, 0.0)
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
    Solver("ab3", AdamsBashforth),
    Solver("stork4", VirtualStages),
)

SOLVERS: dict[str, Solver] = {row.name: row for row in _ROWS}
