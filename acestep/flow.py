"""How a batch of pieces runs from noise to latents: where it starts, what it hears when, what stays as it is.

In: a model, a ``Request``, pieces and their conditions. Out: latents ``[B, T, C]``. The sampler and its parts
(``sampling``) know none of these; this is where they meet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from acestep.conditioning.conditions import Conditions
from acestep.constants import LATENT_CHANNELS
from acestep.denoise import Denoiser, Switch
from acestep.editing.order import FlowEdit
from acestep.models.acestep_model import AceStepModel
from acestep.pieces import Piece
from acestep.request import Request
from acestep.sampling.flow_edit import flow_edit
from acestep.sampling.guidance import Guidance, GuidedVelocity, VelocityPair
from acestep.sampling.hold import Hold, outside_held
from acestep.sampling.noise import ItemNoise, item_noise, varied_noise
from acestep.sampling.sampler import SamplerSettings, sample
from acestep.sampling.schedule import truncated

OnStep = Callable[[int, int], None]


def flow(
    model: AceStepModel,
    request: Request,
    pieces: Sequence[Piece],
    conditions: Conditions,
    other: Conditions | None,
    device: torch.device,
    on_step: OnStep,
) -> Tensor:
    """Latents ``[B, T, C]`` of a batch, fp32, zero past each song's length.

    Args:
        model: on the device.
        request: how the batch is sampled.
        pieces: one per song.
        conditions: of the batch.
        other: of the recording's own words in a flow edit; else those that take over once the recording is no longer
            heard, or None.
        device: that computes.
        on_step: called with (steps done, steps in all).

    Raises:
        GenerationError: the latents became NaN or infinite.
    """
    settings, guidance = _settings(request), _guidance(request)
    recording, noise, lengths = _recording(pieces, device), _noise(pieces, request).to(device), conditions.frames
    fresh = ItemNoise([piece.noise_seed for piece in pieces], LATENT_CHANNELS)
    velocity = partial(Denoiser, model, guided=any(guidance.active(level) for level in settings.schedule))

    def draw() -> Tensor:
        return fresh.draw(lengths).to(device)

    if request.edit is not None and request.edit.flow is not None:
        window, averages = _window(request.edit.flow, settings), request.edit.flow.averages
        both = (partial(GuidedVelocity, velocity(words), guidance, lengths) for words in (conditions, other))
        return flow_edit(*both, recording, settings.schedule, window, averages, draw, lengths, on_step)
    start, held = settings.schedule[0], _held(pieces, recording, noise)
    if request.edit is not None and request.edit.start_from > 0:
        noise = start * noise + (1.0 - start) * recording
    state = noise if held is None else held(noise, start)
    hears = GuidedVelocity(_switched(velocity, conditions, other, request, settings), guidance, lengths)
    return sample(hears, state, settings, draw, lengths, on_step, held)


def _settings(request: Request) -> SamplerSettings:
    choice = request.sampling
    schedule = choice.schedule
    if request.edit is not None and request.edit.start_from > 0:
        schedule = truncated(schedule, 1.0 - request.edit.start_from)
    return SamplerSettings(schedule, choice.solver, choice.correction)


def _guidance(request: Request) -> Guidance:
    choice = request.sampling
    return Guidance(choice.guidance_scale, choice.guidance, choice.guidance_interval)


def _noise(pieces: Sequence[Piece], request: Request) -> Tensor:
    """Initial noise ``[B, max T, C]``."""
    seeds, lengths = [piece.noise_seed for piece in pieces], [piece.frames for piece in pieces]
    if request.variation is None:
        return item_noise(seeds, lengths, LATENT_CHANNELS)
    second = [piece.variation_seed for piece in pieces]
    return varied_noise(seeds, second, request.variation.strength, lengths, LATENT_CHANNELS)


def _recording(pieces: Sequence[Piece], device: torch.device) -> Tensor | None:
    """Latents ``[B, max T, C]`` of the recordings, fp32, zero where there are none; None where no piece has one."""
    if all(piece.ground is None for piece in pieces):
        return None
    rows = [
        torch.zeros(piece.frames, LATENT_CHANNELS) if piece.ground is None else piece.ground.latents[0].float()
        for piece in pieces
    ]
    return torch.nn.utils.rnn.pad_sequence([row.to(device) for row in rows], batch_first=True)


def _window(order: FlowEdit, settings: SamplerSettings) -> tuple[int, int]:
    """First and last step of a flow edit; never none at all."""
    steps = len(settings.schedule) - 1
    first = min(_share(steps, order.start), steps - 1)
    return first, max(_share(steps, order.stop), first + 1)


def _switched(
    velocity: Callable[[Conditions], Denoiser],
    conditions: Conditions,
    other: Conditions | None,
    request: Request,
    settings: SamplerSettings,
) -> VelocityPair:
    """The velocity of a batch, which after a share of the steps no longer hears the recording."""
    if other is None:
        return velocity(conditions)
    steps = len(settings.schedule) - 1
    return Switch(velocity, conditions, other, settings.schedule[_share(steps, request.edit.nearness)])


def _held(pieces: Sequence[Piece], recording: Tensor | None, noise: Tensor) -> Hold | None:
    """What keeps the recording outside of the regions where it is erased inside."""
    if recording is None or not any(piece.ground is not None and piece.ground.erased for piece in pieces):
        return None
    inside = torch.ones(*noise.shape[:2], 1, dtype=torch.bool, device=noise.device)
    for row, piece in zip(inside, pieces, strict=True):
        if piece.ground is not None and piece.ground.erased:
            start, stop = piece.region
            row[:start], row[stop:] = False, False
    return outside_held(recording, noise, inside)


def _share(steps: int, share: float) -> int:
    """Whole steps of a share; binary dust of a decimal is not a step."""
    return int(round(steps * share, 6))
