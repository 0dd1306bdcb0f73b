"""How a batch of ACE-Step v1 runs from noise to latents: where it starts, and what stays as it is.

In: a transformer, a ``V1Choice``, contexts, seeds, and what there is of a recording. Out: latents ``[B, 8, 16, F]``.
The loop is that of ``sampling``, on rows ``[B, 16 F, 8]``. Refuses to know requests, tasks, seconds and codecs.

Where a recording is worked on, this is meant better than upstream's: the solver, "granularity" and guidance act as
everywhere, guided are the middle of those steps that are run (upstream's window is that of all steps, so a repaint of
the last fifth is never guided), and fresh noise belongs to each song instead of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from acestep.sampling.flow_edit import flow_edit
from acestep.sampling.hold import Hold, outside_held
from acestep.sampling.noise import ItemNoise, item_noise, varied_noise
from acestep.sampling.sampler import OnStep, SamplerSettings, sample
from acestep.sampling.stepper import Draw
from acestep.v1.choice import V1Choice
from acestep.v1.conditions import Contexts
from acestep.v1.config import LATENT_HEIGHT
from acestep.v1.denoise import Denoiser
from acestep.v1.guidance import GuidedSteps
from acestep.v1.layout import latents_of, rows_of
from acestep.v1.schedule import compared_steps
from acestep.v1.transformer import Transformer


@dataclass(frozen=True, slots=True)
class NoiseOrder:
    """The noise of a batch.

    Attributes:
        seeds: one per song.
        frames: latent frames of every song.
        variation_seeds: of a second noise, one per song; () is none.
        variation_strength: how far the noise goes towards the second, 0 to 1.
    """

    seeds: tuple[int, ...]
    frames: int
    variation_seeds: tuple[int, ...] = ()
    variation_strength: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """A recording to start from ``[1 or B, 8, 16, F]``, and how near to stay, 0 to 1; at 1 it comes back."""

    latents: Tensor
    strength: float


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A recording of which a part is made anew, or which is continued.

    Attributes:
        latents: of the recording ``[1 or B, 8, 16, F]``, zero where there is none yet.
        inside: True at frames that are made anew, bool ``[1 or B, F]``; all others come back bit for bit.
        variance: share of the steps, 0 to 1, that is run: the inside starts from the recording under that much noise.
    """

    latents: Tensor
    inside: Tensor
    variance: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """A recording that is led from its own words to others (flow editing).

    Attributes:
        latents: of the recording ``[1 or B, 8, 16, F]``.
        contexts: of its own words (``conditions.edit_contexts``).
        start, stop: shares of the steps between which the two descriptions are compared.
        averages: noises per step, at least 1.
    """

    latents: Tensor
    contexts: Contexts
    start: float
    stop: float
    averages: int


Ground = Reference | Canvas | Described


@torch.no_grad()
def v1_flow(
    transformer: Transformer,
    choice: V1Choice,
    contexts: Contexts,
    noise: NoiseOrder,
    ground: Ground | None = None,
    *,
    device: torch.device,
    on_step: OnStep | None = None,
) -> Tensor:
    """Latents ``[B, 8, 16, F]`` of a batch, fp32.

    Args:
        transformer: on the device.
        choice: how the batch is sampled, as if there were no recording.
        contexts: of the words of the batch, read with this choice; for ``Described`` the words to reach, read with
            ``conditions.edit_contexts``.
        noise: seeds and length.
        ground: what there is of a recording, or None.
        device: that computes.
        on_step: called with (steps done, steps in all) after each step; what it raises ends the run, uncaught.

    Raises:
        GenerationError: the latents became NaN or infinite.
        ValueError: a recording is not as long as the noise, an error of the caller and not of the request.
    """
    channels = transformer.config.in_channels
    start = _noise(noise, channels).to(device)  # [B, 16 F, 8]
    lengths = _lengths(start)
    fresh = ItemNoise(noise.seeds, channels)

    def draw() -> Tensor:
        return fresh.draw(lengths).to(device)

    clean = None if ground is None else _recording(ground, start)
    if isinstance(ground, Described):
        rows = _edited(transformer, choice.comparing(), contexts, ground, clean, draw, on_step)
        return latents_of(rows).contiguous()
    choice = _shortened(choice, ground)
    level = choice.schedule[0]
    state = start if clean is None else level * start + (1.0 - level) * clean
    hold = _hold(ground, clean, start) if isinstance(ground, Canvas) else None
    network = Denoiser(
        transformer, contexts if choice.guided else contexts.conditional, weaken=choice.weaken_diffusion
    )
    settings = SamplerSettings(choice.schedule, choice.solver)
    rows = sample(GuidedSteps(network, choice), state, settings, draw, lengths, on_step, hold)
    return latents_of(rows).contiguous()


def _noise(order: NoiseOrder, channels: int) -> Tensor:
    """Initial noise ``[B, 16 F, 8]``."""
    rows = [LATENT_HEIGHT * order.frames] * len(order.seeds)
    if not order.variation_seeds:
        return item_noise(order.seeds, rows, channels)
    return varied_noise(order.seeds, order.variation_seeds, order.variation_strength, rows, channels)


def _recording(ground: Ground, noise: Tensor) -> Tensor:
    """Rows of the recording like those of ``noise``."""
    clean = rows_of(ground.latents).to(noise)
    if clean.shape[1:] != noise.shape[1:] or len(clean) not in (1, len(noise)):
        raise ValueError(
            f"a recording of {tuple(ground.latents.shape)} does not fit {len(noise)} songs of "
            f"{noise.shape[1] // LATENT_HEIGHT} frames"
        )
    return clean.expand_as(noise)


def _shortened(choice: V1Choice, ground: Reference | Canvas | None) -> V1Choice:
    """The choice of the steps that are run."""
    match ground:
        case Reference():
            return choice.from_reference(ground.strength)
        case Canvas():
            return choice.last(ground.variance)
    return choice


def _hold(canvas: Canvas, clean: Tensor, noise: Tensor) -> Hold:
    inside = canvas.inside.to(noise.device).repeat_interleave(LATENT_HEIGHT, dim=1)[..., None]  # [B, 16 F, 1]
    return outside_held(clean, noise, inside)


def _edited(
    transformer: Transformer,
    choice: V1Choice,
    contexts: Contexts,
    ground: Described,
    clean: Tensor,
    draw: Draw,
    on_step: OnStep | None,
) -> Tensor:
    """Rows ``[B, 16 F, 8]`` of a flow edit."""
    target, source = (
        partial(GuidedSteps, Denoiser(transformer, words, weaken=False), choice)
        for words in (contexts, ground.contexts)
    )
    window = compared_steps(choice.steps, ground.start, ground.stop)
    return flow_edit(target, source, clean, choice.schedule, window, ground.averages, draw, _lengths(clean), on_step)


def _lengths(rows: Tensor) -> list[int]:
    """Songs of a v1 batch are equally long."""
    return [rows.shape[1]] * len(rows)
