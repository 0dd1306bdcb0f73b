"""The loop from noise to latents.

In: a velocity, noise, and frozen settings. Out: latents ``[B, T, C]``. Whatever the velocity depends on (conditions,
caches, guidance) is inside it; it sees the noise level and may change with it. Refuses to know models, guidance,
tasks, devices and seeds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from acestep.errors import GenerationError
from acestep.sampling.correction import WaveletCorrection
from acestep.sampling.guidance import without_padding
from acestep.sampling.hold import Hold
from acestep.sampling.solvers import SOLVERS
from acestep.sampling.stepper import Draw, Stepper, Velocity
from acestep.sampling.wavelet import Corrected

OnStep = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SamplerSettings:
    """How a request is sampled.

    Attributes:
        schedule: falling noise levels that end with 0 (``schedule.make_schedule``).
        solver: a key of ``solvers.SOLVERS``.
        correction: of the state after each step; tuned for ``euler``.
    """

    schedule: tuple[float, ...]
    solver: str
    correction: WaveletCorrection | None = None


@torch.no_grad()
def sample(
    velocity: Velocity,
    noise: Tensor,
    settings: SamplerSettings,
    step_noise: Draw | None,
    lengths: Sequence[int],
    on_step: OnStep | None = None,
    hold: Hold | None = None,
) -> Tensor:
    """Carry ``noise`` along the flow down to noise level 0.

    The state stays fp32 between steps whatever dtype the network computes in, and zero past each song's length. A
    song gets the same latents alone and in a batch as far as ``velocity`` keeps songs apart.

    Args:
        velocity: what the steps follow; zero past each song's length.
        noise: state at ``settings.schedule[0]``, ``[B, T, C]``.
        settings: schedule, solver, guidance.
        step_noise: fresh noise ``[B, T, C]``, zero past each song's length (``noise.ItemNoise``); None unless the
            solver is stochastic.
        lengths: latent frames of each song, 1 to T.
        on_step: called with (steps done, steps in all) after each step; what it raises ends the run, uncaught.
        hold: called after each step with the state and the level it has reached; the state it returns is the one the
            run goes on with (``hold.outside_held`` keeps what lies outside a region). Solvers that look back remember
            the velocities they were given, which belong to held states.

    Returns:
        fp32 latents ``[B, T, C]``, zero past each song's length.

    Raises:
        GenerationError: the latents became NaN or infinite; names the first such step.
        ValueError: ``lengths`` or ``step_noise`` do not fit, an error of the caller and not of the request.
    """
    check_lengths(noise, lengths)
    if SOLVERS[settings.solver].stochastic and step_noise is None:
        raise ValueError("a stochastic solver needs step_noise")
    stepper, draw = _stepper(settings, lengths), step_noise or _no_noise
    x = without_padding(noise.float(), lengths)
    watch = StepWatch(len(settings.schedule) - 1, on_step)
    for t, t_next in pairwise(settings.schedule):
        x = stepper.step(x, velocity.predict(x, t), t, t_next, velocity.correct, draw)
        if hold is not None:
            x = without_padding(hold(x, t_next), lengths)
        watch.note(x)
    watch.check()
    return x


class StepWatch:
    """Counts the steps of one run and notes whether each state is finite.

    Args:
        total: steps of the run.
        on_step: told (steps done, ``total``) after each.
    """

    def __init__(self, total: int, on_step: OnStep | None) -> None:
        self._total, self._on_step = total, on_step
        self._finite: list[Tensor] = []

    def note(self, x: Tensor) -> None:
        """A step has led to ``x``."""
        self._finite.append(x.isfinite().all())
        if self._on_step is not None:
            self._on_step(len(self._finite), self._total)

    def check(self) -> None:
        """Read the verdicts of all steps at once: a GPU is waited for only here.

        Raises:
            GenerationError: a state was not finite; names the first such step.
        """
        verdicts = torch.stack(self._finite).tolist() if self._finite else []
        if not all(verdicts):
            step = verdicts.index(False) + 1
            raise GenerationError(f"The latents became NaN or infinite at step {step} of {self._total}.")


def check_lengths(latents: Tensor, lengths: Sequence[int]) -> None:
    """Whether each song of ``latents`` ``[B, T, C]`` has a length from 1 to T.

    Raises:
        ValueError: if not, an error of the caller and not of the request.
    """
    songs, frames = latents.shape[:2]
    if len(lengths) != songs or not all(1 <= length <= frames for length in lengths):
        raise ValueError(f"lengths {list(lengths)} do not fit latents of {songs} songs and {frames} frames")


def _stepper(settings: SamplerSettings, lengths: Sequence[int]) -> Stepper:
    stepper = SOLVERS[settings.solver].make()
    return stepper if settings.correction is None else Corrected(stepper, settings.correction, lengths)


def _no_noise() -> Tensor:
    raise ValueError("a solver that is not marked stochastic asked for noise")
